"""Three values against a real Prometheus: broken, fixed, and every way in which evidence goes missing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest

from receiver.adapters.facts.gather import GatherFacts
from receiver.adapters.proof.settings import SourceSettings
from receiver.adapters.proof.sources import Sources
from receiver.domain.alert import Alert
from receiver.domain.entity import Entity
from receiver.domain.inventory import Host, Inventory
from receiver.domain.outcome import Verdict
from receiver.domain.playbook import VerifyQuery
from receiver.domain.proof import Baseline
from tests.fix_prometheus import Exporter, Prometheus, wait_for


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


RULES = [
    {"alert": "ServiceDown", "expr": "demo_up == 0", "for": "1s", "labels": {"severity": "critical"}},
    {"alert": "RateHigh", "expr": "rate(demo_total[5s]) > 1", "labels": {"severity": "warning"}},
    {"alert": "TargetDown", "expr": "up == 0", "labels": {"severity": "critical"}},
    {"alert": "Absent", "expr": "absent(demo_never)", "labels": {"severity": "warning"}},
    {"alert": "Foreign", "expr": "other_up == 0", "labels": {"severity": "warning"}},
]
ENTITY = Entity(kind="host", name="web1", host="web1", site="home")


@pytest.fixture(scope="module")
def server(prometheus: Prometheus, exporters: Callable[[str], Exporter]) -> Prometheus:
    exporters("web1").say("demo_up 0\ndemo_total 1")
    exporters("other").say("other_up 0")
    prometheus.rules = list(RULES)
    prometheus.targets = [
        {"job_name": "demo", "static_configs": [{"targets": [exporters("web1").target]}]},
        {"job_name": "pushgateway", "static_configs": [{"targets": [exporters("other").target]}]},
    ]
    prometheus.start()
    return prometheus


@pytest.fixture
async def sources(server: Prometheus) -> AsyncIterator[Sources]:
    settings = SourceSettings(name="prom", url=server.url, jobs={"demo": "self"})
    found = Sources([settings], SystemClock())
    yield found
    await found.aclose()


def alert(server: Prometheus, name: str, **labels: str) -> Alert:
    wait_for(lambda: server.firing(name))
    (row, *_) = server.query(f'ALERTS{{alertname="{name}",alertstate="firing"}}')
    found = {k: v for k, v in row["metric"].items() if k not in ("__name__", "alertstate")}
    return Alert(
        source="prom", fingerprint="0" * 16, starts_at=datetime.now(UTC) - timedelta(seconds=30), status="firing",
        labels={**found, "monitor": "test", **labels},
    )  # fmt: skip


async def verdict(sources: Sources, given: Alert, baseline: Baseline, **more: object) -> Verdict:
    since = more.pop("newer_than", None)
    reading = await sources.read(given, baseline, newer_than=since, **more)  # type: ignore[arg-type]
    return reading.verdict


async def until(sources: Sources, given: Alert, baseline: Baseline, wanted: Verdict, **more: object) -> None:
    end = time.monotonic() + 20
    while (found := await verdict(sources, given, baseline, **more)) is not wanted:
        assert time.monotonic() < end, (found, await sources.read(given, baseline, newer_than=None))
        await asyncio.sleep(0.2)


@pytest.mark.anyio
async def test_confirmed_only_by_a_job_that_may_say_so(server: Prometheus, sources: Sources) -> None:
    good = await sources.confirm(alert(server, "ServiceDown"), ENTITY)
    assert good.confirmed, good.why
    assert good.baseline is not None
    assert (good.baseline.expression, good.baseline.for_seconds) == ("demo_up == 0", 1)
    assert (good.baseline.interval_seconds, good.baseline.value) == (1, 0)
    foreign = await sources.confirm(alert(server, "Foreign"), ENTITY)
    assert not foreign.confirmed and "'pushgateway' is not in `jobs`" in foreign.why
    for wrong in ({"instance": "web9:1"}, {"alertname": "Never"}, {"job": "x"}):
        assert not (await sources.confirm(alert(server, "ServiceDown", **wrong), ENTITY)).confirmed
    nobody = await sources.confirm(alert(server, "ServiceDown"), None)
    assert not nobody.confirmed and "its own host only" in nobody.why
    assert not (await sources.confirm(alert(server, "Absent"), ENTITY)).confirmed


@pytest.mark.anyio
async def test_facts_of_a_real_source(server: Prometheus, sources: Sources) -> None:
    inventory = Inventory(hosts={"web1": Host(name="web1", variables={"gitmedic_facts": {"service": ["web", "api"]}})})
    given = alert(server, "ServiceDown")
    facts = await GatherFacts(sources, SystemClock()).gather(given, ENTITY, inventory)
    found = {fact.kind: fact for fact in facts}
    assert found["target.up"].value == 1.0 and found["host"].trusted
    assert [fact.value for fact in facts if fact.kind == "service"] == ["web", "api"]
    assert not found["alert.label.alertname"].trusted
    assert isinstance(found["neighbours.firing"].value, float)
    assert len({fact.id for fact in facts}) == len(facts)


@pytest.mark.anyio
async def test_a_fix_is_proved_by_a_newer_sample_outside_the_condition(
    server: Prometheus, sources: Sources, exporters: Callable[[str], Exporter]
) -> None:
    given = alert(server, "ServiceDown")
    baseline = Baseline(expression="demo_up == 0", for_seconds=1, interval_seconds=1)
    assert await verdict(sources, given, baseline) is Verdict.STILL_FIRING
    exporters("web1").say("demo_up 1\ndemo_total 1")
    await until(sources, given, baseline, Verdict.RESOLVED)
    future = datetime.now(UTC) + timedelta(seconds=60)
    assert await verdict(sources, given, baseline, newer_than=future) is Verdict.NO_DATA
    await until(sources, given, baseline, Verdict.RESOLVED, held_seconds=3)
    exporters("web1").say("demo_up 0\ndemo_total 1")
    await until(sources, given, baseline, Verdict.STILL_FIRING)
    exporters("web1").say("demo_up 1\ndemo_total 1")
    await until(sources, given, baseline, Verdict.RESOLVED)
    # quiet now, but it fired within the hold
    assert await verdict(sources, given, baseline, held_seconds=30) is Verdict.STILL_FIRING


@pytest.mark.anyio
async def test_missing_evidence_is_never_a_fix(
    server: Prometheus, sources: Sources, exporters: Callable[[str], Exporter]
) -> None:
    web = exporters("web1")
    web.say("demo_up 0\ndemo_total 1")
    given = alert(server, "ServiceDown")
    baseline = Baseline(expression="demo_up == 0", for_seconds=1, interval_seconds=1)
    web.say("demo_total 1")  # the series is dropped, `up` stays 1
    await until(sources, given, baseline, Verdict.NO_DATA)
    assert server.query("up{job='demo'}")[0]["value"][1] == "1"
    web.say("demo_up 0\ndemo_total 1")
    await until(sources, given, baseline, Verdict.STILL_FIRING)
    web.kill()
    await until(sources, given, baseline, Verdict.NO_DATA)
    down = alert(server, "TargetDown")
    up = Baseline(expression="up == 0", interval_seconds=1)
    assert await verdict(sources, down, up) is Verdict.STILL_FIRING
    web.start()
    await until(sources, down, up, Verdict.RESOLVED)
    absent = Baseline(expression="absent(demo_up)", interval_seconds=1)
    assert await verdict(sources, given, absent) is Verdict.NO_DATA
    unknown = Baseline(expression="demo_up smoothed == 0", interval_seconds=1)
    assert await verdict(sources, given, unknown) is Verdict.NO_DATA
    twice = '{__name__=~"demo_.+"}'
    error = Baseline(expression=f"{twice} * on(job) {twice} == 0")
    assert await verdict(sources, given, error) is Verdict.NO_DATA


@pytest.mark.anyio
async def test_a_verify_query_counts_only_the_target(
    server: Prometheus, sources: Sources, exporters: Callable[[str], Exporter]
) -> None:
    exporters("web1").say('demo_up 1\nservice_age{name="web"} 5\nservice_age{name="db"} 500')
    inventory = Inventory(hosts={"web1": Host(name="web1", match=(f'instance="{exporters("web1").target}"',))})
    given = alert(server, "Foreign")
    wait_for(lambda: server.query("service_age"))
    query = VerifyQuery(id="age", promql="service_age", match={"name": "service"}, expect="< 60")

    async def check(service: str, **more: datetime) -> Verdict:
        since = more.get("newer_than")
        found = await sources.check(given, query, {"service": service}, ENTITY, inventory, newer_than=since)
        return found.verdict

    assert await check("web") is Verdict.RESOLVED
    assert await check("db") is Verdict.STILL_FIRING
    assert await check("other") is Verdict.NO_DATA
    assert await check("web", newer_than=datetime.now(UTC) + timedelta(seconds=60)) is Verdict.NO_DATA
    elsewhere = Inventory(hosts={"web2": Host(name="web2", match=(f'instance="{exporters("web1").target}"',))})
    found = await sources.check(given, query, {"service": "web"}, ENTITY, elsewhere, newer_than=None)
    assert found.verdict is Verdict.NO_DATA


@pytest.mark.anyio
async def test_a_rule_or_a_source_that_is_gone(
    server: Prometheus, sources: Sources, exporters: Callable[[str], Exporter]
) -> None:
    exporters("web1").say("demo_up 0\ndemo_total 1")
    given = alert(server, "ServiceDown")
    baseline = Baseline(expression="demo_up == 0", for_seconds=1, interval_seconds=1)
    server.rules = RULES[1:]
    server.reload()
    await asyncio.sleep(0.5)
    assert not (await sources.confirm(given, ENTITY)).confirmed
    server.stop()
    gone = await sources.confirm(given, ENTITY)
    assert not gone.confirmed and "asking prom" in gone.why
    assert await verdict(sources, given, baseline) is Verdict.NO_DATA
    webhook = given.model_copy(update={"source": "unknown"})
    assert not (await sources.confirm(webhook, ENTITY)).confirmed
    assert await verdict(sources, webhook, baseline) is Verdict.NO_DATA
