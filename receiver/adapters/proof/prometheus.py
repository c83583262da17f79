"""Proof by Prometheus: its own rules API confirms, its own query API verifies.

Decides by what the source itself computes, never by the webhook. An alert is confirmed when exactly one healthy rule
lists it firing, and every job behind the rule's selectors may speak for the entity (rule S3).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from receiver.adapters.proof.client import PrometheusClient
from receiver.domain.alert import Alert, read_time
from receiver.domain.entity import Entity
from receiver.domain.inventory import Inventory
from receiver.domain.outcome import Verdict
from receiver.domain.playbook import VerifyQuery
from receiver.domain.promql import Expression, Meaning, compare, parse_expression
from receiver.domain.proof import Baseline, Check, Confirmation, Reading
from receiver.domain.record import Record
from receiver.domain.verdict import Answers, Row, agrees, is_target, judge, touches
from receiver.errors import Invalid, Unavailable
from receiver.ports import Clock

#: a sample older than this proves nothing, however slowly the source scrapes
_FRESH_SECONDS = 120.0


class _Rule(Record):
    """One alerting rule with the listed alert that is ours."""

    query: str
    labels: dict[str, str]
    for_seconds: float
    interval_seconds: float
    evaluated_at: datetime
    health: str
    value: float | None


class PrometheusProof:
    """The Proof port for one source of kind `prometheus`."""

    def __init__(self, client: PrometheusClient, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._jobs = client.settings.jobs

    async def confirm(self, alert: Alert, entity: Entity | None) -> Confirmation:
        """Rule S3; a source that does not answer confirms nothing."""
        try:
            return await self._confirm(alert, entity)
        except Unavailable as error:
            return Confirmation(confirmed=False, why=error.message)

    async def _confirm(self, alert: Alert, entity: Entity | None) -> Confirmation:
        rules = _firing_rules(await self._client.rules(), alert)
        if len(rules) != 1:
            found = "no rule lists it firing" if not rules else f"{len(rules)} rules list it firing"
            return Confirmation(confirmed=False, why=f"{alert.source}: {found} with these labels")
        rule = rules[0]
        try:
            expression = parse_expression(rule.query)
        except Invalid as error:
            return Confirmation(confirmed=False, why=error.message)
        baseline = Baseline(
            expression=rule.query,
            for_seconds=rule.for_seconds,
            interval_seconds=rule.interval_seconds,
            range_seconds=expression.range_seconds,
            value=rule.value,
        )
        age = (self._clock.now() - rule.evaluated_at).total_seconds()
        if rule.health != "ok" or age > max(4 * rule.interval_seconds, 60):
            why = f"{alert.source}: its rule is {rule.health}, evaluated {age:.0f} s ago"
            return Confirmation(confirmed=False, why=why, baseline=baseline)
        no = await self._jobs_refuse(expression, alert, entity)
        why = no or f"{alert.source} lists it firing, by jobs that may say so"
        return Confirmation(confirmed=no is None, why=why, baseline=baseline)

    async def _jobs_refuse(self, expression: Expression, alert: Alert, entity: Entity | None) -> str | None:
        """Why the jobs behind the selectors may not speak for the entity, or None."""
        for selector in expression.selectors:
            rows = await self._client.instant(selector)
            mine = [row for row in rows if touches(row.labels, alert.labels, frozenset())]
            if not mine:
                return f"{alert.source}: no series of {selector} speaks of it"
            for row in mine:
                job = row.labels.get("job", "")
                reach = self._jobs.get(job)
                if reach is None:
                    return f"{alert.source}: job {job!r} is not in `jobs` of this source"
                same = row.labels.get("instance") == alert.labels.get("instance")
                if reach != "any" and not (same and entity is not None):
                    return f"{alert.source}: job {job!r} speaks for its own host only"
                if reach == "self" and entity is not None and entity.kind == "guest":
                    return f"{alert.source}: job {job!r} speaks for its own host, not for {entity.name}"
        return None

    async def read(
        self, alert: Alert, baseline: Baseline, *, newer_than: datetime | None, held_seconds: float = 0
    ) -> Reading:
        """One three-valued look; trouble of any kind is no data."""
        try:
            expression = parse_expression(baseline.expression)
            answers = await self._ask(expression, alert, baseline, held_seconds)
        except (Unavailable, Invalid) as error:
            return Reading(verdict=Verdict.NO_DATA, why=error.message, expression=baseline.expression)
        return judge(
            expression,
            answers,
            alert.labels,
            newer_than=newer_than,
            fresh_seconds=max(4 * baseline.interval_seconds, _FRESH_SECONDS),
        )

    async def _ask(self, expression: Expression, alert: Alert, baseline: Baseline, held_seconds: float) -> Answers:
        now = self._clock.now()
        stamps = [self._client.instant(f"timestamp({selector})") for selector in expression.selectors]
        rows, *samples = await asyncio.gather(self._client.instant(expression.text), *stamps)
        values: tuple[Row, ...] = ()
        if expression.meaning is Meaning.COMPARISON:
            values = await self._client.instant(expression.selectors[0])
        fired_at = None
        if held_seconds > 0 and not any(agrees(row.labels, alert.labels, frozenset()) for row in rows):
            start = now - timedelta(seconds=held_seconds)
            found = await self._client.range(expression.text, start, now, baseline.interval_seconds)
            times = [max(at) for row, at in found if at and agrees(row.labels, alert.labels, frozenset())]
            fired_at = datetime.fromtimestamp(max(times), UTC) if times else None
        return Answers(
            at=now,
            rows=rows,
            samples=dict(zip(expression.selectors, samples, strict=True)),
            values=values,
            fired_at=fired_at,
        )

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
        """One verify query: rows that mean the run's own target, newer than the run, as expected."""

        def said(verdict: Verdict, why: str, value: float | None = None) -> Check:
            return Check(id=query.id, promql=query.promql, verdict=verdict, why=f"{query.id}: {why}", value=value)

        try:
            expression = parse_expression(query.promql)
            rows = await self._client.instant(query.promql)
            stamps = [await self._client.instant(f"timestamp({one})") for one in expression.selectors]
        except (Unavailable, Invalid) as error:
            return said(Verdict.NO_DATA, error.message)
        mine = [row for row in rows if is_target(row.labels, query, params, entity, inventory)]
        if not mine:
            return said(Verdict.NO_DATA, "no row is about the target")
        for found in stamps:
            times = [row.value for row in found if is_target(row.labels, query, params, entity, inventory)]
            newest = datetime.fromtimestamp(max(times, default=0.0), UTC)
            if newer_than is not None and newest <= newer_than:
                return said(Verdict.NO_DATA, "its newest sample is older than the run")
        bad = next((row for row in mine if not compare(query.expect, row.value)), None)
        if bad is not None:
            return said(Verdict.STILL_FIRING, f"{bad.value:g} is not {query.expect}", bad.value)
        return said(Verdict.RESOLVED, f"{mine[0].value:g} {query.expect}", mine[0].value)


def _firing_rules(groups: list[dict[str, Any]], alert: Alert) -> list[_Rule]:
    """The rules of the alert's name that list it firing; our own may have external labels besides."""
    found = []
    for group in groups:
        for rule in group.get("rules", ()):
            if rule.get("name") != alert.name:
                continue
            listed = [
                one
                for one in rule.get("alerts", ())
                if one.get("state") == "firing" and all(alert.labels.get(k) == v for k, v in one["labels"].items())
            ]
            if listed:
                found.append(_rule(group, rule, listed[0]))
    return found


def _rule(group: dict[str, Any], rule: dict[str, Any], listed: dict[str, Any]) -> _Rule:
    try:
        moment = read_time(rule.get("lastEvaluation"), "lastEvaluation")
    except ValueError:
        moment = None
    return _Rule(
        query=str(rule["query"]),
        labels=dict(rule.get("labels") or {}),
        for_seconds=float(rule.get("duration", 0)),
        interval_seconds=float(group.get("interval", 15)),
        evaluated_at=moment or datetime.fromtimestamp(0, UTC),
        health=str(rule.get("health", "unknown")),
        value=_number(listed.get("value")),
    )


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
