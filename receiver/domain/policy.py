"""The guard: may this be proposed at all? One row per rule; each is a pure question.

To add a guard rule, write its question as a function and add one row.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from receiver.domain.alert import Alert
from receiver.domain.entity import Entity
from receiver.domain.outcome import Mode, Outcome, Risk
from receiver.domain.plan import Plan
from receiver.domain.playbook import Playbook, check_params
from receiver.domain.policyfile import Person, rule_for
from receiver.domain.proof import Confirmation
from receiver.domain.record import Record
from receiver.domain.revision import Revision
from receiver.domain.standing import find
from receiver.domain.table import NotHere, Row
from receiver.domain.timetable import Scheduled, hosts_of, params_for
from receiver.errors import Invalid


class Proposed(Record):
    """What the guard sees: a plan, and everything it stands on."""

    alert: Alert | None
    entity: Entity | None
    unresolved: str
    confirmation: Confirmation | None
    mode: Mode
    plan: Plan
    requested_by: str
    revision: Revision
    now: datetime | None = None  #: the database's clock
    turned_down_at: datetime | None = None  #: somebody who may approve last said no to just this
    scheduled: Scheduled | None = None  #: a schedule of the policy began it

    @property
    def playbook(self) -> Playbook | None:
        """The plan's playbook, if this revision has it."""
        return self.revision.catalog.playbooks.get(self.plan.playbook or "")

    @property
    def targets(self) -> tuple[str, ...]:
        """The hosts that the plan names."""
        playbook = self.playbook
        value = self.plan.params.get(playbook.targets.param) if playbook else None
        names = value if isinstance(value, list) else [value]
        return tuple(str(name) for name in names if name is not None)

    @property
    def person(self) -> Person | None:
        """The person behind a manual dispatch."""
        kind, _, name = self.requested_by.partition(":")
        people = self.revision.policy.people
        if kind == "user":
            return next((person for person in people if name in (person.name, *person.session)), None)
        if kind == "os":
            return next((person for person in people if name in person.os), None)
        return None


def is_vetted(seen: Proposed) -> str | None:
    """Only a playbook of the adopted revision's catalog."""
    if seen.playbook is None:
        return f"playbook {seen.plan.playbook!r} is not in the catalog of {seen.revision.commit[:12]}"
    return None


def risk_fits(seen: Proposed) -> str | None:
    """A critical playbook is only ever started by a person; a dispatch stays within the person's reach."""
    risk = seen.playbook.risk if seen.playbook else Risk.CRITICAL
    if seen.alert is not None and seen.requested_by == "system":
        return _machine_may(seen, risk, seen.alert.labels)
    if seen.scheduled is not None and seen.requested_by.startswith("policy:"):
        return _machine_may(seen, risk, {})
    if seen.requested_by.startswith("token:"):
        return None if risk is Risk.LOW else f"a token may dispatch up to low, {seen.plan.playbook} is {risk}"
    person = seen.person
    if person is None or not person.dispatches:
        return f"{seen.requested_by} may not dispatch: `people` in policy.yml does not say `dispatches: yes`"
    return None


def _machine_may(seen: Proposed, risk: Risk, labels: Mapping[str, str]) -> str | None:
    if risk is Risk.CRITICAL:
        return f"a {risk} playbook is never chosen by a machine"
    host = seen.targets[0] if seen.targets else None
    rule = rule_for(seen.revision.policy, labels=labels, host=host, playbook=seen.plan.playbook, risk=risk)
    if rule is not None and rule.max_risk is not None and risk.rank > rule.max_risk.rank:
        return f"policy rule {rule.name!r} lets a machine propose up to {rule.max_risk}, this is {risk}"
    return None


def as_scheduled(seen: Proposed) -> str | None:
    """What a schedule begins is word for word what the adopted policy says: playbook, parameters and host."""
    if seen.scheduled is None:
        return NotHere("no schedule began it")
    found = find(seen.revision.policy, seen.scheduled.schedule)
    if found is None:
        return f"policy.yml has no schedule {seen.scheduled.schedule!r}"
    host = next(iter(seen.targets), "")
    params = params_for(found, seen.playbook, host) if seen.playbook else {}
    if (found.playbook, params) != (seen.plan.playbook, seen.plan.params):
        return f"schedule {found.name!r} says something else"
    strangers = [name for name in seen.targets if name not in hosts_of(found, seen.revision.inventory)]
    return f"schedule {found.name!r} does not mean host {strangers[0]!r}" if strangers else None


def is_confirmed(seen: Proposed) -> str | None:
    """Rule S3: an alert that its source does not confirm changes nothing."""
    if seen.alert is None:
        return NotHere("a person asked, not an alert")
    if seen.confirmation is None or not seen.confirmation.confirmed:
        return seen.confirmation.why if seen.confirmation else "its source was not asked"
    return None


