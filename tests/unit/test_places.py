"""Runs in other repositories than the catalog's: each proposal is dealt with where it was made, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.domain.case import Closed, Proposed, read_case
from receiver.domain.forge import Opening, person_account
from receiver.domain.outcome import Outcome, Verdict
from receiver.domain.place import Routing
from receiver.domain.quorum import approval_text
from receiver.domain.runfile import RunFile, path_of, write_runfile
from receiver.errors import Refused
from receiver.evidence import pins_of
from receiver.identity import new_id
from receiver.places import Places
from receiver.testing import World
from receiver.testing.people import FakeArchive, FakeDesk, FakeInbox, FakeLogs
from receiver.testing.repo import FakeRepo, FakeWatchbook
from receiver.watch import Watch
from tests.unit.test_pipeline import FILES, alert

pytestmark = pytest.mark.anyio
#: web2 is of another site
INVENTORY = FILES["inventory/hosts.yml"].replace(
    b"{site: home, match: ['instance=\"web2\"']", b"{site: lab, match: ['instance=\"web2\"']"
)


class Two:
    """A catalog's repository and the lab's; both forges number from one, and both repositories are number 7 there."""

    def __init__(self) -> None:
        self.world = world = World({**FILES, "inventory/hosts.yml": INVENTORY}, RulesPlanner())
        self.main = world.forge
        self.lab = world.add_place("lab", "lab", repository="7")

    @property
    def lab_repo(self) -> FakeRepo:
        found = self.world.ports.places.named("lab").branches
        assert isinstance(found, FakeRepo)
        return found

    async def propose(self) -> tuple[str, str]:
        """One proposal in each: (of home, of the lab)."""
        ids = self.world.fire(alert()), self.world.fire(alert("web2"))
        await self.world.settle()
        return ids

    def proposed(self, id: str) -> Proposed:
        found = self.world.case(id)
        assert isinstance(found, Proposed), (found.kind, self.world.waiting(id))
        return found

    async def closed(self, id: str) -> Closed:
        await self.world.settle_for(30)
        found = self.world.case(id)
        assert isinstance(found, Closed), (found.kind, self.world.waiting(id))
        return found

    def ran(self) -> list[str]:
        return [job.run_id for job in self.world.runner.jobs if job.mode == "run"]

    def rename(self, **places: object) -> None:
        self.world.ports = replace(self.world.ports, places=replace(self.world.ports.places, **places))  # type: ignore[arg-type]


@pytest.fixture
def two() -> Two:
    return Two()


async def test_each_site_is_proposed_and_run_in_its_own_place(two: Two) -> None:
    home, lab = await two.propose()
    assert (two.proposed(home).proposal.key, two.proposed(lab).proposal.key) == ("local", "lab/7")
    assert [one.proposal.number for one in (two.proposed(home), two.proposed(lab))] == [1, 1]
    assert len(two.world.repo.branches) == len(two.lab_repo.branches) == 1
    two.world.runner.on_run = lambda job: setattr(two.world.proof, "verdict", Verdict.RESOLVED)
    run = two.proposed(lab).runfile.run
    await two.world.merge(lab, "anna")
    assert (await two.closed(lab)).outcome is Outcome.FIXED
    assert two.ran() == [run]
    # the claim lies beside the run file, the comment on its own pull request, and home's proposal is as it was
    assert (set(two.lab_repo.claims), two.world.repo.claims) == ({run}, {})
    assert "fixed" in two.lab.comments[1] and "Outcome: **fixed**" not in two.main.comments[1]
    assert two.lab.pulls[1].state == "merged"


async def test_a_merge_of_the_same_number_in_another_place_starts_nothing(two: Two) -> None:
    home, lab = await two.propose()
    await two.main.approve_and_merge(1, two.main.pulls[1].head_sha, "anna", "session")
    two.world.runner.jobs.clear()
    two.world.cases.rows[lab].due_at = two.world.clock.now()
    await two.world.settle_for(30)
    two.proposed(lab)
    assert two.ran() == [two.world.case(home).runfile.run]  # type: ignore[union-attr]


async def test_what_the_settings_give_to_another_place_makes_room_for_a_new_one(two: Two) -> None:
    _, lab = await two.propose()
    two.rename(routing=Routing())
    ended = await two.closed(lab)
    assert (ended.outcome, ended.reason, two.lab.pulls[1].state) == (Outcome.SUPERSEDED, "place", "closed")
    assert "belong to the catalog's repository, and this one is in place 'lab'" in ended.why


async def test_a_merge_in_a_place_that_lost_the_site_meanwhile_runs_nothing(two: Two) -> None:
    """Whoever may merge in the lab may not run anything at home."""
    _, lab = await two.propose()
    await two.world.merge(lab, "anna")
    two.rename(routing=Routing())
    ended = await two.closed(lab)
    assert (ended.outcome, ended.reason, two.ran()) == (Outcome.SUPERSEDED, "place", [])


async def test_after_the_approval_too(two: Two) -> None:
    """The executor's settings have a word of their own."""
    _, lab = await two.propose()
    await two.world.locks.take("other", "other", ["host:web2"])
    await two.world.merge(lab, "anna")
    await two.world.settle_for(10)
    assert two.world.case(lab).kind == "approved"
    two.rename(routing=Routing())
    await two.world.locks.free("other")
    ended = await two.closed(lab)
    assert (ended.outcome, ended.reason, two.ran()) == (Outcome.SUPERSEDED, "place", [])


