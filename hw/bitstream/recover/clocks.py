"""Clock buffers: those that always pass one clock are wires, and others are refused.

A gated clock would have to be simulated with its gate; nothing that this project builds has one.
"""

from __future__ import annotations

from fireflow.hw.bitstream.recover.routing import Pins, RecoveryError, WireSource


def through_buffers(pins: Pins, source: WireSource) -> WireSource:
    """What drives a clock in front of all buffers.

    Raises:
        RecoveryError: a buffer is off, gated, or chooses between clocks.
    """
    while True:
        if source.site.startswith("BUFGCTRL_"):
            source = pins.source(source.site, f"I{_selected(pins, source.site)}")
        elif source.site.startswith("BUFHCE_"):
            _check_row_buffer(pins, source.site)
            source = pins.source(source.site, "I")
        else:
            return source


def _selected(pins: Pins, site: str) -> int:
    """Which input a BUFGCTRL passes: the one whose CE and S are on, and no other's."""
    x, y = pins.place(site)
    name = f"BUFGCTRL.BUFGCTRL_X{x}Y{y}"
    flags = pins.tile_features(site).flags
    if f"{name}.IN_USE" not in flags:
        raise RecoveryError(f"{site}: a clock buffer that is read must be in use, and is not")
    on = [
        all(_level(pins, site, f"{pin}{i}", f"{name}.ZINV_{pin}{i}" in flags) for pin in ("CE", "S"))
        for i in range(2)
    ]
    if sum(on) != 1:
        raise RecoveryError(f"{site}: a clock buffer must pass one of its inputs, not {sum(on)}")
    return on.index(True)


def _check_row_buffer(pins: Pins, site: str) -> None:
    x, y = pins.place(site)
    name = f"BUFHCE.BUFHCE_X{x}Y{y}"
    flags = pins.tile_features(site).flags
    if f"{name}.IN_USE" not in flags or not _level(pins, site, "CE", f"{name}.ZINV_CE" in flags):
        raise RecoveryError(f"{site}: a clock buffer that is read must be in use and enabled, and is not")


def _level(pins: Pins, site: str, pin: str, plain: bool) -> bool:
    value = pins.constant(site, pin)
    if value is None:
        raise RecoveryError(f"{site}.{pin}: a clock buffer must be on or off, not switched by a net")
    return bool(value) == plain
