"""What every source promises: a yes or a no to an alert, and one of three words to the question whether it is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receiver.adapters.proof.settings import ProbeRule, SourceSettings
from receiver.adapters.proof.sources import Sources
from receiver.domain.alert import Alert
from receiver.domain.entity import Entity
from receiver.domain.inventory import Host, Inventory
from receiver.domain.outcome import Verdict
from receiver.domain.playbook import VerifyQuery
from receiver.domain.proof import Baseline
from receiver.office import SystemClock
from receiver.ports import Proof
from receiver.testing.outside import FakeProof
from tests.fix_prometheus import Exporter, Prometheus

pytestmark = pytest.mark.anyio
ENTITY = Entity(kind="host", name="web1", host="web1", site="home")
EXPRESSION = "demo_up == 0"
BASELINE = Baseline(expression=EXPRESSION, for_seconds=1, interval_seconds=1)
AGE = VerifyQuery(id="age", promql="service_age", match={"service": "service"}, expect="< 60")
FUTURE = timedelta(seconds=60)


class Place:
    """One source with one series, `demo_up`, and an age for the service `web`."""

    source = "prom"

    def __init__(self, proof: Proof, exporter: Exporter) -> None:
        self.proof, self.exporter = proof, exporter
        self.instance = exporter.target

    def say(self, up: int | None, age: int | None = None) -> None:
        """What the target shows from now on; None: nothing."""
        lines = [f"demo_up {up}"] if up is not None else ["demo_other 1"]
        lines += [f'service_age{{service="web"}} {age}', 'service_age{service="db"} 500'] if age is not None else []
        self.exporter.say("\n".join(lines))

    @property
    def alert(self) -> Alert:
        labels = {"alertname": "Down", "severity": "critical", "job": "demo", "instance": self.instance}
        return Alert(
            source=self.source, fingerprint="0" * 16, starts_at=datetime.now(UTC) - FUTURE, status="firing",
            labels=labels,
        )  # fmt: skip

    async def read(self, **more: Any) -> Verdict:
        reading = await self.proof.read(self.alert, BASELINE, **({"newer_than": None} | more))
        assert reading.why and reading.expression == EXPRESSION
        return reading.verdict

    async def check(self, *, host: str = "web1", newer_than: datetime | None = None) -> Verdict:
        match = (f'instance="{self.instance}"', 'service=~".+"')
        inventory = Inventory(hosts={host: Host(name=host, match=match)})
        given: dict[str, Any] = {"params": {"service": "web"}, "entity": ENTITY, "inventory": inventory}
        check = await self.proof.check(self.alert, AGE, **given, newer_than=newer_than)
        assert (check.id, check.promql) == (AGE.id, AGE.promql) and check.why
        return check.verdict


class FakePlace(Place):
    """The fake is told in its own words what the others measure."""

    proof: FakeProof

    def say(self, up: int | None, age: int | None = None) -> None:
        words = {0: Verdict.STILL_FIRING, 1: Verdict.RESOLVED, None: Verdict.NO_DATA}
        self.proof.confirmed, self.proof.verdict = up == 0, words[up]
        self.proof.check_verdict = words[None if age is None else int(age < 60)]
        self.proof.sample_at = datetime.now(UTC)
        self.proof.quiet_seconds = 0.1 if up == 1 else 0.0
        self.proof.baseline = BASELINE


@pytest.fixture(scope="module")
def server(prometheus: Prometheus, exporters: Callable[[str], Exporter]) -> Prometheus:
    exporters("web1").say("demo_up 0")
    prometheus.rules = [{"alert": "Down", "expr": EXPRESSION, "for": "1s", "labels": {"severity": "critical"}}]
    prometheus.targets = [{"job_name": "demo", "static_configs": [{"targets": [exporters("web1").target]}]}]
    prometheus.start()
    return prometheus


class ProbePlace(Place):
    """A probe sees a page without Prometheus' own labels."""

    source = "page"

    def say(self, up: int | None, age: int | None = None) -> None:
        of = f'instance="{self.instance}"'
        lines = [f"demo_up{{{of}}} {up}"] if up is not None else ["demo_other 1"]
        if age is not None:
            lines += [f'service_age{{{of},service="web"}} {age}', f'service_age{{{of},service="db"}} 500']
        self.exporter.say("\n".join(lines))


KINDS = {"prometheus": Place, "probe": ProbePlace, "fake": FakePlace}


