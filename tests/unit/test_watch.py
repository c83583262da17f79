"""Between the cases: lost webhooks, people's own run files, and merges of what needs adoption."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.domain.case import Closed, Proposed
from receiver.domain.forge import PullRequest, Review, bot_account, person_account
from receiver.domain.inventory import targets_digest
from receiver.domain.landing import Brought
from receiver.domain.outcome import Outcome
from receiver.domain.runfile import Pins, RunFile, path_of, write_runfile
from receiver.errors import Unavailable
from receiver.identity import new_id
from receiver.testing import World
from receiver.testing.people import FakeArchive, FakeDesk, FakeInbox, FakeLogs
from receiver.testing.repo import FakeAdoption, FakeWatchbook
from receiver.watch import PATIENCE, Watch
from tests.unit.test_pipeline import FILES, alert

pytestmark = pytest.mark.anyio
POLICY = b"""
mode: propose
sources: {prom: {mode: propose}}
people:
  - {name: anna, session: [anna], approves: high, dispatches: yes}
  - {name: bert, session: [bert], approves: high}
  - {name: carl, session: [carl], approves: low}
"""


class Place:
    """A world, and the watch over it."""

    def __init__(self) -> None:
        self.world = world = World({**FILES, "policy.yml": POLICY}, RulesPlanner())
        self.desk = FakeDesk(world.clock, world.cases, world.runs)
        self.adoption, self.book = FakeAdoption(world.repo), FakeWatchbook(world.clock)
        self.watch = Watch(
            forge=world.forge, hosting=world.forge, repo=world.repo, branches=world.repo, adoption=self.adoption,
            archive=FakeArchive(world.cases, FakeLogs(world.runs), FakeInbox(world.clock, world.cases)), desk=self.desk,
            ledger=world.ledger, book=self.book, notifier=world.notifier, clock=world.clock, base="main",
            bot=bot_account(), repository="local",
        )  # fmt: skip

    async def runfile(self, **change: Any) -> RunFile:
        repo = self.world.repo
        revision = await repo.revision(repo.adopted_commit)
        playbook = revision.catalog.playbooks["web_restart"]
        trees = await repo.trees(revision.commit, playbook.path)
        pins = Pins(
            playbook=trees.playbook, roles=trees.roles, collections=trees.collections,
            targets=targets_digest(revision.inventory, ("web1",)),
        )  # fmt: skip
        made = RunFile(
            run=new_id(), playbook=playbook.id, targets=("web1",), params={"host": "web1", "service": "web"},
            revision=revision.commit, pins=pins, case=new_id(), reason="a new certificate", requested_by="user:anna",
            expires_at=self.world.clock.now() + timedelta(days=2),
        )  # fmt: skip
        return made.model_copy(update=change)

    def pull(self, runfile: RunFile | None, author: str = "anna", **change: Any) -> PullRequest:
        """A person's pull request with this file."""
        number, head = len(self.world.forge.pulls) + 1, new_id().replace("-", "") + "0" * 8
        pull = PullRequest(
            number=number, url=f"http://forge/{number}", repository="local", state="open", head_sha=head,
            head_ref=f"topic-{number}", base_ref="main", author=person_account(author),
            pushed_by=person_account(author),
        ).model_copy(update=change)  # fmt: skip
        self.world.forge._put(pull)
        if runfile is not None:
            path = path_of(runfile.run, self.world.clock.now())
            content = write_runfile(runfile)
            self.world.repo.branches[pull.head_ref] = (head, "0" * 40, path, content)
        return pull

    def cases(self) -> list[Any]:
        return [row.case for row in self.world.cases.rows.values()]


@pytest.fixture
def place() -> Place:
    return Place()


async def test_a_run_file_of_a_dispatcher_goes_the_way_of_every_run(place: Place):
    pull = place.pull(await place.runfile())
    await place.watch.look()
    assert place.world.forge.marks[pull.number].state == "pending"
    await place.world.settle()
    (case,) = place.cases()
    assert isinstance(case, Proposed) and case.proposal.number == pull.number and case.requested_by == "user:anna"
    comment = place.world.forge.comments[pull.number]
    assert "**Dry run** on the real targets: 1 would change." in comment and "0 of 1 approvals" in comment
    # its author's own word does not count, another's does
    await place.world.forge.approve(pull.number, pull.head_sha, "anna", "session")
    await place.world.settle_for(25)
    assert "the word of anna does not count: anna wrote or pushed it" in place.world.waiting(case.id)
    await place.world.forge.approve_and_merge(pull.number, pull.head_sha, "bert", "session")
    await place.world.settle_for(25)
    assert [job.mode for job in place.world.runner.jobs] == ["check", "run"]


async def test_a_head_is_looked_at_once(place: Place):
    place.pull(await place.runfile())
    await place.watch.look()
    await place.watch.look()
    assert len(place.cases()) == 1


