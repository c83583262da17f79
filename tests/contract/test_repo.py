"""What the ops repository promises: exact revisions, proposals that harm nothing twice, facts of a merge, one claim."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Protocol
from uuid import uuid4

import pytest

from receiver.adapters.repo.creation import clone_work_tree
from receiver.adapters.repo.git import OpsRepository
from receiver.domain.proposal import Proposal
from receiver.errors import Conflict, Invalid, Refused, Retry
from receiver.ports import Branches, Repo
from receiver.testing.repo import FakeRepo
from tests.fix_repo import BRANCH, CONTENT, FIRST, PATH, RUN, Person

pytestmark = pytest.mark.anyio
PLAYBOOK = "playbooks/web/restart"
NONCE = "0123456789abcdef0123456789abcdef"
MOVED = PATH.replace("2026/11/21", "2026/11/22")
ONE = (("A", "100644", PATH),)


class Ops(Repo, Branches, Protocol):
    """Both ports of one repository."""


@dataclass
class Place:
    """One repository, and what people do to it behind its back."""

    ops: Ops
    first: str
    commit: Callable[[dict[str, bytes]], str]  #: a revision that nobody adopted
    land: Callable[[dict[str, bytes]], str]  #: a merge of the proposal that brings these files instead
    land_again: Callable[[], str]  #: the file goes and comes once more

    async def propose(self, content: bytes = CONTENT, **other: str) -> Proposal:
        names = {"branch": BRANCH, "path": PATH} | other
        head, base = await self.ops.propose(**names, content=content, message="Restart web")
        return Proposal(
            run_id=RUN, path=names["path"], branch=names["branch"], sha256=sha256(content).hexdigest(),
            head_sha=head, base_sha=base, number=1, url="http://localhost/1",
            expires_at=datetime(2026, 11, 22, tzinfo=UTC),
        )  # fmt: skip


async def git(request: pytest.FixtureRequest) -> Place:
    ops = request.getfixturevalue("ops")
    return await by_hand(ops, request.getfixturevalue("person"), lambda commit: None)


async def mirror(request: pytest.FixtureRequest) -> Place:
    ops, forge = request.getfixturevalue("mirror"), request.getfixturevalue("forge")
    folder = request.getfixturevalue("tmp_path") / "upstream"
    await ops.fetch()

    def bring(commit: str) -> None:
        source = str(forge.repository.folder)
        subprocess.run(["git", "--git-dir", str(ops._git.path), "fetch", "-q", source, commit], check=True)

    clone_work_tree(forge.repository.folder, folder)
    return await by_hand(ops, Person(folder), bring)


async def by_hand(ops: OpsRepository, person: Person, bring: Callable[[str], None]) -> Place:

    def commit(files: dict[str, bytes]) -> str:
        person.on_main()
        person.git("rm", "-q", "-r", ".")
        for path, content in files.items():
            person.write(path, content)
        made = person.commit("Another")
        assert person.push(f"{made}:refs/heads/topic-{made[:9]}").returncode == 0
        bring(made)
        return made

    def land(files: dict[str, bytes]) -> str:
        person.on_main()
        person.git("merge", "-q", "--no-ff", "--no-commit", f"gitmedic/{BRANCH}")
        person.git("rm", "-q", "-f", PATH)
        for path, content in files.items():
            person.write(path, content)
        person.commit("Merge")
        return person.push_main()

    def land_again() -> str:
        person.git("rm", "-q", PATH)
        person.commit("Away")
        person.write(PATH, CONTENT)
        person.commit("And back")
        return person.push_main()

    first = await ops.adopted()
    return Place(ops, first, commit, land, land_again)


async def fake(request: pytest.FixtureRequest) -> Place:
    ops = FakeRepo()
    first = ops.adopt(FIRST)

    def commit(files: dict[str, bytes]) -> str:
        ops.files_at["c" * 40] = files
        return "c" * 40

    def land(files: dict[str, bytes]) -> str:
        merges = {uuid4().hex + "0" * 8: one for one in files.items()}
        ops.landed |= merges
        return next(iter(merges))

    return Place(ops, first, commit, land, lambda: land({PATH: CONTENT}))


MAKERS: list[Callable[[pytest.FixtureRequest], Awaitable[Place]]] = [git, mirror, fake]


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__)
async def place(request: pytest.FixtureRequest, ops: object, person: Person, mirror: object) -> Place:
    found: Place = await request.param(request)
    return found


async def test_what_is_in_force_is_read_at_its_commit(place: Place) -> None:
    assert await place.ops.adopted() == place.first
    revision = await place.ops.revision(place.first)
    assert revision.commit == place.first
    assert set(revision.inventory.hosts) == {"web1"}
    assert revision.policy.mode == "propose"
    assert revision.catalog.playbooks == {} and len(revision.catalog.problems) == 1


async def test_another_revision_changes_nothing_in_force(place: Place) -> None:
    other = place.commit(FIRST | {"inventory/hosts.yml": b"all: {hosts: {db1: {}}}\n"})
    assert set((await place.ops.revision(other)).inventory.hosts) == {"db1"}
    assert set((await place.ops.revision(place.first)).inventory.hosts) == {"web1"}
    assert await place.ops.adopted() == place.first


async def test_what_cannot_be_read_is_refused(place: Place) -> None:
    without = place.commit({path: data for path, data in FIRST.items() if path != "policy.yml"})
    with pytest.raises(Invalid):
        await place.ops.revision(without)
    odd = place.commit(FIRST | {"policy.yml": b"mode: everything\n"})
    with pytest.raises(Invalid):
        await place.ops.revision(odd)
    with pytest.raises(Refused):
        await place.ops.revision("e" * 40)
    for ask in (place.ops.trees, place.ops.files):
        with pytest.raises(Refused):
            await ask("e" * 40, PLAYBOOK)
        with pytest.raises(Invalid):
            await ask(place.first, "playbooks/web/other")


async def test_trees_pin_playbook_roles_and_collections(place: Place) -> None:
    pinned = await place.ops.trees(place.first, PLAYBOOK)
    assert all(pinned.model_dump().values())
    assert await place.ops.trees(place.first, PLAYBOOK) == pinned
    for path, changed in (
        (f"{PLAYBOOK}/README.md", "playbook"),
        (f"{PLAYBOOK}/tasks/main.yml", "playbook"),
        ("roles/base/tasks/main.yml", "roles"),
        ("collections.lock", "collections"),
    ):
        now = await place.ops.trees(place.commit(FIRST | {path: b"# other\n"}), PLAYBOOK)
        assert {name for name, one in now.model_dump().items() if one != pinned.model_dump()[name]} == {changed}
    bare = place.commit({path: data for path, data in FIRST.items() if path.startswith(PLAYBOOK)})
    trees = await place.ops.trees(bare, PLAYBOOK)
    assert (trees.playbook, trees.roles, trees.collections) == (pinned.playbook, "", "")


async def test_only_named_files_enter_a_run(place: Place) -> None:
    files = await place.ops.files(place.first, PLAYBOOK)
    assert files == {
        "playbook.yml": FIRST[f"{PLAYBOOK}/playbook.yml"],
        "tasks/main.yml": FIRST[f"{PLAYBOOK}/tasks/main.yml"],
        "roles/base/tasks/main.yml": FIRST["roles/base/tasks/main.yml"],
    }


async def test_proposing_the_same_again_is_harmless(place: Place) -> None:
    proposal = await place.propose()
    assert proposal.base_sha == place.first != proposal.head_sha
    assert await place.propose() == proposal
    place.land({PATH: CONTENT})
    assert await place.propose() == proposal


async def test_a_proposal_never_replaces_anything(place: Place) -> None:
    proposal = await place.propose()
    with pytest.raises(Conflict):
        await place.propose(b"something else\n")
    with pytest.raises(Conflict):
        await place.propose(path=MOVED)
    with pytest.raises(Conflict):
        await place.propose(branch=f"gitmedic/{uuid4()}", path="policy.yml")
    merge = place.land({PATH: CONTENT})
    with pytest.raises(Conflict):
        await place.propose(branch=f"gitmedic/{uuid4()}")
    following = await place.propose(b"x\n", branch=f"gitmedic/{uuid4()}", path=MOVED)
    assert following.base_sha == merge
    assert await place.propose() == proposal


async def test_an_open_proposal_has_not_landed(place: Place) -> None:
    proposal = await place.propose()
    for merge in (None, "e" * 40):
        facts = await place.ops.landing(proposal, merge)
        assert (facts.base_tip, facts.merge_sha) == (place.first, merge)
        assert not facts.reachable and not facts.first_landing
        assert (facts.reviewed, facts.landed) == (ONE, ())
        assert facts.head_blob is not None
        assert (facts.landed_blob, facts.content) == (None, None)


async def test_a_plain_merge_is_what_the_checks_want(place: Place) -> None:
    proposal = await place.propose()
    merge = place.land({PATH: CONTENT})
    facts = await place.ops.landing(proposal, merge)
    assert (facts.base_tip, facts.merge_sha) == (merge, merge)
    assert facts.reachable and facts.first_landing
    assert facts.reviewed == facts.landed == ONE
    assert facts.head_blob == facts.landed_blob is not None
    assert facts.content == CONTENT
    # a merge stays one when another commit was asked for
    other = await place.ops.landing(proposal, "e" * 40)
    assert not other.reachable and not other.first_landing


async def test_an_edited_file_shows_its_own_bytes(place: Place) -> None:
    proposal = await place.propose()
    facts = await place.ops.landing(proposal, place.land({PATH: b"edited\n"}))
    assert facts.reachable and facts.landed == ONE
    assert facts.content == b"edited\n"
    assert facts.head_blob != facts.landed_blob is not None


async def test_a_moved_file_did_not_land(place: Place) -> None:
    proposal = await place.propose()
    facts = await place.ops.landing(proposal, place.land({MOVED: CONTENT}))
    assert facts.reachable and not facts.first_landing
    assert facts.landed == (("A", "100644", MOVED),)
    assert (facts.landed_blob, facts.content) == (None, None)


async def test_what_lands_twice_is_no_first_landing(place: Place) -> None:
    proposal = await place.propose()
    merges = [place.land({PATH: CONTENT}), place.land_again()]
    for merge in merges:
        facts = await place.ops.landing(proposal, merge)
        assert facts.reachable and not facts.first_landing, merge


async def test_a_copy_of_its_bytes_elsewhere_is_no_first_landing(place: Place) -> None:
    proposal = await place.propose()
    facts = await place.ops.landing(proposal, place.land({PATH: CONTENT, MOVED: CONTENT}))
    assert facts.reachable and facts.content == CONTENT
    assert not facts.first_landing


async def test_a_head_that_nobody_proposed_was_not_reviewed(place: Place) -> None:
    proposal = (await place.propose()).model_copy(update={"head_sha": "e" * 40})
    facts = await place.ops.landing(proposal, None)
    assert (facts.reviewed, facts.head_blob) == ((), None)


async def test_what_a_head_brings_is_told_from_its_merge_base(place: Place) -> None:
    proposal = await place.propose()
    found = await place.ops.brought(proposal.branch, proposal.head_sha)
    assert (found.base_sha, found.changes, found.path, found.content) == (proposal.base_sha, ONE, PATH, CONTENT)
    place.land({PATH: CONTENT})
    with pytest.raises(Retry):
        await place.ops.brought(proposal.branch, "e" * 40)


async def test_a_run_is_claimed_once_ever(place: Place) -> None:
    assert await place.ops.claim(RUN, "one", NONCE) is True
    assert await place.ops.claim(RUN, "two", NONCE[::-1]) is False
    assert await place.ops.claim(RUN, "one", NONCE) is False
    assert await place.ops.claim(str(uuid4()), "one", NONCE) is True


async def test_two_claims_at_once_have_one_winner(place: Place) -> None:
    for _ in range(3):
        run = str(uuid4())
        answers = await asyncio.gather(*[place.ops.claim(run, f"i{n}", uuid4().hex) for n in range(4)])
        assert sorted(answers) == [False, False, False, True]
