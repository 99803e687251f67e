"""Keeps both DMAs busy: slots with an input and an output buffer each, and one thread that schedules them.

The input DMA and the output DMA are started independently of each other, so that a frame is prepared by whoever
submits it, another goes in, others are under way, and one is read out, all at the same time.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Mapping

from host.devices.base import INPUT_DMA, OUTPUT_DMA, DeviceError, DeviceLost, DeviceTimeout, short
from host.devices.dma import Dma
from host.pacing import Pace, pause
from host.transfers import Finished, Layout, Slot

if TYPE_CHECKING:
    from concurrent.futures import Future

    from host.design import Design
    from host.devices.base import Device
    from hw.types import Array

_AHEAD_S, _IDLE_S = 1e-3, 5e-3
_HINTS: Mapping[str, str] = {
    "input": "the accelerator takes no data: a stalled stream, a stopped clock, or the input DMA does not "
    "reach the buffer; reset()",
    "output": "the accelerator gives no data: a deadlock, a short frame, or the output DMA does not reach "
    "the buffer; reset()",
}


class Engine:
    """The transfers of one device.

    Args:
        device: programmed.
        design: what is on it.
        slots: transfers that may be prepared or under way at once.
        batch: frames of a transfer at most.
        deadline_s: how long a transfer may take beyond what the design says.
    """

    def __init__(self, device: Device, design: Design, slots: int, batch: int, deadline_s: float) -> None:
        self._device, self._design, self.batch, self._deadline_s = device, design, batch, deadline_s
        self._layout = Layout(design, batch)
        self._idma = Dma(INPUT_DMA, device.registers(INPUT_DMA))
        self._odma = Dma(OUTPUT_DMA, device.registers(OUTPUT_DMA))
        self._change = threading.Condition()
        self.slots: list[Slot] = []
        self.fault: DeviceError | None = None
        self._preparing = 0
        self._input_pace, self._output_pace = Pace(), Pace()
        try:
            for _ in range(slots):
                self.slots.append(self._layout.allocate(device))
        except BaseException:
            self._free_buffers()
            raise
        self._run_thread()

    @property
    def patience_s(self) -> float:
        """How long a result may take at most: every transfer before it may use its deadline."""
        return (len(self.slots) + 2) * self._limit(self.batch)

    def submit(self, frames: Array, timeout_s: float | None = None) -> Future[Finished]:
        """Copies the frames into a free slot and queues it. Any thread may.

        Args:
            frames: (N, H, W, C) of the input type, 1 <= N <= batch, checked by the caller.
            timeout_s: how long to wait for a slot.

        Raises:
            DeviceTimeout: no slot became free in time; nothing was accepted.
            DeviceError: the session is poisoned or closed.
        """
        begin = time.monotonic()
        with self._change:
            patience = self.patience_s if timeout_s is None else timeout_s
            self._change.wait_for(lambda: self._free or self.fault or self._stopping, patience)
            self._check()
            if not self._free:
                raise DeviceTimeout(
                    "input", f"a slot must become free in {patience:.3g} s", "send less at once, or later"
                )
            slot = self._free.pop()
            self._preparing += 1
        try:
            self._prepare(slot, frames, begin)
        except BaseException as error:
            with self._change:
                self._free.append(slot)
            if isinstance(error, DeviceError):
                self.poison(error)
            raise
        finally:
            with self._change:
                self._preparing -= 1
                if slot not in self._free:
                    self._queue.append(slot)
                    self._unarmed.append(slot)
                self._change.notify_all()
        self._check_poison()
        return slot.future

    def _prepare(self, slot: Slot, frames: Array, begin: float) -> None:
        slot.begin, slot.started, start = begin, 0.0, time.monotonic()
        self._layout.fill(slot, frames)
        slot.queued = time.monotonic()
        slot.prepare_s = slot.queued - start

    def _check_poison(self) -> None:
        if self.fault is not None:
            raise DeviceError(
                self.fault.phase,
                f"the session must be whole, not poisoned by: {self.fault.problem}",
                "call reset()",
                self.fault.registers,
            ) from self.fault

    def _check(self) -> None:
        self._check_poison()
        if self._stopping:
            raise DeviceError("close", "the accelerator must be open, not closed", "open it again")

    # --- the thread -----------------------------------------------------------------------------------------

    def _run_thread(self) -> None:
        self._free = list(self.slots)
        self._queue: deque[Slot] = deque()
        self._unarmed: deque[Slot] = deque()
        self._unread: deque[Slot] = deque()
        self._sending: Slot | None = None
        self._receiving: Slot | None = None
        self._armed = self._progress = 0.0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="fireflow-dma", daemon=True)
        self._thread.start()

    def _busy(self) -> bool:
        return bool(self._queue or self._unarmed or self._unread or self._sending or self._receiving)

    def _run(self) -> None:
        me, known = threading.current_thread(), False
        # On a busy processor every look comes late without it; it needs root, as pynq does, or a limit for it.
        # What this thread starts, as the virtual board does, must not have it.
        with contextlib.suppress(OSError, AttributeError):
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        try:
            while True:
                with self._change:
                    self._change.wait_for(
                        lambda: self._busy() or (self._stopping and not self._preparing) or self.fault
                    )
                    if self.fault is not None or not (self._busy() or self._preparing):
                        return
                if not known:  # in this thread, like every access: a bus that hangs must not hang the caller
                    self._identify()
                    known = True
                moved = self._step()
                if self._thread is not me or self.fault is not None:
                    return
                if not moved and not self._read_one():
                    self._sleep()
        except DeviceError as error:
            self.poison(error)
        except Exception as error:  # whatever a driver of a board raises: the device is not to be trusted
            self.poison(
                DeviceLost(
                    "device", f"the board must answer, not fail with {short(error)}", "check it, then reset()"
                )
            )

    def _step(self) -> bool:
        """Looks at both DMAs once, and starts what can start, the input first; True if anything happened."""
        now = time.monotonic()  # before the look: a thread that is late must not blame the DMA
        moved = False
        slot = self._sending
        if slot is not None and self._idma.ended():
            slot.sent, self._sending, moved = time.monotonic(), None, True
            self._input_pace.learn(slot.sent - slot.started, self._input_s(slot))
        if self._sending is None and self._queue:
            slot = self._queue.popleft()
            slot.started, slot.sent = time.monotonic(), 0.0
            self._idma.start(slot.input.address, slot.frames)
            self._sending, moved = slot, True
        slot = self._receiving
        if slot is not None and slot.sent and self._odma.ended():
            slot.received = self._progress = time.monotonic()
            self._output_pace.learn(slot.received - slot.started, self._output_s(slot))
            self._unread.append(slot)
            self._receiving, moved = None, True
        if self._receiving is None and self._unarmed:
            slot = self._unarmed.popleft()
            self._odma.start(slot.output.address, slot.frames)
            self._receiving, self._armed, moved = slot, time.monotonic(), True
        self._check_deadlines(now)
        return moved

    def _input_s(self, slot: Slot) -> float:
        """How long the slot's frames take to go in, as the design says."""
        return slot.frames * self._design.interval_s

    def _output_s(self, slot: Slot) -> float:
        """From the start of the input to the end of the output."""
        return self._design.latency_s + (slot.frames - 1) * self._design.interval_s

    def _sleep(self) -> None:
        """Until the next look, or until there is something to start."""
        now, pauses = time.monotonic(), []
        slot = self._sending
        if slot is not None:
            pauses.append(pause(self._input_pace.left(now - slot.started, self._input_s(slot))))
        slot = self._receiving
        if slot is not None and slot.started:
            pauses.append(pause(self._output_pace.left(now - slot.started, self._output_s(slot))))
        if self._sending is not None:
            time.sleep(min(pauses))
            return
        with self._change:  # the input DMA is free: what is submitted now goes in at once
            if not self._queue:
                self._change.wait(min(pauses, default=_IDLE_S))

    def _read_one(self) -> bool:
        """Reads a received slot; whether it did.

        Not shortly before the input DMA is free: the threads that a result wakes would delay the next frame.
        """
        if not self._unread:
            return False
        now, sending = time.monotonic(), self._sending
        if sending is not None:
            ahead = min(_AHEAD_S, self._input_s(sending) / 2)
            late = now - self._unread[0].received > 2 * ahead
            if self._input_pace.left(now - sending.started, self._input_s(sending)) < ahead and not late:
                return False
        self._finish(self._unread.popleft())
        return True

    def _limit(self, frames: int) -> float:
        design = self._design
        return self._deadline_s + 2 * (design.latency_s + frames * design.interval_s)

    def _check_deadlines(self, now: float) -> None:
        slot = self._sending
        if slot is not None and now - slot.started > self._limit(slot.frames):
            raise self._timeout("input", slot)
        slot = self._receiving
        # Behind a frame whose input has not begun yet, the output has no reason to move.
        if slot is not None and slot.started and slot is not self._sending:
            since = max(self._armed, slot.sent, self._progress)
            if now - since > self._limit(slot.frames):
                raise self._timeout("output", slot)

    def _timeout(self, phase: str, slot: Slot) -> DeviceTimeout:
        dma = self._idma if phase == "input" else self._odma
        return DeviceTimeout(
            phase,
            f"{dma.name} must move {slot.frames} frames within {self._limit(slot.frames):.3g} s, not hang",
            _HINTS[phase],
            self.dump(),
        )

    def _finish(self, slot: Slot) -> None:
        """Reads a slot out, gives its result and frees it."""
        try:
            scores = self._layout.read(slot)
        except DeviceError as error:
            raise type(error)(error.phase, error.problem, error.hint, self.dump()) from None
        finished, future = Finished(scores, slot.seconds(time.monotonic())), slot.future
        with self._change:
            slot.started = 0.0
            self._free.append(slot)
            self._change.notify_all()
        future.set_result(finished)

    # --- errors, reset, end ---------------------------------------------------------------------------------

    def dump(self) -> dict[str, dict[str, int]]:
        """Both DMAs' registers, as far as the device still answers."""
        dumped = {}
        for dma in (self._idma, self._odma):
            with contextlib.suppress(Exception):
                dumped[dma.name] = dma.dump()
        return dumped

    def poison(self, error: DeviceError) -> None:
        """Ends the session: every frame under way fails with this error, and nothing is accepted."""
        with self._change:
            self.fault = self.fault or error
            waiting = [s for s in self.slots if s not in self._free and not s.future.done()]
            self._change.notify_all()
        for slot in waiting:
            with contextlib.suppress(Exception):  # it may have finished meanwhile
                slot.future.set_exception(error)

    def reset(self) -> None:
        """Loads the design again and starts from nothing; frames under way fail.

        Raises:
            DeviceError: the device does not come back; the session stays poisoned.
        """
        self.poison(DeviceError("reset", "the frame must finish before a reset", "send it again"))
        self._join("reset")
        self._device.program()
        for dma in (self._idma, self._odma):
            dma.forget()
        self._check_idle("reset")
        self.fault = None
        self._run_thread()

    def close(self) -> bool:
        """Lets what was accepted finish, then frees the buffers.

        Returns:
            False if a DMA could not be stopped: then the buffers stay, since it may still write there.
        """
        with self._change:
            self._stopping = True
            self._change.notify_all()
        try:
            self._join("close")
            if self.fault is not None:  # only loading the design again surely stops the DMAs
                self._device.program()
            self._check_idle("close")
        except Exception:  # a device that is gone raises anything
            return False
        self._free_buffers()
        return True

    def _join(self, phase: str) -> None:
        end = time.monotonic() + self.patience_s
        with self._change:  # nobody may still write into a buffer
            quiet = self._change.wait_for(lambda: not self._preparing, self.patience_s)
        self._thread.join(max(0.0, end - time.monotonic()))
        if self._thread.is_alive() or not quiet:
            raise DeviceTimeout(
                phase,
                f"the board must answer within {self.patience_s:.3g} s, not hang",
                "switch it off and on",
            )

    def _identify(self) -> None:
        """Refuses another accelerator than the bundle's, where both tell their hash."""
        for dma in (self._idma, self._odma):
            found, wanted = dma.identify(), self._design.accelerator
            if found and wanted and found != wanted:
                raise DeviceError(
                    "open",
                    f"wrong bitstream: {dma.name} must tell the bundle's accelerator {wanted[:16]}, not {found[:16]}",
                    "the bitstream is of another build: build it again, and copy the whole bundle",
                )

    def _check_idle(self, phase: str) -> None:
        busy = [dma.name for dma in (self._idma, self._odma) if not dma.idle()]
        if busy:
            raise DeviceError(
                phase, f"{busy[0]} must be idle, not busy", "switch the board off and on", self.dump()
            )

    def _free_buffers(self) -> None:
        for slot in self.slots:
            slot.input.free()
            slot.output.free()
        self.slots = []
