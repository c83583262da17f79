"""The words of a proposal: outside text stays text."""

import pytest

from receiver.domain.text import fence, plain, span


@pytest.mark.parametrize("text", ["a`b", "``", "`" * 9, "a | b", "x\n# title\n@team", "\u202eevil\u200b", "<b>"])
def test_a_span_is_one_line_that_nothing_inside_can_close(text: str) -> None:
    shown = span(text)
    assert "\n" not in shown
    ticks = len(shown) - len(shown.lstrip("`"))
    assert "`" * ticks not in shown[ticks:-ticks]
    assert "\u202e" not in shown and "\u200b" not in shown


@pytest.mark.parametrize("text", ["```\n</details>", "````", "plain"])
def test_a_fence_is_longer_than_any_inside(text: str) -> None:
    first, *middle, last = fence(text).split("\n")
    assert first == last and first not in "\n".join(middle)


def test_plain_is_bounded_and_clean() -> None:
    assert plain("a\x00\x1b[31m\nb\U000e0041", 10) == "a[31m b"
    assert len(plain("x" * 1000)) == 400
