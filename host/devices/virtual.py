"""The virtual board: the driver on a model of the hardware, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Sequence

import numpy as np

from fireflow.host.devices.base import Buffer, Clocks, Device, DeviceError, Registers
from fireflow.host.devices.fpga_model import FpgaModel, Memory
from fireflow.hw.simulator import Simulator

if TYPE_CHECKING:
    from fireflow.host.devices.faults import Fault
    from fireflow.host.interface import Interface
    from fireflow.hw.graph import Graph
    from fireflow.hw.types import Array, Int64Array

MEMORY_BASE = 0x8_0000_0000
"""Above 4 GiB, where a ZynqMP has the upper part of its memory: both words of an address matter."""


class VirtualBuffer(Buffer):
    """Memory of the model, behind a cache that is only written back or dropped when told."""

    def __init__(self, fpga: FpgaModel, size_bytes: int) -> None:
        self._fpga = fpga
        self.address = fpga.memory.allocate(size_bytes)
        self.array = np.zeros(size_bytes, np.uint8)

    def flush(self) -> None:
        if not self._fpga.active("lost flush"):
            with self._fpga.timed():
                np.copyto(self._fpga.memory.region(self.address), self.array)

    def invalidate(self) -> None:
        if not self._fpga.active("lost invalidate"):
            with self._fpga.timed():
                np.copyto(self.array, self._fpga.memory.region(self.address))

    def free(self) -> None:
        self._fpga.check_free()
        self._fpga.memory.free(self.address)


class VirtualRegisters(Registers):
    """A DMA of the model."""

    def __init__(self, fpga: FpgaModel, block: str) -> None:
        self._fpga, self._block = fpga, block

    def read(self, offset: int) -> int:
        return self._fpga.read(self._block, offset)

    def write(self, offset: int, value: int) -> None:
        self._fpga.write(self._block, offset, value)


class VirtualDevice(Device):
    """A board whose accelerator is the fast simulator, at the design's interval and latency.

    Args:
        interface: of the bundle.
        graph: its integers.
        interval_s, latency_s: other ones than the design's; 0 for as fast as the arithmetic.
        faults: what goes wrong.
        memory_bytes: for buffers.
        memory_base: address of the first.
        score: other arithmetic than the fast simulator's: images (1, H, W, C) -> int64 (1, classes).
        accelerator, tags: as in `FpgaModel`.
    """

    def __init__(
        self,
        interface: Interface,
        graph: Graph,
        interval_s: float | None = None,
        latency_s: float | None = None,
        faults: Sequence[Fault] = (),
        memory_bytes: int = 1 << 28,
        memory_base: int = MEMORY_BASE,
        score: Callable[[Array], Int64Array] | None = None,
        accelerator: str | None = "",
        tags: bool = True,
    ) -> None:
        self.name = "virtual" + (" (speed estimated)" if interface.estimated and interval_s is None else "")
        self._interface = interface
        memory = Memory(memory_base, memory_bytes)
        arithmetic = score or Simulator(graph).run
        self.fpga = FpgaModel(interface, arithmetic, memory, interval_s, latency_s, faults, accelerator, tags)

    def program(self) -> None:
        self.fpga.configure()
        kinds = {fault.kind for fault in self.fpga.faults}
        wrong = kinds & {"corrupted bitstream", "stale cache"}
        if wrong:
            reason = "changed on its way" if "corrupted bitstream" in wrong else "left from before"
            raise DeviceError(
                "open",
                f"the board must hold the bundle's design, not one that was {reason}",
                "copy the bundle again, and load it on a board that was switched off and on",
            )

    def registers(self, block: str) -> Registers:
        return VirtualRegisters(self.fpga, block)

    def allocate(self, size_bytes: int) -> Buffer:
        try:
            return VirtualBuffer(self.fpga, size_bytes)
        except MemoryError as error:
            raise DeviceError(
                "open", f"there must be room for a buffer, not none ({error})", "use fewer slots or frames"
            ) from None

    def clocks(self) -> Clocks:
        return Clocks(self._interface.clock_mhz, self._interface.clock_mhz)

    def close(self) -> None:
        self.fpga.close()
