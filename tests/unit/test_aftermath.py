"""After a run that went wrong, over fakes: a person looks, proposes again, closes, or retries where it failed."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.aftermath import Aftermath, look_at_asked
from receiver.domain.case import Closed, Planned
from receiver.domain.outcome import Mode, Outcome, Verdict
from receiver.domain.plan import Plan
from receiver.domain.policyfile import Person
from receiver.domain.resolution import Resolution
from receiver.domain.run import Job
from receiver.errors import Conflict, Refused, Unavailable
from receiver.identity import new_id
from receiver.testing import World
from receiver.testing.people import FakeDesk, FakeLogs
from receiver.testing.resolutions import FakeResolutions
from tests.unit.test_at_most_once import waiting
from tests.unit.test_hosts_one_by_one import ended, merged, seen
from tests.unit.test_hosts_one_by_one import world as several
from tests.unit.test_pipeline import FILES, closed, proposed, world

__all__ = ["several", "world"]
pytestmark = pytest.mark.anyio


class _Archive:
    """As much of it as is asked here."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def stored(self, id: str) -> Any:
        row = self._world.cases.rows.get(id)
        return row.case if row else None


def aftermath(world: World) -> tuple[Aftermath, FakeResolutions]:
    words, archive = FakeResolutions(world.cases), _Archive(world)
    desk = FakeDesk(world.clock, world.cases, world.runs)
    made = Aftermath(
        archive=archive, logs=FakeLogs(world.runs), desk=desk, repo=world.repo, resolutions=words, clock=world.clock
    )  # type: ignore[arg-type]  # fmt: skip
    return made, words


async def anna(world: World, name: str = "anna") -> Person:
    policy = (await world.repo.revision(await world.repo.adopted())).policy
    return next(person for person in policy.people if person.name == name)


async def interrupted(world: World) -> Closed:
    case, run = await waiting(world)
    world.clock.pass_seconds(5)
    await world.runs.begin_step(run, 0, await world.runs.begin(run, case, "run", "test"), ["web1"])
    await world.locks.free("other")
    end = await closed(world, case)
    assert end.outcome is Outcome.INTERRUPTED
    return end


@pytest.mark.parametrize("verdict", list(Verdict))
async def test_looking_again_believes_only_what_is_seen_now(world: World, verdict: Verdict) -> None:
    end, (after, words) = await interrupted(world), aftermath(world)
    world.proof.verdict = verdict
    await after.resolve(end.id, "verify", person=await anna(world))
    await look_at_asked(words, after.archive, world.proof, world.repo)
    found = world.case(end.id)
    assert isinstance(found, Closed) and found.verification is not None
    assert (found.verification.verdict, found.outcome) == (verdict, Outcome.INTERRUPTED)
    assert await words.waiting() == int(verdict is not Verdict.RESOLVED)


async def test_a_sample_from_before_the_crash_proves_nothing(world: World) -> None:
    end, (after, words) = await interrupted(world), aftermath(world)
    assert end.result is not None
    world.proof.verdict, world.proof.sample_at = Verdict.RESOLVED, end.result.ended_at
    await after.resolve(end.id, "verify", person=await anna(world))
    await look_at_asked(words, after.archive, world.proof, world.repo)
    assert await words.waiting() == 1


async def test_proposed_again_is_a_new_case_through_the_same_gate(world: World) -> None:
    end, (after, words) = await interrupted(world), aftermath(world)
    world.proof.verdict = Verdict.STILL_FIRING
    word = await after.resolve(end.id, "propose", person=await anna(world), reason="it still fires")
    assert word.opened is not None and await words.waiting() == 0
    assert word.opened in world.cases.rows
    await world.settle()
    again = world.case(word.opened)
    assert again.kind == "proposed" and again.alert == end.alert
    assert end.runfile is not None and getattr(again, "runfile").run != end.runfile.run  # noqa: B009
    assert getattr(again, "requested_by") == "user:anna"  # noqa: B009
    with pytest.raises(Refused, match="it is settled"):
        await after.resolve(end.id, "close", person=await anna(world), reason="w")


async def test_who_may_not_approve_may_only_look(world: World) -> None:
    end, (after, words) = await interrupted(world), aftermath(world)
    guest = await anna(world, "guest")
    for act in ("propose", "close"):
        with pytest.raises(Refused, match="may not decide"):
            await after.resolve(end.id, act, person=guest, reason="w")  # type: ignore[arg-type]
    await after.resolve(end.id, "verify", person=guest)
    with pytest.raises(Refused, match="say what became of it"):
        await after.resolve(end.id, "close", person=await anna(world))
    await after.resolve(end.id, "close", person=await anna(world), reason="looked by hand")
    assert await words.waiting() == 0


