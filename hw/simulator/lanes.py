"""Three images in one float64: one multiplication of matrices for all of them.

A pixel of three images is the number x0 + x1 * 2^16 + x2 * 2^32. A convolution of such numbers gives
a0 + a1 * 2^16 + a2 * 2^32 with the three accumulators. Where these stay below 2^15 in magnitude, nothing
exceeds 2^48, so float64 is exact; adding 2^15 to each makes all of them digits of base 2^16, and adding 2^52
puts these digits into the lowest bits of the number, where they are read as 16-bit integers. BLAS multiplies
float64 half as fast as float32, but three images at once.

Tensors between layers then hold four lanes per channel, (H, W, C * 4) with the lane varying fastest; the
fourth is not used and is zero.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import numpy as np

from fireflow.hw.simulator.levels import Levels, fit_levels
from fireflow.hw.simulator.plan import ConvStep, EvalStep, LevelStep, PlanStep, SimulationPlan, target_of

if TYPE_CHECKING:
    from fireflow.hw.types import Array

LANES = 4
IMAGES = 3
BIAS = 1 << 15
MAGIC = (1 << 52) + BIAS * ((1 << 32) + (1 << 16) + 1)
UNUSED = 0x4330  # what the fourth lane then is: sign and exponent of a number from 2^52 to 2^53

# Nanoseconds, measured on one core with AVX-512; only their ratios matter, and only for speed.
_GAIN_PER_PRODUCT = 1 / 150
_COST_PER_ACCUMULATOR = 0.35
_COST_PER_PACKED_VALUE = 0.3


def spread(values: Array, unused: float) -> Array:
    """(C,) repeated for the lanes, (C * 4,), with another value for the fourth."""
    lanes = np.repeat(values, LANES).reshape(-1, LANES)
    lanes[:, IMAGES:] = unused
    return lanes.reshape(-1)


def levels_in_lanes(levels: Levels, bias: int) -> Levels:
    """The same thresholds for accumulators with `bias` added, proven anew; none in the fourth lane."""
    moved = fit_levels(levels.table + bias, levels.lows + bias, levels.highs + bias, levels.slope.dtype)
    exact = (moved.exact[:, None] * LANES + np.arange(IMAGES)).reshape(-1)
    return dataclasses.replace(
        moved,
        slope=spread(moved.slope, 0),
        offset=spread(moved.offset, 0),
        exact=exact,
        thresholds=np.repeat(moved.thresholds, IMAGES, axis=0),
    )


def packed_tensors(plan: SimulationPlan) -> frozenset[str]:
    """The tensors worth packing: those of the steps from some step to the end, or none."""
    if sys.byteorder != "little":
        return frozenset()
    best, gain, start = 0.0, 0.0, len(plan.steps)
    for at in range(len(plan.steps) - 1, -1, -1):
        step = plan.steps[at]
        if not _packable(plan, step):
            break
        if isinstance(step, ConvStep):
            height, width, channels = step.shape
            products = height * width * sum(product.weight.size for product in step.products)
            gain += products * _GAIN_PER_PRODUCT - height * width * channels * _COST_PER_ACCUMULATOR
            begin = _COST_PER_PACKED_VALUE * np.prod(plan.graph.types[step.source].shape)
            if gain - begin > best:
                best, start = gain - begin, at
    return frozenset(target_of(step) for step in plan.steps[start:])


def _packable(plan: SimulationPlan, step: PlanStep) -> bool:
    """Whether all accumulators fit their digits, and everything kept between layers fits a byte."""
    if isinstance(step, EvalStep):
        return False
    sources = step.sources if isinstance(step, LevelStep) else (step.source,)
    bytes_ = [*sources, step.target]
    if isinstance(step, ConvStep):
        if step.limit >= BIAS or step.pool is not None or (step.levels is None and step.shift is None):
            return False
        bytes_ = bytes_ if step.shift is None else [step.source]
    elif isinstance(step, LevelStep) and step.levels.slope.dtype != np.float32:
        return False
    return all(plan.stored_type(name) == np.uint8 for name in bytes_)
