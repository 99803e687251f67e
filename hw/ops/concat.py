"""Several tensors side by side along the channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Sequence

import numpy as np

from fireflow.hw.errors import InputError
from fireflow.hw.ops.base import Op, image_type
from fireflow.hw.types import TensorType

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class Concat(Op):
    """(H, W, C1), (H, W, C2), ... -> (H, W, C1 + C2 + ...)."""

    inputs: ClassVar[int] = 0

    def infer(self, types: Sequence[TensorType]) -> TensorType:
        height, width, _ = image_type(types).shape
        for other in types:
            if len(other.shape) != 3 or other.shape[:2] != (height, width):
                raise InputError(
                    f"inputs must all be {height}x{width} pixels, not of shape {other.shape}; "
                    "check strides and padding"
                )
        channels = sum(source.shape[2] for source in types)
        lo, hi = min(source.lo for source in types), max(source.hi for source in types)
        return TensorType((height, width, channels), lo, hi)

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        return np.concatenate(list(arrays), axis=-1)
