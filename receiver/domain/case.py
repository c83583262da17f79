"""The kinds of case, and the one way through them.

    Received ─► Triaged ─► Investigated ─► Planned ─► Vetted ─► Rehearsed ─► Proposed ─► Approved ─► Executed
    ─► Verified ─► Closed; any stage may end the case instead: Ended ─► Closed

A kind carries all that is known so far, so the type says what may be done: only `guard` makes a `Vetted`,
only `approve` an `Approved`. A case never goes back.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter

from receiver.domain.alert import Alert
from receiver.domain.entity import Entity
from receiver.domain.fact import Fact
from receiver.domain.history import Track
from receiver.domain.memory import Precedent
from receiver.domain.outcome import Mode, Outcome, Risk
from receiver.domain.plan import Attempt, Plan
from receiver.domain.proof import Baseline, Confirmation, Reading, Verification
from receiver.domain.proposal import Answer, Approval, GivenRun, Proposal, Rehearsal
from receiver.domain.record import Record
from receiver.domain.run import RunResult
from receiver.domain.runfile import RunFile
from receiver.domain.standing import Standing
from receiver.domain.timetable import Scheduled

#: reasons of a rejected case: only the word of somebody who may approve quiets anything (rule S18)
TURNED_DOWN, CLOSED_BY_A_STRANGER = "turned_down", "closed"

Next = TypeVar("Next", bound="_Case")


class _Case(Record):
    id: str  #: UUIDv7
    opened_at: datetime
    alert: Alert | None = None  #: none for a run that a person dispatched

    def become(self, kind: type[Next], **added: Any) -> Next:
        """The next kind: everything known so far and what this stage added."""
        known = {name: getattr(self, name) for name in type(self).model_fields if name != "kind"}
        return kind(**{name: value for name, value in known.items() if name in kind.model_fields} | added)

    def end(self, outcome: Outcome, why: str, *, reason: str = "", **added: Any) -> Ended:
        """The end of the way, from wherever the case stands; `reason` is the name of the row that said so."""
        return self.become(Ended, outcome=outcome, why=why, reason=reason or str(outcome), **added)


class _Triaged(_Case):
    revision: str  #: commit of the adopted revision, fixed when first used
    mode: Mode
    entity: Entity | None  #: none: not in the inventory, so nothing can be changed
    unresolved: str = ""  #: why there is no entity


class _Investigated(_Triaged):
    facts: tuple[Fact, ...] = ()
    memories: tuple[Precedent, ...] = ()
    confirmation: Confirmation | None = None


class _Planned(_Investigated):
    plan: Plan
    attempts: tuple[Attempt, ...] = ()
    track: Track | None = None  #: of the chosen playbook, when it was chosen; none for a dispatched run
    requested_by: str = "system"  #: actor: `system`, `user:<name>`, `token:<name>`, `os:<name>`
    given: GivenRun | None = None  #: the run file that a person brought in a pull request of their own
    scheduled: Scheduled | None = None  #: the schedule of the policy that began it


class _Vetted(_Planned):
    runfile: RunFile
    risk: Risk
    guard: tuple[Answer, ...]
    site: str = ""  #: where its targets are, and so who may run it
    standing: Standing | None = None  #: it only reads, and the merged policy lets it run without a proposal


class _Rehearsed(_Vetted):
    rehearsals: tuple[Rehearsal, ...]


class _Proposed(_Rehearsed):
    proposal: Proposal


class _Approved(_Proposed):
    approval: Approval


class _Executed(_Approved):
    result: RunResult
    baseline: Baseline | None = None  #: the rule as it was when the run was cleared
    before: Reading | None = None  #: what it said then


class _Verified(_Executed):
    verification: Verification


class _Ended(_Case):
    outcome: Outcome
    why: str
    reason: str
    revision: str | None = None
    mode: Mode | None = None
    entity: Entity | None = None
    unresolved: str = ""
    facts: tuple[Fact, ...] = ()
    memories: tuple[Precedent, ...] = ()
    confirmation: Confirmation | None = None
    plan: Plan | None = None
    attempts: tuple[Attempt, ...] = ()
    track: Track | None = None
    requested_by: str = "system"
    given: GivenRun | None = None
    scheduled: Scheduled | None = None
    runfile: RunFile | None = None
    risk: Risk | None = None
    guard: tuple[Answer, ...] = ()
    standing: Standing | None = None
    asked: tuple[Answer, ...] = ()  #: of a standing approval, by the executor just before the start
    rehearsals: tuple[Rehearsal, ...] = ()
    proposal: Proposal | None = None
    approval: Approval | None = None
    result: RunResult | None = None
    baseline: Baseline | None = None
    before: Reading | None = None
    verification: Verification | None = None


class Received(_Case):
    """An alert was stored."""

    kind: Literal["received"] = "received"
    alert: Alert


class Triaged(_Triaged):
    """Worth looking at, and its entity is known or known to be unknown."""

    kind: Literal["triaged"] = "triaged"
    alert: Alert


class Investigated(_Investigated):
    """Facts are gathered; the source was asked whether it is true."""

    kind: Literal["investigated"] = "investigated"
    alert: Alert


class Planned(_Planned):
    """A playbook is chosen, by rules, a model or a person."""

    kind: Literal["planned"] = "planned"


class Vetted(_Vetted):
    """Policy allows the proposal, and it holds a slot."""

    kind: Literal["vetted"] = "vetted"


class Rehearsed(_Rehearsed):
    """The dry run of exactly this run ended well."""

    kind: Literal["rehearsed"] = "rehearsed"


class Proposed(_Proposed):
    """The pull request is open."""

    kind: Literal["proposed"] = "proposed"


class Approved(_Approved):
    """Merged, and all checks believed it."""

    kind: Literal["approved"] = "approved"


class Executed(_Executed):
    """The run ended."""

    kind: Literal["executed"] = "executed"


class Verified(_Verified):
    """It is known what the run achieved."""

    kind: Literal["verified"] = "verified"


class Ended(_Ended):
    """Over before its time; `why` is for people, `reason` the name of the row that said so."""

    kind: Literal["ended"] = "ended"


class Closed(_Ended):
    """Learned from; nothing more happens."""

    kind: Literal["closed"] = "closed"

    @property
    def comes_again(self) -> bool:
        """Never decided on its merits: the alert, if it still fires, becomes a case once more."""
        return self.outcome is Outcome.SUPERSEDED or self.reason == CLOSED_BY_A_STRANGER


Case = Annotated[
    Received
    | Triaged
    | Investigated
    | Planned
    | Vetted
    | Rehearsed
    | Proposed
    | Approved
    | Executed
    | Verified
    | Ended
    | Closed,
    Field(discriminator="kind"),
]
_ANY: TypeAdapter[Case] = TypeAdapter(Case)


def read_case(body: dict[str, Any]) -> Case:
    """The case of a stored row; raises pydantic's ValidationError when it is none."""
    return _ANY.validate_python(body, strict=False)
