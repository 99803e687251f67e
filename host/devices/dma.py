"""FINN's IODMA, and our shell's, from the host's side: start, poll, dump."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fireflow.host.devices.base import DeviceError

if TYPE_CHECKING:
    from fireflow.host.devices.base import Registers

CONTROL, ADDRESS_LOW, ADDRESS_HIGH, FRAMES = 0x00, 0x10, 0x14, 0x1C
START, DONE, IDLE, READY = 1, 2, 4, 8
NAMES = {"control": CONTROL, "address_low": ADDRESS_LOW, "address_high": ADDRESS_HIGH, "frames": FRAMES}

# What the registers of our shell have beyond FINN's (hw/rtl/axi/shell.sv and dma_control.sv).
IDENTITY, VERSION, ERROR, WHERE_LOW, WHERE_HIGH = 0x40, 0x44, 0x48, 0x4C, 0x50
CYCLES_LOW, CYCLES_HIGH, ALIGNED, ACCELERATOR = 0x54, 0x58, 0x5C, 0x60
TAGS, QUIET = 0x24, 0x28
"""Registers of the output DMA: what is written to the first is kept only by a shell that gives tags."""
MAGIC = int.from_bytes(b"FIRE", "little")
HASH_WORDS = 8
NUMBER = 0xFFFF
"""What the shell keeps of a frame's number."""
SHELL_NAMES = {
    **NAMES,
    "error": ERROR,
    "error_address_low": WHERE_LOW,
    "error_address_high": WHERE_HIGH,
    "cycles_low": CYCLES_LOW,
    "cycles_high": CYCLES_HIGH,
}
UNALIGNED, BUS_ERROR, NO_FRAMES = 1, 2, 3
_ERRORS = {
    UNALIGNED: (
        "the address must be a multiple of the bus width",
        "allocate the buffer with pynq.allocate; reset()",
    ),
    BUS_ERROR: (
        "the memory must answer without error",
        "no memory is there, or it is closed to the logic: boot an image for this board; reset()",
    ),
    NO_FRAMES: ("the transfer must have frames, and fewer than 4 GiB", "use a smaller batch; reset()"),
}


def reached(count: int, wanted: int) -> bool:
    """Whether a counter of 16 bits is at `wanted` or a little behind.

    >>> reached(5, 5), reached(4, 5), reached(3, (1 << 16) - 2), reached((1 << 16) - 2, (1 << 16) + 3)
    (True, False, True, False)
    """
    return (count - wanted) & NUMBER < 1 << 15


class Dma:
    """One DMA. No interrupt is wired: `idle` is polled.

    `DONE` clears when it is read, so whoever else reads it (a dump) would swallow it; `IDLE` stays.

    Args:
        name: INPUT_DMA or OUTPUT_DMA.
        registers: its own.
    """

    def __init__(self, name: str, registers: Registers) -> None:
        self.name, self._registers = name, registers
        self._phase = "input" if name.startswith("i") else "output"
        self._shell = False
        self.tags = self.proves = False
        self._held: dict[int, int] = {}

    def forget(self) -> None:
        """The design was loaded again: its registers hold nothing of what was written."""
        self._held = {}

    def identify(self) -> str | None:
        """The SHA-256 of the accelerator's sources as our shell tells it; None for an IODMA of FINN.

        Ask after every loading of a design: only then errors are looked for.
        """
        self._shell = self._registers.read(IDENTITY) == MAGIC
        self.tags = self.proves = False
        if not self._shell:
            return None
        words = [self._registers.read(ACCELERATOR + 4 * number) for number in range(HASH_WORDS)]
        return "".join(f"{word:08x}" for word in words)

    def ask_for_tags(self) -> None:
        """Before the first transfer: from now on a tag lies behind the scores of each frame, if the shell has tags.

        Sets `tags`, whether it does so, and `proves`, whether `aligned` will ever tell something.
        """
        if self._shell:
            self._registers.write(TAGS, 1)
            self.tags = self._registers.read(TAGS) == 1
            self.proves = self.tags and self._registers.read(QUIET) > 0

    def start(self, address: int, frames: int) -> None:
        """Moves `frames` frames from or to the address, in the background.

        Between two transfers the accelerator may be idle, so only registers that change are written and read back:
        over a network each access takes its time.

        Raises:
            DeviceError: a register does not hold what was written.
        """
        wanted = {ADDRESS_LOW: address & 0xFFFFFFFF, ADDRESS_HIGH: address >> 32, FRAMES: frames}
        values = {offset: value for offset, value in wanted.items() if self._held.get(offset) != value}
        for offset, value in values.items():
            self._registers.write(offset, int(value))  # pynq refuses NumPy's integers
        for offset, value in values.items():
            found = self._registers.read(offset)
            if found != value:
                raise DeviceError(
                    self._phase,
                    f"{self.name}: register 0x{offset:02x} must hold 0x{value:x} as written, not 0x{found:x}",
                    "the design on the board is another one, or its bus is at fault; reset()",
                    {self.name: self.dump()},
                )
        self._held.update(values)
        self._registers.write(CONTROL, START)

    def idle(self) -> bool:
        """Whether nothing is under way."""
        return bool(self._registers.read(CONTROL) & IDLE)

    def ended(self) -> bool:
        """Whether the transfer is through.

        Raises:
            DeviceError: it ended with an error; an IODMA of FINN never says so.
        """
        if not self.idle():
            return False
        code = self._registers.read(ERROR) if self._shell else 0
        if code:
            rule, hint = _ERRORS.get(code, ("the transfer must end without error", "reset()"))
            where = self._registers.read(WHERE_LOW) | self._registers.read(WHERE_HIGH) << 32
            raise DeviceError(
                self._phase,
                f"{self.name}: {rule}, not end with error {code} at address 0x{where:x}",
                hint,
                {self.name: self.dump()},
            )
        return True

    def aligned(self) -> int:
        """How many frames came out whole, as a pause behind the last of them shows; modulo 2^16.

        The accelerator gives the scores of a frame in one go, and then nothing for long. A stream that lost or gained a
        word is in the midst of a frame whenever it pauses, for ever.
        """
        return self._registers.read(ALIGNED)

    def dump(self) -> dict[str, int]:
        """Every register by name."""
        names = SHELL_NAMES if self._shell else NAMES
        return {name: self._registers.read(offset) for name, offset in names.items()}
