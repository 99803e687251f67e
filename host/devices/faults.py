"""What can go wrong on the virtual board, on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from hw.errors import InputError

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
    "device lost": "every access fails",
    "bus hang": "one register access does not return for a long time",
}
"""Every fault by name, with what it does."""


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
