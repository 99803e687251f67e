"""What can go wrong on the virtual board, on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from fireflow.host.devices.base import DeviceError, DeviceLost, DeviceTimeout
from fireflow.hw.errors import InputError

FAULTS: Mapping[str, str] = {
    "input ignored": "the input DMA does not react to start, and stays idle",
    "input hang": "the input DMA starts and never ends",
    "compute hang": "the accelerator takes the frame and gives nothing",
    "output ignored": "the output DMA does not react to start, and stays idle",
    "output hang": "the output DMA starts and never ends",
    "short frame": "the accelerator gives one word less",
    "long frame": "the accelerator gives one word more, which comes out before the next frame",
    "short transfer": "the output DMA ends one word early",
    "long transfer": "the output DMA writes one word behind the buffer's frames",
    "lost flush": "from here on, what the host writes does not reach the memory",
    "lost invalidate": "from here on, what the DMA writes does not reach the host",
    "wrong address": "the input DMA's address register takes another value than written",
    "wrong output address": "the output DMA writes elsewhere, though its register is right",
    "address truncated": "both DMAs use 32 bits of the address only",
    "corrupted bitstream": "the design that is loaded is not the one in the bundle",
    "stale cache": "the board keeps the design it had",
    "input bus error": "the memory answers the input DMA with an error",
    "output bus error": "the memory answers the output DMA with an error",
    "device lost": "every access fails",
    "bus hang": "one register access does not return for a long time",
}
"""Every fault by name, with what it does."""


@dataclass(frozen=True)
class Outcome:
    """How the driver reports a fault.

    Args:
        error: what it raises.
        phases: where it may find it; which one depends on what is under way.
    """

    error: type[DeviceError]
    phases: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.error.__name__} in {' or '.join(self.phases)}"


OUTCOMES: Mapping[str, Outcome] = {
    "input ignored": Outcome(DeviceTimeout, ("output",)),
    "input hang": Outcome(DeviceTimeout, ("input",)),
    "compute hang": Outcome(DeviceTimeout, ("output",)),
    "output ignored": Outcome(DeviceError, ("output",)),
    "output hang": Outcome(DeviceTimeout, ("output",)),
    "short frame": Outcome(DeviceError, ("audit", "output")),
    "long frame": Outcome(DeviceError, ("audit",)),
    "short transfer": Outcome(DeviceError, ("output",)),
    "long transfer": Outcome(DeviceError, ("output",)),
    "lost flush": Outcome(DeviceError, ("audit", "output")),
    "lost invalidate": Outcome(DeviceError, ("output",)),
    "wrong address": Outcome(DeviceError, ("input",)),
    "wrong output address": Outcome(DeviceTimeout, ("output",)),
    "address truncated": Outcome(DeviceError, ("input", "output")),
    "corrupted bitstream": Outcome(DeviceError, ("open",)),
    "stale cache": Outcome(DeviceError, ("open",)),
    "input bus error": Outcome(DeviceError, ("input",)),
    "output bus error": Outcome(DeviceError, ("output",)),
    "device lost": Outcome(DeviceLost, ("device",)),
    "bus hang": Outcome(DeviceTimeout, ("result",)),
}
"""Every fault by name, with what becomes of it."""


@dataclass(frozen=True)
class Fault:
    """One fault.

    Args:
        kind: a key of FAULTS.
        frame: the first frame it hits, counted from the last time the design was loaded.
        sticky: whether it survives loading the design again.
    """

    kind: str
    frame: int = 0
    sticky: bool = False

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise InputError(f"fault: must be one of {', '.join(FAULTS)}, not {self.kind!r}; choose one")
