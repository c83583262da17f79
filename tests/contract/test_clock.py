"""What every clock promises: aware moments in UTC that do not run backwards."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest

from receiver.office import SystemClock
from receiver.ports import Clock
from receiver.testing.clock import FakeClock

ELSEWHERE = timezone(timedelta(hours=5))


@pytest.mark.parametrize(
    "clock",
    [SystemClock(), FakeClock(), FakeClock(FakeClock().now().astimezone(ELSEWHERE))],
    ids=["system", "fake", "fake elsewhere"],
)
def test_now_is_aware_and_in_utc(clock: Clock) -> None:
    before = clock.now()
    assert before.tzinfo is not None
    assert before.utcoffset() == timedelta(0)
    assert clock.now() >= before


def test_the_fake_moves_as_it_is_told() -> None:
    clock = FakeClock()
    before = clock.now()
    assert clock.now() == before
    clock.pass_seconds(1.5)
    assert clock.now() - before == timedelta(seconds=1.5)
