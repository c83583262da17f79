"""Content and run files below a folder of a repository that holds other things as well."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from receiver.adapters.repo.creation import clone_work_tree, create_ops_repository
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.repo.settings import RepoSettings
from receiver.domain.proposal import Proposal
from receiver.errors import Conflict, Invalid
from tests.fix_repo import BRANCH, CONTENT, FIRST, PATH, RUN, Person, proposed
from tests.fix_upstream import Forge, Mirrors

pytestmark = pytest.mark.anyio
PLAYBOOK = "playbooks/web/restart"
WHOLE = {f"infra/ops/{path}": data for path, data in FIRST.items()} | {
    "policy.yml": b"mode: everything\n",
    "playbooks/web/restart/playbook.yml": b"- hosts: all\n",
    "inventory/hosts.yml": b"all: {hosts: {evil: {}}}\n",
    "roles/base/tasks/main.yml": b"- shell: evil\n",
    "src/ein Wort ü/main.c": b"int main;\n",
}
FULL = f"infra/ops/{PATH}"


@pytest.fixture
def person(tmp_path: Path) -> Person:
    create_ops_repository(tmp_path / "whole.git", WHOLE, "Ada <ada@example.org>")
    clone_work_tree(tmp_path / "whole.git", tmp_path / "tree")
    return Person(tmp_path / "tree")


@pytest.fixture
async def inner(person: Person, tmp_path: Path) -> AsyncIterator[OpsRepository]:
    first = person.say("rev-parse", "HEAD")

    async def adopted() -> str:
        return first

    ops = OpsRepository(RepoSettings(path=tmp_path / "whole.git", prefix="infra/ops"), adopted)
    yield ops
    await ops.close()


async def offered(ops: OpsRepository) -> Proposal:
    head, base = await ops.propose(branch=BRANCH, path=FULL, content=CONTENT, message="m")
    return Proposal.model_validate(
        {"run_id": RUN, "path": FULL, "branch": BRANCH, "sha256": sha256(CONTENT).hexdigest(), "head_sha": head,
         "base_sha": base, "number": 1, "url": "http://localhost/1", "expires_at": "2026-11-22T00:00:00Z"}
    )  # fmt: skip


async def test_what_is_read_is_what_lies_below(inner: OpsRepository, ops: OpsRepository):
    first, alone = await inner.adopted(), await ops.adopted()
    revision = await inner.revision(first)
    assert (set(revision.inventory.hosts), revision.policy.mode) == ({"web1"}, "propose")
    assert revision.prompts == (await ops.revision(alone)).prompts
    assert await inner.trees(first, PLAYBOOK) == await ops.trees(alone, PLAYBOOK)
    assert await inner.files(first, PLAYBOOK) == await ops.files(alone, PLAYBOOK)
    with pytest.raises(Invalid):
        await inner.trees(first, "infra/ops/playbooks/web/restart")


async def test_what_lies_outside_needs_no_adoption(inner: OpsRepository, person: Person):
    first = await inner.adopted()
    person.write("policy.yml", b"mode: observe\n")
    person.write("playbooks/web/restart/playbook.yml", b"[]\n")
    outside = (person.commit("Outside"), person.push_main())[1]
    assert await inner.pending(first) == () and await inner.content_commit() == first
    assert await inner.diff(first, outside) == ""
    person.write("infra/ops/policy.yml", b"mode: observe\n")
    inside = (person.commit("Inside"), person.push_main())[1]
    (one,) = await inner.pending(first)
    assert (one.commit, one.paths) == (inside, ("infra/ops/policy.yml",))
    assert await inner.content_commit() == inside
    shown = await inner.diff(first, inside)
    assert "policy.yml" in shown and "playbook.yml" not in shown
    assert await inner.digest(first, outside) != await inner.digest(first, inside)


async def test_a_folder_that_is_gone_is_a_change_and_not_a_revision(inner: OpsRepository, person: Person):
    first = await inner.adopted()
    person.git("rm", "-q", "-r", "infra")
    person.write("infra/ops", b"a file of that name\n")
    gone = (person.commit("Gone"), person.push_main())[1]
    with pytest.raises(Invalid, match=r"infra/ops/policy\.yml"):
        await inner.revision(gone)
    with pytest.raises(Invalid):
        await inner.trees(gone, PLAYBOOK)
    assert [one.commit for one in await inner.pending(first)] == [gone]
    assert "-mode: propose" in await inner.diff(first, gone)


async def test_a_proposal_lies_below(inner: OpsRepository, person: Person):
    proposal = await offered(inner)
    facts = await inner.landing(proposal, None)
    assert facts.reviewed == (("A", "100644", FULL),)
    for path in (PATH, f"infra/opsx/{PATH}", "policy2.yml"):
        with pytest.raises(Invalid, match="outside"):
            await inner.propose(branch=f"{BRANCH}x", path=path, content=CONTENT, message="m")
    with pytest.raises(Conflict):
        await inner.propose(branch=f"{BRANCH}y", path="infra/ops/policy.yml", content=CONTENT, message="m")
    merge, tip = await inner.prepare_merge(proposal.head_sha, "Merge")
    assert await inner.land(merge, tip, BRANCH, proposal.head_sha)
    facts = await inner.landing(proposal, merge)
    assert facts.first_landing and facts.content == CONTENT


async def test_a_change_outside_is_seen_beside_the_run_file(inner: OpsRepository, person: Person):
    proposal = await offered(inner)
    person.fetch()
    person.git("checkout", "-q", "-b", "edit", f"gitmedic/{BRANCH}")
    person.write("src/ein Wort ü/main.c", b"int other;\n")
    edited = person.commit("And more")
    assert person.push(f"HEAD:refs/heads/{BRANCH}").returncode == 0
    facts = await inner.landing(proposal.model_copy(update={"head_sha": edited}), None)
    assert facts.reviewed == (("A", "100644", FULL), ("M", "100644", "src/ein Wort ü/main.c"))


async def test_a_copy_of_its_bytes_below_is_no_first_landing(inner: OpsRepository, person: Person):
    proposal = await offered(inner)
    person.on_main()
    person.git("merge", "-q", "--no-ff", "-m", "Merge", f"gitmedic/{BRANCH}")
    merge = person.push_main()
    assert (await inner.landing(proposal, merge)).first_landing
    person.write(FULL.replace("/21/", "/22/"), CONTENT)
    person.commit("Copy")
    person.push_main()
    assert not (await inner.landing(proposal, merge)).first_landing


@pytest.mark.parametrize("prefix", ["/ops", "ops/", "../ops", "a//b", "-x", ".git", "a b", ":x"])
def test_what_is_no_folder(tmp_path: Path, prefix: str):
    with pytest.raises(ValueError, match="prefix"):
        RepoSettings(path=tmp_path, prefix=prefix)


async def test_below_a_folder_of_a_forges_repository(mirrors: Mirrors, forge: Forge):
    forge.land(dict(WHOLE))
    ops = mirrors(prefix="infra/ops")
    proposal = await offered(ops)
    pull = forge.state.open(forge.bot, forge.repository, BRANCH, "main", "Restart")
    facts = await ops.landing(proposal, forge.state.merge(forge.ada, pull))
    assert facts.first_landing
    assert set((await ops.revision(await ops.tip())).inventory.hosts) == {"web1"}
    with pytest.raises(Invalid, match="outside"):
        await proposed(ops)
    assert subprocess.run(["git", "--git-dir", str(forge.repository.folder), "fsck"], check=True).returncode == 0
