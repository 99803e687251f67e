"""What was accepted and has no answer yet: every future gets one, and no result before the check that covers it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable

from fireflow.host.transfers import Finished

if TYPE_CHECKING:
    from concurrent.futures import Future

    from fireflow.host.devices.base import DeviceError
    from fireflow.host.transfers import Slot
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class Held:
    """A result that was read and is not given out: of which transfer, and the number behind its last frame."""

    order: int
    end: int
    future: Future[Finished]
    wanted: bool
    scores: Int64Array
    seconds: dict[str, float]
    since: float

    def give(self) -> None:
        """Answers whoever waits, unless nobody does any more."""
        waited = time.monotonic() - self.since
        self.seconds["read"] += waited
        self.seconds["total"] += waited
        if self.wanted:
            self.future.set_result(Finished(self.scores, self.seconds))


class Pending:
    """Futures by age, and the results that wait for a check.

    Args:
        lock: of everything that is shared between threads; the callers of `accept` and `drop` hold it.
    """

    def __init__(self, lock: threading.Condition) -> None:
        self._lock = lock
        self._since: dict[Future[Any], float] = {}
        self.held: deque[Held] = deque()

    def accept(self, future: Future[Any]) -> None:
        """From now on it is due."""
        self._since[future] = time.monotonic()

    def drop(self, future: Future[Any]) -> bool:
        """It is answered by the caller, or needs no answer; False if somebody else has answered it."""
        return self._since.pop(future, None) is not None

    @property
    def oldest(self) -> float | None:
        """When the oldest was accepted, or None."""
        with self._lock:
            return next(iter(self._since.values()), None)

    def hold(self, slot: Slot, scores: Int64Array) -> None:
        """Keeps the result of a transfer until it is covered."""
        now, end = time.monotonic(), slot.first + slot.frames
        self.held.append(Held(slot.order, end, slot.future, slot.wanted, scores, slot.seconds(now), now))

    def give(self, covered: Callable[[Held], bool]) -> None:
        """Answers with the results that are covered, in order, up to the first that is not."""
        while self.held and covered(self.held[0]):
            held = self.held.popleft()
            with self._lock:
                mine = self.drop(held.future)
            if mine:
                held.give()

    def fail(self, error: DeviceError) -> None:
        """Answers all with an error; what is held is not given out."""
        with self._lock:
            futures = list(self._since)
            self._since.clear()
        for future in futures:
            with contextlib.suppress(Exception):  # whoever waited for it may have left just now
                future.set_exception(error)
