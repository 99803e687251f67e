"""Sum over all pixels: global average pooling without its division."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

from fireflow.hw.ops.base import Op, image_type
from fireflow.hw.types import TensorType

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class GlobalSum(Op):
    """(H, W, C) -> (C,); the 1 / (H * W) of an average belongs to the graph's output scale."""

    def infer(self, types: Sequence[TensorType]) -> TensorType:
        height, width, channels = image_type(types).shape
        return TensorType((channels,), types[0].lo * height * width, types[0].hi * height * width)

    def work(self, types: Sequence[TensorType], result: TensorType) -> int:
        return math.prod(types[0].shape)

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        result: Int64Array = arrays[0].sum(axis=(1, 2))
        return result
