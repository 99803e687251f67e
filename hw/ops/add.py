"""Sum of two tensors, element by element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Sequence

from fireflow.hw.errors import InputError
from fireflow.hw.ops.base import Op
from fireflow.hw.types import TensorType

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class Add(Op):
    """The sum of two tensors of one shape (and one scale: the converter's matter)."""

    inputs: ClassVar[int] = 2

    def infer(self, types: Sequence[TensorType]) -> TensorType:
        first, second = types
        if first.shape != second.shape:
            raise InputError(
                f"inputs must have one shape, not {first.shape} and {second.shape}; check the wiring"
            )
        return TensorType(first.shape, first.lo + second.lo, first.hi + second.hi)

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        return arrays[0] + arrays[1]
