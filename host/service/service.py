"""The HTTP service without HTTP: places, deadlines, clients that leave, answers, metrics."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Mapping, Tuple, Union

import numpy as np

from fireflow.host.devices.base import DeviceError
from fireflow.host.scores import best
from fireflow.host.service.decoding import Decoder
from fireflow.host.service.dispatcher import Dispatcher
from fireflow.host.service.lanes import Refused, Work
from fireflow.host.transfers import PHASES, Finished

if TYPE_CHECKING:
    from fireflow.host.driver import Accelerator

    Receive = Callable[[], Awaitable[Mapping[str, Any]]]

DEADLINE_S = 30.0
"""How long an accepted request may take, unless the device's own deadlines allow more."""
_CHECK_AFTER_S, _CHECK_S, _DOUBT_S = 10.0, 5.0, 1.0
_LARGE_SHARE = 4
"""One place in so many may be a large picture's: they take long, and others must not wait for them."""


class Left(Exception):
    """The client closed the connection."""


class Service:
    """One accelerator, shared by many clients.

    Args:
        accelerator: open; it stays so.
        capacity: requests that may be under way; more are refused, none of the accepted is lost.
        deadline_s: from the last byte of a request to its answer; DEADLINE_S or what the driver needs by default.
    """

    def __init__(self, accelerator: Accelerator, capacity: int, deadline_s: float | None = None) -> None:
        self.accelerator, self.capacity = accelerator, capacity
        self.deadline_s = max(DEADLINE_S, accelerator.patience_s) if deadline_s is None else deadline_s
        self.under_way = 0
        self.answers: Counter[int] = Counter()
        self.left = 0
        self.dispatcher = Dispatcher(accelerator)
        self._decoder = Decoder(accelerator, self.dispatcher.put, max(1, capacity // _LARGE_SHARE))
        self._check: asyncio.Future[str | None] | None = None

    @property
    def resets(self) -> int:
        """How often the device was reset."""
        return self.dispatcher.resets

    def close(self) -> None:
        """Ends the threads."""
        self._decoder.close()
        self.dispatcher.close()

    async def score(
        self, body: bytes, kind: str, receive: Receive, decoded: Callable[[], None] = lambda: None
    ) -> Finished:
        """The scores of an uploaded picture, or of a raw array of the input's size.

        Args:
            body: all of it.
            kind: its content type.
            receive: ASGI's; what comes next is that the client left.
            decoded: called in any thread when the body's memory is free.

        Raises:
            Refused: no place, no picture, or no answer in time.
            Left: nobody waits any more; the place is free again.
        """
        if self.under_way >= self.capacity:
            raise Refused(503, f"the queue is full ({self.capacity} requests); try again in a moment")
        self.under_way += 1
        try:
            return await self._scores(body, kind, receive, decoded)
        finally:
            self.under_way -= 1

    async def _scores(
        self, body: bytes, kind: str, receive: Receive, decoded: Callable[[], None]
    ) -> Finished:
        loop, (outcome, deliver) = asyncio.get_running_loop(), _outcome()
        work = Work(body, kind, deliver, decoded)
        late = Refused(504, f"the answer must be there in {self.deadline_s:g} s, and is not; try again later")
        timer = loop.call_later(self.deadline_s, _settle, outcome, late)
        watcher = loop.create_task(_left(receive, outcome))
        try:
            self._decoder.put(work)
            return await outcome
        except Refused as error:
            if error is late and work.image is not None:
                self.dispatcher.miss()
            raise
        finally:
            timer.cancel()
            watcher.cancel()
            self._give_up(work)

    def _give_up(self, work: Work) -> None:
        """Forgets a work that has not ended."""
        if work.end():
            self._decoder.drop(work)
            self.dispatcher.drop(work)

    # --- health and metrics ---------------------------------------------------------------------------------

    async def health(self) -> str | None:
        """What is wrong with the device; None if it works, which a golden image shows where nothing else did."""
        trouble, doubtful = self.dispatcher.trouble(), self.dispatcher.doubtful
        if trouble is not None or not (doubtful or self.dispatcher.idle_s > _CHECK_AFTER_S):
            return trouble
        if self._check is None:  # one for all who ask
            self._check = asyncio.ensure_future(self._self_check(_DOUBT_S if doubtful else _CHECK_S))
            self._check.add_done_callback(self._checked)
        return await asyncio.shield(self._check)

    def _checked(self, _check: Any) -> None:
        self._check = None

    async def _self_check(self, patience_s: float) -> str | None:
        golden = self.accelerator.bundle.golden
        if not len(golden.images) or self.accelerator.patience_s / 2 > DEADLINE_S:
            return None  # none to send, or a device that may take minutes: its own deadlines tell
        outcome, deliver = _outcome()
        work = Work(None, "", deliver, image=golden.images[0])
        self.dispatcher.put(work)
        try:
            result = await asyncio.wait_for(outcome, patience_s)
        except asyncio.TimeoutError:
            return self.dispatcher.trouble() or f"a golden image has had no answer for {patience_s:g} s"
        except (Refused, DeviceError) as error:
            return self.dispatcher.trouble() or str(error)
        finally:
            self._give_up(work)
        if np.array_equal(result.scores[0], golden.scores[0]):
            return None
        fault = DeviceError(
            "self-check", "a golden image must have the bundle's scores, not others", "reset()"
        )
        self.dispatcher.distrust(fault)
        return str(fault)

    def metrics(self) -> str:
        """All figures in Prometheus' text format."""
        lines = ["# TYPE fireflow_answers_total counter"]
        lines += [f'fireflow_answers_total{{status="{s}"}} {n}' for s, n in sorted(self.answers.items())]
        lines.append("# TYPE fireflow_phase_seconds_total counter")
        seconds = self.dispatcher.seconds
        lines += [f'fireflow_phase_seconds_total{{phase="{p}"}} {seconds[p]:.6f}' for p in PHASES]
        values = {
            "fireflow_under_way": ("gauge", self.under_way),
            "fireflow_capacity": ("gauge", self.capacity),
            "fireflow_left_total": ("counter", self.left),
            "fireflow_resets_total": ("counter", self.resets),
            "fireflow_healthy": ("gauge", int(self.dispatcher.trouble() is None)),
        }
        for name, (kind, value) in values.items():
            lines += [f"# TYPE {name} {kind}", f"{name} {value}"]
        return "\n".join(lines) + "\n"

    def answer(self, finished: Finished, top: int, all_scores: bool) -> dict[str, Any]:
        """What a client gets."""
        accelerator = self.accelerator
        scores = finished.scores[0]
        document: dict[str, Any] = {
            "top": [vars(guess) for guess in best(scores, accelerator.labels, accelerator.scale, top)],
            "ms": {phase: round(1000 * finished.seconds[phase], 3) for phase in PHASES},
        }
        if all_scores:
            document["scores"], document["scale"] = scores.tolist(), accelerator.scale
        return document


Outcome = Tuple["asyncio.Future[Finished]", Callable[[Union[Finished, BaseException]], None]]


def _outcome() -> Outcome:
    """What this loop waits for, and what any thread calls with the result."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Finished] = loop.create_future()

    def deliver(result: Finished | BaseException) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            loop.call_soon_threadsafe(_settle, future, result)

    return future, deliver


def _settle(future: asyncio.Future[Finished], result: Finished | BaseException) -> None:
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)


async def _left(receive: Receive, future: asyncio.Future[Finished]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    _settle(future, Left())
