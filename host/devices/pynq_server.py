"""The virtual board as a PYNQ.remote server: what pynq 3.1 and newer find behind an address."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Callable, Iterator

import numpy as np

if TYPE_CHECKING:
    from fireflow.host.devices.machine import Machine

_CHUNK_BYTES = 1 << 20
_FIRMWARE = "/lib/firmware/"
_MANAGER = "/sys/class/fpga_manager/fpga0/"


class Server:
    """Serves a machine until `stop`.

    Args:
        machine: the board.
        address: "127.0.0.1:0" for a free port of this computer.
    """

    def __init__(self, machine: Machine, address: str = "127.0.0.1:0") -> None:
        import grpc
        from pynq.remote import buffer_pb2_grpc, mmio_pb2_grpc, remote_device_pb2_grpc

        self._server = grpc.server(ThreadPoolExecutor(8, "pynq-remote"))
        numbers = itertools.count(1)
        remote_device_pb2_grpc.add_RemoteDeviceServicer_to_server(_files(machine), self._server)
        mmio_pb2_grpc.add_MmioServicer_to_server(_registers(machine, numbers), self._server)
        buffer_pb2_grpc.add_RemoteBufferServicer_to_server(_buffers(machine, numbers), self._server)
        self.port = self._server.add_insecure_port(address)
        self._server.start()

    def stop(self) -> None:
        """Ends at once; whoever waits for an answer gets an error."""
        self._server.stop(0).wait(5)


def _files(machine: Machine) -> Any:
    """The servicer of the board's files."""
    from pynq.remote import remote_device_pb2, remote_device_pb2_grpc

    files = {
        "/proc/device-tree/chosen/pynq_board": machine.name.encode() + b"\0",
        "/proc/version": f"Linux version 6.6.10 ({machine.family.system.machine}-linux-gnu)\n".encode(),
        _MANAGER + "state": b"operating\n",
        _MANAGER + "flags": b"0\n",
    }

    class DeviceServicer(remote_device_pb2_grpc.RemoteDeviceServicer):  # type: ignore[misc]
        """Files; the one of the FPGA manager loads a design."""

        def existsfile(self, request: Any, context: Any) -> Any:
            return remote_device_pb2.ExistsFileResponse(exists=request.file_path in files)

        def readfile(self, request: Any, context: Any) -> Iterator[Any]:
            data = files.get(request.file_path, b"")
            for start in range(0, len(data), _CHUNK_BYTES):
                yield remote_device_pb2.ReadFileResponse(data=data[start : start + _CHUNK_BYTES])

        def writefile(self, requests: Iterator[Any], context: Any) -> Any:
            path, data = "", b""
            for request in requests:
                path, data = request.file_path, data + request.data
            files[path] = data
            if path == _MANAGER + "firmware":
                machine.configure(files.get(_FIRMWARE + data.decode(), b""))
            return remote_device_pb2.WriteFileResponse()

        def set_bitstream_attrs(self, request: Any, context: Any) -> Any:
            return remote_device_pb2.SetBitstreamAttrsResponse(status=True)

    return DeviceServicer()


def _registers(machine: Machine, numbers: Iterator[int]) -> Any:
    """The servicer of the registers; `numbers` are those of ranges and buffers."""
    from pynq.remote import mmio_pb2, mmio_pb2_grpc

    class MmioServicer(mmio_pb2_grpc.MmioServicer):  # type: ignore[misc]
        """Ranges of registers."""

        def __init__(self) -> None:
            self._bases: dict[str, int] = {}

        def get_mmio(self, request: Any, context: Any) -> Any:
            number = str(next(numbers))
            self._bases[number] = request.base_addr
            return mmio_pb2.GetMmioResponse(status=True, mmio_id=number)

        def read(self, request: Any, context: Any) -> Any:
            base = self._bases[request.mmio_id] + request.offset
            value = machine.read(base)
            if request.length == 8:
                value |= machine.read(base + 4) << 32
            mask = (1 << 8 * request.length) - 1
            return mmio_pb2.ReadResponse(status=True, data=value & mask)

        def write(self, request: Any, context: Any) -> Any:
            base = self._bases[request.mmio_id] + request.offset
            for number, value in enumerate(np.frombuffer(request.data, "<u4").tolist()):
                machine.write(base + 4 * number, value)
            return mmio_pb2.WriteResponse(status=True)

    return MmioServicer()


def _buffers(machine: Machine, numbers: Iterator[int]) -> Any:
    """The servicer of the buffers."""
    from pynq.remote import buffer_pb2, buffer_pb2_grpc

    class BufferServicer(buffer_pb2_grpc.RemoteBufferServicer):  # type: ignore[misc]
        """Buffers by number; their contents on the board are behind its cache."""

        def __init__(self) -> None:
            self._addresses: dict[str, int] = {}

        def allocate(self, request: Any, context: Any) -> Any:
            number = str(next(numbers))
            self._addresses[number] = machine.allocate(request.size)
            return buffer_pb2.AllocateResponse(buffer_id=number)

        def write(self, requests: Iterator[Any], context: Any) -> Any:
            offset = 0
            for request in requests:
                offset = max(offset, getattr(request, "start", 0))
                data = np.frombuffer(request.data, np.uint8)
                machine.host_view(self._addresses[request.buffer_id])[offset : offset + len(data)] = data
                offset += len(data)
            return buffer_pb2.BufferWriteResponse()

        def read(self, request: Any, context: Any) -> Iterator[Any]:
            data = machine.host_view(self._addresses[request.buffer_id]).tobytes()
            data = data[request.start : request.end or None]
            for start in range(0, len(data), _CHUNK_BYTES):
                yield buffer_pb2.BufferReadResponse(data=data[start : start + _CHUNK_BYTES])

        def _each(self, request: Any, action: Callable[[int], Any]) -> str:
            try:
                action(self._addresses[request.buffer_id])
            except Exception as error:  # pynq raises what it finds in `msg`
                return f"{type(error).__name__}: {error}"
            return ""

        def flush(self, request: Any, context: Any) -> Any:
            return buffer_pb2.FlushResponse(msg=self._each(request, machine.flush))

        def invalidate(self, request: Any, context: Any) -> Any:
            return buffer_pb2.InvalidateResponse(msg=self._each(request, machine.invalidate))

        def freebuffer(self, request: Any, context: Any) -> Any:
            return buffer_pb2.FreeBufferResponse(msg=self._each(request, machine.free))

        def physical_address(self, request: Any, context: Any) -> Any:
            return buffer_pb2.AddressResponse(address=self._addresses[request.buffer_id])

        virtual_address = physical_address

        def cacheable(self, request: Any, context: Any) -> Any:
            return buffer_pb2.CacheableResponse(cacheable=True)

    return BufferServicer()
