"""Earliest and latest times of events in a row: the two scans all timing is made of.

Times are cycles, int64. An event k that needs `gap` cycles after event k - 1 and may not happen before lower[k]
happens at t[k] = max(lower[k], t[k - 1] + gap), which a running maximum of lower[k] - k * gap gives at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array

ANYTIME = -(1 << 50)
"""Earlier than anything: no constraint."""


def earliest(lower: Int64Array, gap: int = 1) -> Int64Array:
    """The earliest times not before `lower`, at least `gap` apart.

    >>> earliest(np.array([5, 0, 0, 20]), 2).tolist()
    [5, 7, 9, 20]
    """
    steps = np.arange(len(lower), dtype=np.int64) * gap
    return np.maximum.accumulate(lower - steps) + steps


def latest(upper: Int64Array, gap: int = 1) -> Int64Array:
    """The latest times not after `upper`, at least `gap` apart.

    >>> latest(np.array([9, 9, 9, 20]), 2).tolist()
    [5, 7, 9, 20]
    """
    steps = np.arange(len(upper), dtype=np.int64) * gap
    return np.minimum.accumulate((upper - steps)[::-1])[::-1] + steps


def occupancy(enter: Int64Array, leave: Int64Array, period: int) -> tuple[int, int]:
    """Most words between two points at once, where every `period` cycles another frame follows.

    Args:
        enter, leave: for each word of a frame, in order, the cycle in which it comes and in which it goes.

    Returns:
        The most words present right after one comes: not counting, and counting, words that go in that cycle.

    >>> occupancy(np.array([0, 1, 2]), np.array([1, 6, 7]), 4)
    (3, 4)
    """
    return _most(enter, leave, period), _most(enter, leave + 1, period)


def _most(enter: Int64Array, leave: Int64Array, period: int) -> int:
    if period > 16 * len(enter):  # few words over a long time
        frames = int((leave - enter).max()) // period + 2
        gone = np.concatenate([leave - frame * period for frame in range(frames, -1, -1)])
        come = np.arange(len(enter)) + frames * len(enter) + 1
        return int((come - np.searchsorted(gone, enter, side="right")).max())
    # Each word is there from `enter` to before `leave`, around a circle of `period` cycles.
    start, end = enter % period, leave % period
    rounds = int((leave // period - enter // period).sum())  # how often each passes from cycle -1 to cycle 0
    change = np.bincount(start, minlength=period) - np.bincount(end, minlength=period)
    return rounds + int(np.cumsum(change).max())
