"""Requests on their way through threads: in order, and gone at once when their client is."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Callable

from host.transfers import Finished

if TYPE_CHECKING:
    from hw.types import Array


class Refused(Exception):
    """A request that is answered with an HTTP error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Work:
    """One request's picture, until it has its scores or nobody waits for them any more.

    Args:
        body: what the client sent; None when there is an image already.
        kind: its content type; of a form, with the boundary.
        deliver: gets the result or the exception, in any thread, once.
        decoded: called in any thread when the body is not needed any more.
        image: uint8 (H, W, C), as the accelerator takes it.
    """

    def __init__(
        self,
        body: bytes | None,
        kind: str,
        deliver: Callable[[Finished | BaseException], None],
        decoded: Callable[[], None] = lambda: None,
        image: Array | None = None,
    ) -> None:
        self.body, self.kind, self.image, self.decoded = body, kind, image, decoded
        self.size_bytes = 0
        self.attempts = 0
        self._deliver: Callable[[Finished | BaseException], None] | None = deliver
        self._lock = threading.Lock()

    @property
    def open(self) -> bool:
        """Whether somebody still waits."""
        return self._deliver is not None

    def end(self, result: Finished | BaseException | None = None) -> bool:
        """Delivers a result, or None for nobody; what it held is freed. False if it had ended before."""
        with self._lock:
            deliver, self._deliver = self._deliver, None
            self.body = self.image = None
        if deliver is None:
            return False
        if result is not None:
            deliver(result)
        return True


class Lane:
    """Threads that take works one after the other.

    Args:
        name: of the threads.
        threads: how many.
        handle: what each work gets; it must not raise.
        room: works that may wait; None for as many as come.
        key: the smallest goes first; by default, in the order of their coming.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        handle: Callable[[Work], None],
        room: int | None = None,
        key: Callable[[Work], Any] | None = None,
    ) -> None:
        self._handle, self._room, self._key = handle, room, key
        self._waiting: OrderedDict[Work, None] = OrderedDict()
        self._change = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, work: Work, first: bool = False) -> bool:
        """Adds a work, at the end or as the first; False if there is no room or the lane is closed."""
        with self._change:
            full = self._room is not None and len(self._waiting) >= self._room and not first
            if full or self._closed:
                return False
            self._waiting[work] = None
            if first:
                self._waiting.move_to_end(work, last=False)
            self._change.notify()
        return True

    def drop(self, work: Work) -> None:
        """Forgets a work, if it still waits."""
        with self._change:
            self._waiting.pop(work, None)

    def clear(self) -> list[Work]:
        """Takes out all that wait."""
        with self._change:
            works = list(self._waiting)
            self._waiting.clear()
        return works

    def close(self) -> None:
        """Ends the threads, each after what it has in hand; what waits is left."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                work = min(self._waiting, key=self._key) if self._key else next(iter(self._waiting))
                del self._waiting[work]
            if work.open:
                self._handle(work)
