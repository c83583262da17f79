"""A source without Prometheus: evaluates comparisons on one metrics page by itself, and says that it is simulated.

For the demo on a machine without Prometheus. It can compare a plain selector with a number and nothing else; the
same three values, the same need for the series to be there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from receiver.adapters.proof.settings import ProbeRule, SourceSettings
from receiver.domain.alert import Alert, fingerprint_of
from receiver.domain.entity import Entity
from receiver.domain.inventory import Inventory
from receiver.domain.matchers import Matchers
from receiver.domain.outcome import Verdict
from receiver.domain.playbook import VerifyQuery
from receiver.domain.promql import compare, parse_expression
from receiver.domain.proof import Baseline, Check, Confirmation, Reading
from receiver.domain.verdict import Answers, Row, agrees, is_target, judge
from receiver.errors import Invalid, Unavailable
from receiver.ports import Clock


class ProbeProof:
    """The Proof port for one source of kind `probe`."""

    def __init__(self, settings: SourceSettings, clock: Clock) -> None:
        self.settings = settings
        self._clock = clock
        self._http = httpx.AsyncClient(timeout=settings.timeout_seconds, trust_env=False)
        #: since when each alert's comparison has been seen quiet, look after look
        self._quiet_since: dict[str, datetime] = {}

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def page(self) -> list[tuple[str, Row]]:
        """Metric name and row of every sample; raises `Unavailable`."""
        url = self.settings.url
        try:
            response = await self._http.get(url)
            response.raise_for_status()
            families = list(text_string_to_metric_families(response.text))
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"reading the metrics page {url}: {type(error).__name__} {error}") from error
        return [
            (sample.name, Row(labels=dict(sample.labels), value=float(sample.value)))
            for family in families
            for sample in family.samples
        ]

    async def firing(self) -> list[tuple[ProbeRule, Row]]:
        """Rules and series whose comparison holds now."""
        page = await self.page()
        found = []
        for rule in self.settings.rules:
            expression = parse_expression(rule.expr)
            for row in _select(page, expression.selectors[0]):
                if expression.holds(row.value):
                    found.append((rule, row))
        return found

    async def confirm(self, alert: Alert, entity: Entity | None) -> Confirmation:
        """By its own evaluation."""
        rule = next((rule for rule in self.settings.rules if rule.alert == alert.name), None)
        if rule is None:
            return Confirmation(confirmed=False, why=f"{alert.source}: no rule named {alert.name!r}", simulated=True)
        baseline = Baseline(
            expression=rule.expr, for_seconds=rule.for_seconds, interval_seconds=self.settings.interval_seconds
        )
        try:
            firing = [row for one, row in await self.firing() if one.alert == alert.name]
        except Unavailable as error:
            return Confirmation(confirmed=False, why=error.message, baseline=baseline, simulated=True)
        mine = [row for row in firing if agrees(row.labels, alert.labels, frozenset(rule.labels))]
        why = f"{alert.source} evaluates it as firing" if mine else f"{alert.source} does not evaluate it as firing"
        return Confirmation(confirmed=bool(mine), why=why, baseline=baseline, simulated=True)

    async def read(
        self, alert: Alert, baseline: Baseline, *, newer_than: datetime | None, held_seconds: float = 0
    ) -> Reading:
        """One look at the page; the hold is counted from look to look of this process."""
        try:
            expression = parse_expression(baseline.expression)
            values = _select(await self.page(), expression.selectors[0])
        except (Unavailable, Invalid) as error:
            return Reading(verdict=Verdict.NO_DATA, why=error.message, expression=baseline.expression, simulated=True)
        now = self._clock.now()
        stamps = tuple(row.model_copy(update={"value": now.timestamp()}) for row in values)
        rows = tuple(row for row in values if expression.holds(row.value))
        answers = Answers(at=now, rows=rows, samples={expression.selectors[0]: stamps}, values=values)
        reading = judge(expression, answers, alert.labels, newer_than=newer_than, fresh_seconds=60)
        key = f"{alert.fingerprint} {baseline.expression}"
        if reading.verdict is not Verdict.RESOLVED:
            self._quiet_since.pop(key, None)
        elif now - self._quiet_since.setdefault(key, now) < timedelta(seconds=held_seconds):
            quiet = (now - self._quiet_since[key]).total_seconds()
            why = f"quiet for {quiet:.1f} s of {held_seconds:g}"
            reading = reading.model_copy(update={"verdict": Verdict.STILL_FIRING, "why": why, "settling": True})
        return reading.model_copy(update={"simulated": True})

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
        """A plain selector against the catalog's expectation."""

        def said(verdict: Verdict, why: str, value: float | None = None) -> Check:
            return Check(id=query.id, promql=query.promql, verdict=verdict, why=f"{query.id}: {why}", value=value)

        try:
            selector = parse_expression(query.promql).selectors[0]
            rows = _select(await self.page(), selector)
        except (Unavailable, Invalid, IndexError) as error:
            return said(Verdict.NO_DATA, str(error))
        mine = [row for row in rows if is_target(row.labels, query, params, entity, inventory)]
        if not mine:
            return said(Verdict.NO_DATA, "no row is about the target")
        if newer_than is not None and self._clock.now() <= newer_than:
            return said(Verdict.NO_DATA, "its newest sample is older than the run")
        bad = next((row for row in mine if not compare(query.expect, row.value)), None)
        if bad is not None:
            return said(Verdict.STILL_FIRING, f"{bad.value:g} is not {query.expect}", bad.value)
        return said(Verdict.RESOLVED, f"{mine[0].value:g} {query.expect}", mine[0].value)