async def test_a_place_that_is_gone_refuses_and_loses_nothing(two: Two) -> None:
    _, lab = await two.propose()
    others, case = two.world.ports.places.others, two.proposed(lab)
    two.rename(others={})
    await two.lab.approve_and_merge(1, case.proposal.head_sha, "anna", "session")
    two.world.cases.rows[lab].due_at = two.world.clock.now()
    with pytest.raises(Refused, match="the settings name no such place any more") as refused:
        await two.world.settle()
    assert "[places.lab]" in refused.value.next_step and two.proposed(lab) == case
    two.rename(others=others)
    two.world.cases.rows[lab].lease_until = None
    await two.closed(lab)
    assert two.ran() == [case.runfile.run]


async def test_one_that_never_comes_back_expires(two: Two) -> None:
    _, lab = await two.propose()
    two.rename(others={})
    two.world.clock.pass_seconds((two.proposed(lab).proposal.expires_at - two.world.clock.now()).total_seconds() + 1)
    two.world.cases.rows[lab].due_at = two.world.clock.now()
    ended = await two.closed(lab)
    assert ended.outcome is Outcome.EXPIRED and "no such place" in ended.why
    assert "no such place" not in two.main.comments[1]


async def test_another_repository_under_the_name_of_a_place_is_asked_nothing(two: Two) -> None:
    _, lab = await two.propose()
    case = two.proposed(lab)
    place = replace(two.world.ports.places.named("lab"), repository="8")
    found = Places(two.world.ports.places.main, {"lab": place}).of(case.proposal)
    with pytest.raises(Refused, match="place 'lab' is repository 8 now"):
        await found.review.approve(1, case.proposal.head_sha, "anna", "session")
    assert two.lab.pulls[1].reviews == ()


async def test_a_run_over_the_sites_of_two_places_has_no_place(two: Two) -> None:
    """The guard lets none through (`one_site`); were there one, no repository alone may have a say about it."""
    with pytest.raises(Refused, match=r"the sites home, lab: .* and place 'lab'"):
        two.world.ports.places.of_sites(site for site in ("lab", "home"))


async def test_a_case_of_before_places_is_in_the_catalogs_repository(two: Two) -> None:
    home, _ = await two.propose()
    body = two.proposed(home).model_dump(mode="json")
    del body["proposal"]["place"], body["proposal"]["repository"]
    old = read_case(body)
    assert isinstance(old, Proposed) and (old.proposal.place, old.proposal.key) == ("", "")
    assert two.world.ports.places.of(old.proposal) is two.world.ports.places.main
    assert old.proposal.is_in("7") and not old.proposal.is_in("lab/7")


async def test_what_is_signed_names_the_place(two: Two) -> None:
    home, lab = await two.propose()
    assert "repository lab/7\n" in approval_text("7", two.proposed(lab).proposal)
    assert "repository 7\n" in approval_text("7", two.proposed(home).proposal)


def watch(two: Two, name: str) -> Watch:
    """What looks at a place's forge."""
    world, place = two.world, two.world.ports.places.named(name)
    return Watch(
        forge=place.forge, hosting=place.hosting, repo=world.repo, branches=place.branches, adoption=None,
        archive=FakeArchive(world.cases, FakeLogs(world.runs), FakeInbox(world.clock, world.cases)),
        desk=FakeDesk(world.clock, world.cases, world.runs), ledger=world.ledger, book=FakeWatchbook(world.clock),
        notifier=world.notifier, clock=world.clock, base="main", bot=place.bot, repository=place.repository,
        place=name, routing=world.ports.places.routing,
    )  # fmt: skip


async def runfile(two: Two, host: str) -> RunFile:
    """As anna writes it for her own pull request."""
    repo, now = two.world.repo, two.world.clock.now()
    revision = await repo.revision(repo.adopted_commit)
    playbook = revision.catalog.playbooks["web_restart"]
    return RunFile(
        run=new_id(), playbook=playbook.id, targets=(host,), params={"host": host, "service": "web"},
        revision=revision.commit, pins=await pins_of(repo, revision, playbook, (host,)), case=new_id(), reason="x",
        requested_by="user:anna", expires_at=now + timedelta(days=1),
    )  # fmt: skip


@pytest.mark.parametrize(("host", "is_its_own"), [("web2", True), ("web1", False)])
async def test_a_person_dispatches_in_a_place_for_its_own_sites_alone(two: Two, host: str, is_its_own: bool) -> None:
    made = await runfile(two, host)
    path, content = path_of(made.run, two.world.clock.now()), write_runfile(made)
    head, _ = await two.lab_repo.propose(branch="by-hand", path=path, content=content, message="By hand")
    opening = Opening(branch="by-hand", head_sha=head, base="main", title="By hand", body="")
    pull = await two.lab.open(opening)
    two.lab.pulls[pull.number] = pull.model_copy(update={"author": person_account("anna")})
    await watch(two, "lab").look()
    await two.world.settle()
    cases = [row.case for row in two.world.cases.rows.values()]
    if not is_its_own:
        assert cases == [] and two.lab.marks[pull.number].text.startswith("place: runs of site home")
        return
    (case,) = cases
    assert isinstance(case, Proposed) and case.given is not None
    assert case.proposal.key == "lab/7" and two.main.pulls == {}


async def test_a_look_wakes_the_case_of_its_own_repository(two: Two) -> None:
    home, lab = await two.propose()
    for id in (home, lab):
        two.world.cases.rows[id].due_at = None
    await watch(two, "lab").look()
    assert two.world.cases.rows[lab].due_at is not None and two.world.cases.rows[home].due_at is None
