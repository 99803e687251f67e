"""Largest value of a window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

import numpy as np

from fireflow.hw.errors import InputError
from fireflow.hw.ops.base import Op, image_type, padded, wholes
from fireflow.hw.types import INT64, TensorType

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class MaxPool(Op):
    """Maximum over a window, (H, W, C) -> (OH, OW, C). A padded position never wins.

    Args:
        kernel, stride: (h, w).
        padding: (top, left, bottom, right); ceil mode is extra padding at the bottom and right.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        for name, length, low in (("kernel", 2, 1), ("stride", 2, 1), ("padding", 4, 0)):
            object.__setattr__(self, name, wholes(name, getattr(self, name), length, low))

    def infer(self, types: Sequence[TensorType]) -> TensorType:
        source = image_type(types)
        padded(source, self.padding)
        rows, columns = self.ends(source.shape)
        return TensorType((len(rows), len(columns), source.shape[2]), source.lo, source.hi)

    def ends(self, shape: Sequence[int]) -> tuple[Int64Array, Int64Array]:
        """The row behind each row of windows, and the column behind each column of them, inside (H, W, C).

        Raises:
            InputError: a window that does not see the picture: its maximum would be that of nothing.
        """
        top, left, bottom, right = self.padding
        found = []
        for axis, (before, after) in enumerate(((top, bottom), (left, right))):
            size, window, stride = shape[axis], self.kernel[axis], self.stride[axis]
            count = (size + before + after - window) // stride + 1
            if count < 1 or before >= window or (count - 1) * stride >= size + before:
                raise InputError(
                    f"each window {window} must overlap the input {size} padded by {before} and {after} "
                    f"at stride {stride}, not miss it; pad less or use a larger picture"
                )
            found.append(np.minimum(np.arange(count, dtype=np.int64) * stride - before + window, size))
        return found[0], found[1]

    def work(self, types: Sequence[TensorType], result: TensorType) -> int:
        return math.prod(result.shape) * math.prod(self.kernel)

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        top, left, bottom, right = self.padding
        height, width = (len(ends) for ends in self.ends(arrays[0].shape[1:]))
        x = np.pad(arrays[0], ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=INT64.min)
        result = np.full((len(x), height, width, x.shape[3]), INT64.min, np.int64)
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                rows = slice(i, i + height * self.stride[0], self.stride[0])
                columns = slice(j, j + width * self.stride[1], self.stride[1])
                result = np.maximum(result, x[:, rows, columns])
        return result
