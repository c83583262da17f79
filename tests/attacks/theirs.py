"""Attacks by pull requests of people: run files that they bring, ours taken over, and changes of what is in force."""

from __future__ import annotations

from receiver.domain.forge import Opening, PullRequest
from receiver.domain.outcome import Verdict
from tests.attacks.stand import POLICY, Elsewhere, Stand, policy
from tests.attacks.table import FORGES, attack
from tests.unit.test_pipeline import alert

RAISED = policy(POLICY + "  - {name: mallory, approves: high, dispatches: yes, forges: FORGES_mallory}\n")


@attack("quorum")
async def author_approves_own(stand: Elsewhere) -> None:
    """Anna may dispatch and brings a run file; on our own page she approves it herself."""
    number = await stand.bring("anna")
    await Stand.approve(stand, "anna", number)
    await stand.merge("mallory", number)


@attack("quorum")
async def last_pusher_approves(stand: Elsewhere) -> None:
    """Anna opens a pull request, bert pushes the run file to it, and approves what he pushed."""
    number = await stand.bring("anna", pusher="bert")
    await stand.approve("bert", number)
    await stand.merge("mallory", number)


@attack("given.dispatches", "guard.risk", harm="check")
async def brought_by_somebody_who_may_not_dispatch(stand: Elsewhere) -> None:
    """Bert may approve and not dispatch: his run file is not even rehearsed (rule S5)."""
    number = await stand.bring("bert")
    await stand.approve("anna", number)
    await stand.approve("carl", number)
    await stand.merge("mallory", number)


@attack("given.dispatches", "guard.risk", harm="check")
async def brought_by_a_stranger(stand: Elsewhere) -> None:
    """Eve may write to the repository, is nobody in policy.yml, and brings a run file that asks in anna's name."""
    number = await stand.bring("eve", requested_by="user:anna")
    await stand.approve("anna", number)
    await stand.approve("bert", number)
    await stand.merge("mallory", number)


@attack("given.author")
async def brought_in_another_name(stand: Elsewhere) -> None:
    """Anna may dispatch; the run file that she brings says that somebody else asked for it."""
    number = await stand.bring("anna", requested_by="user:bert")
    await stand.approve("bert", number)
    await stand.approve("carl", number)
    await stand.merge("mallory", number)


@attack("same_repository", says="")
async def brought_from_a_fork(stand: Elsewhere) -> None:
    """A run file that anna brings from a fork, where nobody else sees who pushes."""
    number = await stand.bring("anna", fork=True)
    await stand.approve("bert", number)
    await stand.approve("carl", number)
    await stand.merge("mallory", number)


@attack("quorum")
async def approved_on_a_fork_of_ours(stand: Elsewhere) -> None:
    """The same commit in a fork, under our branch's name: anna approves that pull request, and its merge lands ours."""
    proposal = await stand.propose()
    if stand.name == "gitea":
        stand.state.autodetects = True  # type: ignore[attr-defined]
    eve = stand.user("eve")
    fork = stand.state.add_fork(eve, stand.repository)
    pull = stand.state.open(eve, stand.repository, proposal.branch, "main", "Restart", head=fork)
    await stand.approve("anna", pull.number)
    await stand.merge("mallory", pull.number)


@attack("given.new", "given.dispatches", "guard.risk", says="closed")
async def our_branch_in_their_pull_request(stand: Elsewhere) -> None:
    """Eve closes our pull request and opens one of her own from our branch, which anna and bert approve."""
    proposal, eve = await stand.propose(), stand.user("eve")
    stand.state.close(eve, stand.pull())
    await stand.machines[0].world.settle()
    pull = stand.state.open(eve, stand.repository, proposal.branch, "main", "Restart")
    await stand.work()
    await stand.approve("anna", pull.number)
    await stand.approve("bert", pull.number)
    await stand.merge("mallory", pull.number)


@attack("given.new", "given.author", "landed_once", "begun", "claim", fair=1, says="settling")
async def a_run_file_brought_again(stand: Elsewhere) -> None:
    """What ran in due form is reverted on the base, and anna brings the same file once more."""
    proposal, content = await stand.propose(), stand.bytes
    await stand.approve("bert")
    await stand.merge("bert")
    await stand.work()
    stand.push("mallory", "main", {proposal.path: None})
    stand.put("anna", "again", stand.commit("anna", [stand.tip()], {proposal.path: content}))
    pull = stand.state.open(stand.user("anna"), stand.repository, "again", "main", "Again")
    await stand.work()
    await stand.approve("bert", pull.number)
    await stand.approve("carl", pull.number)
    await stand.merge("mallory", pull.number)


