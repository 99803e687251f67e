"""The registers of one DMA on the virtual board: of our shell, or of FINN's IODMA."""

from __future__ import annotations

from dataclasses import dataclass, field

from fireflow.host.devices.dma import (
    ACCELERATOR,
    ADDRESS_HIGH,
    ADDRESS_LOW,
    ALIGNED,
    CONTROL,
    CYCLES_HIGH,
    CYCLES_LOW,
    DONE,
    ERROR,
    FRAMES,
    HASH_WORDS,
    IDENTITY,
    IDLE,
    MAGIC,
    NO_FRAMES,
    NUMBER,
    QUIET,
    READY,
    START,
    TAGS,
    UNALIGNED,
    VERSION,
    WHERE_HIGH,
    WHERE_LOW,
)

BUS_BYTES = 16
"""The width of the bus to memory: UltraScale+'s, the wider one."""
_WORD = 0xFFFFFFFF


@dataclass
class Job:
    """A transfer under way: where, and how many bytes or frames are left."""

    address: int
    left: int


@dataclass
class DmaModel:
    """One DMA.

    Args:
        port_bytes: of a frame of its port.
        clock_mhz: of the design.
        accelerator: the hash that it tells; None for an IODMA of FINN, which has none of our registers.
        tag_bytes: that it puts behind a frame if asked to; 0 for the input DMA, and for older shells.
        quiet: cycles of a pause behind a frame that it looks for.
    """

    port_bytes: int
    clock_mhz: float
    accelerator: str | None
    tag_bytes: int = 0
    quiet: int = 0
    aligned: int = 0
    registers: dict[int, int] = field(default_factory=dict)
    job: Job | None = None
    done: bool = False
    code: int = 0
    where: int = 0
    begun: float = 0.0
    ended: float = 0.0

    @property
    def tags(self) -> bool:
        """Whether it puts a tag behind each frame."""
        return self.tag_bytes > 0 and bool(self.registers.get(TAGS, 0) & 1)

    @property
    def frame_bytes(self) -> int:
        """Bytes that a frame takes in memory."""
        return self.port_bytes + self.tag_bytes * self.tags

    @property
    def address(self) -> int:
        return self.registers.get(ADDRESS_LOW, 0) | self.registers.get(ADDRESS_HIGH, 0) << 32

    @property
    def frames(self) -> int:
        return self.registers.get(FRAMES, 0)

    def read(self, offset: int, now: float) -> int:
        """A register at a time; reading the control register clears `done`, as in HLS."""
        if offset == CONTROL:
            value = (DONE | READY if self.done else 0) | (START if self.job else IDLE)
            self.done = False
            return value
        if self.accelerator is not None and (offset >= IDENTITY or offset in (TAGS, QUIET)):
            return self._ours(offset, now)
        return self.registers.get(offset, 0)

    def _ours(self, offset: int, now: float) -> int:
        cycles = int(((now if self.job else self.ended) - self.begun) * self.clock_mhz * 1e6)
        values = {
            IDENTITY: MAGIC,
            VERSION: 1,
            TAGS: int(self.tags),
            QUIET: self.quiet,
            ALIGNED: self.aligned & NUMBER,
            ERROR: self.code,
            WHERE_LOW: self.where & _WORD,
            WHERE_HIGH: self.where >> 32,
            CYCLES_LOW: cycles & _WORD,
            CYCLES_HIGH: cycles >> 32,
        }
        digits = (self.accelerator or "").ljust(8 * HASH_WORDS, "0")
        for number in range(HASH_WORDS):
            values[ACCELERATOR + 4 * number] = int(digits[8 * number : 8 * number + 8], 16)
        return values.get(offset, 0)

    def start(self, now: float, address: int) -> bool:
        """Begins at an address; False where our shell refuses the transfer, and it is over."""
        self.done, self.code, self.begun = False, 0, now
        if self.accelerator is None:
            return True
        if address % BUS_BYTES:
            self.end(now, UNALIGNED, address)
        elif not 0 < self.frames * self.frame_bytes < 1 << 32:
            self.end(now, NO_FRAMES, address)
        return not self.code

    def end(self, now: float, code: int = 0, where: int = 0) -> None:
        """The transfer is over, with an error code of our shell."""
        self.job, self.done, self.ended = None, True, now
        self.code, self.where = code, where
