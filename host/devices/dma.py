"""FINN's IODMA, from the host's side: start, poll, dump."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host.devices.base import DeviceError

if TYPE_CHECKING:
    from host.devices.base import Registers

CONTROL, ADDRESS_LOW, ADDRESS_HIGH, FRAMES = 0x00, 0x10, 0x14, 0x1C
START, DONE, IDLE = 1, 2, 4
NAMES = {"control": CONTROL, "address_low": ADDRESS_LOW, "address_high": ADDRESS_HIGH, "frames": FRAMES}


class Dma:
    """One IODMA. No interrupt is wired: `idle` is polled.

    `DONE` clears when it is read, so whoever else reads it (a dump) would swallow it; `IDLE` stays.
    """

    def __init__(self, name: str, registers: Registers) -> None:
        self.name, self._registers = name, registers
        self._held: dict[int, int] = {}

    def forget(self) -> None:
        """The design was loaded again: its registers hold nothing of what was written."""
        self._held = {}

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
                    "input" if self.name.startswith("i") else "output",
                    f"{self.name}: register 0x{offset:02x} must hold 0x{value:x} as written, not 0x{found:x}",
                    "the design on the board is another one, or its bus is at fault; reset()",
                    {self.name: self.dump()},
                )
        self._held.update(values)
        self._registers.write(CONTROL, START)

    def idle(self) -> bool:
        """Whether nothing is under way."""
        return bool(self._registers.read(CONTROL) & IDLE)

    def dump(self) -> dict[str, int]:
        """Every register by name."""
        return {name: self._registers.read(offset) for name, offset in NAMES.items()}
