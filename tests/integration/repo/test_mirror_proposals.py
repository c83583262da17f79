"""A proposal on a forge: one new branch there, whatever answer was lost, and what a merge of it looks like here."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from receiver.adapters.repo import mirror as mirroring
from receiver.adapters.repo.git import OpsRepository
from receiver.domain.runfile import Pins, RunFile, path_of, write_runfile
from receiver.errors import Conflict, Invalid, Refused, Unavailable
from receiver.identity import new_id
from tests.fix_repo import BRANCH, CONTENT, PATH, RUN, proposed
from tests.fix_upstream import Forge, Mirrors
from tests.forges import gitwork
from tests.forges.state import Protection, Style

pytestmark = pytest.mark.anyio
PLAYBOOK = "playbooks/web/restart"
HEAD = f"refs/heads/{BRANCH}"
ONE = (("A", "100644", PATH),)


def show(forge: Forge, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "--git-dir", str(forge.repository.folder), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout


async def test_it_is_one_commit_on_the_fresh_tip(mirror: OpsRepository, forge: Forge):
    await mirror.fetch()
    fresh = forge.land({"other": b"x"})
    proposal = await proposed(mirror)
    assert (proposal.base_sha, forge.tip(HEAD)) == (fresh, proposal.head_sha)
    assert show(forge, "diff-tree", "-r", "--name-status", fresh, proposal.head_sha) == f"A\t{PATH}\n"
    before = forge.refs()
    assert await proposed(mirror) == proposal
    assert forge.refs() == before
    assert [ref for ref in before if ref.startswith("refs/gitmedic/")] == []


async def test_the_same_from_another_data_directory_is_the_same(mirrors: Mirrors, forge: Forge):
    proposal = await proposed(mirrors())
    forge.land({"other": b"x"})
    assert await proposed(mirrors()) == proposal


@pytest.mark.parametrize("what", ["lost after the effect", "502 after the effect"])
async def test_a_lost_answer_is_read_back(mirror: OpsRepository, forge: Forge, what):
    forge.faults.add("POST", "git-receive-pack", what)
    proposal = await proposed(mirror)
    assert forge.tip(HEAD) == proposal.head_sha
    assert len([ref for ref in forge.refs() if "gitmedic" in ref]) == 1
    assert await proposed(mirror) == proposal


async def test_a_lost_answer_that_cannot_be_read_back_is_found_the_next_time(mirror: OpsRepository, forge: Forge):
    forge.faults.add("POST", "git-receive-pack", "lost after the effect")
    await mirror.fetch()
    # the fetch before the push goes through, the question after it does not
    forge.faults.add("POST", "git-upload-pack", "delay", seconds=0)
    forge.faults.add("POST", "git-upload-pack", "500 before the effect")
    with pytest.raises(Unavailable):
        await proposed(mirror)
    there = forge.tip(HEAD)
    assert there is not None
    assert (await proposed(mirror)).head_sha == there


@pytest.mark.parametrize("what", ["lost before the effect", "500 before the effect"])
async def test_a_push_that_did_not_arrive_is_for_later(mirror: OpsRepository, forge: Forge, what):
    # curl itself sends a request again when a used connection dies without a word
    forge.faults.add("POST", "git-receive-pack", what, times=6 if what.startswith("lost") else 1)
    with pytest.raises(Unavailable, match="it is not there"):
        await proposed(mirror)
    forge.faults.queue.clear()
    assert forge.tip(HEAD) is None
    assert (await proposed(mirror)).head_sha == forge.tip(HEAD)


async def test_a_branch_that_says_something_else_is_somebody_elses(mirrors: Mirrors, forge: Forge):
    forge.state.push(forge.ada, forge.repository, BRANCH, {PATH: b"mine\n"})
    before = forge.refs()
    for ops in (mirrors(), mirrors()):
        with pytest.raises(Conflict, match="does not add just this"):
            await proposed(ops)
    assert forge.refs() == before


async def test_an_edited_branch_is_not_pushed_over(mirror: OpsRepository, forge: Forge):
    await proposed(mirror)
    edited = forge.state.push(forge.ada, forge.repository, BRANCH, {PATH: b"edited\n"})
    with pytest.raises(Conflict):
        await proposed(mirror)
    assert forge.tip(HEAD) == edited


async def test_a_path_that_the_base_has_is_no_proposal(mirror: OpsRepository, forge: Forge):
    forge.land({PATH: b"already\n"})
    with pytest.raises(Conflict, match="already"):
        await proposed(mirror)
    assert forge.tip(HEAD) is None


async def test_what_the_forge_refuses_is_for_a_person(mirror: OpsRepository, forge: Forge):
    forge.repository.refused_refs = ("refs/heads/gitmedic/*",)
    with pytest.raises(Refused, match="Protected branch update failed") as refused:
        await proposed(mirror)
    assert refused.value.reason == "push_refused" and "gitmedic/*" in refused.value.next_step
    forge.repository.refused_refs = ()
    forge.repository.rights[forge.bot.id] = "read"
    with pytest.raises(Refused) as refused:
        await proposed(mirror)
    assert refused.value.reason == "forbidden"


@pytest.mark.parametrize("style", ["merge", "squash", "rebase", "fast-forward"])
async def test_every_style_of_merge_lands(mirror: OpsRepository, forge: Forge, style: Style):
    proposal = await proposed(mirror)
    if style != "fast-forward":
        forge.land({"other": b"x"})
    pull = forge.state.open(forge.bot, forge.repository, BRANCH, "main", "Restart")
    proposal = proposal.model_copy(update={"number": pull.number})
    open_yet = await mirror.landing(proposal, None)
    assert (open_yet.reviewed, open_yet.landed, open_yet.reachable) == (ONE, (), False)
    new = forge.state.merge(forge.ada, pull, style)
    forge.state.delete_branch(forge.bot, forge.repository, BRANCH)
    facts = await mirror.landing(proposal, new)
    assert facts.base_tip == new and facts.reachable and facts.first_landing
    assert (facts.reviewed, facts.landed, facts.content) == (ONE, ONE, CONTENT)
    assert facts.head_blob == facts.landed_blob is not None
    # the branch was deleted after the merge: nothing makes it again
    assert (await proposed(mirror)).head_sha == proposal.head_sha
    assert forge.tip(HEAD) is None


async def test_a_head_that_a_person_edited_is_brought_from_where_it_is(mirrors: Mirrors, forge: Forge):
    proposal = await proposed(mirrors())
    pull = forge.state.open(forge.bot, forge.repository, BRANCH, "main", "Restart")
    edited = forge.state.push(forge.ada, forge.repository, BRANCH, {PATH: b"edited\n"})
    asked = proposal.model_copy(update={"number": pull.number, "head_sha": edited})
    assert (await mirrors().landing(asked, None)).reviewed == ONE  # from its branch
    new = forge.state.merge(forge.ada, pull, "squash")
    forge.state.delete_branch(forge.bot, forge.repository, BRANCH)
    facts = await mirrors().landing(asked, new)  # from refs/pull
    assert (facts.reviewed, facts.content) == (ONE, b"edited\n") and facts.head_blob == facts.landed_blob
    nowhere = await mirrors().landing(asked.model_copy(update={"head_sha": "e" * 40}), new)
    assert (nowhere.reviewed, nowhere.head_blob) == ((), None)


async def test_an_unreachable_forge_is_no_fact(mirror: OpsRepository, forge: Forge):
    proposal = await proposed(mirror)
    forge.faults.add("GET", "info/refs", "500 before the effect")
    with pytest.raises(Unavailable):
        await mirror.landing(proposal, None)


async def test_what_a_person_brings(mirror: OpsRepository, forge: Forge):
    base = forge.tip()
    odd = "jürgen/fix+web@2"
    one = forge.state.push(forge.ada, forge.repository, odd, {PATH: CONTENT})
    found = await mirror.brought(odd, one)
    assert (found.base_sha, found.changes, found.path, found.content) == (base, ONE, PATH, CONTENT)
    two = forge.state.push(forge.ada, forge.repository, odd, {"ein Wort ü/a b.txt": b"x"})
    found = await mirror.brought(odd, two)
    assert (found.path, found.content) == (None, None)
    assert found.changes == (("A", "100644", "ein Wort ü/a b.txt"), *ONE)
    assert await mirror.brought(odd, one) == await mirror.brought("gone", one)  # it is here by now
    lone = forge.state.push(forge.ada, forge.repository, "lone", {"ein Wort ü/a b.txt": b"x"})
    found = await mirror.brought("lone", lone)
    assert (found.path, found.content) == ("ein Wort ü/a b.txt", None)
    with pytest.raises(Unavailable):
        await mirror.brought(odd, "e" * 40)
    forge.land({"other": b"x"})
    assert (await mirror.brought(odd, two)).base_sha == base


@pytest.mark.parametrize("name", ["a:b", "../x", "-x", "a b", "x.lock", "a\nb", "x@{1}", "a//b", "x\u202e", "*", ""])
async def test_names_that_git_would_read_as_more(mirror: OpsRepository, name: str):
    with pytest.raises(Invalid):
        await mirror.brought(name, "e" * 40)


async def test_heads_whose_names_exclude_each_other(mirror: OpsRepository, forge: Forge):
    for name in ("fix", "fix/web", "fix"):
        head = forge.state.push(forge.ada, forge.repository, name, {name: b"x"})
        assert (await mirror.brought(name, head)).path == name
        forge.state.delete_branch(forge.ada, forge.repository, name)


async def test_trailers_are_kept(mirror: OpsRepository, forge: Forge):
    message = f"Restart web\n\nBecause.\n\nGitmedic-Run: {RUN}\nGitmedic-Case: 01939a00-2222"
    head, _ = await mirror.propose(branch=BRANCH, path=PATH, content=CONTENT, message=message)
    assert show(forge, "log", "-1", "--format=%(trailers:only)", head).splitlines()[:2] == message.splitlines()[-2:]


async def test_commits_are_signed_with_the_key_of_the_settings(mirrors: Mirrors, forge: Forge, tmp_path: Path):
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    proposal = await proposed(mirrors(signing_key_file=key))
    signers = tmp_path / "signers"
    signers.write_text(f"gitmedic@localhost {key.with_suffix('.pub').read_text()}")
    verify = [
        "git", "--git-dir", str(forge.repository.folder), "-c", "gpg.format=ssh",
        "-c", f"gpg.ssh.allowedSignersFile={signers}", "verify-commit", proposal.head_sha,
    ]  # fmt: skip
    done = subprocess.run(verify, capture_output=True, text=True, check=True)
    assert 'Good "git" signature for gitmedic@localhost' in done.stderr
    assert show(forge, "diff-tree", "-r", "--name-status", proposal.base_sha, proposal.head_sha) == f"A\t{PATH}\n"
    show(forge, "fsck", "--strict")
    signers.write_text(
        "gitmedic@localhost ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMmQ0gYVvmO0gCO2zJ8l8kUSnQ2s9G0bqzQm1m0cJw5h"
    )
    assert subprocess.run(verify, capture_output=True, check=False).returncode != 0


async def test_a_key_that_cannot_sign_is_refused_before_anything_is_pushed(mirrors: Mirrors, forge: Forge, tmp_path):
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(locked)], check=True)
    for key in (locked, tmp_path / "missing"):
        with pytest.raises(Refused, match="signing a commit") as refused:
            await proposed(mirrors(signing_key_file=key))
        assert refused.value.reason == "signing_key"
    assert forge.tip(HEAD) is None


def runfile(run: str, expires_in: timedelta) -> bytes:
    return write_runfile(
        RunFile(
            run=run, playbook="web_restart", targets=("web1",), params={}, revision="c" * 40, case=run, reason="r",
            pins=Pins(playbook="p", roles="", collections="", targets="t"), requested_by="system",
            expires_at=datetime.now(UTC) + expires_in,
        )
    )  # fmt: skip


async def test_branches_that_are_over_are_deleted_on_the_forge(mirror: OpsRepository, forge: Forge, monkeypatch):
    made: dict[str, str] = {}
    for name, hours in (("merged", 900), ("squashed", 900), ("expired", 4), ("open", 900)):
        run, now = new_id(), datetime.now(UTC)
        made[name] = f"gitmedic/{run}"
        await mirror.propose(
            branch=made[name], path=path_of(run, now), content=runfile(run, timedelta(hours=hours)), message=name
        )
        pull = forge.state.open(forge.bot, forge.repository, made[name], "main", name)
        if name in ("merged", "squashed"):
            forge.state.merge(forge.ada, pull, "merge" if name == "merged" else "squash")
    forge.state.push(forge.ada, forge.repository, "gitmedic/by-a-person", {"x": b"x"})
    made["theirs"] = f"gitmedic/{new_id()}"
    forge.state.push(forge.ada, forge.repository, made["theirs"], {"x": b"x"})
    forge.repository.protection[made["merged"]] = Protection()

    def left() -> set[str]:
        return {name for name, branch in made.items() if forge.tip(f"refs/heads/{branch}")}

    await mirror.sweep()
    assert left() == set(made)
    later = int(datetime.now(UTC).timestamp()) + 49 * 3600
    monkeypatch.setattr(mirroring, "clock", lambda git: later)
    await mirror.sweep()
    assert left() == {"merged", "open", "theirs"}  # the first is protected there: it is kept without a word
    del forge.repository.protection[made["merged"]]
    forge.state.delete_branch(forge.ada, forge.repository, made["open"])
    await mirror.sweep()
    assert left() == {"theirs"}
    assert not [ref for ref in gitwork.refs(mirror._git.path) if ref.startswith("refs/heads/gitmedic/")]
    assert forge.tip() and forge.tip("refs/heads/gitmedic/by-a-person")


async def test_names_of_branches_do_not_stay_files(mirror: OpsRepository, forge: Forge, monkeypatch):
    monkeypatch.setattr(mirroring, "_MOST_FILES", 2)
    for number in range(4):
        run = new_id()
        await mirror.propose(
            branch=f"gitmedic/{run}", path=path_of(run, datetime.now(UTC)), content=b"%d\n" % number, message="m"
        )
    assert len(list((mirror._git.path / "refs" / "heads" / "gitmedic").iterdir())) < 3
    assert len([ref for ref in gitwork.refs(mirror._git.path) if "/gitmedic/" in ref]) == 4


async def test_the_base_is_never_deleted(mirrors: Mirrors, forge: Forge, monkeypatch):
    base = f"gitmedic/{new_id()}"
    tip = forge.state.push(forge.ada, forge.repository, base, {"x": b"x"})
    later = int(datetime.now(UTC).timestamp()) + 49 * 3600
    monkeypatch.setattr(mirroring, "clock", lambda git: later)
    await mirrors(base=base).sweep()
    assert forge.tip(f"refs/heads/{base}") == tip
