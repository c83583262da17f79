"""What a planner is asked: all that is known of one case, and what it may choose from.

Decides what a plan's effect can be shown by: the alert's own expression, and each playbook's own queries.
"""

from __future__ import annotations

from receiver.domain.alert import Alert
from receiver.domain.entity import Entity
from receiver.domain.fact import Fact
from receiver.domain.memory import Precedent
from receiver.domain.plan import Offer
from receiver.domain.playbook import Catalog
from receiver.domain.proof import Confirmation
from receiver.domain.record import Record
from receiver.domain.revision import Revision


class Question(Record):
    """One question to a planner."""

    case: str
    alert: Alert
    entity: Entity | None
    facts: tuple[Fact, ...]
    revision: Revision
    confirmation: Confirmation | None = None
    memories: tuple[Precedent, ...] = ()
    offers: tuple[Offer, ...] = ()

    @property
    def catalog(self) -> Catalog:
        """The vetted playbooks of the revision in force."""
        return self.revision.catalog


def offers_of(catalog: Catalog) -> tuple[Offer, ...]:
    """The alert's own expression as `alert`, and `<playbook>.<query>` for every query of the catalog."""
    queries = [
        Offer(id=f"{playbook.id}.{query.id}", promql=query.promql, note=f"expects {query.expect}")
        for playbook in sorted(catalog.playbooks.values(), key=lambda playbook: playbook.id)
        for query in playbook.verify
    ]
    return (Offer(id="alert", note="the alert's own expression no longer fires"), *queries)
