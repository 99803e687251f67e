"""What the driver needs of a device: registers, memory that a DMA reaches, a clock, a design to load."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping

if TYPE_CHECKING:
    from fireflow.hw.types import Array


class DeviceError(RuntimeError):
    """The device did not do what it was told. After it the session is poisoned until `Accelerator.reset`.

    Args:
        phase: what was waited for: "open", "input", "output", "result", "audit", "device", "clock", "reset", "close".
        problem: one line, "RULE, not VALUE".
        hint: what to look at.
        registers: both DMAs' registers when it happened, by DMA and register.
    """

    def __init__(
        self, phase: str, problem: str, hint: str, registers: Mapping[str, Mapping[str, int]] | None = None
    ) -> None:
        self.phase, self.problem, self.hint = phase, problem, hint
        self.registers = {name: dict(values) for name, values in (registers or {}).items()}
        dump = "; ".join(
            f"{name} " + " ".join(f"{key}=0x{value:x}" for key, value in values.items())
            for name, values in self.registers.items()
        )
        super().__init__(f"{phase}: {problem}; {hint}" + (f" [{dump}]" if dump else ""))


class DeviceTimeout(DeviceError):
    """Something did not happen within its deadline."""


class DeviceLost(DeviceError):
    """The device no longer answers at all."""


def short(error: BaseException) -> str:
    """An error of somebody else's in one line that is no longer than a message may be."""
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@dataclass(frozen=True)
class Clocks:
    """The accelerator's clock in MHz: what the design asks for, and what the device runs (None: unknown)."""

    asked_mhz: float
    actual_mhz: float | None


class Buffer(abc.ABC):
    """Contiguous memory of the device with the host's view of it.

    The two may differ until `flush` (host to device) or `invalidate` (device to host): caches on a board,
    a network between a host and a remote board.

    Args:
        array: uint8 (size,), the host's view.
        address: where a DMA finds it, in bytes.
    """

    array: Array
    address: int

    @abc.abstractmethod
    def flush(self) -> None:
        """What the host wrote becomes what the DMA reads."""

    @abc.abstractmethod
    def invalidate(self) -> None:
        """What the DMA wrote becomes what the host reads."""

    @abc.abstractmethod
    def free(self) -> None:
        """Gives the memory back; never while a DMA may write there."""


class Registers(abc.ABC):
    """32-bit registers of one block."""

    @abc.abstractmethod
    def read(self, offset: int) -> int:
        """The register at this offset in bytes."""

    @abc.abstractmethod
    def write(self, offset: int, value: int) -> None:
        """Sets the register at this offset in bytes."""


class Device(abc.ABC):
    """A board, real or not. Every method but `close` may raise DeviceError.

    Args:
        name: for people.
    """

    name: str

    @abc.abstractmethod
    def program(self) -> None:
        """Loads the design, also again: afterwards both DMAs are idle and nothing is under way."""

    @abc.abstractmethod
    def registers(self, block: str) -> Registers:
        """The registers of INPUT_DMA or OUTPUT_DMA."""

    @abc.abstractmethod
    def allocate(self, size_bytes: int) -> Buffer:
        """Memory that a DMA reaches, of zeros."""

    @abc.abstractmethod
    def clocks(self) -> Clocks:
        """Asked and actual."""

    @abc.abstractmethod
    def close(self) -> None:
        """Lets go of the device. Buffers must be free by then, or stay for ever."""

    def facts(self) -> dict[str, Any]:
        """What a report says of the device."""
        clocks = self.clocks()
        return {"device": self.name, "clock_asked_mhz": clocks.asked_mhz, "clock_mhz": clocks.actual_mhz}
