"""One transfer through the accelerator: its two buffers, its times, and how its result is read and checked."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Mapping

import numpy as np

from host.devices.base import DeviceError

if TYPE_CHECKING:
    from host.design import Design, Port
    from host.devices.base import Buffer, Device
    from hw.types import Array, Int64Array

PHASES = ("wait", "prepare", "input", "compute", "read", "total")
_GUARD_BYTES, _GUARD = 64, 0xA5


@dataclass(frozen=True)
class Finished:
    """A transfer that is through.

    Args:
        scores: int64 (N, classes).
        seconds: by phase, see PHASES.
    """

    scores: Int64Array
    seconds: Mapping[str, float]


@dataclass(eq=False)
class Slot:
    """The buffers of a transfer, and when what happened to it, in seconds of `time.monotonic`."""

    input: Buffer
    output: Buffer
    frames: int = 0
    future: Future[Finished] = field(default_factory=Future)
    begin: float = 0.0
    prepare_s: float = 0.0
    queued: float = 0.0
    started: float = 0.0
    sent: float = 0.0
    received: float = 0.0

    def seconds(self, end: float) -> dict[str, float]:
        """How long each phase took, if reading ended at `end`."""
        return {
            "wait": self.started - self.begin - self.prepare_s,
            "prepare": self.prepare_s,
            "input": self.sent - self.started,
            "compute": self.received - self.sent,
            "read": end - self.received,
            "total": end - self.begin,
        }


class Layout:
    """What the buffers of a design hold.

    Args:
        design: its ports.
        batch: frames of a transfer at most.
    """

    def __init__(self, design: Design, batch: int) -> None:
        self._design, self._batch = design, batch
        self._pattern = _pattern(design.output, batch)

    def allocate(self, device: Device) -> Slot:
        """Both buffers, or none. Raises DeviceError."""
        given = device.allocate(self._batch * self._design.input.frame_bytes)
        try:
            return Slot(given, device.allocate(len(self._pattern)))
        except BaseException:
            given.free()
            raise

    def fill(self, slot: Slot, frames: Array) -> None:
        """Puts frames (N, H, W, C) into a slot, and into its output what no result is."""
        slot.frames, slot.future = len(frames), Future()
        self._design.input.pack(frames, slot.input.array)
        np.copyto(slot.output.array, self._pattern)
        slot.output.flush()
        slot.input.flush()

    def read(self, slot: Slot) -> Int64Array:
        """The scores in a slot, int64 (N, classes).

        Raises:
            DeviceError: without registers; what is there cannot be what the accelerator computed.
        """
        port, count = self._design.output, slot.frames
        slot.output.invalidate()
        used = count * port.frame_bytes
        scores = port.unpack(slot.output.array, count)
        lo, hi = port.kind.lo, port.kind.hi
        if scores.min() < lo or scores.max() > hi:
            wrong = int(np.argmax((scores < lo) | (scores > hi)))
            raise DeviceError(
                "output",
                f"every score must lie in {lo}..{hi}, not {scores.flat[wrong]} at position {wrong} of {scores.size}",
                "the frame was cut short or never written; reset()",
            )
        if not np.array_equal(slot.output.array[used:], self._pattern[used:]):
            raise DeviceError(
                "output",
                f"the output DMA must write {used} bytes, not others behind them",
                "the transfer is too long, the design is another one, or a cache was not flushed; reset()",
            )
        return scores


def _pattern(port: Port, batch: int) -> Array:
    """What an output buffer holds before a transfer: values that no score takes, and a guard behind them.

    Where every code of the port's bits is a score, a part that was not written does not show.
    """
    kind = port.kind
    codes = range(-(1 << (kind.bits - 1)), 1 << (kind.bits - 1)) if kind.signed else range(1 << kind.bits)
    value = codes[-1] if codes[-1] > kind.hi else codes[0]
    frame = np.zeros(port.frame_bytes, np.uint8)
    port.pack(np.full((1, *kind.shape), value, np.int64), frame)
    return np.concatenate([np.tile(frame, batch), np.full(_GUARD_BYTES, _GUARD, np.uint8)])
