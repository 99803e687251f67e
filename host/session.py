"""What is under way on a device since its design was loaded: queues, the thread that schedules both DMAs, its end.

The input DMA and the output DMA are started independently of each other, so that a frame is prepared by whoever
submits it, another goes in, others are under way, and one is read out, all at the same time.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Callable, Mapping, Sequence

from fireflow.host.cover import Cover
from fireflow.host.devices.base import DeviceError, DeviceLost, DeviceTimeout, short
from fireflow.host.pacing import Pace, pause
from fireflow.host.pending import Pending

if TYPE_CHECKING:
    from concurrent.futures import Future

    from fireflow.host.audits import Audits
    from fireflow.host.devices.dma import Dma
    from fireflow.host.interface import Interface
    from fireflow.host.transfers import Finished, Layout, Slot
    from fireflow.hw.types import Array

_AHEAD_S, _IDLE_S, _LULL_S = 1e-3, 5e-3, 1e-3
_HINTS: Mapping[str, str] = {
    "input": "the accelerator takes no data: a stalled stream, a stopped clock, or the input DMA does not "
    "reach the buffer; reset()",
    "output": "the accelerator gives no data: a deadlock, a short frame, or the output DMA does not reach "
    "the buffer; reset()",
}


class Session:
    """From the loading of a design to the first fault or the end.

    A result is given out when something shows that it is right: our shell's tag and the pause that it saw behind the
    frame, or a golden image that came out right behind it (`host.cover`).

    Args:
        dmas: of the input and the output.
        interface: what is on the device.
        layout: of the buffers.
        slots: all of them free.
        spare: gives a slot for audits, which nothing else uses.
        deadline_s: how long a transfer may take beyond what the design says.
        patience_s: how long an answer may take.
        audits: golden images; without them results are given out at once.
    """

    def __init__(
        self,
        dmas: tuple[Dma, Dma],
        interface: Interface,
        layout: Layout,
        slots: Sequence[Slot],
        spare: Callable[[], Slot],
        deadline_s: float,
        patience_s: float,
        audits: Audits | None,
    ) -> None:
        self._idma, self._odma = dmas
        self._interface, self._layout, self._audits = interface, layout, audits
        self._deadline_s, self._patience_s = deadline_s, patience_s
        self._change = threading.Condition()
        self.fault: DeviceError | None = None
        self._free, self._spare = list(slots), spare
        self._audit_slot: Slot | None = None
        self._queue: deque[Slot] = deque()
        self._unarmed: deque[Slot] = deque()
        self._unread: deque[Slot] = deque()
        self._sending: Slot | None = None
        self._receiving: Slot | None = None
        self._armed = self._progress = self._rested = 0.0
        self._pending = Pending(self._change)
        self._cover = Cover(self._pending, audits, max(_LULL_S, interface.interval_s / 4), deadline_s / 2)
        self._preparing = self._sent = 0  # transfers; frames
        self._known = self._stopping = False
        self._input_pace, self._output_pace = Pace(), Pace()
        self._begun, self._ended = time.monotonic(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="fireflow-dma", daemon=True)
        self._thread.start()
        threading.Thread(target=self._watch, name="fireflow-watch", daemon=True).start()

    @property
    def held_at_most(self) -> int:
        """Frames whose results may wait for a check: that depends on the device's shell, which must answer.

        Raises:
            DeviceError: it did not.
        """
        with self._change:
            self._check()
            self._change.wait_for(lambda: self._known or self.fault or self._stopping)
            if self.fault is not None:
                raise self.fault
            return self._cover.most

    def submit(self, frames: Array, timeout_s: float | None = None) -> Future[Finished]:
        """As `DmaScheduler.submit`."""
        slot = self._take_slot(self._patience_s if timeout_s is None else timeout_s)
        try:
            self._prepare(slot, frames)
        except BaseException as error:
            with self._change:
                self._preparing -= 1
                self._free.append(slot)
                self._change.notify_all()
            if isinstance(error, DeviceError):
                self.poison(error)
            raise
        future = slot.future  # the slot may be another's as soon as it is queued
        with self._change:
            self._preparing -= 1
            self._pending.accept(future)
            self._cover.add(slot.frames)
            self._enqueue(slot)
        self._check_poison()
        return future

    def audit(self, always: bool) -> Future[Finished]:
        """As `DmaScheduler.audit`."""
        with self._change:
            self._check()
            future = self._cover.ask(always)
            self._change.notify_all()
        return future

    def _take_slot(self, patience_s: float) -> Slot:
        begin = time.monotonic()
        with self._change:
            self._check()
            self._change.wait_for(
                lambda: (self._free and self._known) or self.fault or self._stopping, patience_s
            )
            if self.fault is not None:
                raise self.fault
            self._check()
            if not (self._free and self._known):
                raise DeviceTimeout(
                    "input", f"a slot must become free in {patience_s:.3g} s", "send less at once, or later"
                )
            slot = self._free.pop()
            self._preparing += 1
        slot.begin = begin
        return slot

    def _prepare(self, slot: Slot, frames: Array) -> None:
        slot.started, start = 0.0, time.monotonic()
        self._layout.fill(slot, frames)
        slot.queued = time.monotonic()
        slot.prepare_s = slot.queued - start

    def _enqueue(self, slot: Slot) -> None:
        """The caller holds the lock."""
        slot.order = self._cover.number()
        self._queue.append(slot)
        self._unarmed.append(slot)
        self._change.notify_all()

    def _check_poison(self) -> None:
        if self.fault is not None:
            raise type(self.fault)(
                self.fault.phase,
                f"the session must be whole, not poisoned by: {self.fault.problem}",
                "call reset()",
                self.fault.registers,
            ) from self.fault

    def _check(self) -> None:
        self._check_poison()
        if self._stopping:
            raise DeviceError("close", "the accelerator must be open, not closed", "open it again")

    # --- the threads ----------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Answers for a thread that does not come back from the device."""
        wait_s = 0.0
        while not self._ended.wait(wait_s) and self.fault is None:
            with self._change:
                oldest = self._pending.oldest if self._known else self._begun
            wait_s = self._patience_s / 2 if oldest is None else oldest + self._patience_s - time.monotonic()
            if wait_s <= 0:
                self.poison(
                    DeviceTimeout(
                        "result",
                        f"the board must answer within {self._patience_s:.3g} s, not hang",
                        "the bus or the connection does not answer; switch the board off and on",
                    )
                )

    def _due(self) -> bool:
        idle = not (self._queue or self._preparing) and self._sending is None
        return self._cover.due(time.monotonic() - self._rested if idle else 0.0)

    def _busy(self) -> bool:
        return bool(
            self._queue
            or self._unarmed
            or self._unread
            or self._sending
            or self._receiving
            or self._pending.held
            or self._due()
        )

    def _run(self) -> None:
        # On a busy processor every look comes late without it; it needs root, as pynq does, or a limit for it.
        # What this thread starts, as the virtual board does, must not have it.
        with contextlib.suppress(OSError, AttributeError):
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        try:
            self._identify()  # in this thread, like every access: a bus that hangs must not hang the caller
            while self._wait():
                if not self._step() and not self._read_one():
                    self._sleep()
        except DeviceError as error:
            self.poison(error)
        except Exception as error:  # whatever a driver of a board raises: the device is not to be trusted
            self.poison(
                DeviceLost(
                    "device", f"the board must answer, not fail with {short(error)}", "check it, then reset()"
                )
            )
        finally:
            self._ended.set()

    def _wait(self) -> bool:
        """Until there is something to do; False at the end."""
        with self._change:
            self._change.wait_for(
                lambda: self._busy() or (self._stopping and not self._preparing) or self.fault
            )
            return self.fault is None and (self._busy() or self._preparing > 0)

    def _step(self) -> bool:
        """Looks at both DMAs once, and starts what can start, the input first; True if anything happened."""
        now = time.monotonic()  # before the look: a thread that is late must not blame the DMA
        moved = False
        slot = self._sending
        if slot is not None and self._idma.ended():
            slot.sent = self._rested = time.monotonic()
            self._sending, moved = None, True
            self._input_pace.learn(slot.sent - slot.started, self._input_s(slot))
        if self._sending is None:
            if self._due():
                self._queue_audit()
            moved = self._send_next() or moved
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
        if self._pending.held:
            self._give()
        self._check_deadlines(now)
        return moved

    def _send_next(self) -> bool:
        """Starts the input of the next transfer that is wanted; whether there was one."""
        with self._change:
            while True:
                slot = self._queue.popleft() if self._queue else None
                if slot is None:
                    return False
                slot.wanted = slot.future.set_running_or_notify_cancel()
                if slot.wanted or slot not in self._unarmed:
                    break  # the output waits for it already
                self._unarmed.remove(slot)
                self._pending.drop(slot.future)
                self._free.append(slot)
                self._change.notify_all()
        slot.first, slot.started, slot.sent = self._sent, time.monotonic(), 0.0
        self._sent += slot.frames
        self._idma.start(slot.input.address, slot.frames)
        self._sending = slot
        return True

    def _input_s(self, slot: Slot) -> float:
        """How long the slot's frames take to go in, as the design says."""
        return slot.frames * self._interface.interval_s

    def _output_s(self, slot: Slot) -> float:
        """From the start of the input to the end of the output."""
        return self._interface.latency_s + (slot.frames - 1) * self._interface.interval_s

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
        if self._cover.most:
            pauses.append(self._cover.lull_s)
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
        interface = self._interface
        return self._deadline_s + 2 * (interface.latency_s + frames * interface.interval_s)

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
        """Reads a slot out, and frees it; its result is given out when something covers it."""
        try:
            scores = self._layout.read(slot)
            if slot is self._audit_slot:
                self._cover.check(scores)
        except DeviceError as error:
            raise type(error)(error.phase, error.problem, error.hint, self.dump()) from None
        with self._change:
            if slot is self._audit_slot:
                self._cover.passed(slot.order)
            else:
                self._pending.hold(slot, scores)
                self._free.append(slot)
            self._change.notify_all()
        self._give()

    def _queue_audit(self) -> None:
        """Prepares a golden image now, so that a flush that was lost before shows, and queues it."""
        slot = self._audit_slot = self._spare()
        with self._change:
            image = self._cover.begin()
        slot.begin = time.monotonic()
        self._prepare(slot, image)
        with self._change:
            self._enqueue(slot)

    def _give(self) -> None:
        """Gives out what is covered."""
        asks = self._cover.asks_shell and bool(self._pending.held)
        self._cover.give(self._odma.aligned() if asks else None)

    def _identify(self) -> None:
        """Asks which shell it is, and refuses another accelerator than the bundle's, where both tell their hash."""
        for dma in (self._idma, self._odma):
            found, wanted = dma.identify(), self._interface.accelerator
            if found and wanted and found != wanted:
                raise DeviceError(
                    "open",
                    f"wrong bitstream: {dma.name} must tell the bundle's accelerator {wanted[:16]}, not {found[:16]}",
                    "the bitstream is of another build: build it again, and copy the whole bundle",
                )
        self._odma.ask_for_tags()
        self._layout.use_tags(self._odma.tags)
        if self._audits is not None and not self._odma.tags:
            self._audits.complete()
        with self._change:
            self._cover.asks_shell = self._odma.proves
            self._known = True
            self._change.notify_all()

    # --- the end --------------------------------------------------------------------------------------------

    def dump(self) -> dict[str, dict[str, int]]:
        """Both DMAs' registers, as far as the device still answers."""
        dumped = {}
        for dma in (self._idma, self._odma):
            with contextlib.suppress(Exception):
                dumped[dma.name] = dma.dump()
        return dumped

    def poison(self, error: DeviceError) -> None:
        """Ends the session: every frame without an answer fails with this error, and nothing is accepted."""
        with self._change:
            self.fault = self.fault or error
            self._change.notify_all()
        self._pending.fail(error)

    def finish(self) -> None:
        """Accepts nothing more, and lets what was accepted finish."""
        with self._change:
            self._stopping = True
            self._change.notify_all()

    def join(self, phase: str) -> None:
        """Waits for the end, which `poison` or `finish` brings. Raises DeviceTimeout."""
        end = time.monotonic() + self._patience_s
        with self._change:  # nobody may still write into a buffer
            quiet = self._change.wait_for(lambda: not self._preparing, self._patience_s)
        self._thread.join(max(0.0, end - time.monotonic()))
        if self._thread.is_alive() or not quiet:
            raise DeviceTimeout(
                phase,
                f"the board must answer within {self._patience_s:.3g} s, not hang",
                "switch it off and on",
            )