@pytest.mark.parametrize(
    ("change", "pull", "name"),
    [
        ({}, {"author": "bert"}, "author"),
        ({"requested_by": "user:bert"}, {"author": "bert"}, "dispatches"),
        ({}, {"author": "mallory"}, "dispatches"),
        ({}, {"base_ref": "develop"}, "here"),
        ({"playbook": "web_stop"}, {}, "catalog"),
        ({"params": {"host": "web1", "service": "{{ x }}"}}, {}, "catalog"),
        ({"targets": ("web2",)}, {}, "catalog"),
        ({"pins": Pins(playbook="0" * 40, roles="", collections="", targets="0" * 64)}, {}, "pinned"),
        ({"expires_at": alert().starts_at - timedelta(days=1)}, {}, "in_time"),
        ({"expires_at": alert().starts_at + timedelta(days=30)}, {}, "in_time"),
        ({"case": "no-id"}, {}, "new"),
    ],
)
async def test_what_is_not_in_order_is_said_and_touches_nothing(
    place: Place, change: dict[str, Any], pull: dict[str, Any], name: str
):
    opened = place.pull(await place.runfile(**change), **pull)
    await place.watch.look()
    await place.world.settle()
    assert place.cases() == [] and place.world.runner.jobs == []
    assert place.world.forge.marks[opened.number].state == "failure"
    assert place.world.forge.marks[opened.number].text.startswith(f"{name}: ")
    assert "Nothing was rehearsed" in place.world.forge.comments[opened.number]


async def test_a_second_file_beside_it_is_refused(place: Place):
    pull = place.pull(await place.runfile())
    _, base, path, _ = place.world.repo.branches[pull.head_ref]
    changes = (("A", "100644", path), ("M", "100644", "policy.yml"))
    place.world.repo.heads[pull.head_sha] = Brought(base_sha=base, changes=changes, path=None, content=None)
    await place.watch.look()
    assert place.cases() == [] and place.world.forge.marks[pull.number].text.startswith("one_file")


async def test_what_brings_no_run_and_what_comes_from_a_fork_is_let_be(place: Place):
    other, fork = place.pull(None), place.pull(await place.runfile(), same_repository=False)
    changes = (("M", "100644", "README.md"),)
    place.world.repo.heads[other.head_sha] = Brought(base_sha="0" * 40, changes=changes, path=None, content=None)
    await place.watch.look()
    assert place.cases() == [] and place.world.forge.comments == {} and place.world.forge.marks == {}
    assert fork.number == 2


async def test_pushed_again_it_is_another_one(place: Place):
    pull = place.pull(await place.runfile())
    await place.watch.look()
    await place.world.settle()
    head = "e" * 40
    place.world.forge._put(pull.model_copy(update={"head_sha": head}))
    fresh = await place.runfile()
    path = path_of(fresh.run, place.world.clock.now())
    place.world.repo.branches[pull.head_ref] = (head, "0" * 40, path, write_runfile(fresh))
    await place.watch.look()
    await place.world.settle_for(25)
    old, new = place.cases()
    assert isinstance(old, Closed) and (old.outcome, old.reason) == (Outcome.SUPERSEDED, "same_head")
    assert isinstance(new, Proposed) and new.proposal.head_sha == head
    assert place.world.forge.pulls[pull.number].state == "open"  # it is its author's to close


async def test_a_lost_webhook_is_made_good(place: Place):
    id_ = place.world.fire(alert())
    await place.world.settle()
    await place.watch.look()
    await place.world.settle()
    proposal = place.world.case(id_).proposal  # type: ignore[union-attr]
    await place.world.forge.approve_and_merge(proposal.number, proposal.head_sha, "anna", "session")  # type: ignore[union-attr]
    await place.world.settle()
    assert isinstance(place.world.case(id_), Proposed)
    await place.watch.look()
    await place.world.settle()
    assert place.world.case(id_).kind in ("executed", "verified", "closed")


# --- adopted revisions (rule S4)


def merged(place: Place, commit: str, author: str, *names: str, **change: Any) -> PullRequest:
    """A merged change of what needs adoption."""
    pull = place.pull(None, author)
    now = place.world.clock.now()
    words = [person_account(name) for name in names]
    reviews = tuple(Review(by=by, head_sha=pull.head_sha, verdict="approve", at=now, via="forge") for by in words)
    done = {
        "state": "merged", "merge_sha": commit, "merged_by": person_account("carl"), "merged_at": now,
        "reviews": reviews,
    }  # fmt: skip
    place.adoption.reviewed.add(pull.head_sha)
    place.world.forge._put(pull.model_copy(update=done | change))
    return place.world.forge.pulls[pull.number]


