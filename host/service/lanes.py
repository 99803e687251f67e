"""Requests on their way through threads: in order, and gone at once when their client is."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Callable

from fireflow.host.transfers import Finished

if TYPE_CHECKING:
    from fireflow.hw.types import Array


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
    """Threads that take works: the smallest first, and of the same size the one that came first.

    Args:
        name: of the threads.
        threads: how many.
        handle: what each work gets; it must not raise.
        memory: bytes that the works in hand may take together, by their `size_bytes`; None without a bound.
    """

    def __init__(
        self, name: str, threads: int, handle: Callable[[Work], None], memory: int | None = None
    ) -> None:
        self._handle, self._memory = handle, memory
        self._waiting: OrderedDict[Work, None] = OrderedDict()
        self._used = 0
        self._change = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, work: Work, first: bool = False, room: int | None = None) -> bool:
        """Adds a work, at the end or as the first.

        Args:
            work: with its size.
            first: before all others of its size.
            room: works of any size that may wait; None for as many as come.

        Returns:
            False if there is no room or the lane is closed.
        """
        with self._change:
            if self._closed or (room is not None and sum(w.size_bytes > 0 for w in self._waiting) >= room):
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

    def _next(self) -> Work | None:
        """The work whose turn it is, if it fits."""
        work = min(self._waiting, key=lambda work: work.size_bytes, default=None)
        if work is None or self._memory is None or not self._used:
            return work
        return work if self._used + work.size_bytes <= self._memory else None

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closed or self._next() is not None)
                work = self._next()
                if self._closed or work is None:
                    return
                del self._waiting[work]
                size = work.size_bytes
                self._used += size
            if work.open:
                self._handle(work)
            del work  # or a picture would stay until the next one comes
            with self._change:
                self._used -= size
                if size:
                    self._change.notify()
