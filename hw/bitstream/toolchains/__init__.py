"""The ways to a bitstream, by name: a new one is a file here and an import line."""

from __future__ import annotations

from typing import Any, Mapping

from fireflow.hw.bitstream.toolchains.base import Placeable, Result, Toolchain, offered
from fireflow.hw.bitstream.toolchains.finn import FinnTools
from fireflow.hw.bitstream.toolchains.open_tools import OpenTools
from fireflow.hw.bitstream.toolchains.vivado import VivadoTools
from fireflow.hw.errors import InputError

TOOLCHAINS: Mapping[str, Toolchain[Any]] = {
    each.name: each for each in (OpenTools(), VivadoTools(), FinnTools())
}

__all__ = ["TOOLCHAINS", "Placeable", "Result", "Toolchain", "offered", "toolchain"]


def toolchain(name: str) -> Toolchain[Any]:
    """The toolchain of this name. Raises InputError, listing the names.

    >>> toolchain("open").title
    'Yosys, nextpnr and prjxray, for PYNQ-Z1 and PYNQ-Z2'
    """
    if name not in TOOLCHAINS:
        raise InputError(f"toolchain: must be one of {', '.join(TOOLCHAINS)}, not {name!r:.80}; choose one")
    return TOOLCHAINS[name]
