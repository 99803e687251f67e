"""A line that passes the proof counts thresholds right for every accumulator value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from fireflow.hw.simulator.lanes import BIAS, IMAGES, LANES, levels_in_lanes
from fireflow.hw.simulator.levels import Levels, fit_levels

FLOAT32 = np.dtype(np.float32)


def evaluate(levels: Levels, channel: int, values: np.ndarray) -> np.ndarray:
    """What the simulator computes for one channel."""
    if channel in levels.exact:
        row = levels.thresholds[levels.exact.tolist().index(channel)]
        return (values[:, None].astype(row.dtype) >= row).sum(axis=1)
    line = values.astype(levels.slope.dtype) * levels.slope[channel] + levels.offset[channel]
    return np.clip(line.astype(levels.stored), 0, levels.top)


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 1 << 30),
    st.sampled_from((1, 2, 15, 63, 255)),
    st.sampled_from((1.0, 3.5, 40.0, 900.0)),
    st.booleans(),
)
def test_every_accumulator_value(seed: int, steps: int, spacing: float, affine: bool) -> None:
    rng = np.random.default_rng(seed)
    lows, highs = rng.integers(-3000, 1, 4), rng.integers(0, 3000, 4)
    table = np.ceil(
        rng.uniform(-2000, 500, (4, 1)) + spacing * rng.uniform(0.9, 1.1, (4, 1)) * np.arange(steps)
    )
    if not affine:
        table += rng.integers(-3, 4, table.shape)
    table = np.sort(table.astype(np.int64), axis=1)
    for dtype in (FLOAT32, np.dtype(np.float64)):
        levels = fit_levels(table, lows, highs, dtype)
        assert levels.slope.min() >= 0
        for channel in range(4):
            values = np.arange(lows[channel], highs[channel] + 1)
            assert_array_equal(
                evaluate(levels, channel, values), (values[:, None] >= table[channel]).sum(axis=1)
            )


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 1 << 30), st.sampled_from((3, 15, 63)), st.floats(0.5, 4.0))
def test_uniform_quantizers_need_no_comparisons(seed: int, steps: int, scale: float) -> None:
    """Thresholds of a uniform quantizer: for each level, the first integer that rounds to it."""
    rng = np.random.default_rng(seed)
    step = rng.uniform(20, 400, (32, 1)) * scale
    table = np.ceil(rng.normal(0, 300, (32, 1)) + step * (np.arange(steps) + 0.5)).astype(np.int64)
    levels = fit_levels(table, np.full(32, -30000), np.full(32, 30000), FLOAT32)
    assert levels.exact.size == 0


def test_impossible_lines_are_counted() -> None:
    table = np.array([[0, 1, 1000], [0, 500, 1000]])
    levels = fit_levels(table, np.array([-2000, -2000]), np.array([2000, 2000]), FLOAT32)
    assert levels.exact.tolist() == [0]
    assert_array_equal(levels.thresholds, table[:1])


def test_thresholds_far_outside_the_range() -> None:
    far = 1 << 60  # no float32 holds these exactly
    table = np.array([[-far, 10, 20, far], [-far, -far, far, far]])
    levels = fit_levels(table, np.array([-100, -100]), np.array([100, 100]), FLOAT32)
    assert levels.exact.tolist() == [0]  # a line through 10 and 20 goes on to rise
    values = np.arange(-100, 101)
    for channel in range(2):
        assert_array_equal(evaluate(levels, channel, values), (values[:, None] >= table[channel]).sum(axis=1))


@pytest.mark.parametrize("table", [[[0, 500, 1000]], [[0, 1, 1000]]])
def test_lanes(table: list[list[int]]) -> None:
    thresholds = np.array(table)
    levels = levels_in_lanes(fit_levels(thresholds, np.array([-2000]), np.array([2000]), FLOAT32), BIAS)
    values = np.arange(-2000, 2001)
    for lane in range(IMAGES):
        found = evaluate(levels, lane, values + BIAS)
        assert_array_equal(found, (values[:, None] >= thresholds[0]).sum(axis=1))
    assert not evaluate(levels, LANES - 1, np.arange(1 << 16)).any()
