"""Thresholds as one multiplication and one addition, proven equal to counting for every accumulator value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fireflow.hw.types import narrowest_dtype

if TYPE_CHECKING:
    from fireflow.hw.types import Array, Int64Array


@dataclass(frozen=True, eq=False)
class Levels:
    """How to count the thresholds reached, for accumulators held in a float type.

    For the channels not in `exact`, clip(trunc(acc * slope + offset), 0, top) is the count, computed in
    `slope`'s type. For those in `exact`, the thresholds have to be compared one by one.

    Args:
        slope, offset: (C,) float32 or float64.
        stored: signed integer type that holds trunc(acc * slope + offset) and every count.
        top: number of thresholds.
        exact: (B,) channels.
        thresholds: (B, T), brought into the accumulator's range, in `slope`'s type.
        table: (C, T), the same as integers for all channels.
        lows, highs: (C,), range of the accumulator.
    """

    slope: Array
    offset: Array
    stored: np.dtype[Any]
    top: int
    exact: Int64Array
    thresholds: Array
    table: Int64Array
    lows: Int64Array
    highs: Int64Array


def fit_levels(thresholds: Int64Array, lows: Array, highs: Array, dtype: np.dtype[Any]) -> Levels:
    """Finds slope and offset for every channel where there are any, and proves them.

    The proof: float multiplication by a slope of at least 0, float addition, truncation and clipping never
    turn a larger number into a smaller one. Their result can therefore differ from the count, which is
    constant between thresholds, only if it differs at t - 1 or t for some threshold t or at an end of the
    range; and there it is computed, with the operations of the simulator.

    Args:
        thresholds: (C, T), not decreasing along T.
        lows, highs: (C,), the range of each channel's accumulator, exact in `dtype`.
        dtype: float32 or float64.
    """
    lows, highs = np.asarray(lows, np.int64), np.asarray(highs, np.int64)
    # Outside the range a threshold is reached always or never, wherever exactly it lies.
    inside = np.clip(thresholds, lows[:, None], highs[:, None] + 1)
    slope, offset = (values.astype(dtype) for values in _widest_line(inside, lows, highs))
    points = np.clip(
        np.concatenate([inside - 1, inside, lows[:, None], highs[:, None]], axis=1),
        lows[:, None],
        highs[:, None],
    )  # (C, 2 * T + 2)
    found = np.multiply(points.astype(dtype), slope[:, None])
    found = np.trunc(np.add(found, offset[:, None]))
    top = thresholds.shape[1]
    right = np.stack([np.searchsorted(row, at, side="right") for row, at in zip(inside, points)])
    bad = (np.clip(found, 0, top) != right).any(axis=1)
    slope[bad], offset[bad], found[bad] = 0, 0, 0
    reach = int(max(top, -found.min(), found.max()))
    exact = np.flatnonzero(bad)
    stored = narrowest_dtype(-reach, reach)
    return Levels(slope, offset, stored, top, exact, inside[exact].astype(dtype), inside, lows, highs)


def _widest_line(inside: Int64Array, lows: Int64Array, highs: Int64Array) -> tuple[Array, Array]:
    """Per channel the line farthest from all corners of the staircase, perhaps not right: slope and offset,
    (C,).

    At a threshold t of level j the line has to be at least j, and at t - 1 below j.
    """
    top = inside.shape[1]
    level = np.broadcast_to(np.arange(1, top + 1, dtype=np.float64), inside.shape)
    active = (inside > lows[:, None]) & (inside <= highs[:, None])
    fewest = (inside <= lows[:, None]).sum(axis=1)
    most = (inside <= highs[:, None]).sum(axis=1)

    def column(condition: Array, at: Array, height: Array, never: float) -> tuple[Array, Array]:
        return np.where(condition, at, 0)[:, None], np.where(condition, height, never)[:, None]

    # The clips below 0 and above T are free; elsewhere the ends of the range bound the line too.
    end_at, end_level = column(fewest > 0, lows, fewest, -np.inf)
    floor_at = np.concatenate([np.where(active, inside, 0), end_at], axis=1)
    floor_level = np.concatenate([np.where(active, level, -np.inf), end_level], axis=1)
    end_at, end_level = column(most < top, highs, most + 1, np.inf)
    ceil_at = np.concatenate([np.where(active, inside - 1, 0), end_at], axis=1)
    ceil_level = np.concatenate([np.where(active, level, np.inf), end_level], axis=1)

    left, right = _slopes(inside, active, most - fewest)
    for _ in range(26):  # the room for the offset is a concave function of the slope: follow its rise
        slope = (left + right) / 2
        tightest_floor = (floor_level - slope[:, None] * floor_at).argmax(axis=1)[:, None]
        tightest_ceil = (ceil_level - slope[:, None] * ceil_at).argmin(axis=1)[:, None]
        rises = np.take_along_axis(floor_at, tightest_floor, 1) > np.take_along_axis(
            ceil_at, tightest_ceil, 1
        )
        left, right = np.where(rises[:, 0], slope, left), np.where(rises[:, 0], right, slope)
    slope = (left + right) / 2
    need = (floor_level - slope[:, None] * floor_at).max(axis=1)
    room = (ceil_level - slope[:, None] * ceil_at).min(axis=1)
    need, room = np.where(np.isinf(need), room - 1, need), np.where(np.isinf(room), need + 1, room)
    return slope, (need + room) / 2


def _slopes(inside: Int64Array, active: Array, steps: Int64Array) -> tuple[Array, Array]:
    """The smallest and the largest slope that can be right, from the first and the last threshold."""
    top = inside.shape[1]
    last = np.where(active, inside, np.iinfo(np.int64).min).max(axis=1)
    several = last > np.where(active, inside, np.iinfo(np.int64).max).min(axis=1)
    first = np.where(active, inside, last[:, None]).min(axis=1)
    span = np.where(several, last - first, 1)
    # Where all thresholds coincide, a line only has to be steep enough; for one step a gentle one does, and
    # keeps within a narrow integer type.
    alone = np.where(steps > 1, top + 1.0, np.where(steps == 1, 2.0**-8, 0.0))
    left = np.where(several, (steps - 1) / (span + 1), alone)
    right = np.where(several & (span > 1), (steps - 1) / np.maximum(span - 1, 1), np.maximum(left, alone))
    return left, np.where(several & (span == 1), top + 1.0, right)
