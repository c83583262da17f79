"""A run is claimed once, by whoever was first, whatever processes, pushes and lost answers do."""

import multiprocessing
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from receiver.adapters.repo import claims
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.repo.process import Git
from receiver.adapters.repo.settings import RepoSettings
from receiver.domain.runfile import Pins, RunFile, path_of, write_runfile
from receiver.errors import Invalid, Unavailable
from receiver.identity import new_id
from tests.fix_repo import RUN, Person

pytestmark = pytest.mark.anyio
NONCE = "0123456789abcdef0123456789abcdef"
ROUNDS = 20


async def test_first_only(ops: OpsRepository, person: Person):
    assert await ops.claim(RUN, "one", NONCE)
    assert not await ops.claim(RUN, "two", NONCE[::-1])
    assert not await ops.claim(RUN, "one", NONCE)  # not even the winner again: it may have started
    await ops.sweep()  # packed refs count as well
    assert not await ops.claim(RUN, "two", uuid4().hex)
    person.git("fetch", "-q", "gitmedic", f"refs/gitmedic/claims/{RUN}")
    message = person.say("log", "-1", "--format=%B", "FETCH_HEAD")
    assert message == f"gitmedic claim\n\nrun: {RUN}\ninstance: one\nnonce: {NONCE}"
    assert person.say("ls-tree", "FETCH_HEAD") == ""


@pytest.mark.parametrize(
    ("run", "instance", "nonce"),
    [
        ("../x", "one", NONCE), ("main", "one", NONCE), (RUN + "\n", "one", NONCE),
        (RUN.upper(), "one", NONCE),
        (RUN, "one\nnonce: x", NONCE), (RUN, "", NONCE), (RUN, "one", "short"), (RUN, "one", f"-{NONCE}"),
    ],
)  # fmt: skip
async def test_words_that_would_be_read_otherwise(ops: OpsRepository, run: str, instance: str, nonce: str):
    with pytest.raises(Invalid):
        await ops.claim(run, instance, nonce)


def race(path: Path, name: str, barrier, answers) -> None:
    git = Git(RepoSettings(path=path))
    for number in range(ROUNDS):
        run = str(UUID(int=number + 1))
        barrier.wait(30)
        answers.put((run, name, claims.claim(git, run, name, uuid4().hex)))


def test_two_processes_one_winner(bare: Path):
    spawn = multiprocessing.get_context("spawn")
    barrier, answers = spawn.Barrier(2), spawn.Queue()
    racers = [spawn.Process(target=race, args=(bare, name, barrier, answers)) for name in ("one", "two")]
    for racer in racers:
        racer.start()
    said = [answers.get(timeout=60) for _ in range(2 * ROUNDS)]
    for racer in racers:
        racer.join(30)
        assert racer.exitcode == 0
        racer.close()
    answers.close()
    answers.join_thread()
    winners = {run: name for run, name, won in said if won}
    assert len([won for _, _, won in said if won]) == len(winners) == ROUNDS
    for run, name in winners.items():
        shown = subprocess.run(
            ["git", "--git-dir", str(bare), "log", "-1", "--format=%B", f"refs/gitmedic/claims/{run}"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        assert f"instance: {name}\n" in shown


async def test_a_lost_answer_is_read_back(ops: OpsRepository, monkeypatch: pytest.MonkeyPatch):
    def losing(git, *lines):
        assert real(git, *lines) is None
        raise Unavailable("the answer was lost")

    real = claims.transaction
    monkeypatch.setattr(claims, "transaction", losing)
    assert await ops.claim(RUN, "one", NONCE)


async def test_a_lost_answer_is_not_a_yes(ops: OpsRepository, monkeypatch: pytest.MonkeyPatch):
    def failing(git, *lines):
        raise Unavailable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(claims, "transaction", failing)
        with pytest.raises(Unavailable):
            await ops.claim(RUN, "one", NONCE)
    assert await ops.claim(RUN, "two", uuid4().hex)
    monkeypatch.setattr(claims, "transaction", failing)
    assert not await ops.claim(RUN, "one", NONCE)
    assert not await ops.claim(RUN, "two", NONCE)  # the right instance with another nonce


async def test_a_stale_lock_is_come_back_later(ops: OpsRepository, bare: Path):
    lock = bare / "refs" / "gitmedic" / "claims" / f"{RUN}.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    with pytest.raises(Unavailable, match="lock"):
        await ops.claim(RUN, "one", NONCE)
    lock.unlink()
    assert await ops.claim(RUN, "one", NONCE)


async def test_nobody_moves_or_deletes_a_claim_by_push(ops: OpsRepository, person: Person):
    assert await ops.claim(RUN, "one", NONCE)
    ref = f"refs/gitmedic/claims/{RUN}"
    before = person.say("ls-remote", "gitmedic", ref)
    for refspec in (f":{ref}", f"+main:{ref}"):
        refused = person.push(refspec, "--force")
        assert refused.returncode != 0
        assert "it is never" in refused.stderr
    assert person.push(":refs/heads/main", "--mirror").returncode != 0
    assert person.git("push", "--mirror", "--force", "gitmedic", check=False).returncode != 0
    assert person.say("ls-remote", "gitmedic", ref) == before
    assert not await ops.claim(RUN, "two", uuid4().hex)
    other = f"refs/gitmedic/claims/{uuid4()}"
    assert person.push(f"main:{other}").returncode == 0  # an executor elsewhere claims by push
    assert person.push("main:refs/gitmedic/closed/x").returncode != 0


async def test_claims_are_kept_until_thirty_days_after_their_runs_expiry(
    ops: OpsRepository, monkeypatch: pytest.MonkeyPatch
):
    short, lasting, lost = new_id(), new_id(), new_id()
    await _land(ops, short, expires_in=timedelta(hours=4))
    await _land(ops, lasting, expires_in=timedelta(days=20))
    for run in (short, lasting, lost):
        assert await ops.claim(run, "one", NONCE)

    async def after(days: int) -> list[bool]:
        monkeypatch.setattr(claims, "clock", lambda git: int(time.time()) + days * 86400)
        await ops.sweep()
        return [run in listed(ops) for run in (short, lasting, lost)]

    assert await after(30) == [True, True, True]
    assert await after(31) == [False, True, True]
    assert await after(51) == [False, False, True]  # a claim without a run file may be all that stands


def listed(ops: OpsRepository) -> str:
    """Every claim that is there."""
    found = subprocess.run(
        ["git", "-C", ops._git.path, "for-each-ref", claims.CLAIMS], capture_output=True, text=True, check=True
    )
    return found.stdout


async def _land(ops: OpsRepository, run: str, *, expires_in: timedelta) -> None:
    now = datetime.now(UTC)
    runfile = RunFile(
        run=run, playbook="web_restart", targets=("web1",), params={}, revision="c" * 40, case=run, reason="r",
        pins=Pins(playbook="p", roles="", collections="", targets="t"), requested_by="system",
        expires_at=now + expires_in,
    )  # fmt: skip
    branch = f"gitmedic/{run}"
    head, _ = await ops.propose(branch=branch, path=path_of(run, now), content=write_runfile(runfile), message="m")
    merge, tip = await ops.prepare_merge(head, "Merge")
    assert await ops.land(merge, tip, branch, head)
