"""The virtual board under an unmodified `pynq`, in this process: a Device as pynq has them for boards."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import os
import platform
import struct
import weakref
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

if TYPE_CHECKING:
    from fireflow.host.devices.machine import Machine
    from fireflow.hw.parts import Family

_NUMBER = itertools.count()


@contextlib.contextmanager
def processor(name: str) -> Iterator[None]:
    """Python on a board's processor, as far as pynq asks when it is imported."""
    uname, old = os.uname(), (os.uname, platform.machine)

    class Name(tuple):  # type: ignore[type-arg]
        machine = name

    os.uname = lambda: Name((*tuple(uname)[:4], name))  # type: ignore[assignment,return-value]
    platform.machine = lambda: name
    try:
        yield
    finally:
        os.uname, platform.machine = old


def import_pynq(family: Family) -> None:
    """Imports pynq as on this family's boards; once in a process."""
    with processor(family.system.machine):
        import pynq.pl_server.embedded_device
        import pynq.ps  # noqa: F401


def make_board(machine: Machine) -> Any:
    """A pynq Device that is this machine."""
    import_pynq(machine.family)
    from pynq.buffer import PynqBuffer
    from pynq.pl_server import embedded_device, hwh_parser
    from pynq.pl_server.device import Device

    class VirtualBoard(Device):  # type: ignore[misc]
        """The machine's memory, registers and configuration, in the form in which pynq wants them."""

        def __init__(self) -> None:
            super().__init__(f"fireflow{next(_NUMBER)}")
            self.name, self.arch = machine.name, machine.family.system.machine
            self.capabilities = {"REGISTER_RW": True, "MEMORY_MAPPED": False, "CALLABLE": False}

        def allocate(self, shape: Any, dtype: Any, **_options: Any) -> Any:
            address = machine.allocate(int(np.prod(shape)) * np.dtype(dtype).itemsize)
            data = machine.host_view(address).data
            buffer = PynqBuffer(shape, dtype, buffer=data, device=self, device_address=address, bo=address)
            buffer.memory, buffer.return_to = self, self
            buffer.pointer = (address, weakref.ref(buffer))
            return buffer

        def return_pointer(self, pointer: Any) -> None:
            address, buffer = pointer
            if buffer() is not None:
                buffer().freed = True  # pynq 3 would unmap what is returned when it is collected
            machine.free(address)

        def flush(self, bo: int, offset: int, _pointer: int, size: int) -> None:
            machine.flush(bo, slice(offset, offset + size))

        def invalidate(self, bo: int, offset: int, _pointer: int, size: int) -> None:
            machine.invalidate(bo, slice(offset, offset + size))

        def read_registers(self, address: int, length: int) -> bytes:
            return b"".join(struct.pack("<I", machine.read(address + at)) for at in range(0, length, 4))

        def write_registers(self, address: int, data: Any) -> None:
            for at, (value,) in enumerate(struct.iter_unpack("<I", bytes(data))):
                machine.write(address + 4 * at, value)

        def get_bitfile_metadata(self, bitfile_name: str, partial: bool = False) -> Any:
            path = hwh_parser.get_hwh_name(bitfile_name)
            handler = embedded_device.BitfileHandler(bitfile_name)
            if hasattr(handler, "_get_cache"):  # as a board does it, right or not; not in pynq 2.7
                with contextlib.suppress(embedded_device.CacheMetadataError):
                    return self._with_data(handler._get_cache(), handler)
            if hasattr(embedded_device, "RuntimeMetadataParser"):
                parser = embedded_device.RuntimeMetadataParser(embedded_device.Metadata(input=path))
            else:  # pynq 2.7
                parser = hwh_parser.HWH(path)
            return self._with_data(parser, handler)

        @staticmethod
        def _with_data(parser: Any, handler: Any) -> Any:
            parser.bin_data = handler.get_bin_data()
            return parser

        def download(self, bitstream: Any, parser: Any = None) -> None:
            if hasattr(embedded_device.EmbeddedDevice, "gen_cache"):  # not in pynq 2.7
                embedded_device.EmbeddedDevice.gen_cache(self, bitstream, parser)
            machine.configure(parser.bin_data)
            embedded_device.EmbeddedDevice.set_axi_port_width(self, parser)
            wants_name = "name" in inspect.signature(Device.post_download).parameters  # not in pynq 2.7
            super().post_download(bitstream, parser, *([self.name] if wants_name else []))

    return VirtualBoard()
