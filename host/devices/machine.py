"""A whole virtual board: the logic, the processor's registers, its files. What pynq and PYNQ.remote find there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from fireflow.host.devices.base import DeviceError
from fireflow.host.devices.overlay import bit_data, bit_file, virtual_payload
from fireflow.hw.parts.description import CONTROL_RANGE, DMA_RANGE, INPUT_DMA, OUTPUT_DMA

if TYPE_CHECKING:
    from fireflow.host.devices.fpga_model import FpgaModel
    from fireflow.host.interface import Interface
    from fireflow.hw.parts import Family
    from fireflow.hw.types import Array

MAGIC = b"VIRTUAL "


def virtual_bitstream(interface: Interface, part: str) -> bytes:
    """A .bit file that only the virtual board understands: a digest of the design."""
    return bit_file("fireflow", part, MAGIC + virtual_payload(interface))


class Machine:
    """The board.

    Args:
        fpga: its programmable logic.
        family: of its chip.
        name: as its image calls it.
    """

    def __init__(self, fpga: FpgaModel, family: Family, name: str) -> None:
        self.fpga, self.family, self.name = fpga, family, name
        self._registers = dict(family.system.after_boot)
        self._host: dict[int, Array] = {}
        self._lock = threading.Lock()
        source = fpga.interface.bitstream
        self._bits = bit_data(source.read_bytes()) if source is not None else b""

    # --- registers ------------------------------------------------------------------------------------------

    def read(self, address: int) -> int:
        """A 32-bit register of the processor or of a DMA."""
        block = self._block(address)
        return self._registers.get(address, 0) if block is None else self.fpga.read(*block)

    def write(self, address: int, value: int) -> None:
        block = self._block(address)
        if block is None:
            self._registers[address] = value
        else:
            self.fpga.write(block[0], block[1], value)

    def _block(self, address: int) -> tuple[str, int] | None:
        offset = address - self.family.system.control_base
        if not 0 <= offset < CONTROL_RANGE:
            return None
        return (INPUT_DMA, offset) if offset < DMA_RANGE else (OUTPUT_DMA, offset - DMA_RANGE)

    # --- memory ---------------------------------------------------------------------------------------------

    def allocate(self, size_bytes: int) -> int:
        """Address of a buffer, with a view of the processor behind its cache."""
        with self._lock:
            address = self.fpga.memory.allocate(size_bytes)
            self._host[address] = np.zeros(size_bytes, np.uint8)
            return address

    def host_view(self, address: int) -> Array:
        """What the processor sees of a buffer: uint8."""
        return self._host[address]

    def flush(self, address: int, part: slice = slice(None)) -> None:
        if not self.fpga.active("lost flush"):
            with self.fpga.timed():
                self.fpga.memory.region(address)[part] = self._host[address][part]

    def invalidate(self, address: int, part: slice = slice(None)) -> None:
        if not self.fpga.active("lost invalidate"):
            with self.fpga.timed():
                self._host[address][part] = self.fpga.memory.region(address)[part]

    def free(self, address: int) -> None:
        with self._lock:
            self.fpga.check_free()
            del self._host[address]
            self.fpga.memory.free(address)

    # --- configuration --------------------------------------------------------------------------------------

    def configure(self, data: bytes) -> None:
        """Loads what the FPGA manager gets: a .bit file's data as words of the other byte order.

        The model computes whatever the bits are, so it takes only those of its design, real ones to the last bit.

        Raises:
            DeviceError: it is not this board's design.
        """
        plain = np.frombuffer(data[: len(data) // 4 * 4], "<i4").byteswap().tobytes()
        self.fpga.configure()
        kinds = {fault.kind for fault in self.fpga.faults}
        real = bool(self._bits) and not self._bits.startswith(MAGIC)
        virtual = plain.rstrip(b"\0") == MAGIC + virtual_payload(self.fpga.interface)
        whole = plain == self._bits if real else virtual
        if not whole or kinds & {"corrupted bitstream", "stale cache"}:
            raise DeviceError(
                "open", "the board must hold the bundle's design, not another one", "copy the bundle again"
            )