@pytest.fixture(params=KINDS)
async def place(
    request: pytest.FixtureRequest, server: Prometheus, exporters: Callable[[str], Exporter]
) -> AsyncIterator[Place]:
    page = exporters("web1" if request.param == "prometheus" else "page")
    rule = ProbeRule(alert="Down", expr=EXPRESSION, labels={"severity": "critical"})
    sources = Sources(
        [
            SourceSettings(name="prom", url=server.url, jobs={"demo": "self"}),
            SourceSettings(name="page", kind="probe", url=f"http://{page.target}/", rules=(rule,)),
        ],
        SystemClock(),
    )
    found: Place = KINDS[request.param](FakeProof() if request.param == "fake" else sources, page)
    found.say(0, 500)
    await until(found.read, Verdict.STILL_FIRING)
    yield found
    await sources.aclose()


async def until(look: Callable[[], Any], wanted: object) -> None:
    """Sources scrape and evaluate each second."""
    end = time.monotonic() + 15
    while (found := await look()) != wanted:
        assert time.monotonic() < end, found
        await asyncio.sleep(0.1)


async def test_what_fires_is_confirmed_and_what_does_not_is_not(place: Place) -> None:
    async def confirmed() -> bool:
        return (await place.proof.confirm(place.alert, ENTITY)).confirmed

    await until(confirmed, True)
    answer = await place.proof.confirm(place.alert, ENTITY)
    assert answer.why and answer.baseline is not None
    assert (answer.baseline.expression, answer.baseline.interval_seconds) == (EXPRESSION, 1)
    place.say(1, 5)
    await until(confirmed, False)
    assert (await place.proof.confirm(place.alert, ENTITY)).why


async def test_three_words(place: Place) -> None:
    assert await place.read() is Verdict.STILL_FIRING
    place.say(1, 5)
    await until(place.read, Verdict.RESOLVED)
    place.say(None)
    await until(place.read, Verdict.NO_DATA)
    place.say(0)
    await until(place.read, Verdict.STILL_FIRING)


async def test_an_old_sample_resolves_nothing(place: Place) -> None:
    place.say(1)
    await until(place.read, Verdict.RESOLVED)
    now = datetime.now(UTC)
    assert await place.read(newer_than=now - FUTURE) is Verdict.RESOLVED
    assert await place.read(newer_than=now + FUTURE) is Verdict.NO_DATA


async def test_quiet_for_less_than_the_hold_is_still_firing(place: Place) -> None:
    place.say(1)
    await until(place.read, Verdict.RESOLVED)
    assert await place.read(held_seconds=30) is Verdict.STILL_FIRING
    assert await place.read(held_seconds=0) is Verdict.RESOLVED


async def test_a_verify_query_speaks_of_its_own_target_only(place: Place) -> None:
    await until(place.check, Verdict.STILL_FIRING)
    place.say(1, 5)  # the row of another service stays bad all the while
    await until(place.check, Verdict.RESOLVED)
    assert await place.check(host="web2") is Verdict.NO_DATA
    now = datetime.now(UTC)
    assert await place.check(newer_than=now - FUTURE) is Verdict.RESOLVED
    assert await place.check(newer_than=now + FUTURE) is Verdict.NO_DATA
    place.say(1)
    await until(place.check, Verdict.NO_DATA)


@pytest.mark.parametrize("source", ["gone", "page", "webhook", "unknown"])
async def test_a_source_that_cannot_be_asked_proves_nothing(source: str) -> None:
    nowhere = "http://127.0.0.1:1"
    rule = ProbeRule(alert="Down", expr=EXPRESSION)
    sources = Sources(
        [
            SourceSettings(name="gone", url=nowhere, jobs={"demo": "self"}),
            SourceSettings(name="page", kind="probe", url=nowhere, rules=(rule,)),
            SourceSettings(name="webhook", kind="webhook"),
        ],
        SystemClock(),
    )
    alert = Alert(
        source=source, fingerprint="0" * 16, starts_at=datetime.now(UTC), status="firing", labels={"alertname": "Down"}
    )
    host = Inventory(hosts={"web1": Host(name="web1", match=('service=~".+"',))})
    answer = await sources.confirm(alert, ENTITY)
    assert answer.why and not answer.confirmed
    reading = await sources.read(alert, BASELINE, newer_than=None)
    assert reading.why and reading.verdict is Verdict.NO_DATA
    check = await sources.check(alert, AGE, {"service": "web"}, ENTITY, host, newer_than=None)
    assert check.why and check.verdict is Verdict.NO_DATA
    await sources.aclose()
