"""The Tcl file in which Vivado's scripts find what depends on the board and the design."""

from __future__ import annotations

from collections.abc import Sequence

from fireflow.hw.errors import InputError
from fireflow.hw.parts import FAMILIES, Board
from fireflow.hw.parts.description import CONTROL_RANGE
from fireflow.hw.rtl.shell import SHELL


def settings(board: Board, clock_mhz: float, sources: Sequence[str]) -> str:
    """The Tcl file settings.tcl, which the other scripts source.

    Args:
        clock_mhz: one that the processing system can give, see `hw.parts.clocks.reachable_mhz`.
        sources: of the accelerator and its shell, relative to the folder in which Vivado runs.

    Raises:
        InputError: a name of a source that Tcl would take apart.
    """
    for name in sources:
        if not name.isascii() or any(letter in name for letter in ' \t\n{}[]$\\";#'):
            raise InputError(
                f"{name!r}: a source must have letters, digits, . _ - and / in its name; rename it"
            )
    system = FAMILIES[board.family].system
    clock = system.clock
    pairs = [*system.config, (clock.asked.format(0), f"{clock_mhz:.6f}")]
    lines = [
        f"# {board.name} at {clock_mhz:g} MHz.",
        _set("part", board.part),
        _set("shell", SHELL),
        _set("clock_mhz", f"{clock_mhz:.6f}"),
        _set("clock_name", clock.net),
        _set("control_base", f"0x{system.control_base:08X}"),
        _set("control_range", f"0x{CONTROL_RANGE:08X}"),
        _set("memory_range", f"0x{system.memory_bytes:08X}"),
        _set("memory_segment", system.memory),
        _set("ps_ip", system.ip),
        _set("ps_clock", clock.pin),
        _set("ps_clock_property", f"CONFIG.{clock.given.format(0)}"),
        _set("ps_reset", system.reset),
        _set("ps_master", system.master[0]),
        _set("ps_master_clock", system.master[1]),
        _set("ps_slave", system.slave[0]),
        _set("ps_slave_clock", system.slave[1]),
        _block("ps_config", [f"CONFIG.{name} {{{value}}}" for name, value in pairs]),
        _block("ps_external", [f"{name} {vlnv}" for name, vlnv in system.external]),
        _block("sources", sources),
    ]
    return "\n".join(lines) + "\n"


def _set(name: str, value: str) -> str:
    return f"set {name} {value}"


def _block(name: str, words: Sequence[str]) -> str:
    return f"set {name} {{" + "".join(f"\n    {word}" for word in words) + "\n}"
