"""Ended or Verified → Closed: keep what came of it, say so on the proposal, tell a person where needed.

Only measured outcomes are kept; nothing that a model says about itself counts.
"""

from __future__ import annotations

from typing import Literal

from receiver.domain.alert import Alert
from receiver.domain.case import CLOSED_BY_A_STRANGER, Closed, Ended, Verified
from receiver.domain.forge import Marks
from receiver.domain.outcome import Outcome, Risk, Verdict
from receiver.domain.pulltext import labels, outcome_comment
from receiver.domain.text import plain
from receiver.errors import Refused
from receiver.ports import Forge, Ledger, Memory, Notifier

_OUTCOMES = {
    Verdict.RESOLVED: Outcome.FIXED,
    Verdict.STILL_FIRING: Outcome.NOT_FIXED,
    Verdict.NO_DATA: Outcome.NO_DATA,
}
_WELL = frozenset({Outcome.FIXED, Outcome.SELF_RESOLVED})
#: a person must look at these
TELL = frozenset(
    {
        Outcome.NOTIFIED,
        Outcome.NOT_FIXED,
        Outcome.NO_DATA,
        Outcome.FAILED,
        Outcome.INTERRUPTED,
        Outcome.EXPIRED,
        Outcome.REFUSED,
        Outcome.SUPERSEDED,
        Outcome.REHEARSAL_FAILED,
        Outcome.FLAPPING,
    }
)


async def learn(case: Ended | Verified, *, ledger: Ledger, memory: Memory, forge: Forge, notifier: Notifier) -> Closed:
    """Close the case."""
    if isinstance(case, Verified):
        verification = case.verification
        closed = case.become(
            Closed,
            outcome=_OUTCOMES[verification.verdict],
            why=verification.why,
            reason=str(_OUTCOMES[verification.verdict]),
        )
    else:
        closed = case.become(Closed)
    await ledger.learn(closed)
    await memory.remember(closed)
    if closed.proposal is not None:
        try:
            await _say(closed, closed.proposal.number, forge)
        except Refused as error:
            # deleted, archived, out of our sight: the outcome stays with the case
            await notifier.tell("the outcome could not be written on its pull request", error.message, closed.id)
    # rule S18: who let a critical alert be is told, too
    let_be = closed.outcome is Outcome.NOTHING_TO_DO or closed.reason == "turned_down"
    left_alone = let_be and closed.alert is not None and _is_critical(closed.alert)
    if closed.outcome in TELL or left_alone or closed.reason == CLOSED_BY_A_STRANGER:
        name = closed.alert.name if closed.alert else closed.plan.playbook if closed.plan else ""
        await notifier.tell(f"{closed.outcome}: {name}", closed.why, closed.id)
    return closed


def _is_critical(alert: Alert) -> bool:
    return alert.severity_rank == 0 and alert.status == "firing"


async def _say(closed: Closed, number: int, forge: Forge) -> None:
    """The outcome on the pull request; one that can no longer run does not stay open."""
    text = outcome_comment(closed)
    pull = await forge.read(number)
    risk = closed.risk or Risk.LOW
    state: Literal["success", "failure"] = "success" if closed.outcome in _WELL else "failure"
    marks = Marks(
        head_sha=pull.head_sha, state=state, text=f"{closed.outcome}: {plain(closed.why)}"[:140],
        labels=labels(risk, str(closed.outcome)),
    )  # fmt: skip
    await forge.mark(number, marks)
    if pull.state == "open" and closed.given is None:
        await forge.close(number, text)
    await forge.comment(number, text)
