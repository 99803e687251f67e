"""One transfer through the accelerator: its two buffers, its times, and how its result is read and checked."""

from __future__ import annotations

import zlib
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Mapping

import numpy as np

from fireflow.host.devices.base import DeviceError
from fireflow.host.devices.dma import NUMBER

if TYPE_CHECKING:
    from fireflow.host.devices.base import Buffer, Device
    from fireflow.host.interface import Interface, PackedStream
    from fireflow.hw.types import Array, Int64Array

PHASES = ("wait", "prepare", "input", "compute", "read", "total")
TAG_BYTES = 4
"""The size of the checksum that our shell gives behind the scores of each frame."""
_GUARD_BYTES, _GUARD = 64, 0xA5


@dataclass(frozen=True)
class Finished:
    """A transfer that is through.

    Args:
        scores: int64 (N, classes).
        seconds: by phase, see PHASES; what a result waited for the check that covers it counts as reading.
    """

    scores: Int64Array
    seconds: Mapping[str, float]


@dataclass(eq=False)
class Slot:
    """The buffers of a transfer, what is in them, and when what happened to it, in seconds of `time.monotonic`.

    Args:
        input, output: buffers.
        frames: in them.
        sums: CRC-32 of each frame as it lies in memory, if the shell gives them back.
        first: number of its first frame, counted from when the design was loaded.
        order: of the transfer among all that were queued.
        wanted: somebody waits for the result.
    """

    input: Buffer
    output: Buffer
    frames: int = 0
    sums: tuple[int, ...] = ()
    first: int = 0
    order: int = 0
    wanted: bool = True
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

    def free(self) -> None:
        """Gives both buffers back."""
        self.input.free()
        self.output.free()


def tag_bytes(port: PackedStream) -> int:
    """What our shell writes behind the scores of a frame: the checksum in whole words of the stream.

    >>> from fireflow.hw.types import TensorType
    >>> from fireflow.host.interface import PackedStream
    >>> [tag_bytes(PackedStream(TensorType((6,), 0, 255), lanes)) for lanes in (1, 3, 6)]
    [4, 6, 6]
    """
    return -(-TAG_BYTES // port.word_bytes) * port.word_bytes


class Layout:
    """What the buffers of a design hold.

    Args:
        interface: its ports.
        batch: frames of a transfer at most.
    """

    def __init__(self, interface: Interface, batch: int) -> None:
        self._interface, self._batch = interface, batch
        self.use_tags(True)

    def use_tags(self, tagged: bool) -> None:
        """Whether a tag lies behind the scores of each frame: as the shell has it that was loaded."""
        self.tagged = tagged
        self._tag = tag_bytes(self._interface.output) if tagged else 0
        self._pattern = _pattern(self._interface.output, self._batch, self._tag)

    def allocate(self, device: Device) -> Slot:
        """Both buffers, or none; there is room for tags. Raises DeviceError."""
        given = device.allocate(self._batch * self._interface.input.frame_bytes)
        port = self._interface.output
        try:
            return Slot(given, device.allocate(len(_pattern(port, self._batch, tag_bytes(port)))))
        except BaseException:
            given.free()
            raise

    def fill(self, slot: Slot, frames: Array) -> None:
        """Puts frames (N, H, W, C) into a slot, and into its output what no result is."""
        slot.frames, slot.future, slot.wanted = len(frames), Future(), True
        data = self._interface.input.packed(frames)
        # Of the host's own memory: a buffer may be slow to read.
        size = self._interface.input.frame_bytes if self.tagged else len(data)
        slot.sums = tuple(
            zlib.crc32(data[at : at + size].data) for at in range(0, len(data), size) if self.tagged
        )
        np.copyto(slot.input.array[: len(data)], data)
        np.copyto(slot.output.array[: len(self._pattern)], self._pattern)
        slot.output.flush()
        slot.input.flush()

    def read(self, slot: Slot) -> Int64Array:
        """The scores in a slot, int64 (N, classes).

        Raises:
            DeviceError: without registers; what is there cannot be what the accelerator computed of these frames.
        """
        port, count = self._interface.output, slot.frames
        slot.output.invalidate()
        used = count * (port.frame_bytes + self._tag)
        data = slot.output.array[:used].reshape(count, -1)
        if self.tagged:
            self._check_tags(slot, np.ascontiguousarray(data[:, port.frame_bytes :][:, :TAG_BYTES]))
        scores = port.unpack(np.ascontiguousarray(data[:, : port.frame_bytes]).reshape(-1), count)
        lo, hi = port.kind.lo, port.kind.hi
        if scores.min() < lo or scores.max() > hi:
            wrong = int(np.argmax((scores < lo) | (scores > hi)))
            raise DeviceError(
                "output",
                f"every score must lie in {lo}..{hi}, not {scores.flat[wrong]} at position {wrong} of {scores.size}",
                "the frame was cut short or never written; reset()",
            )
        if not np.array_equal(slot.output.array[used : len(self._pattern)], self._pattern[used:]):
            raise DeviceError(
                "output",
                f"the output DMA must write {used} bytes, not others behind them",
                "the transfer is too long, the design is another one, or a cache was not flushed; reset()",
            )
        return scores

    @staticmethod
    def _check_tags(slot: Slot, tags: Array) -> None:
        """Each frame's scores belong to the frame that was sent, as the words say that the shell read."""
        found = tags.view("<u4").reshape(-1).tolist()
        for number, (tag, crc) in enumerate(zip(found, slot.sums), slot.first):
            wanted = crc ^ (number & NUMBER)
            if tag != wanted:
                raise DeviceError(
                    "output",
                    f"the scores of frame {number} must carry the checksum 0x{wanted:08x} of what was sent, not "
                    f"0x{tag:08x}",
                    "the input or the output did not reach the memory (a cache that is not flushed), or the scores "
                    "are of another frame; reset()",
                )


def _pattern(port: PackedStream, batch: int, tag: int) -> Array:
    """What an output buffer holds before a transfer: values that no score takes, and a guard behind them.

    Where every code of the port's bits is a score, a part that was not written does not show, except in a tag.
    """
    kind = port.kind
    codes = range(-(1 << (kind.bits - 1)), 1 << (kind.bits - 1)) if kind.signed else range(1 << kind.bits)
    value = codes[-1] if codes[-1] > kind.hi else codes[0]
    frame = np.full(port.frame_bytes + tag, _GUARD, np.uint8)
    port.pack(np.full((1, *kind.shape), value, np.int64), frame)
    return np.concatenate([np.tile(frame, batch), np.full(_GUARD_BYTES, _GUARD, np.uint8)])
