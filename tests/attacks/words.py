"""Attacks on whose word it is: approvals that nobody gave, or that do not count."""

from __future__ import annotations

from tests.attacks.stand import POLICY, Elsewhere, Stand, policy
from tests.attacks.table import FORGES, attack

UNMAPPED = POLICY.replace("dispatches: yes, ssh_keys: [anna-key], forges: FORGES_anna", "dispatches: yes").replace(
    "{name: guest, session: [guest], forges: FORGES_guest}", "{name: other, approves: high, forges: FORGES_anna}"
)
DROPPED = POLICY.replace("{name: anna, session: [anna], approves: high", "{name: anna, session: [anna]")


@attack("quorum", forges=FORGES)
async def merged_without_review(stand: Stand) -> None:
    """An administrator of the forge, nobody in policy.yml, merges a proposal that nobody approved."""
    await stand.propose()
    await stand.merge("mallory")


@attack("quorum")
async def right_lost_after_approval(stand: Elsewhere) -> None:
    """Anna approves, then loses the right to write; somebody merges on her old word."""
    await stand.propose()
    await stand.approve("anna")
    stand.repository.rights[stand.user("anna").id] = "read"
    await stand.merge("mallory")


@attack("quorum")
async def right_lost_before_the_start(stand: Elsewhere) -> None:
    """Anna approves and merges, and loses the right to write before the run starts: it is asked once more."""
    await stand.propose()
    await stand.approve("anna")
    await stand.merge("mallory")
    await stand.hold()
    stand.repository.rights[stand.user("anna").id] = "read"
    await stand.let_go()


@attack("quorum", forges=FORGES)
async def approved_by_somebody_whom_the_policy_dropped(stand: Stand) -> None:
    """A proposal is open; a policy comes into force in which anna may approve nothing; then anna approves it."""
    await stand.propose()
    stand.adopt({"policy.yml": policy(DROPPED)})
    await stand.approve("anna")
    await stand.merge("anna")


@attack("quorum", forges=("github", "gitlab"))
async def approved_by_a_bot(stand: Elsewhere) -> None:
    """An approval by an account of the policy that the forge calls a bot (Gitea says of none that it is one)."""
    await stand.propose()
    await stand.approve("robo")
    await stand.merge("mallory")


@attack("quorum", forges=("gitlab",))
async def approved_by_our_own_account(stand: Elsewhere) -> None:
    """GitLab lets authors approve their own: our account approves what it opened."""
    await stand.propose()
    await stand.approve("gitmedic-bot")
    await stand.merge("mallory")


@attack("quorum")
async def approved_by_somebody_who_is_nobody(stand: Elsewhere) -> None:
    """Eve may write and approve on the forge, and is nobody in policy.yml."""
    await stand.propose()
    await stand.approve("eve")
    await stand.merge("eve")


@attack("quorum")
async def approval_taken_back(stand: Elsewhere) -> None:
    """Anna approves, her approval is dismissed, and an administrator merges."""
    await stand.propose()
    await stand.approve("anna")
    stand.state.dismiss(stand.user("mallory"), stand.pull(), stand.pull().reviews[-1].id)
    await stand.merge("mallory")


@attack("quorum")
async def objection_stands(stand: Elsewhere) -> None:
    """Anna approves, bert asks for it not to run, and an administrator merges."""
    await stand.propose()
    await stand.approve("anna")
    stand.state.review(stand.user("bert"), stand.pull(), "reject")
    await stand.merge("mallory")


@attack("quorum", forges=FORGES, risk="medium")
async def approved_above_entitlement(stand: Stand) -> None:
    """Carl may approve risk low only, and approves a run of risk medium."""
    await stand.propose()
    await stand.approve("carl")
    await stand.merge("carl")


@attack("quorum", forges=FORGES, risk="medium")
async def requester_approves_own(stand: Stand) -> None:
    """Anna asks for a run of risk medium and approves it herself (rule S8)."""
    await stand.dispatch("anna")
    await stand.approve("anna")
    await stand.merge("anna")


@attack("quorum", risk="medium", rules=UNMAPPED)
async def requester_approves_by_a_second_account(stand: Elsewhere) -> None:
    """Anna asks on our own pages, and approves by an account on the forge that policy.yml gives to another name."""
    await stand.dispatch("anna")
    await stand.approve("anna")
    await stand.merge("mallory")


@attack("signed", forges=FORGES, risk="high")
async def high_without_signature(stand: Stand) -> None:
    """Risk high, approved by two people who may, without a signature (rule S9)."""
    await stand.propose()
    await stand.approve("bert")
    await stand.approve("anna")
    await stand.merge("anna")


@attack("signed", forges=FORGES, risk="high")
async def high_with_a_signature_for_another_head(stand: Stand) -> None:
    """Risk high, with a good signature of bert's over another head."""
    await stand.propose()
    await stand.sign("bert", "bert-key", head="f" * 40)
    await stand.merge("mallory")


@attack("signed", forges=FORGES, risk="high")
async def high_with_a_key_of_nobody(stand: Stand) -> None:
    """Risk high, signed in bert's name by a key that policy.yml does not know."""
    await stand.propose()
    await stand.sign("bert", "mallory-key")
    await stand.merge("mallory")


@attack("signed", forges=FORGES, risk="high")
async def high_with_a_key_that_was_taken_away(stand: Stand) -> None:
    """Risk high: bert's key was lost, and a policy without it came into force; it signs an older proposal."""
    await stand.propose()
    stand.adopt({"policy.yml": policy(POLICY.replace("bert-key", "new-key"))})
    await stand.sign("bert", "bert-key")
    await stand.approve("anna")
    await stand.merge("mallory")