def entity_known(seen: Proposed) -> str | None:
    """What an alert means is taken from the inventory; unknown or ambiguous is not guessed."""
    if seen.alert is None:
        return NotHere("a person named the target")
    return None if seen.entity else f"no target: {seen.unresolved or 'not in the inventory'}"


def entity_is_own(seen: Proposed) -> str | None:
    """Promise P4: an entity parameter is the alert's own entity, or its declared dependency."""
    playbook, entity = seen.playbook, seen.entity
    if seen.alert is None or playbook is None or entity is None:
        return NotHere("a person named the target")
    allowed = {entity.name, entity.host}
    if playbook.scope != "own":
        allowed |= {*entity.depends_on, *([entity.node] if entity.node else [])}
    if playbook.scope == "any":
        return None
    strangers = [name for name in seen.targets if name not in allowed]
    return f"{strangers[0]!r} is not what the alert is about ({entity.name})" if strangers else None


def params_fit(seen: Proposed) -> str | None:
    """The playbook's own schema, and no text that could be a template or an option."""
    if seen.playbook is None:
        return NotHere("no playbook")
    try:
        check_params(seen.playbook, seen.plan.params)
    except Invalid as error:
        return error.message
    return None


def targets_fit(seen: Proposed) -> str | None:
    """Each target is exactly one inventory host, and not more of them than the playbook may touch."""
    playbook = seen.playbook
    if playbook is None:
        return NotHere("no playbook")
    unknown = [name for name in seen.targets if name not in seen.revision.inventory.hosts]
    if unknown:
        return f"host {unknown[0]!r} is not in the inventory"
    count = len(seen.targets)
    return (
        None if 1 <= count <= playbook.targets.max_hosts else f"{count} targets, not 1 to {playbook.targets.max_hosts}"
    )


def is_one_site(seen: Proposed) -> str | None:
    """A run happens at one site, by the executor there."""
    hosts = seen.revision.inventory.hosts
    sites = {hosts[name].site: name for name in reversed(seen.targets) if name in hosts}
    if len(sites) > 1:
        (one, here), (other, there) = sorted(sites.items())[:2]
        return f"{here!r} is at site {one!r} and {there!r} at site {other!r}: propose a run for each site"
    return None


def is_ours(seen: Proposed) -> str | None:
    """Rule S20: what another controller manages is changed there, not here."""
    hosts = seen.revision.inventory.hosts
    for name in seen.targets:
        if name in hosts and hosts[name].managed_by:
            return f"{name!r} is managed by {hosts[name].managed_by}: propose the change there"
    return None


def not_turned_down(seen: Proposed) -> str | None:
    """Rule S18: what somebody who may approve has turned down is not proposed again for a while, and nobody else's
    closing quiets anything."""
    if seen.alert is None:
        return NotHere("a person asked, not an alert")
    if seen.turned_down_at is None or seen.now is None:
        return None
    until = seen.turned_down_at + timedelta(seconds=seen.revision.policy.limits.quiet_seconds)
    return f"turned down lately; quiet until {until:%Y-%m-%d %H:%M} UTC" if seen.now < until else None


def mode_allows(seen: Proposed) -> str | None:
    """`mode` in policy.yml is the ceiling; `sources` and rules can only lower it."""
    if seen.alert is not None and seen.mode is not Mode.PROPOSE:
        return f"source {seen.alert.source!r} is in mode observe: decided and kept, no host touched"
    if seen.scheduled is not None and seen.revision.policy.mode is not Mode.PROPOSE:
        return "policy.yml is in mode observe: decided and kept, no host touched"
    if seen.alert is None and seen.scheduled is None:
        return None
    risk = seen.playbook.risk if seen.playbook else None
    rule = rule_for(
        seen.revision.policy,
        labels=seen.alert.labels if seen.alert is not None else {},
        host=seen.targets[0] if seen.targets else None,
        playbook=seen.plan.playbook,
        risk=risk,
    )
    return f"policy rule {rule.name!r} only observes" if rule and rule.autonomy == "observe" else None


GUARD: tuple[Row[Proposed], ...] = (
    Row("vetted", "Is the playbook in the adopted catalog?", is_vetted, ("git",)),
    Row("risk", "May this be asked for at all?", risk_fits),
    Row("schedule", "Is it what the schedule says?", as_scheduled, ("git",)),
    Row("entity", "Is it known what the alert is about?", entity_known),
    Row("confirmed", "Does the source itself say so?", is_confirmed, ("source",)),
    Row("own_entity", "Is the target what the alert is about?", entity_is_own),
    Row("params", "Do the parameters fit their schema?", params_fit),
    Row("targets", "Is every target known, and are there few enough?", targets_fit),
    Row("one_site", "Are all targets at one site?", is_one_site),
    Row("managed", "Is no other controller in charge?", is_ours),
    Row("turned_down", "Has nobody turned just this down lately?", not_turned_down, ("database",), Outcome.OBSERVED),
    Row("mode", "May it be proposed, not only observed?", mode_allows, (), Outcome.OBSERVED),
)
