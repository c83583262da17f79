"""A run is claimed once on the forge, by whoever was first, whatever forges refuse and answers get lost."""

from __future__ import annotations

import asyncio
import subprocess
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from receiver.adapters.repo import claims
from receiver.adapters.repo.git import OpsRepository
from receiver.domain.runfile import path_of
from receiver.errors import Refused, Unavailable
from receiver.identity import new_id
from tests.fix_repo import RUN
from tests.fix_upstream import Forge, Mirrors
from tests.integration.repo.test_mirror_proposals import runfile

pytestmark = pytest.mark.anyio
NONCE = "0123456789abcdef0123456789abcdef"
REF, TAG = f"refs/gitmedic/claims/{RUN}", f"refs/tags/gitmedic-claim-{RUN}"


def words(forge: Forge, ref: str) -> str:
    done = subprocess.run(
        ["git", "--git-dir", str(forge.repository.folder), "log", "-1", "--format=%B", ref],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


async def test_the_first_only_in_every_data_directory(mirrors: Mirrors, forge: Forge):
    one, two = mirrors(), mirrors()
    assert await one.claim(RUN, "one", NONCE)
    assert not await two.claim(RUN, "two", uuid4().hex)
    assert not await one.claim(RUN, "one", NONCE)
    assert words(forge, REF) == f"gitmedic claim\n\nrun: {RUN}\ninstance: one\nnonce: {NONCE}"


async def test_a_claim_that_was_deleted_on_the_forge_still_stands_here(mirror: OpsRepository, forge: Forge):
    assert await mirror.claim(RUN, "one", NONCE)
    subprocess.run(["git", "--git-dir", str(forge.repository.folder), "update-ref", "-d", REF], check=True)
    assert not await mirror.claim(RUN, "one", NONCE)
    assert REF not in forge.refs()


async def test_two_at_once_have_one_winner(mirrors: Mirrors):
    both = mirrors(), mirrors()
    for _ in range(8):
        run = str(uuid4())
        answers = await asyncio.gather(*(ops.claim(run, "copied", uuid4().hex) for ops in both))
        assert sorted(answers) == [False, True]


async def test_one_object_pushed_twice_wins_once(mirrors: Mirrors, monkeypatch):
    one, two = mirrors(), mirrors()

    def same_second(git: object, run: str, *rest: str) -> str:
        made = real(one._git, run, *rest) or subprocess.run(
            ["git", "--git-dir", str(one._git.path), "rev-parse", f"{claims.CLAIMS}/{run}"],
            check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
        subprocess.run(
            ["git", "--git-dir", str(two._git.path), "fetch", "-q", str(one._git.path), f"{claims.CLAIMS}/{run}"],
            check=True, capture_output=True,
        )  # fmt: skip
        return made

    real = claims.claimed
    monkeypatch.setattr(claims, "claimed", same_second)
    assert await one.claim(RUN, "one", NONCE)
    assert not await two.claim(RUN, "one", NONCE)  # git says `=`: up to date


@pytest.mark.parametrize("what", ["lost after the effect", "502 after the effect", "lost before the effect"])
async def test_a_lost_answer_is_read_back(mirrors: Mirrors, forge: Forge, monkeypatch, what):
    monkeypatch.setattr(claims, "_PATIENCE", (0.0, 0.1))
    one, two = mirrors(), mirrors()
    forge.faults.add("POST", "git-receive-pack", what)
    assert await one.claim(RUN, "one", NONCE)
    assert not await two.claim(RUN, "two", uuid4().hex)
    assert f"nonce: {NONCE}" in words(forge, REF)


async def test_a_lost_answer_to_somebody_elses_claim_is_no_yes(mirrors: Mirrors, forge: Forge, monkeypatch):
    monkeypatch.setattr(claims, "_PATIENCE", (0.0, 0.1))
    one, two = mirrors(), mirrors()
    assert await one.claim(RUN, "one", NONCE)
    forge.faults.add("POST", "git-receive-pack", "lost before the effect", times=12)
    assert not await two.claim(RUN, "one", uuid4().hex)


async def test_an_answer_that_is_lost_again_and_again(mirror: OpsRepository, forge: Forge, monkeypatch):
    monkeypatch.setattr(claims, "_PATIENCE", (0.0, 0.1, 0.1))
    forge.faults.add("POST", "git-receive-pack", "lost after the effect")
    forge.faults.add("POST", "git-upload-pack", "500 before the effect")
    assert await mirror.claim(RUN, "one", NONCE)  # the second time, git says that it is up to date
    other = str(uuid4())
    forge.faults.add("GET", "info/refs", "500 before the effect", times=6)
    with pytest.raises(Unavailable, match="on the forge"):
        await mirror.claim(other, "one", NONCE)
    assert f"refs/gitmedic/claims/{other}" not in forge.refs()


@pytest.fixture
def tags_only(forge: Forge) -> None:
    forge.repository.refused_refs = ("refs/pull/*", "refs/gitmedic/*")


async def test_a_tag_where_the_forge_takes_no_other_ref(mirrors: Mirrors, forge: Forge, tags_only: None):
    one, two = mirrors(), mirrors()
    assert await one.claim(RUN, "one", NONCE)
    assert not await two.claim(RUN, "two", uuid4().hex)
    assert [ref for ref in forge.refs() if RUN in ref] == [TAG]
    before = len(forge.faults.requests("POST", "git-receive-pack"))
    assert await one.claim(str(uuid4()), "one", NONCE)
    assert len(forge.faults.requests("POST", "git-receive-pack")) == before + 1  # remembered


async def test_whoever_uses_the_other_name_is_seen(mirrors: Mirrors, forge: Forge, tags_only: None):
    one, two = mirrors(), mirrors()
    assert await one.claim(RUN, "one", NONCE)
    forge.repository.refused_refs = ()  # the forge has changed its mind; only one of them remembers tags
    assert not await two.claim(RUN, "two", uuid4().hex)
    run = str(uuid4())
    assert await two.claim(run, "two", uuid4().hex)
    assert not await one.claim(run, "one", uuid4().hex)


async def test_a_forge_that_takes_neither(mirror: OpsRepository, forge: Forge):
    forge.repository.refused_refs = ("refs/gitmedic/*", "refs/tags/*")
    with pytest.raises(Refused) as refused:
        await mirror.claim(RUN, "one", NONCE)
    assert refused.value.reason == "claim_refused"


async def test_a_forge_at_odds_with_itself_does_not_make_us_use_tags(mirror: OpsRepository, forge: Forge, monkeypatch):
    monkeypatch.setattr(claims, "_PATIENCE", (0.0,))
    lock = forge.repository.folder / f"{REF}.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    with pytest.raises(Unavailable):
        await mirror.claim(RUN, "one", NONCE)
    lock.unlink()
    other = str(uuid4())
    assert await mirror.claim(other, "one", NONCE)
    assert f"{claims.CLAIMS}/{other}" in forge.refs()


@pytest.mark.parametrize("name", [f"{claims.CLAIMS}/", claims.TAGS])
async def test_old_claims_are_deleted_on_the_forge(mirror: OpsRepository, forge: Forge, monkeypatch, name: str):
    if name == claims.TAGS:
        forge.repository.refused_refs = ("refs/gitmedic/*",)
    short, lost, now = new_id(), new_id(), datetime.now(UTC)
    forge.land({path_of(short, now): runfile(short, timedelta(hours=4))})
    for run in (short, lost):
        assert await mirror.claim(run, "one", NONCE)

    def left() -> list[bool]:
        return [f"{name}{run}" in forge.refs() for run in (short, lost)]

    for days, expected in ((30, [True, True]), (31, [False, True])):
        monkeypatch.setattr(claims, "clock", lambda git, days=days: int(time.time()) + days * 86400)
        await mirror.sweep()
        assert left() == expected