@attack("closed")
async def closed_and_opened_again(stand: Elsewhere) -> None:
    """A stranger closes a proposal, so that its case is over; opened again and merged, the old case runs nothing."""
    proposal = await stand.propose()
    stand.state.close(stand.user("eve"), stand.pull())
    await stand.work()
    pull = stand.pull(proposal.number)
    if pull.state == "closed":
        stand.state.reopen(stand.user("eve"), pull)
    await stand.approve("anna", proposal.number)
    await stand.merge("mallory", proposal.number)


@attack("repository", "moved", forges=("github", "gitea"), says="reading pull request")
async def another_repository_of_the_same_name(stand: Elsewhere) -> None:
    """Ours is renamed, and another takes its name, with the same history and a pull request of the same number.

    GitLab is asked by the project's number: there the other one is never looked at.
    """
    proposal = await stand.propose()
    stand.replace(proposal.branch)
    await stand.approve("anna")
    await stand.merge("mallory")


# --- what is in force (rule S4)


async def _raise(stand: Elsewhere, *words: str, content: bytes = RAISED, landed: bytes = b"") -> None:
    """Mallory's pull request with a policy in which mallory may everything; then mallory approves a run."""
    mallory = stand.user("mallory")
    head = stand.put("mallory", "raise", stand.commit("mallory", [stand.tip()], {"policy.yml": content}))
    pull = stand.state.open(mallory, stand.repository, "raise", "main", "Tidy up")
    for person in words:
        await stand.approve(person, pull.number)
    if landed:
        stand.state.autodetects = stand.name == "gitea"  # type: ignore[attr-defined]
        stand.put("mallory", "main", stand.commit("mallory", [stand.tip(), head], {"policy.yml": landed}))
    else:
        await stand.merge("mallory", pull.number)
    await _approve_as_mallory(stand)


async def _approve_as_mallory(stand: Elsewhere) -> None:
    await stand.work()
    await stand.propose()
    await stand.approve("mallory")
    await stand.merge("mallory")


@attack("adopt.counted", says="quorum")
async def policy_merged_without_review(stand: Elsewhere) -> None:
    """An administrator merges a policy in which they may approve everything, and approves a run by it."""
    await _raise(stand)


@attack("adopt.counted", says="quorum")
async def policy_approved_by_a_low_word(stand: Elsewhere) -> None:
    """As before, with the approval of carl, who may approve risk low only."""
    await _raise(stand, "carl")


@attack("adopt.merged", says="quorum")
async def policy_pushed_to_the_base(stand: Elsewhere) -> None:
    """An administrator pushes such a policy straight to the base."""
    stand.push("mallory", "main", {"policy.yml": RAISED})
    await _approve_as_mallory(stand)


@attack("adopt.as_reviewed", says="quorum")
async def policy_other_than_reviewed(stand: Elsewhere) -> None:
    """Anna and bert approve a harmless change; the merge commit, made by hand, brings such a policy."""
    await _raise(stand, "anna", "bert", content=policy(POLICY) + b"# tidy\n", landed=RAISED)


# --- not a run, but an end (rule S1)


@attack("proof", forges=FORGES, harm="closed", says="went silent")
async def resolved_without_proof(stand: Stand) -> None:
    """A forged `resolved` for an alert whose source cannot speak: it must not close the proposal."""
    await stand.propose()
    stand.world.proof.verdict = Verdict.NO_DATA
    stand.world.ledger.resolved_at[alert().fingerprint] = stand.world.clock.now()


@attack("ours", "opened_by_us", says="taken")
async def opened_before_us(stand: Elsewhere) -> None:
    """Eve sees our branch and opens its pull request before we do, with words of her own."""
    forge, eve = stand.world.ports.places.main.forge, stand.user("eve")
    opens = forge.open

    async def second(opening: Opening) -> PullRequest:
        if not stand.state.pulls_of(stand.repository):
            stand.state.open(eve, stand.repository, opening.branch, "main", "Harmless")
        return await opens(opening)

    forge.open = second  # type: ignore[method-assign]
    stand.id = stand.world.fire(alert())
    await stand.work()
    await stand.approve("anna", 1)
    await stand.merge("mallory", 1)
