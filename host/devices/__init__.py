"""Devices that the driver runs on: a model, a board under PYNQ, a board over the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fireflow.host.devices.base import (
    Buffer,
    Clocks,
    Device,
    DeviceError,
    DeviceLost,
    DeviceTimeout,
    Registers,
)
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.host.interface import Interface
    from fireflow.hw.graph import Graph

__all__ = [
    "Buffer",
    "Clocks",
    "Device",
    "DeviceError",
    "DeviceLost",
    "DeviceTimeout",
    "Registers",
    "open_device",
]


def open_device(text: str, interface: Interface, graph: Graph) -> Device:
    """The device that a word names: "virtual", "pynq" or "remote:ADDRESS".

    Raises:
        InputError: another word.
    """
    if text == "virtual":
        from fireflow.host.devices.virtual import VirtualDevice

        return VirtualDevice(interface, graph)
    if text == "pynq" or text.startswith("remote:"):
        from fireflow.host.devices.pynq import PynqDevice, remote_device

        return PynqDevice(interface, None if text == "pynq" else remote_device(text[len("remote:") :]))
    raise InputError(f"device: must be virtual, pynq or remote:ADDRESS, not {text!r}; choose one")
