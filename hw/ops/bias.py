"""A constant per channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

from fireflow.hw.errors import InputError
from fireflow.hw.ops.base import Op, integers
from fireflow.hw.types import TensorType

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class Bias(Op):
    """x + values, with values (C,) along the last axis."""

    values: Int64Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", integers("values", self.values, 1))

    def infer(self, types: Sequence[TensorType]) -> TensorType:
        source = types[0]
        if self.values.shape[0] != source.shape[-1]:
            raise InputError(
                f"values must be {source.shape[-1]}, one per channel, not {len(self.values)}; "
                "check the wiring"
            )
        return TensorType(
            source.shape, source.lo + int(self.values.min()), source.hi + int(self.values.max())
        )

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        return arrays[0] + self.values
