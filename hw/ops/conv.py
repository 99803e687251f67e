"""Convolution of integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

import numpy as np

from hw.errors import InputError
from hw.ops.base import Op, image_type, integers, whole, wholes
from hw.types import TensorType, signed_bits

if TYPE_CHECKING:
    from hw.types import Array, Int64Array


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
        rows, columns = self._reach(source)
        lows, highs = self.channel_ranges(source)
        return TensorType((len(rows), len(columns), self.weight.shape[0]), min(lows), max(highs))

    def channel_ranges(self, source: TensorType) -> tuple[list[int], list[int]]:
        """Smallest and largest accumulator of each output channel, over all inputs of this type.

        At the border some positions of the window hold the padding value; every such pattern is counted.
        """
        # Beyond 62 bits the sums are done with Python's own integers, so the range itself cannot overflow.
        bound = (
            int(np.abs(self.weight).max()) * max(source.magnitude, abs(self.pad_value)) * self.weight[0].size
        )
        weight: Array = self.weight if bound < 1 << 62 else self.weight.astype(object)
        at_lo = np.minimum(weight * source.lo, weight * source.hi).sum(axis=3)  # (OC, KH, KW)
        at_hi = np.maximum(weight * source.lo, weight * source.hi).sum(axis=3)
        padded = (weight * self.pad_value).sum(axis=3)
        rows, columns = self._reach(source)
        lows, highs = [], []
        for row in np.unique(rows, axis=0):
            for column in np.unique(columns, axis=0):
                inside = row[:, None] & column[None, :]  # (KH, KW)
                lows.append(np.where(inside, at_lo, padded).sum(axis=(1, 2)))
                highs.append(np.where(inside, at_hi, padded).sum(axis=(1, 2)))
        return [int(low) for low in np.min(lows, axis=0)], [int(high) for high in np.max(highs, axis=0)]

    def _reach(self, source: TensorType) -> tuple[Array, Array]:
        """For each output row (column): which rows (columns) of its window lie inside the input."""
        top, left, bottom, right = self.padding
        result = []
        for axis, (before, after) in enumerate(((top, bottom), (left, right))):
            size, window, stride = source.shape[axis], self.weight.shape[1 + axis], self.stride[axis]
            if size + before + after < window:
                raise InputError(
                    f"the padded input must be at least as large as the window {window}, "
                    f"not {size + before + after}; pad more or use a larger picture"
                )
            starts = np.arange(0, size + before + after - window + 1, stride) - before
            at = starts[:, None] + np.arange(window)
            result.append((at >= 0) & (at < size))
        return result[0], result[1]

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
