"""Requantization: a count of thresholds reached."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

import numpy as np

from fireflow.hw.errors import InputError
from fireflow.hw.ops.base import Op, integers, whole
from fireflow.hw.types import TensorType

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class Threshold(Op):
    """out = out_lo + number of thresholds t of the channel with x >= t.

    Args:
        thresholds: integers (C, T), or (1, T) for all channels alike, not decreasing along T.
        out_lo: the result where no threshold is reached.
    """

    thresholds: Int64Array
    out_lo: int = 0

    def __post_init__(self) -> None:
        thresholds = integers("thresholds", self.thresholds, 2)
        object.__setattr__(self, "thresholds", thresholds)
        object.__setattr__(self, "out_lo", whole("out_lo", self.out_lo, -(1 << 62)))
        falling = np.argwhere(thresholds[:, 1:] < thresholds[:, :-1])
        if len(falling):
            channel, step = (int(index) for index in falling[0])
            pair = thresholds[channel, step : step + 2].tolist()
            raise InputError(
                f"thresholds must not decrease, not go from {pair[0]} to {pair[1]} in channel {channel} "
                f"at step {step + 1}; sort them"
            )

    def infer(self, types: Sequence[TensorType]) -> TensorType:
        channels = types[0].shape[-1]
        if self.thresholds.shape[0] not in (1, channels):
            raise InputError(
                f"thresholds must be for 1 or {channels} channels, not {self.thresholds.shape[0]}; "
                "check the wiring"
            )
        fewest = int((self.thresholds <= types[0].lo).sum(axis=1).min())
        most = int((self.thresholds <= types[0].hi).sum(axis=1).max())
        return TensorType(types[0].shape, self.out_lo + fewest, self.out_lo + most)

    def work(self, types: Sequence[TensorType], result: TensorType) -> int:
        return math.prod(result.shape) * int(self.thresholds.shape[1])

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        result = np.full(arrays[0].shape, self.out_lo, np.int64)
        for step in range(self.thresholds.shape[1]):
            result += arrays[0] >= self.thresholds[:, step]  # (..., C) >= (C,)
        return result
