"""Clock buffers: those that always pass one clock are wires, and others are refused.

A gated clock would have to be simulated with its gate; nothing that this project builds has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fireflow.hw.bitstream.recover.routing import RecoveryError, Source

if TYPE_CHECKING:
    from fireflow.hw.bitstream.recover.netlist import Netlist


def through_buffers(netlist: Netlist, source: Source) -> Source:
    """What drives a clock in front of all buffers.

    Raises:
        RecoveryError: a buffer is off, gated, or chooses between clocks.
    """
    while True:
        if source.site.startswith("BUFGCTRL_"):
            source = netlist.source(source.site, f"I{_selected(netlist, source.site)}")
        elif source.site.startswith("BUFHCE_"):
            _check_row_buffer(netlist, source.site)
            source = netlist.source(source.site, "I")
        else:
            return source


def _selected(netlist: Netlist, site: str) -> int:
    """Which input a BUFGCTRL passes: the one whose CE and S are on, and no other's."""
    x, y = netlist.place(site)
    name = f"BUFGCTRL.BUFGCTRL_X{x}Y{y}"
    flags = netlist.tile_features(site).flags
    if f"{name}.IN_USE" not in flags:
        raise RecoveryError(f"{site}: a clock buffer that is read must be in use, and is not")
    on = [
        all(_level(netlist, site, f"{pin}{i}", f"{name}.ZINV_{pin}{i}" in flags) for pin in ("CE", "S"))
        for i in range(2)
    ]
    if sum(on) != 1:
        raise RecoveryError(f"{site}: a clock buffer must pass one of its inputs, not {sum(on)}")
    return on.index(True)


def _check_row_buffer(netlist: Netlist, site: str) -> None:
    x, y = netlist.place(site)
    name = f"BUFHCE.BUFHCE_X{x}Y{y}"
    flags = netlist.tile_features(site).flags
    if f"{name}.IN_USE" not in flags or not _level(netlist, site, "CE", f"{name}.ZINV_CE" in flags):
        raise RecoveryError(f"{site}: a clock buffer that is read must be in use and enabled, and is not")


def _level(netlist: Netlist, site: str, pin: str, plain: bool) -> bool:
    value = netlist.constant(site, pin)
    if value is None:
        raise RecoveryError(f"{site}.{pin}: a clock buffer must be on or off, not switched by a net")
    return bool(value) == plain