async def test_only_an_interrupted_run_is_resolved_and_only_an_ended_one_retried(world: World) -> None:
    case, (after, _) = await proposed(world), aftermath(world)
    run = getattr(world.case(case), "runfile").run  # noqa: B009
    with pytest.raises(Refused, match="no interrupted run"):
        await after.resolve(case, "verify", person=await anna(world))
    for asked, said in ((run, "not closed"), (new_id(), "there is none")):
        with pytest.raises(Refused, match=said):
            await after.retry(asked, actor="os:anna")
    await world.merge(case, "anna")
    assert (await closed(world, case)).outcome is Outcome.NOT_FIXED
    with pytest.raises(Refused, match="nothing failed in it"):
        await after.retry(run, actor="os:anna")


async def test_an_interrupted_run_is_not_retried_blindly(world: World) -> None:
    end, (after, _) = await interrupted(world), aftermath(world)
    with pytest.raises(Refused, match="is not known"):
        await after.retry(end.runfile.run, actor="os:anna")  # type: ignore[union-attr]


async def test_a_retry_is_for_the_hosts_that_failed_or_were_not_touched(several: World) -> None:
    world, (after, _) = several, aftermath(several)

    def fail_second(job: Job) -> None:
        world.runner.run_status = "failed" if job.mode == "run" and job.hosts[0].name == "web2" else "successful"

    world.runner.on_run = fail_second
    end = await ended(world, await merged(world))
    assert end.outcome is Outcome.FAILED and end.runfile is not None
    opened = await after.retry(end.runfile.run, actor="os:anna", reason="mended")
    await world.settle()
    again = world.case(opened)
    assert again.kind == "proposed", again
    assert getattr(again, "runfile").targets == ("web2", "web3")  # noqa: B009
    assert seen(world, "check")[-1] == ["web2", "web3"] and "mended" in getattr(again, "plan").why  # noqa: B009


async def test_who_may_not_dispatch_starts_no_critical_one_under_an_alerts_name(world: World) -> None:
    """The guard asks about the person who asked, not about the machine, also where there is an alert."""
    first = await interrupted(world)
    case = Planned(
        id=new_id(), opened_at=world.clock.now(), alert=first.alert, revision=first.revision or "", mode=Mode.PROPOSE,
        entity=first.entity, confirmation=first.confirmation, requested_by="user:guest",
        plan=Plan(action="playbook", playbook="web_restart", params={"host": "web1", "service": "web"}, why="again"),
    )  # fmt: skip
    world.cases.add(case)
    assert ((await closed(world, case.id)).outcome, getattr(world.case(case.id), "reason")) == (  # noqa: B009
        Outcome.REFUSED, "risk",
    )  # fmt: skip


async def test_whoever_the_machine_calls_root_is_the_person_of_the_policy(world: World) -> None:
    """Rule S8 maps who asked: by the person, not by the name of an account."""
    world.repo.adopt(FILES | {"policy.yml": FILES["policy.yml"].replace(b"os: [anna]", b"os: [root]")})
    end, (after, _) = await interrupted(world), aftermath(world)
    word = await after.resolve(end.id, "propose", person=await anna(world), reason="it still fires")
    await world.settle()
    assert word.opened is not None and world.case(word.opened).kind == "proposed"


async def test_who_may_not_dispatch_proposes_nothing_again_and_settles_nothing(world: World) -> None:
    end, (after, words) = await interrupted(world), aftermath(world)
    person = (await anna(world)).model_copy(update={"dispatches": False})
    with pytest.raises(Refused, match="may not dispatch"):
        await after.resolve(end.id, "propose", person=person, reason="w")
    assert await words.waiting() == 1


async def test_what_somebody_settled_meanwhile_opens_no_case(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    end, (after, words) = await interrupted(world), aftermath(world)
    revision, person, known = world.repo.revision, await anna(world), len(world.cases.rows)

    async def while_it_reads(commit: str) -> Any:
        words.said[end.id] = [Resolution(act="close", actor="user:bert", settles=True)]
        return await revision(commit)

    monkeypatch.setattr(world.repo, "revision", while_it_reads)
    with pytest.raises(Conflict, match="somebody else"):
        await after.resolve(end.id, "propose", person=person, reason="w")
    assert len(world.cases.rows) == known


async def test_one_that_cannot_be_looked_at_holds_up_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    end, (after, words) = await interrupted(world), aftermath(world)
    stored = after.archive.stored

    async def away(case: str) -> Any:
        if case == "gone":
            raise Unavailable("its commit cannot be read now")
        return await stored(case)

    words.said["gone"] = [Resolution(act="verify", actor="user:anna")]
    monkeypatch.setattr(after.archive, "stored", away)
    await after.resolve(end.id, "verify", person=await anna(world))
    with pytest.raises(Unavailable):
        await look_at_asked(words, after.archive, world.proof, world.repo)
    assert words.said[end.id][0].verdict is not None
