"""What a caller gives a function, each checked for what it must be: a mistake is refused where it is made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fireflow.hw.errors import InputError

T = TypeVar("T")


def path(place: str, value: Any) -> Path:
    """A path. Raises InputError for anything else.

    >>> path("output", "net.fire").name
    'net.fire'
    """
    found = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(found, str) or not found.strip():
        raise InputError(f"{place}: must be a path, not {shown(value)}; give text or a pathlib.Path")
    return Path(found)


def whole(place: str, value: Any, least: int | None = 1) -> int:
    """A whole number, of at least `least`. Raises InputError for anything else.

    >>> whole("batch", 4)
    4
    """
    plain = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not plain or (least is not None and value < least):
        rule = "" if least is None else f" of at least {least}"
        raise InputError(f"{place}: must be a whole number{rule}, not {shown(value)}; correct it")
    return int(value)


def number(place: str, value: Any) -> float:
    """A number that is finite. Raises InputError for anything else.

    >>> number("budget", 1)
    1.0
    """
    plain = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not plain or not np.isfinite(value):
        raise InputError(f"{place}: must be a finite number, not {shown(value)}; correct it")
    return float(value)


def instance(place: str, value: Any, kind: type[T], fix: str) -> T:
    """An object of a class. Raises InputError, with what to do, for anything else.

    >>> instance("labels", ("a", "b"), tuple, "give a tuple")
    ('a', 'b')
    """
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise InputError(f"{place}: must be {article} {kind.__name__}, not {shown(value)}; {fix}")
    return value


def shown(value: Any) -> str:
    """A value for a message: short texts, numbers and paths as they are, of others the kind.

    >>> shown("net"), shown(None), shown([1, 2])
    ("'net'", 'None', 'a list')
    """
    if value is None or isinstance(value, (str, bytes, bool, int, float)):
        return f"{value!r:.80}"
    if isinstance(value, os.PathLike):
        return f"{str(value)!r:.80}"
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
