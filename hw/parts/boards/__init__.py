"""The boards by name: a new one is a file here, and its golden script in the tests."""

from __future__ import annotations

import importlib
import pkgutil
from types import MappingProxyType
from typing import Mapping

from fireflow.hw.errors import InputError
from fireflow.hw.parts.board import Board
from fireflow.hw.parts.families import FAMILIES
from fireflow.hw.parts.family import Family

_FOUND = (importlib.import_module(f"{__name__}.{each.name}").BOARD for each in pkgutil.iter_modules(__path__))
BOARDS: tuple[Board, ...] = tuple(sorted(_FOUND, key=lambda each: (each.resources.lut, each.name)))
"""The BOARD of each file here, the smallest first."""
boards: Mapping[str, Board] = MappingProxyType({each.name: each for each in BOARDS})
"""The boards that Fireflow builds for, by the name that users write, the smallest first.

>>> list(boards)[:2], boards["PYNQ-Z2"].part, boards["PYNQ-Z2"].clocks_mhz
(['PYNQ-Z1', 'PYNQ-Z2'], 'xc7z020clg400-1', (100,))
"""


def board(name: str) -> Board:
    """The board of this name, whatever its case and hyphens. Raises InputError, listing the names.

    >>> board("pynq-z2").part
    'xc7z020clg400-1'
    """
    found = _find(name)
    if found is None:
        raise InputError(f"board: must be one of {', '.join(boards)}, not {name!r}; choose one")
    return found


def same_board(one: str, other: str) -> bool:
    """Whether two spellings mean one board: "PYNQ-Z2" is "Pynq-Z2", and "Ultra96-V2" is an "Ultra96".

    >>> same_board("PYNQ-Z2", "pynq_z2"), same_board("Ultra96", "Ultra96-V2"), same_board("KV260", "ZCU104")
    (True, True, False)
    """
    found = _find(one)
    return _plain(one) == _plain(other) if found is None else found is _find(other)


def family_of(name: str) -> Family:
    """The family of a board, by any name of it. Raises InputError for one that is not known."""
    found = _find(name)
    if found is None:
        names = ", ".join(each.pynq[0] for each in BOARDS)
        raise InputError(f"board: must be one of {names}, not {name!r}; build for one of these")
    return FAMILIES[found.family]


def finn_board(name: str) -> str:
    """What FINN's builder calls a board. Raises InputError where it has none of this name."""
    known = {each.name: each.finn for each in BOARDS if each.finn}
    if name not in known:
        raise InputError(f"board: must be one of FINN's, not {name!r}; use {', '.join(known)}")
    return known[name]


def listed(names: list[str], last: str = "or") -> str:
    """Names as a sentence has them.

    >>> listed(["PYNQ-Z1", "PYNQ-Z2", "KV260"]), listed(["KV260"])
    ('PYNQ-Z1, PYNQ-Z2 or KV260', 'KV260')
    """
    *most, end = names
    return f"{', '.join(most)} {last} {end}" if most else end


def _find(name: str) -> Board | None:
    wanted = _plain(name) if isinstance(name, str) else None
    return next((each for each in BOARDS if wanted in map(_plain, (each.name, *each.pynq))), None)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
