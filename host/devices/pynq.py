"""A board under PYNQ, or one over PYNQ.remote: the driver on the real `pynq` package, 2.7 to 4.0."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fireflow.host.devices.base import (
    Buffer,
    Clocks,
    Device,
    DeviceError,
    DeviceLost,
    Registers,
    short,
)
from fireflow.host.devices.overlay import dma_addresses, place_overlay
from fireflow.hw.errors import InputError
from fireflow.hw.parts.boards import family_of, same_board
from fireflow.hw.parts.description import DMA_RANGE

if TYPE_CHECKING:
    from fireflow.host.interface import Interface

LARGEST_BUFFER = (1 << 31) - 1
REMOTE_PORT = 7967


class PynqBuffer(Buffer):
    """One pynq buffer. Never a view of one: a view's flush reaches the wrong bytes of a remote buffer."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.array = np.asarray(raw).view(np.ndarray)  # pynq 3.1 cannot compute with its own remote buffers
        self.address = int(raw.physical_address)

    def flush(self) -> None:
        self._raw.flush()

    def invalidate(self) -> None:
        self._raw.invalidate()

    def free(self) -> None:
        self.array = np.zeros(0, np.uint8)
        raw, self._raw = self._raw, None
        raw.freebuffer()


class PynqRegisters(Registers):
    """One block over pynq's MMIO."""

    def __init__(self, mmio: Any) -> None:
        self._mmio = mmio

    def read(self, offset: int) -> int:
        return int(self._mmio.read(offset))

    def write(self, offset: int, value: int) -> None:
        self._mmio.write(offset, int(value))


class PynqDevice(Device):
    """A board.

    Args:
        interface: of the bundle.
        device: a pynq Device; the active one by default.

    Raises:
        InputError: the bundle has no bitstream, or one for another board.
        DeviceError: pynq is missing, no board, no root, no XRT.
    """

    def __init__(self, interface: Interface, device: Any = None) -> None:
        self._interface = interface
        self.overlay_file = place_overlay(interface)
        self._addresses = dma_addresses(self.overlay_file.with_suffix(".hwh"))
        self._pynq = _import_pynq()
        self._board = _board_device(self._pynq) if device is None else device
        self.name = str(getattr(self._board, "name", "pynq"))
        _check_board(interface, self._board, given=device is not None)

    def program(self) -> None:
        try:
            self._load()
        except DeviceError:
            raise
        except Exception as error:  # pynq raises RuntimeError, OSError, TypeError, gRPC's errors ...
            raise DeviceError(
                "open",
                f"{self.overlay_file.name} must load on {self.name}, not fail with {short(error)}",
                _hint(error),
            ) from error

    def _load(self) -> None:
        self._pynq.Device.active_device = self._board  # pynq's Register and Clocks know no other device,
        if "_real_instance" in vars(self._pynq.Clocks):  # and Clocks stay with the first one for ever
            del self._pynq.Clocks._real_instance
        if hasattr(self._pynq.Clocks, "set_device"):
            self._pynq.Clocks.set_device(self._board)
        _clear_cache(self.overlay_file)
        overlay = self._pynq.Overlay(str(self.overlay_file), download=False, device=self._board)
        found = {name: overlay.ip_dict.get(name, {}).get("phys_addr") for name in self._addresses}
        if found != self._addresses:
            raise DeviceError(
                "open",
                f"the DMAs must be at {self._addresses}, not at {found} as pynq says",
                "delete pynq/pl_server/_current_metadata.pkl, then try again",
            )
        clock = family_of(self._interface.board).system.clock.pll_mhz
        for number, record in overlay.clock_dict.items():
            # pynq 4.0 sets a clock by its frequency, which descriptions for Zynq-7000 do not have.
            if "frequency" in record and record["frequency"] is None:
                divisor = max(1, int(record["divisor0"]) * int(record["divisor1"]))
                overlay.clock_dict[number]["frequency"] = clock / divisor
        overlay.download()
        self._overlay = overlay

    def registers(self, block: str) -> Registers:
        return PynqRegisters(self._pynq.MMIO(self._addresses[block], DMA_RANGE, device=self._board))

    def allocate(self, size_bytes: int) -> Buffer:
        if size_bytes > LARGEST_BUFFER:
            raise DeviceError(
                "open", f"a buffer must be below 2 GiB, not {size_bytes} bytes", "use fewer frames at once"
            )
        try:
            raw = self._pynq.allocate(shape=(size_bytes,), dtype="u1", target=self._board)
        except Exception as error:
            raise DeviceError(
                "open",
                f"there must be {size_bytes} bytes of contiguous memory, not none ({short(error)})",
                "use fewer slots or frames, end other notebooks, or boot with a larger cma=",
            ) from error
        buffer = PynqBuffer(raw)
        buffer.array[:] = 0
        return buffer

    def clocks(self) -> Clocks:
        try:
            actual = float(self._pynq.Clocks.fclk0_mhz)
        except Exception as error:  # a remote board that is gone, an unknown processor
            raise DeviceLost(
                "clock", f"the clock must be readable ({short(error)})", "check the board"
            ) from error
        return Clocks(self._interface.clock_mhz, round(actual, 3))

    def close(self) -> None:
        self._overlay = None


