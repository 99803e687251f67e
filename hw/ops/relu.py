"""Negative values to zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

import numpy as np

from fireflow.hw.ops.base import Op
from fireflow.hw.types import TensorType

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class Relu(Op):
    """max(x, 0)."""

    def infer(self, types: Sequence[TensorType]) -> TensorType:
        return TensorType(types[0].shape, max(0, types[0].lo), max(0, types[0].hi))

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        return np.maximum(arrays[0], 0)
