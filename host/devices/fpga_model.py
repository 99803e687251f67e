"""A model of the board under the driver: memory, both DMAs with FINN's registers, the accelerator, its time.

Time is real (`time.monotonic`), and events are computed, not waited for: every register access first does
all that would have happened until now, at the times at which it would have happened. So the model keeps its
interval and latency exactly, however late it is looked at. The arithmetic runs in a thread of its own; a frame whose
scores are not there yet is late, as if the accelerator were slower.
"""

from __future__ import annotations

import contextlib
import threading
import time
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Callable, Iterator, Sequence

import numpy as np

from fireflow.host.devices.base import DeviceLost
from fireflow.host.devices.dma import ADDRESS_LOW, BUS_ERROR, CONTROL, NUMBER, START
from fireflow.host.devices.dma_model import DmaModel, Job
from fireflow.host.devices.faults import Fault
from fireflow.host.transfers import tag_bytes

if TYPE_CHECKING:
    from fireflow.host.interface import Interface
    from fireflow.hw.types import Array, Int64Array

PAGE = 4096
_BUS_HANG_S = 4.0
_QUIET = 100
"""Cycles of the pause that the shell looks for; what the model gives comes in one go, and a pause is behind it."""


class Memory:
    """The board's memory for DMA buffers.

    Args:
        base: address of its first byte.
        size_bytes: how much there is (on a board, CMA).
    """

    def __init__(self, base: int, size_bytes: int) -> None:
        self.base, self.size_bytes = base, size_bytes
        self._regions: dict[int, Array] = {}
        self._next = base

    @property
    def allocated(self) -> int:
        """Buffers that were not freed."""
        return len(self._regions)

    def allocate(self, size_bytes: int) -> int:
        """Address of a new region of zeros, at the start of a page. Raises MemoryError."""
        room = -(-size_bytes // PAGE) * PAGE
        if sum(-(-len(region) // PAGE) * PAGE for region in self._regions.values()) + room > self.size_bytes:
            raise MemoryError(f"{size_bytes} bytes of contiguous memory")
        address = self._find(room)
        self._regions[address] = np.zeros(size_bytes, np.uint8)
        return address

    def _find(self, room: int) -> int:
        address = self.base
        for start in sorted(self._regions):
            if start - address >= room:
                break
            address = start + -(-len(self._regions[start]) // PAGE) * PAGE
        return address

    def reaches(self, address: int) -> bool:
        """Whether the board has memory at an address."""
        return self.base <= address < self.base + self.size_bytes

    def free(self, address: int) -> None:
        del self._regions[address]

    def region(self, address: int) -> Array:
        """The bytes of the buffer that starts here."""
        return self._regions[address]

    def view(self, address: int, size_bytes: int) -> Array | None:
        """The bytes at an address, or None where no buffer holds them all."""
        for start, region in self._regions.items():
            if start <= address and address + size_bytes <= start + len(region):
                return region[address - start : address - start + size_bytes]
        return None


class FpgaModel:
    """The programmable logic with a design in it.

    Args:
        interface: what is loaded.
        score: the arithmetic: images (1, H, W, C) -> int64 (1, classes).
        memory: what the DMAs reach.
        interval_s, latency_s: of the accelerator; of the design by default.
        faults: what goes wrong.
        accelerator: the hash that our shell tells, the design's by default; None for FINN's shell, which has no
            registers of ours and waits for ever where there is no memory.
        tags: our shell gives tags if it is asked to; not that of older bitstreams.
    """

    def __init__(
        self,
        interface: Interface,
        score: Callable[[Array], Int64Array],
        memory: Memory,
        interval_s: float | None = None,
        latency_s: float | None = None,
        faults: Sequence[Fault] = (),
        accelerator: str | None = "",
        tags: bool = True,
    ) -> None:
        self._tags = tags and accelerator is not None
        self._accelerator = interface.accelerator if accelerator == "" else accelerator
        self.interface, self.memory = interface, memory
        self.interval_s = interface.interval_s if interval_s is None else interval_s
        self.latency_s = max(self.interval_s, interface.latency_s if latency_s is None else latency_s)
        # Frames that the accelerator holds when nobody takes its results.
        self._depth = 2 + (int(self.latency_s / self.interval_s) if self.interval_s > 0 else 2)
        self._score = score
        self._lock = threading.RLock()
        self._worker = ThreadPoolExecutor(1, "virtual-accelerator")
        self.violations: list[str] = []
        self.faults = list(faults)
        self._loads = self.frames_total = 0
        self._model_s = self._worker_s = 0.0
        self._clear()

    @property
    def busy_s(self) -> float:
        """The processor time of the model itself, arithmetic included."""
        return self._model_s + self._worker_s

    def configure(self) -> None:
        """Loads the design: nothing is under way afterwards; faults that are not sticky are gone."""
        with self._lock:
            if self._loads:
                self.faults = [fault for fault in self.faults if fault.sticky]
            self._loads += 1
            self._clear()

    def _clear(self) -> None:
        given, taken = self.interface.input, self.interface.output
        tag = tag_bytes(taken) if self._tags else 0
        quiet = _QUIET if self._tags and taken.frame_bytes > taken.word_bytes else 0
        clock, told = self.interface.clock_mhz, self._accelerator
        self.idma = DmaModel(given.frame_bytes, clock, told)
        self.odma = DmaModel(taken.frame_bytes, clock, told, tag, quiet)
        self._accepted: tuple[float, Array, Array] | None = None
        self._results: deque[tuple[float, Future[tuple[Array, int]]]] = deque()
        self._sums: deque[int] = deque()  # of the frames whose scores did not come out
        self._words, self._stream = bytearray(), bytearray()  # of the accelerator; with tags
        self._given = 0
        self.frames = 0

    def violation(self, text: str) -> None:
        """Notes something that would be a defect of the driver, or the end of a faulty transfer."""
        if text not in self.violations:
            self.violations.append(text)

    def check_free(self) -> None:
        """Notes a violation if a buffer is freed now."""
        if self.idma.job is not None or self.odma.job is not None:
            self.violation("a buffer was freed while a DMA was under way")

    def close(self) -> None:
        """Ends the thread of the arithmetic."""
        self._worker.shutdown(wait=True)

    def active(self, kind: str) -> bool:
        """Whether a fault hits the frame that is taken now, or an earlier one."""
        return any(fault.kind == kind and self.frames >= fault.frame for fault in self.faults)

    def _hits(self, kind: str) -> bool:
        return any(fault.kind == kind and self.frames == fault.frame for fault in self.faults)

    # --- registers ------------------------------------------------------------------------------------------

    def read(self, block: str, offset: int) -> int:
        """A register of "idma0" or "odma0"."""
        with self._lock, self.timed():
            self._check_bus()
            now = time.monotonic()
            self._advance(now)
            return self._dma(block).read(offset, now)

    def write(self, block: str, offset: int, value: int) -> None:
        """Sets a register of "idma0" or "odma0"."""
        with self._lock, self.timed():
            self._check_bus()
            now = time.monotonic()
            self._advance(now)
            dma = self._dma(block)
            if offset != CONTROL:
                wrong = block == "idma0" and offset == ADDRESS_LOW and self.active("wrong address")
                dma.registers[offset] = value ^ 0x40 if wrong else value
            elif value & START and dma.job is None:
                self._start(block, dma, now)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Counts what happens inside as the model's own processor time."""
        start = time.thread_time()
        try:
            yield
        finally:
            spent = time.thread_time() - start
            with self._lock:
                self._model_s += spent

    def _check_bus(self) -> None:
        if self.active("device lost"):
            raise DeviceLost("device", "the board must answer, not be gone", "check power and cable")
        if self.active("bus hang"):  # one access hangs
            self.faults = [fault for fault in self.faults if fault.kind != "bus hang"]
            time.sleep(_BUS_HANG_S)

    def _dma(self, block: str) -> DmaModel:
        return self.idma if block == "idma0" else self.odma

    def _start(self, block: str, dma: DmaModel, now: float) -> None:
        address = dma.address & 0xFFFFFFFF if self.active("address truncated") else dma.address
        if self.active("input ignored" if block == "idma0" else "output ignored") or not dma.start(
            now, address
        ):
            return
        if block == "idma0":
            dma.job = Job(address, dma.frames)
            self._accept(now)
        else:
            size_bytes = dma.frames * dma.frame_bytes
            word = self.interface.output.word_bytes
            size_bytes += word * (self.active("long transfer") - self.active("short transfer"))
            if self.active("wrong output address"):
                address += PAGE // 2
            dma.job = Job(address, size_bytes)
            self._advance(now)

    # --- time -----------------------------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Does everything that happens until now."""
        moved = True
        while moved:
            moved = self._end_input(now) or self._emit(now)
            if self.idma.job is not None and self._accepted is None:
                self._accept(now)

    def _accept(self, when: float) -> None:
        """The accelerator begins to take the next frame of the input transfer."""
        job = self.idma.job
        if job is None or self._accepted is not None or len(self._results) >= self._depth:
            return
        if self.active("input hang"):
            return
        source = self.memory.view(job.address, self.interface.input.frame_bytes)
        if self._refused(self.idma, when, "input bus error"):
            return
        if source is None:
            self.violation(f"input DMA reads 0x{job.address:x}, which is no buffer")
            self.idma.job = Job(job.address, 1 << 62)  # it waits for an answer of the bus for ever
            self._accepted = (float("inf"), np.zeros(0, np.uint8), np.zeros(0, np.uint8))
            return
        frame = source.copy()
        self._accepted = (when + self.interval_s, source, frame)
        if not self.active("compute hang"):
            cut = -1 if self._hits("short frame") else int(self._hits("long frame"))
            self._results.append((when + self.latency_s, self._worker.submit(self._compute, frame, cut)))
        self.frames += 1
        self.frames_total += 1

    def _end_input(self, now: float) -> bool:
        if self._accepted is None or self._accepted[0] > now or self.idma.job is None:
            return False
        when, source, frame = self._accepted
        if not np.array_equal(source, frame):
            self.violation("an input buffer was changed while the DMA read it")
        job, self._accepted = self.idma.job, None
        job.address += len(frame)
        job.left -= 1
        if job.left == 0:
            self.idma.end(when)
        else:
            self._accept(when)
        return True

    def _emit(self, now: float) -> bool:
        """One frame leaves the accelerator for the output stream, and what fits goes to memory."""
        moved = False
        job = self.odma.job
        if job is None:
            return False
        if self._results and self._results[0][0] <= now and self._results[0][1].done():
            words, checksum = self._results.popleft()[1].result()
            self._give(words.tobytes(), checksum)
            moved = True
        size = min(job.left, len(self._stream))
        if self.active("output hang") or size == 0:
            return moved
        target = self.memory.view(job.address, size)
        if self._refused(self.odma, now, "output bus error"):
            return True
        if target is None:
            self.violation(f"output DMA writes 0x{job.address:x}, which is no buffer")
            self.odma.job = Job(job.address, 1 << 62)
            return moved
        target[:] = np.frombuffer(bytes(self._stream[:size]), np.uint8)
        del self._stream[:size]
        job.address += size
        job.left -= size
        if job.left == 0:
            self.odma.end(now)
        return True

    def _give(self, words: bytes, checksum: int) -> None:
        """The accelerator gives words, and then pauses: the shell puts a tag behind those of each frame."""
        if not self.odma.tags:
            self._stream += words
            return
        size = self.odma.port_bytes
        self._words += words
        self._sums.append(checksum)
        while len(self._words) >= size:
            tag = (self._sums.popleft() if self._sums else 0) ^ (self._given & NUMBER)
            self._stream += self._words[:size] + tag.to_bytes(self.odma.tag_bytes, "little")
            del self._words[:size]
            self._given += 1
        if self.odma.quiet and not self._words:
            self.odma.aligned = self._given

    def _refused(self, dma: DmaModel, now: float, fault: str) -> bool:
        """Ends the transfer of our shell with an error where the memory does not answer."""
        if dma.job is None or dma.accelerator is None:
            return False
        refused = not self.memory.reaches(dma.job.address) or self.active(fault)
        if refused:
            dma.end(now, BUS_ERROR, dma.job.address)
        return refused

    def _compute(self, frame: Array, cut: int) -> tuple[Array, int]:
        """The bytes of a frame's scores, `cut` words more or less, and the checksum of what was read."""
        interface = self.interface
        image = interface.input.unpack(frame, 1).astype(interface.input.kind.dtype)
        packed = np.zeros(interface.output.frame_bytes, np.uint8)
        interface.output.pack(self._score(image), packed)
        word, checksum = interface.output.word_bytes, zlib.crc32(frame.data) if self.odma.tags else 0
        self._worker_s = time.thread_time()  # of this thread since it began: the model's alone
        if cut < 0:
            packed = packed[:-word]
        return (np.concatenate([packed, packed[:word]]) if cut > 0 else packed), checksum