def remote_device(address: str) -> Any:
    """The pynq Device of a board over PYNQ.remote.

    Args:
        address: "IP" or "IP:PORT".

    Raises:
        DeviceError: pynq is too old, or nobody answers there.
    """
    pynq = _import_pynq()
    try:
        from pynq.pl_server.remote_device import RemoteDevice
    except ImportError:
        raise DeviceError(
            "open",
            f"pynq must be 3.1 or newer for a remote board, not {pynq.__version__}",
            "pip install 'pynq>=3.1'",
        ) from None
    host, _, port = address.partition(":")
    try:
        return RemoteDevice(0, host, int(port or REMOTE_PORT))
    except Exception as error:
        raise DeviceError(
            "open",
            f"{address} must answer on port {port or REMOTE_PORT}, not fail with {short(error)}",
            "boot the board's PYNQ.remote image and check the address",
        ) from error


def _import_pynq() -> Any:
    try:
        import pynq
    except ImportError as error:
        raise DeviceError(
            "open",
            f"pynq must be installed, and {error.name or error} is not",
            "run this on a board's PYNQ image, in its Python (/usr/local/share/pynq-venv), or use --device virtual",
        ) from None
    return pynq


def _board_device(pynq: Any) -> Any:
    """The board that this runs on."""
    if os.geteuid() != 0:
        raise DeviceError(
            "open", f"it must run as root, not as user {os.geteuid()}", "use sudo -E, or PYNQ's Jupyter"
        )
    if "XILINX_XRT" not in os.environ:
        raise DeviceError(
            "open", "XILINX_XRT must be set, not missing", "source /etc/profile.d/xrt_setup.sh, then sudo -E"
        )
    try:
        return pynq.Device.active_device
    except RuntimeError as error:
        raise DeviceError(
            "open", f"pynq must find a board, not none ({short(error)})", "boot a PYNQ image for this board"
        ) from error


def _check_board(interface: Interface, device: Any, given: bool) -> None:
    name = str(getattr(device, "name", "")) if given else os.environ.get("BOARD", "")
    place = Path("/proc/device-tree/chosen/pynq_board")
    if not name and place.is_file():
        name = place.read_bytes().decode("ascii", "replace").strip("\0\n ")
    known = name and name.lower() != "unknown"
    if known and not same_board(name, interface.board):
        raise InputError(
            f"{interface.name}: must be built for this board, {name}, not for {interface.board}; "
            "take that board's bundle"
        )


def _clear_cache(overlay: Path) -> None:
    """Makes pynq 3 and 4 read this overlay's description.

    They take the description of the last bitstream from a cache, which knows a bitstream by its contents alone: with
    another description, such as another clock, it would give the old one. The names of our overlays carry the hash of
    both files, so what the cache holds is right if it is of this name. What pynq knows beside it, how to shut down the
    design that is loaded, stays.
    """
    with contextlib.suppress(ImportError):
        from pynq.pl_server import global_state

        try:
            if Path(global_state.load_global_state().bitfile_name) == overlay:
                return
        except Exception:
            # pynq hashes the file that its state names, and loads nothing once that file is gone.
            with contextlib.suppress(OSError):
                global_state.clear_global_state()
        with contextlib.suppress(OSError):
            (Path(global_state.__file__).parent / "_current_metadata.pkl").unlink()


def _hint(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "run as root: sudo -E"
    return "switch the board off and on; check that the image and the bundle are for the same board"


__all__ = ["PynqBuffer", "PynqDevice", "PynqRegisters", "remote_device"]