async def test_what_people_approved_comes_into_force(place: Place):
    old, new = place.world.repo.adopted_commit, place.adoption.push({**FILES, "policy.yml": POLICY + b"\n"})
    merged(place, new, "anna", "bert")
    await place.watch.look()
    assert [(one[0], one[1], one[3]) for one in place.desk.adoptions] == [(new, old, "forge:bert")]
    assert any(new[:12] in subject for subject, *_ in place.world.notifier.told)


@pytest.mark.parametrize(
    ("author", "words", "change"),
    [
        ("anna", (), {}),
        ("anna", ("anna",), {}),  # one's own word
        ("anna", ("carl",), {}),  # may approve low only: nobody raises themselves
        ("mallory", ("bert",), {"pushed_by": None}),  # who pushed it cannot be told
        ("anna", ("bert",), {"base_ref": "develop"}),
        ("anna", ("bert",), {"repository": "other"}),
        ("anna", ("bert",), {"same_repository": False}),
        ("anna", ("bert",), {"settling": True}),
        ("anna", ("bert",), {"pushed_by": person_account("bert")}),
    ],
)
async def test_what_people_did_not_approve_does_not(
    place: Place, author: str, words: tuple[str, ...], change: dict[str, Any]
):
    new = place.adoption.push({**FILES, "policy.yml": POLICY + b"\n"})
    merged(place, new, author, *words, **change)
    await place.watch.look()
    assert place.desk.adoptions == []


async def test_a_direct_push_and_a_merge_of_other_bytes_do_not(place: Place):
    new = place.adoption.push({**FILES, "policy.yml": POLICY + b"\n"})
    await place.watch.look()
    assert place.desk.adoptions == []
    pull = merged(place, new, "anna", "bert")
    place.adoption.reviewed.discard(pull.head_sha)
    await place.watch.look()
    assert place.desk.adoptions == []


async def test_a_policy_that_cannot_be_read_is_told(place: Place):
    new = place.adoption.push({**FILES, "policy.yml": b"mode: everything\n"})
    merged(place, new, "anna", "bert")
    await place.watch.look()
    assert place.desk.adoptions == []
    assert any("not readable" in subject for subject, *_ in place.world.notifier.told)


async def test_each_is_counted_under_the_policy_before_it(place: Place, monkeypatch: pytest.MonkeyPatch):
    """The first merge takes bert's right away: the second, which bert approved, is then nobody's word."""
    without = POLICY.replace(b"{name: bert, session: [bert], approves: high}", b"{name: bert, session: [bert]}")
    first = place.adoption.push({**FILES, "policy.yml": without})
    second = place.adoption.push({**FILES, "policy.yml": without + b"\n"})
    merged(place, first, "anna", "bert")
    merged(place, second, "anna", "bert")
    adopt = place.desk.adopt

    async def at_once(commit: str, **more: Any) -> None:
        await adopt(commit, **more)
        place.world.repo.adopted_commit = commit

    monkeypatch.setattr(place.desk, "adopt", at_once)
    await place.watch.look()
    assert [one[0] for one in place.desk.adoptions] == [first]


async def test_a_head_that_cannot_be_had_holds_up_nothing_else(place: Place):
    """Whoever may open a pull request could else keep a policy from coming into force."""
    place.pull(None)  # its head is nowhere
    new = place.adoption.push({**FILES, "policy.yml": POLICY + b"\n"})
    merged(place, new, "anna", "bert")
    await place.watch.look()
    assert [one[0] for one in place.desk.adoptions] == [new]
    turn = await place.book.begin("local", 60)
    assert turn is not None and turn.since is None  # it is looked at again


async def test_a_head_that_cannot_be_had_is_given_up_after_a_day(place: Place):
    """Else each look would read everything since then anew, for ever."""
    pull = place.pull(None)
    began = place.world.clock.now()
    place.book.at["local"] = began
    await place.watch.look()
    assert not await place.book.seen("local", pull.number, pull.head_sha)
    place.world.clock.pass_seconds(PATIENCE.total_seconds() + 1)
    await place.watch.look()
    assert await place.book.seen("local", pull.number, pull.head_sha)
    turn = await place.book.begin("local", 60)
    assert turn is not None and turn.since is not None and turn.since > began


async def test_a_forge_that_does_not_answer_ends_the_look(place: Place, monkeypatch: pytest.MonkeyPatch):
    """It is asked again later, not once more for each that is left."""
    for _ in range(3):
        place.pull(None)
    asked = []

    async def limited(number: int) -> Any:
        asked.append(number)
        raise Unavailable("too many requests", after_seconds=90)

    monkeypatch.setattr(place.world.forge, "read", limited)
    with pytest.raises(Unavailable) as said:
        await place.watch.look()
    assert len(asked) == 1 and said.value.after_seconds == 90