async def send_alerts(probe: ProbeProof, url: str, token: str) -> None:
    """What Prometheus and Alertmanager would do: evaluate each interval, post what begins and what ends."""
    active: dict[str, tuple[dict[str, Any], datetime]] = {}
    sent: set[str] = set()
    async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
        while True:
            await asyncio.sleep(probe.settings.interval_seconds)
            try:
                firing = await probe.firing()
            except Unavailable:
                continue
            now = datetime.now(UTC)
            keys = set()
            for rule, row in firing:
                labels = {"alertname": rule.alert, **row.labels, **rule.labels}
                key = fingerprint_of(labels)
                keys.add(key)
                active.setdefault(key, ({"labels": labels, "for": rule.for_seconds}, now))
            alerts = []
            for key, (one, since) in list(active.items()):
                starts_at = since + timedelta(seconds=one["for"])
                if key in keys and now >= starts_at and key not in sent:
                    alerts.append(_alert(one["labels"], "firing", starts_at, key))
                    sent.add(key)
                if key not in keys:
                    if key in sent:
                        alerts.append(_alert(one["labels"], "resolved", starts_at, key) | {"endsAt": now.isoformat()})
                        sent.discard(key)
                    del active[key]
            if alerts:
                await _post(http, url, token, alerts)


def _alert(labels: dict[str, str], status: str, starts_at: datetime, key: str) -> dict[str, Any]:
    return {"status": status, "labels": labels, "startsAt": starts_at.isoformat(), "fingerprint": key,
            "annotations": {"summary": "simulated sender"}}  # fmt: skip


async def _post(http: httpx.AsyncClient, url: str, token: str, alerts: list[dict[str, Any]]) -> None:
    """Until it is taken: a 5xx and a refused connection are tried again, as Alertmanager does."""
    body = json.dumps({"version": "4", "receiver": "probe", "alerts": alerts, "truncatedAlerts": 0})
    while True:
        try:
            answer = await http.post(url, content=body, headers={"Authorization": f"Bearer {token}"})
            if answer.status_code < 500:
                return
        except httpx.HTTPError:
            pass
        await asyncio.sleep(0.5)


def _select(page: list[tuple[str, Row]], selector: str) -> tuple[Row, ...]:
    name, _, rest = selector.partition("{")
    matchers = Matchers.parse(rest.removesuffix("}"))
    return tuple(row for metric, row in page if metric == name and matchers.matches(row.labels))
