"""Convolution of integers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

import numpy as np

from fireflow.hw.errors import InputError
from fireflow.hw.ops.base import Op, image_type, integers, padded, whole, wholes
from fireflow.hw.types import TensorType, signed_bits

if TYPE_CHECKING:
    from fireflow.hw.types import Array, Int64Array


@dataclass(frozen=True, eq=False)
class Conv(Op):
    """Sum of input times weight over a window, (H, W, IC) -> (OH, OW, OC). A matrix product is a 1x1 window.

    Args:
        weight: integers (OC, KH, KW, IC / groups).
        stride: (h, w).
        padding: (top, left, bottom, right).
        pad_value: what a padded position holds.
        groups: output channel c reads input channels of group c // (OC / groups).
        weight_bits: width of a stored weight, signed; by default the narrowest that holds them all.
    """

    weight: Int64Array
    stride: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] = (0, 0, 0, 0)
    pad_value: int = 0
    groups: int = 1
    weight_bits: int | None = None

    def __post_init__(self) -> None:
        weight = integers("weight", self.weight, 4)
        needed = signed_bits(int(weight.min()), int(weight.max()))
        bits = needed if self.weight_bits is None else whole("weight_bits", self.weight_bits, 1, 64)
        if bits < needed:
            raise InputError(
                f"weight must fit in {bits} signed bits, not reach from {weight.min()} to {weight.max()}; "
                f"weight_bits of at least {needed}"
            )
        groups = whole("groups", self.groups, 1)
        if weight.shape[0] % groups:
            raise InputError(
                f"groups must divide the {weight.shape[0]} output channels, not be {groups}; change it"
            )
        values = {
            "weight": weight,
            "weight_bits": bits,
            "groups": groups,
            "stride": wholes("stride", self.stride, 2, 1),
            "padding": wholes("padding", self.padding, 4, 0),
            "pad_value": whole("pad_value", self.pad_value, -(1 << 62)),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def infer(self, types: Sequence[TensorType]) -> TensorType:
        source = image_type(types)
        channels = self.weight.shape[3] * self.groups
        if source.shape[2] != channels:
            raise InputError(
                f"the input must have {channels} channels as the weight has, not {source.shape[2]}; "
                "check the wiring"
            )
        shape = self._places(source)
        lows, highs = self.channel_ranges(source)
        return TensorType((*shape, self.weight.shape[0]), min(lows), max(highs))

    @property
    def stored_bits(self) -> int | None:
        return self.weight_bits

    def products(self, result: TensorType) -> int:
        return result.shape[0] * result.shape[1] * self.weight.size

    @property
    def windowed(self) -> bool:
        """Whether it reads more than each pixel once, as it comes."""
        return self.weight.shape[1:3] != (1, 1) or self.stride != (1, 1)

    def work(self, types: Sequence[TensorType], result: TensorType) -> int:
        return math.prod(result.shape) * int(self.weight[0].size)

    def channel_ranges(self, source: TensorType) -> tuple[list[int], list[int]]:
        """Smallest and largest accumulator of each output channel, over all inputs of this type.

        At the border some positions of the window hold the padding value; every such pattern is counted. The sums
        are Python's integers wherever int64 might not hold them.
        """
        self._places(source)
        # With low <= x <= high, the least of w * x is w * low for w >= 0 and w * high for w < 0.
        bound = (
            max(abs(int(self.weight.min())), abs(int(self.weight.max())))
            * max(source.magnitude, abs(self.pad_value))
            * self.weight[0].size
        )
        wide = bound >= 1 << 62
        above = _Corners(np.maximum(self.weight, 0), wide)
        below = _Corners(np.minimum(self.weight, 0), wide)
        first_columns, last_columns = self._reach(source, 1)
        end = np.array([self.weight.shape[2]])
        everywhere = above.sums(0, self.weight.shape[1], 0 * end, end)
        everywhere = everywhere + below.sums(0, self.weight.shape[1], 0 * end, end)  # (OC, 1)
        lows, highs = [], []
        for first, last in zip(*self._reach(source, 0)):
            plus, minus = (part.sums(first, last, first_columns, last_columns) for part in (above, below))
            padding = (everywhere - plus - minus) * self.pad_value  # (OC, patterns)
            lows.append((plus * source.lo + minus * source.hi + padding).min(axis=1))
            highs.append((plus * source.hi + minus * source.lo + padding).max(axis=1))
        return [int(low) for low in np.min(lows, axis=0)], [int(high) for high in np.max(highs, axis=0)]

    def _places(self, source: TensorType) -> tuple[int, int]:
        """Rows and columns of the result."""
        result = []
        for axis, size in enumerate(padded(source, self.padding)):
            window = self.weight.shape[1 + axis]
            if size < window:
                raise InputError(
                    f"the padded input must be at least as large as the window {window}, "
                    f"not {size}; pad more or use a larger picture"
                )
            result.append((size - window) // self.stride[axis] + 1)
        return result[0], result[1]

    def _reach(self, source: TensorType, axis: int) -> tuple[Int64Array, Int64Array]:
        """Which rows (columns) of the window lie inside the input, for all its places: begin and end of each range."""
        size, window, stride = source.shape[axis], self.weight.shape[1 + axis], self.stride[axis]
        starts = np.arange(self._places(source)[axis], dtype=np.int64) * stride - self.padding[axis]
        first, last = np.clip(-starts, 0, window), np.clip(size - starts, 0, window)
        ranges = np.unique(np.stack([np.minimum(first, last), last], axis=1), axis=0)
        return ranges[:, 0], ranges[:, 1]

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        top, left, bottom, right = self.padding
        x = np.pad(arrays[0], ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=self.pad_value)
        out_channels, kernel_h, kernel_w, depth = self.weight.shape
        height = (x.shape[1] - kernel_h) // self.stride[0] + 1
        width = (x.shape[2] - kernel_w) // self.stride[1] + 1
        result = np.zeros((len(x), height, width, out_channels), np.int64)
        share = out_channels // self.groups
        for i in range(kernel_h):
            for j in range(kernel_w):
                rows = slice(i, i + height * self.stride[0], self.stride[0])
                columns = slice(j, j + width * self.stride[1], self.stride[1])
                for group in range(self.groups):
                    picked = x[:, rows, columns, group * depth : (group + 1) * depth]
                    outputs = slice(group * share, (group + 1) * share)
                    # (N, OH, OW, IC/groups) @ (IC/groups, OC/groups)
                    result[..., outputs] += picked @ self.weight[outputs, i, j, :].T
        return result


class _Corners:
    """Sums of numbers over any part of a window, from the sums of all parts that begin in its first corner.

    Args:
        values: int64 (OC, KH, KW, IC), none with another sign than another.
        wide: int64 may not hold what is made of the sums: they are Python's integers, from halves that it does hold.
    """

    def __init__(self, values: Int64Array, wide: bool) -> None:
        self._halves = [values >> 31, values & ((1 << 31) - 1)] if wide else [values]
        self._halves = [
            np.pad(half.sum(axis=3).cumsum(axis=1).cumsum(axis=2), ((0, 0), (1, 0), (1, 0)))
            for half in self._halves
        ]  # (OC, KH + 1, KW + 1)

    def sums(self, first_row: int, last_row: int, first_columns: Array, last_columns: Array) -> Array:
        """For some rows and each of several (P,) ranges of columns: (OC, P), Python's integers where wide."""
        parts = [
            half[:, last_row, last_columns]
            - half[:, first_row, last_columns]
            - half[:, last_row, first_columns]
            + half[:, first_row, first_columns]
            for half in self._halves
        ]
        if len(parts) == 1:
            return parts[0]
        result: Array = parts[0].astype(object) * (1 << 31) + parts[1].astype(object)
        return result
