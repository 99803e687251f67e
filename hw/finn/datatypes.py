"""FINN's names of integer types."""

from __future__ import annotations

from qonnx.core.datatype import BaseDataType, DataType

from fireflow.hw.types import TensorType


def smallest_type(lo: int, hi: int) -> BaseDataType:
    """The narrowest integer type that holds lo..hi."""
    kind = TensorType((1,), min(lo, 0), max(hi, 0))
    if kind.signed:
        return DataType[f"INT{max(2, kind.bits)}"]
    return DataType["BINARY" if kind.bits == 1 else f"UINT{kind.bits}"]
