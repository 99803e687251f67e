"""The buffers of a device, and the sessions on it: one after the other, each until a fault and a reset."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fireflow.host.devices.base import DeviceError
from fireflow.host.devices.dma import Dma
from fireflow.host.session import Session
from fireflow.host.transfers import Layout
from fireflow.hw.parts.description import INPUT_DMA, OUTPUT_DMA

if TYPE_CHECKING:
    from concurrent.futures import Future

    from fireflow.host.audits import Audits
    from fireflow.host.devices.base import Device
    from fireflow.host.interface import Interface
    from fireflow.host.transfers import Finished, Slot
    from fireflow.hw.types import Array


class DmaScheduler:
    """The transfers of one device.

    Args:
        device: programmed.
        interface: what is on it.
        slots: transfers that may be prepared or under way at once, besides audits.
        batch: frames of a transfer at most.
        deadline_s: how long a transfer may take beyond what the design says.
        audits: golden images; without them results are given out at once.
    """

    def __init__(
        self,
        device: Device,
        interface: Interface,
        slots: int,
        batch: int,
        deadline_s: float,
        audits: Audits | None = None,
    ) -> None:
        self._device, self._interface, self._audits = device, interface, audits
        self.slots, self.batch, self._deadline_s = slots, batch, deadline_s
        self._layout = Layout(interface, batch)
        self._dmas = tuple(Dma(name, device.registers(name)) for name in (INPUT_DMA, OUTPUT_DMA))
        self._resetting = threading.Lock()
        self._buffers: list[Slot] = []
        try:
            for _ in range(slots):
                self._buffers.append(self._layout.allocate(device))
        except BaseException:
            self._free_buffers()
            raise
        self._session = self._begin()

    def _begin(self) -> Session:
        idma, odma = self._dmas
        interface, patience_s = self._interface, self.patience_s
        given = (interface, self._layout, self._buffers[: self.slots], self._audit_slot)
        return Session((idma, odma), *given, self._deadline_s, patience_s, self._audits)

    def _audit_slot(self) -> Slot:
        """Made when it is needed."""
        if len(self._buffers) == self.slots:
            self._buffers.append(self._layout.allocate(self._device))
        return self._buffers[-1]

    @property
    def fault(self) -> DeviceError | None:
        """What ended the session; None while it is whole."""
        return self._session.fault

    @property
    def patience_s(self) -> float:
        """How long a result may take at most: every transfer before it may use its deadline."""
        interface = self._interface
        limit_s = self._deadline_s + 2 * (interface.latency_s + self.batch * interface.interval_s)
        return (self.slots + 2) * limit_s

    @property
    def ahead(self) -> int:
        """Transfers that should be under way at once, for a stream without gaps."""
        return 2 * (self.slots + -(-self._session.held_at_most // self.batch))

    def submit(self, frames: Array, timeout_s: float | None = None) -> Future[Finished]:
        """Copies the frames into a free slot and queues it. Any thread may.

        The future is answered within `patience_s`, whatever the device does. One that is cancelled before its frames
        are sent frees its slot.

        Args:
            frames: (N, H, W, C) of the input type, 1 <= N <= batch, checked by the caller.
            timeout_s: how long to wait for a slot.

        Raises:
            DeviceTimeout: no slot became free in time; nothing was accepted.
            DeviceError: the session is poisoned or closed.
        """
        return self._session.submit(frames, timeout_s)

    def audit(self, always: bool = False) -> Future[Finished]:
        """Sends a golden image behind what is queued, unless one covers all that already, and not `always`.

        Raises:
            DeviceError: the session is poisoned or closed; or later, in the future: the scores were others.
        """
        return self._session.audit(always)

    def poison(self, error: DeviceError) -> None:
        """Ends the session: every frame without an answer fails with this error, and nothing is accepted."""
        self._session.poison(error)

    def reset(self) -> None:
        """Loads the design again and starts from nothing; frames under way fail.

        Raises:
            DeviceError: the device does not come back; the session stays poisoned.
        """
        with self._resetting:
            old = self._session
            old.poison(DeviceError("reset", "the frame must finish before a reset", "send it again"))
            old.join("reset")
            self._device.program()
            for dma in self._dmas:
                dma.forget()
            self._check_idle("reset")
            self._session = self._begin()  # whole before anybody sees it

    def close(self) -> bool:
        """Lets what was accepted finish, then frees the buffers.

        Returns:
            False if a DMA could not be stopped: then the buffers stay, since it may still write there.
        """
        self._session.finish()
        try:
            self._session.join("close")
            if self.fault is not None:  # only loading the design again surely stops the DMAs
                self._device.program()
            self._check_idle("close")
        except Exception:  # a device that is gone raises anything
            return False
        self._free_buffers()
        return True

    def _check_idle(self, phase: str) -> None:
        busy = [dma.name for dma in self._dmas if not dma.idle()]
        if busy:
            raise DeviceError(
                phase,
                f"{busy[0]} must be idle, not busy",
                "switch the board off and on",
                self._session.dump(),
            )

    def _free_buffers(self) -> None:
        for slot in self._buffers:
            slot.free()
        self._buffers = []
