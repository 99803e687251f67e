"""The device behind the service: works go in one after the other, it is reset once for all, and its health is known."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from fireflow.host.devices.base import DeviceError, DeviceTimeout, short
from fireflow.host.service.lanes import Lane, Refused, Work
from fireflow.host.transfers import PHASES, Finished
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from fireflow.host.driver import Accelerator

_ATTEMPTS = 3
"""How often a picture goes to the device; each time after a fault that was not the picture's."""
_LOOK_S, _SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 0.5, 30.0

logger = logging.getLogger(__name__)


class Dispatcher:
    """One accelerator. A thread hands it the works, another resets it after a fault, while the works wait.

    Args:
        accelerator: open.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.resets = 0
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.facts: dict[str, Any] = accelerator.device.facts()
        self._lock = threading.Lock()
        self._under_way: dict[Work, tuple[float, Future[Finished]]] = {}
        self._submitting = 0.0
        self._success, self._missed = time.monotonic(), 0.0
        self._ready, self._wanted, self._closed = threading.Event(), threading.Event(), threading.Event()
        self._ready.set()
        self._recovery: threading.Thread | None = None
        self._failures = 0
        self._problem: str | None = None
        self._lane = Lane("fireflow-dispatch", 1, self._dispatch)

    def put(self, work: Work) -> None:
        """Queues a prepared work."""
        if not self._lane.put(work):
            work.end(Refused(503, "the service ends; ask another"))

    def drop(self, work: Work) -> None:
        """Forgets a work that nobody waits for; what the device has begun comes out by itself."""
        self._lane.drop(work)
        with self._lock:
            under_way = self._under_way.get(work)
        if under_way is not None:
            under_way[1].cancel()

    def close(self) -> None:
        """Ends the threads; the accelerator stays open."""
        self._closed.set()
        self._wanted.set()
        self._lane.close()
        recovery = self._recovery
        if recovery is not None:
            recovery.join(self.accelerator.patience_s)

    # --- health ---------------------------------------------------------------------------------------------

    @property
    def idle_s(self) -> float:
        """Seconds since the device last did what it was told, 0 while it has something to do."""
        with self._lock:
            return 0.0 if self._under_way else time.monotonic() - self._success

    @property
    def doubtful(self) -> bool:
        """Whether a work had no result in time, and none has come since."""
        return self._missed > self._success

    def miss(self) -> None:
        """A work's time is over without a result."""
        self._missed = time.monotonic()

    def trouble(self) -> str | None:
        """What is wrong with the device now; None if nothing is known to be."""
        fault, problem = self.accelerator.fault, self._problem
        if problem is not None:
            return f"the device does not recover: {problem}"
        if fault is not None:
            self._recover(fault)  # an audit may have found it after the last request
            return str(fault)
        if not self._ready.is_set():
            return "the device is being reset"
        now = time.monotonic()
        with self._lock:
            waiting = [begun for begun, _future in self._under_way.values()]
            waiting += [self._submitting] if self._submitting else []
            since = max(self._success, min(waiting)) if waiting else now
        # Half of what every transfer before one may take together: a device at work gives a result by then.
        if now - since > self.accelerator.patience_s / 2:
            return f"the device has not answered for {now - since:.0f} s"
        return None

    def distrust(self, error: DeviceError) -> None:
        """Resets a device that answers, but wrongly."""
        self._recover(error)

    # --- works ----------------------------------------------------------------------------------------------

    def _dispatch(self, work: Work) -> None:
        """Gives a work to the device as soon as that is whole and has a slot."""
        failures = self._failures
        while work.open and not self._closed.is_set():
            if self._failures != failures:
                work.end(self._refusal())
                return
            fault = self.accelerator.fault
            if fault is not None:
                self._recover(fault)
            if not self._ready.wait(_LOOK_S):
                self._wanted.set()
                continue
            if self._submit(work):
                return

    def _submit(self, work: Work) -> bool:
        """Whether the work needs no other try: it is under way, or has ended."""
        image = work.image
        if image is None:
            return True
        begun = self._submitting = time.monotonic()
        try:
            future = self.accelerator.submit(image[None], _LOOK_S)
        except DeviceTimeout as error:
            if self.accelerator.fault is not None:
                self._recover(error)
            return False  # every slot is taken: once more, if somebody still waits then
        except DeviceError as error:
            self._recover(error)
            return False
        except InputError as error:
            work.end(Refused(400, str(error)))
            return True
        except Exception as error:  # it belongs to the request; this thread serves all others
            work.end(error)
            return True
        finally:
            self._submitting = 0.0
        with self._lock:
            self._under_way[work] = begun, future
        future.add_done_callback(partial(self._finished, work))
        return True

    def _finished(self, work: Work, future: Future[Finished]) -> None:
        """Runs in the driver's thread: the result is there, the transfer failed, or it was cancelled before."""
        with self._lock:
            self._under_way.pop(work, None)
        if future.cancelled():
            return
        error = future.exception()
        with self._lock:
            if error is None:
                self._success = time.monotonic()
                for phase in PHASES:
                    self.seconds[phase] += future.result().seconds[phase]
        if error is None:
            work.end(future.result())
        elif not isinstance(error, DeviceError):
            work.end(error)
        else:
            self._recover(error)
            work.attempts += 1
            if work.attempts >= _ATTEMPTS:
                work.end(Refused(503, "the device failed again and again; try again in a moment"))
            elif work.open and not self._lane.put(work, first=True):
                work.end(Refused(503, "the service ends; ask another"))

    # --- recovery -------------------------------------------------------------------------------------------

    def _recover(self, error: DeviceError) -> None:
        """Has the device reset, unless that is under way or it is whole again already."""
        with self._lock:
            whole = self.accelerator.fault is None and error.phase != "self-check"
            if self._recovery is not None or whole or self._closed.is_set():
                return
            self._ready.clear()
            self._recovery = threading.Thread(target=self._reset, name="fireflow-reset", daemon=True)
            logger.warning("the device is reset after: %s", error)
            self._recovery.start()

    def _reset(self) -> None:
        """Resets until it works; at once when somebody waits, less and less often when nobody does."""
        pause = _SHORTEST_PAUSE_S
        while not self._closed.is_set():
            self.resets += 1
            try:
                self.accelerator.reset()
                self.facts = self.accelerator.device.facts()
            except Exception as error:  # a board's driver raises anything; it is tried again
                self._problem = str(error) if isinstance(error, DeviceError) else short(error)
                logger.warning("the device does not recover: %s", self._problem)
                self._wanted.clear()
                self._failures += 1
                for work in self._lane.clear():
                    work.end(self._refusal())
                self._closed.wait(_SHORTEST_PAUSE_S)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                self._wanted.wait(pause)
                continue
            with self._lock:
                self._problem, self._recovery, self._success = None, None, time.monotonic()
                self._ready.set()
            return

    @staticmethod
    def _refusal() -> Refused:
        return Refused(503, "the device does not recover; /health says more, try again later")
