"""The fields of a JSON object from anybody, each checked for what it must be."""

from __future__ import annotations

import math
from typing import Any, Mapping

from fireflow.hw.errors import InputError
from fireflow.hw.names import check_name


def whole(place: str, value: Any, low: int = 0, high: int = 1 << 62) -> int:
    """A whole number of low to high. Raises InputError."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _wrong(place, f"a whole number of {low} to {high}", value)
    return value


def number(place: str, value: Any, low: float = 0.0, high: float = 1e18, above: bool = False) -> float:
    """A number of low to high, or above low; whole ones stay whole. Raises InputError."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not low <= value <= high or (above and value == low) or not math.isfinite(value):
        raise _wrong(place, f"a number {'above' if above else 'of'} {low:g} to {high:g}", value)
    return float(value) if isinstance(value, float) else int(value)


def text(place: str, value: Any) -> str:
    """A text that may be shown, perhaps empty. Raises InputError."""
    return check_name(place, value, empty=True)


def mapping(place: str, value: Any) -> Mapping[str, Any]:
    """An object. Raises InputError."""
    if not isinstance(value, dict):
        raise _wrong(place, "an object", value)
    return value


def items(place: str, value: Any) -> list[Any]:
    """A list. Raises InputError."""
    if not isinstance(value, list):
        raise _wrong(place, "a list", value)
    return value


def _wrong(place: str, rule: str, value: Any) -> InputError:
    return InputError(f"{place} must be {rule}, not {value!r:.80}; write it again")
