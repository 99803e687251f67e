"""A factor for each channel of a tensor, computed from the picture: the gate of squeeze-and-excitation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Sequence

from fireflow.hw.errors import InputError
from fireflow.hw.ops.base import Op, image_type
from fireflow.hw.types import TensorType

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class Multiply(Op):
    """(H, W, C) times a gate (1, 1, C); their scales multiply, too: the converter's matter."""

    inputs: ClassVar[int] = 2

    def infer(self, types: Sequence[TensorType]) -> TensorType:
        shape = image_type(types).shape
        source, gate = types
        if gate.shape != (1, 1, shape[2]):
            raise InputError(
                f"the gate must be one number for each channel, {(1, 1, shape[2])}, not {gate.shape}; "
                "check the wiring"
            )
        ends = [x * y for x in (source.lo, source.hi) for y in (gate.lo, gate.hi)]
        return TensorType(shape, min(ends), max(ends))

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        return arrays[0] * arrays[1]
