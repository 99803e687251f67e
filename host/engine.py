"""Keeps both DMAs busy: slots with an input and an output buffer each, and one thread that schedules them.

The input DMA and the output DMA are started independently of each other, so that a frame is prepared by whoever
submits it, another goes in, others are under way, and one is read out, all at the same time.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Mapping

import numpy as np

from host.devices.base import INPUT_DMA, OUTPUT_DMA, DeviceError, DeviceLost, DeviceTimeout
from host.devices.dma import Dma

if TYPE_CHECKING:
    from host.design import Design, Port
    from host.devices.base import Buffer, Device
    from hw.types import Array, Int64Array

GUARD_BYTES = 64
PHASES = ("wait", "prepare", "input", "compute", "read", "total")
_GUARD = 0xA5
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 5e-5, 5e-3
_HINTS: Mapping[str, str] = {
    "input": "the accelerator takes no data: a stalled stream, a stopped clock, or the input DMA does not "
    "reach the buffer; reset()",
    "output": "the accelerator gives no data: a deadlock, a short frame, or the output DMA does not reach "
    "the buffer; reset()",
}


@dataclass(frozen=True)
class Finished:
    """A transfer that is through.

    Args:
        scores: int64 (N, classes).
        seconds: by phase, see PHASES.
    """

    scores: Int64Array
    seconds: Mapping[str, float]


@dataclass(eq=False)
class _Slot:
    input: Buffer
    output: Buffer
    frames: int = 0
    future: Future[Finished] = field(default_factory=Future)
    begin: float = 0.0
    prepare_s: float = 0.0
    queued: float = 0.0
    started: float = 0.0
    sent: float = 0.0
    received: float = 0.0


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
        self._pattern = _pattern(design.output, batch)
        self._idma = Dma(INPUT_DMA, device.registers(INPUT_DMA))
        self._odma = Dma(OUTPUT_DMA, device.registers(OUTPUT_DMA))
        self._change = threading.Condition()
        self.slots: list[_Slot] = []
        self.fault: DeviceError | None = None
        self._preparing = 0
        try:
            for _ in range(slots):
                given = device.allocate(batch * design.input.frame_bytes)
                try:
                    taken = device.allocate(len(self._pattern))
                except BaseException:
                    given.free()
                    raise
                self.slots.append(_Slot(given, taken))
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

    def _prepare(self, slot: _Slot, frames: Array, begin: float) -> None:
        slot.begin, slot.started, start = begin, 0.0, time.monotonic()
        slot.frames, slot.future = len(frames), Future()
        self._design.input.pack(frames, slot.input.array)
        np.copyto(slot.output.array, self._pattern)
        slot.output.flush()
        slot.input.flush()
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
        self._queue: deque[_Slot] = deque()
        self._unarmed: deque[_Slot] = deque()
        self._sending: _Slot | None = None
        self._receiving: _Slot | None = None
        self._armed = self._progress = 0.0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="fireflow-dma", daemon=True)
        self._thread.start()

    def _busy(self) -> bool:
        return bool(self._queue or self._unarmed or self._sending or self._receiving)

    def _run(self) -> None:
        me = threading.current_thread()
        try:
            while True:
                with self._change:
                    self._change.wait_for(
                        lambda: self._busy() or (self._stopping and not self._preparing) or self.fault
                    )
                    if self.fault is not None or not (self._busy() or self._preparing):
                        return
                moved = self._step()
                if self._thread is not me or self.fault is not None:
                    return
                if not moved:
                    time.sleep(self._pause())
        except DeviceError as error:
            self.poison(error)
        except Exception as error:  # whatever a driver of a board raises: the device is not to be trusted
            self.poison(
                DeviceLost(
                    "device", f"the board must answer, not fail with {error!r}", "check it, then reset()"
                )
            )

    def _step(self) -> bool:
        """Looks at both DMAs once, and starts what can start; True if anything happened."""
        now = time.monotonic()  # before the look: a thread that is late must not blame the DMA
        finished: _Slot | None = None
        moved = False
        if self._sending is not None and self._idma.idle():
            self._sending.sent, self._sending, moved = time.monotonic(), None, True
        slot = self._receiving
        if slot is not None and slot is not self._sending and self._odma.idle():
            slot.received = self._progress = time.monotonic()
            finished, self._receiving, moved = slot, None, True
        if self._receiving is None and self._unarmed:
            slot = self._unarmed.popleft()
            self._odma.start(slot.output.address, slot.frames)
            self._receiving, self._armed, moved = slot, time.monotonic(), True
        if self._sending is None and self._queue:
            slot = self._queue.popleft()
            slot.started, slot.sent = time.monotonic(), 0.0
            self._idma.start(slot.input.address, slot.frames)
            self._sending, moved = slot, True
        if finished is not None:
            self._finish(finished)
        self._check_deadlines(now)
        return moved

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

    def _timeout(self, phase: str, slot: _Slot) -> DeviceTimeout:
        dma = self._idma if phase == "input" else self._odma
        return DeviceTimeout(
            phase,
            f"{dma.name} must move {slot.frames} frames within {self._limit(slot.frames):.3g} s, not hang",
            _HINTS[phase],
            self.dump(),
        )

    def _pause(self) -> float:
        """How long to sleep until the next look: long at first, then often."""
        design, now = self._design, time.monotonic()
        next_s = _LONGEST_PAUSE_S
        if self._sending is not None:
            next_s = self._sending.started + self._sending.frames * design.interval_s - now
        if self._receiving is not None and self._receiving.started:
            end = (
                self._receiving.started + design.latency_s + (self._receiving.frames - 1) * design.interval_s
            )
            next_s = min(next_s, end - now)
        return min(_LONGEST_PAUSE_S, max(_SHORTEST_PAUSE_S, next_s / 2))

    def _finish(self, slot: _Slot) -> None:
        """Reads a slot out, gives its result and frees it."""
        port, count = self._design.output, slot.frames
        slot.output.invalidate()
        used = count * port.frame_bytes
        scores = port.unpack(slot.output.array, count)
        lo, hi = port.kind.lo, port.kind.hi
        if scores.min() < lo or scores.max() > hi:
            wrong = int(np.argmax((scores < lo) | (scores > hi)))
            raise DeviceError(
                "output",
                f"every score must lie in {lo}..{hi}, not {scores.flat[wrong]} at position {wrong} of {scores.size}",
                "the frame was cut short or never written; reset()",
                self.dump(),
            )
        if not np.array_equal(slot.output.array[used:], self._pattern[used:]):
            raise DeviceError(
                "output",
                f"the output DMA must write {used} bytes, not others behind them",
                "the transfer is too long, the design is another one, or a cache was not flushed; reset()",
                self.dump(),
            )
        end = time.monotonic()
        seconds = {
            "wait": slot.started - slot.begin - slot.prepare_s,
            "prepare": slot.prepare_s,
            "input": slot.sent - slot.started,
            "compute": slot.received - slot.sent,
            "read": end - slot.received,
            "total": end - slot.begin,
        }
        future = slot.future
        with self._change:
            slot.started = 0.0
            self._free.append(slot)
            self._change.notify_all()
        future.set_result(Finished(scores, seconds))

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


def _pattern(port: Port, batch: int) -> Array:
    """What an output buffer holds before a transfer: values that no score takes, and a guard behind them.

    Where every code of the port's bits is a score, a part that was not written does not show.
    """
    kind = port.kind
    codes = range(-(1 << (kind.bits - 1)), 1 << (kind.bits - 1)) if kind.signed else range(1 << kind.bits)
    value = codes[-1] if codes[-1] > kind.hi else codes[0]
    frame = np.zeros(port.frame_bytes, np.uint8)
    port.pack(np.full((1, *kind.shape), value, np.int64), frame)
    return np.concatenate([np.tile(frame, batch), np.full(GUARD_BYTES, _GUARD, np.uint8)])
