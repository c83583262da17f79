"""Amounts with units, as people and exporters write them: `19 GiB`, `91%`, `2.5 d`, `0 rpm`.

Decides what can be compared: bytes with bytes, times with times, percent with percent, and a bare number only
with a bare number.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_AMOUNT = re.compile(r"(-?\d{1,15}(?:\.\d{1,9})?) ?(%|[A-Za-z]{1,8})?", re.ASCII)
_BYTES = {"b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SECONDS = {
    "ms": 0.001, "s": 1.0, "sec": 1.0, "second": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0, "h": 3600.0,
    "hour": 3600.0, "d": 86400.0, "day": 86400.0, "w": 604800.0, "week": 604800.0, "month": 2592000.0, "y": 31536000.0,
    "year": 31536000.0,
}  # fmt: skip


class Quantity(NamedTuple):
    """An amount in the base unit of its dimension (bytes, seconds, percent, or the unit as written)."""

    amount: float
    dimension: str


def read_quantity(text: str) -> Quantity | None:
    """The amount that a text begins with; None when it begins with none."""
    match = _AMOUNT.match(text.strip())
    return _quantity(float(match[1]), match[2] or "") if match else None


def quantity_of(value: object, unit: str) -> Quantity | None:
    """The amount of a fact: a number with its unit, or a text that is an amount."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _quantity(float(value), unit)
    return read_quantity(value) if isinstance(value, str) else None


def first_bytes(text: str) -> float | None:
    """The first amount of bytes in a text, in bytes."""
    found = (_quantity(float(match[1]), match[2] or "") for match in _AMOUNT.finditer(text))
    return next((one.amount for one in found if one.dimension == "bytes"), None)


def _quantity(amount: float, unit: str) -> Quantity:
    small = unit.strip().lower()
    if small in _SECONDS or small.rstrip("s") in _SECONDS:
        return Quantity(amount * _SECONDS.get(small, _SECONDS.get(small.rstrip("s"), 1.0)), "seconds")
    if small in ("b", "byte", "bytes"):
        return Quantity(amount, "bytes")
    if len(small) in (2, 3) and small[0] in _BYTES and small[-1] == "b" and small[1:-1] in ("", "i"):
        return Quantity(amount * (1024 if "i" in small else 1000) ** _BYTES[small[0]], "bytes")
    return Quantity(amount, "percent" if small == "%" else small)
