"""Which results may be given out, and when a golden image must follow so that more may."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np

from fireflow.host.devices.dma import reached
from fireflow.host.pending import Held, Pending
from fireflow.host.transfers import Finished

if TYPE_CHECKING:
    from fireflow.host.audits import Audits
    from fireflow.hw.types import Array, Int64Array

_MOST_HELD = 64
"""Frames that wait for one audit at most, where nothing else shows that the stream is in its place."""
_GRACE_S = 5e-3
"""How long a frame may wait for the shell to see the pause behind it, before an audit is sent."""


class Cover:
    """What covers the transfers of a session, which are numbered as they are queued.

    With a shell that sees the pause behind a frame (`asks_shell`), its word covers a frame at once, and golden images
    come now and then. Otherwise results wait for a golden image that was prepared, and sent, behind them: at once when
    nothing else is to be sent, and behind 64 frames at the latest.

    All but `give` and `check` are called under the session's lock.

    Args:
        pending: the results.
        audits: golden images; without them, or with none between the others, everything is given out at once.
        lull_s: when the input was free for so long, a golden image may take the place.
        late_s: how long a result may wait where only golden images cover.
    """

    def __init__(self, pending: Pending, audits: Audits | None, lull_s: float, late_s: float) -> None:
        self._pending, self._audits, self.lull_s, self._late_s = pending, audits, lull_s, late_s
        self._every = 0 if audits is None else audits.every
        self.asks_shell = False
        self._queued = self._covered = 0
        self._under_way: int | None = None  # what the audit covers that is under way
        self._fresh = self._behind = 0  # frames that no audit is behind; that the one under way is behind
        self._wanted: Int64Array = np.empty(0, np.int64)
        self._waiters: list[Future[Finished]] = []  # for the next audit
        self._auditors: list[Future[Finished]] = []  # for the one under way

    @property
    def most(self) -> int:
        """Frames that may wait for a golden image."""
        return 0 if self.asks_shell else min(self._every, _MOST_HELD)

    def number(self) -> int:
        """The number of the transfer that is queued now."""
        self._queued += 1
        return self._queued

    def add(self, frames: int) -> None:
        """So many frames are queued, which must be covered."""
        self._fresh += frames

    def ask(self, always: bool) -> Future[Finished]:
        """The answer of a golden image behind all that is queued; at once if that is covered, and not `always`."""
        future: Future[Finished] = Future()
        if self._audits is None or (self._covered == self._queued and not always):
            future.set_result(Finished(self._wanted[np.newaxis], {}))
            return future
        self._pending.accept(future)
        under_way = self._under_way == self._queued and not always
        (self._auditors if under_way else self._waiters).append(future)
        return future

    def due(self, idle_s: float) -> bool:
        """Whether a golden image should be queued; `idle_s`: for how long nothing was to be sent."""
        if self._audits is None or self._under_way is not None:
            return False
        if self._waiters:
            return True
        if not self._fresh or not self._every:
            return False
        held, limit_s = self._pending.held, _GRACE_S if self.asks_shell else self._late_s
        if held and time.monotonic() - held[0].since > limit_s:
            return True
        if self.asks_shell:
            return self._fresh >= self._every
        return self._fresh >= self.most or idle_s >= self.lull_s

    def begin(self) -> Array:
        """The image that goes behind all that is queued now: (1, H, W, C)."""
        assert self._audits is not None
        image, self._wanted = self._audits.take()
        self._under_way, self._behind, self._fresh = self._queued, self._fresh, 0
        self._auditors, self._waiters = self._waiters, []
        return image

    def check(self, scores: Int64Array) -> None:
        """Compares what the golden image gave, int64 (1, classes). Raises DeviceError, without registers."""
        assert self._audits is not None
        self._audits.check(scores[0], self._wanted, self._behind)

    def passed(self, slot_order: int) -> None:
        """The golden image of this number gave the right scores."""
        assert self._under_way is not None
        # What was queued while it was prepared was perhaps flushed behind it, and waits for the next.
        alone = slot_order == self._under_way + 1
        self._covered, self._under_way = (slot_order if alone else self._under_way), None
        for future in self._auditors:
            if self._pending.drop(future) and future.set_running_or_notify_cancel():
                future.set_result(Finished(self._wanted[np.newaxis], {}))
        self._auditors = []

    def give(self, aligned: int | None) -> None:
        """Gives out what is covered; `aligned` as the shell tells it."""

        def covered(held: Held) -> bool:
            if not self._every or held.order <= self._covered:
                return True
            return aligned is not None and reached(aligned, held.end)

        self._pending.give(covered)
