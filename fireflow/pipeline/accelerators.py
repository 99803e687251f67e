"""A bundle on a board, real or virtual, with any arithmetic on the virtual one."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from fireflow.host.devices.virtual import VirtualDevice
from fireflow.host.driver import Accelerator
from fireflow.host.interface import Interface
from fireflow.hw.bundle import Bundle
from fireflow.hw.errors import InputError
from fireflow.pipeline.engines import FAST, RTL
from fireflow.pipeline.engines import engine as engine_of

if TYPE_CHECKING:
    from fireflow.host.devices import Device

VIRTUAL = "virtual"
DEADLINE_S, RTL_DEADLINE_S = 2.0, 3600.0
"""Seconds for a transfer; a frame of a whole network takes RTL simulation minutes."""


def open_accelerator(
    bundle: Bundle | str | Path,
    *,
    device: str = VIRTUAL,
    engine: str = FAST,
    slots: int = 4,
    batch: int = 1,
    deadline_s: float | None = None,
) -> Accelerator:
    """A bundle on a board: the `Accelerator` that is open and has had its first golden image right.

    Args:
        bundle: a Bundle, or the path of one; for the engine "rtl" one that was built.
        device: "virtual", "pynq" (the board that this runs on), or "remote:ADDRESS" (PYNQ.remote).
        engine: what computes on the virtual board, equal in every bit: "fast", "interpreter" or "rtl".
        slots: transfers that may be prepared or under way at once, at least 1.
        batch: frames of one transfer, at least 1.
        deadline_s: seconds that a transfer may take beyond what the build says; by default 2, and 3600 for "rtl".

    Raises:
        InputError: a bundle that is not whole or does not fit the device, or an argument outside its range.
        DeviceError: the device is not there, or gives other scores than the golden ones.
    """
    if engine != FAST and device != VIRTUAL:
        raise InputError(
            f"engine: must be fast on {device}, not {engine}: only the virtual board computes here; leave it out"
        )
    loaded = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
    limit_s = (RTL_DEADLINE_S if engine == RTL else DEADLINE_S) if deadline_s is None else deadline_s
    with contextlib.ExitStack() as stack:
        chosen: Device | str = device
        if engine != FAST:
            chosen = _virtual(loaded, engine)
            stack.callback(chosen.close)
        accelerator = Accelerator(loaded, chosen, slots=slots, batch=batch, deadline_s=limit_s)
        stack.pop_all()
        return accelerator


def _virtual(bundle: Bundle, engine: str) -> Device:
    score = engine_of(bundle, engine, batch=1)
    device = VirtualDevice(Interface.of_bundle(bundle), bundle.graph, score=score)
    device.name += f", arithmetic by the {'RTL' if engine == RTL else engine}"
    return device
