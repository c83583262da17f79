"""All configured sources behind one Proof port; an alert is proved by the source that sent it and by no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from receiver.adapters.proof.client import PrometheusClient
from receiver.adapters.proof.probe import ProbeProof
from receiver.adapters.proof.prometheus import PrometheusProof
from receiver.adapters.proof.settings import SourceSettings
from receiver.domain.alert import Alert
from receiver.domain.entity import Entity
from receiver.domain.inventory import Inventory
from receiver.domain.outcome import Verdict
from receiver.domain.playbook import VerifyQuery
from receiver.domain.proof import Baseline, Check, Confirmation, Reading
from receiver.ports import Clock, Proof


class Sources:
    """The Proof port over all sources, and their clients for the facts."""

    def __init__(self, sources: Sequence[SourceSettings], clock: Clock) -> None:
        self.clients: dict[str, PrometheusClient] = {}
        self._proofs: dict[str, Proof] = {}
        self._probes: list[ProbeProof] = []
        for source in sources:
            if source.kind == "prometheus":
                client = PrometheusClient(source)
                self.clients[source.name] = client
                self._proofs[source.name] = PrometheusProof(client, clock)
            elif source.kind == "probe":
                probe = ProbeProof(source, clock)
                self._probes.append(probe)
                self._proofs[source.name] = probe

    async def aclose(self) -> None:
        """Close all connections."""
        for client in self.clients.values():
            await client.aclose()
        for probe in self._probes:
            await probe.aclose()

    async def confirm(self, alert: Alert, entity: Entity | None) -> Confirmation:
        """By the alert's own source; one that cannot be asked confirms nothing."""
        proof = self._proofs.get(alert.source)
        if proof is None:
            return Confirmation(confirmed=False, why=f"source {alert.source!r} cannot be asked (kind webhook)")
        return await proof.confirm(alert, entity)

    async def read(
        self, alert: Alert, baseline: Baseline, *, newer_than: datetime | None, held_seconds: float = 0
    ) -> Reading:
        """By the alert's own source."""
        proof = self._proofs.get(alert.source)
        if proof is None:
            return Reading(verdict=Verdict.NO_DATA, why=f"source {alert.source!r} cannot be asked")
        return await proof.read(alert, baseline, newer_than=newer_than, held_seconds=held_seconds)

    async def check(
        self,
        alert: Alert | None,
        query: VerifyQuery,
        params: Mapping[str, Any],
        entity: Entity,
        inventory: Inventory,
        *,
        newer_than: datetime | None,
    ) -> Check:
        """By the alert's own source; without an alert by the only one that can be asked."""
        if alert is not None:
            proof, why = self._proofs.get(alert.source), f"source {alert.source!r} cannot be asked"
        else:
            only = list(self._proofs.values())
            proof = only[0] if len(only) == 1 else None
            why = f"no alert says which of {len(only)} sources to ask"
        if proof is None:
            return Check(id=query.id, promql=query.promql, verdict=Verdict.NO_DATA, why=why)
        return await proof.check(alert, query, dict(params), entity, inventory, newer_than=newer_than)

    async def instant(self, source: str, promql: str) -> list[tuple[dict[str, str], float]]:
        """Rows of an instant query, for the facts; nothing for a source that has no query API."""
        client = self.clients.get(source)
        return [(row.labels, row.value) for row in await client.instant(promql)] if client else []

    async def alerts(self, source: str) -> list[dict[str, str]] | None:
        """Labels of all alerts that fire at the source now; None when it cannot be asked."""
        client = self.clients.get(source)
        if client is None:
            return None
        return [dict(one["labels"]) for one in await client.alerts() if one.get("state") == "firing"]

    async def silenced(self, source: str, labels: dict[str, str]) -> bool | None:
        """Whether Alertmanager suppresses it; None when it cannot be asked."""
        client = self.clients.get(source)
        return await client.silenced(labels) if client else None
