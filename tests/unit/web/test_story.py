"""How a case is told: where it is, and what each line is."""

from typing import Any

import pytest

from receiver.web.pages.case import Since
from receiver.web.pages.story import natures, rail, tally


def told(state: str, *kinds: str) -> dict[str, Any]:
    return {"state": state, "events": [{"kind": f"case.{kind}"} for kind in kinds]}


def marks(case: dict[str, Any]) -> str:
    return " ".join(step["mark"] for step in rail(case))


def test_the_rail_shows_the_step_under_way() -> None:
    assert marks(told("received")) == "now ahead ahead ahead ahead ahead ahead"
    assert marks(told("proposed", "triaged", "investigated", "planned", "vetted", "rehearsed", "proposed")) == (
        "done done done done now ahead ahead"
    )
    assert marks(told("executed")) == "done done done done done done now"


def test_an_early_end_leaves_the_rest_out() -> None:
    assert marks(told("closed", "triaged", "investigated", "planned", "ended", "closed")) == (
        "done done done out out out out"
    )
    everything = ("triaged", "investigated", "planned", "vetted", "rehearsed", "proposed", "approved", "executed",
                  "verified", "closed")  # fmt: skip
    assert marks(told("closed", *everything)) == " ".join(["done"] * 7)


def test_each_line_of_the_timeline_is_of_a_kind() -> None:
    kinds = ("case.investigated", "case.planned", "case.vetted", "run.started", "case.verified", "case.waiting",
             "proposal.approved", "something.else")  # fmt: skip
    assert [one["nature"] for one in natures([{"kind": kind} for kind in kinds])] == [
        "fact", "hypothesis", "decision", "action", "proof", "waiting", "decision", "action",
    ]  # fmt: skip


def test_counts_by_host() -> None:
    rows = [{"host": "a", "kind": "ok", "number": 3}, {"host": "a", "kind": "task", "number": 9},
            {"host": "b", "kind": "failed", "number": 1}]  # fmt: skip
    assert tally(rows)["a"] == {"ok": 3, "changed": 0, "skipped": 0, "failed": 0, "unreachable": 0}
    assert tally(rows)["b"]["failed"] == 1


@pytest.mark.parametrize("text", ["", ".", "x", "x.", ".5", "x.-1", "x.99999999999999999999", "x.5x", "x.\u0665"])
def test_nonsense_of_a_browser_is_the_beginning(text: str) -> None:
    assert Since.read(text) == Since()


def test_a_browser_gives_back_what_it_was_told() -> None:
    assert Since.read(str(Since("019ac0de-0000-7000-8000-000000000002", 41))) == Since(
        "019ac0de-0000-7000-8000-000000000002", 41
    )
