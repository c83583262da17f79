"""What the words of a fact say, and what they deny."""

import pytest

from receiver.domain.quantity import Quantity, read_quantity
from receiver.domain.wording import largest, says


@pytest.mark.parametrize(
    ("text", "pattern", "said"),
    [
        ("ether1 link up, ONT reachable, no ISP outage", "isp outage", False),
        ("status page: ISP outage since 02:50", "isp outage", True),
        ("nobody stopped it on purpose", "on purpose", False),
        ("anna stopped it on purpose", "on purpose", True),
        ("no disk or filesystem errors in kernel log", "filesystem errors", False),
        ("maintenance: none", "maintenance", False),
        ("maintenance window is not active", "maintenance window", False),
        ("OOMKilled=false", "oom-?killed", False),
        ("0 B reclaimable", "reclaimable", False),
        ("71 GiB reclaimable", "reclaimable", True),
        ("image not changed for 20 d", r"image (\S+ )?changed", False),
        ("renewal did not run", "did not run", True),
        ("guest locked: no task running", "locked", True),
        ("no lock but the task failed", "failed", True),
    ],
)
def test_says(text: str, pattern: str, said: bool) -> None:
    assert says(text, pattern) is said


def test_the_largest_thing_that_takes_space() -> None:
    found = largest(["200 GiB free of 900 GiB", "images 84 GiB of which 71 GiB reclaimable; cache 22 GiB"])
    assert found == (1, "images 84 GiB of which 71 GiB reclaimable")
    assert largest(["nothing is said of sizes"]) is None


@pytest.mark.parametrize(
    ("text", "quantity"),
    [
        ("2 KiB", Quantity(2048, "bytes")),
        ("2 kB", Quantity(2000, "bytes")),
        ("1.5 h", Quantity(5400, "seconds")),
        ("3 weeks", Quantity(1814400, "seconds")),
        ("91%", Quantity(91, "percent")),
        ("0 rpm", Quantity(0, "rpm")),
        ("4", Quantity(4, "")),
        ("four", None),
    ],
)
def test_quantities(text: str, quantity: Quantity | None) -> None:
    assert read_quantity(text) == quantity
