"""Exact ranges of the lowered model's tensors: their types, tight thresholds, the proof of integers."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper
from qonnx.core.datatype import BaseDataType, DataType
from qonnx.transformation.infer_datatypes import InferDataTypes

from fireflow.hw.errors import InputError
from fireflow.hw.finn.convert import to_graph
from fireflow.hw.finn.lowered import LoweredModel
from fireflow.hw.finn.passes import ACCUMULATOR_LIMIT
from fireflow.hw.ops import Add, Bias, Conv, GlobalSum, Relu, Threshold
from fireflow.hw.types import TensorType


def annotate(lowered: LoweredModel) -> None:
    """Give tensors the smallest types of their exact ranges, clip thresholds, check that all are integers.

    FINN's InferDataTypes calls every sum INT32. The ranges of the integer graph come from the actual weights.

    Raises:
        InputError: an accumulator beyond 24 bits.
    """
    model = lowered.model.transform(InferDataTypes(), make_deepcopy=False, cleanup=False)
    graph = to_graph(lowered)
    for node in graph.nodes:
        kind, tensor = graph.types[node.name], lowered.names[node.name]
        if kind.magnitude >= ACCUMULATOR_LIMIT and not isinstance(node.op, GlobalSum):
            raise InputError(
                f"{node.name}: values must stay below 2^24, not reach {kind.magnitude}; use fewer bits"
            )
        if isinstance(node.op, (Conv, Add, Bias, Relu, GlobalSum)):
            model.set_tensor_datatype(tensor, smallest_type(kind.lo, kind.hi))
        parameter = [*model.find_producer(tensor).input, ""][1]
        if isinstance(node.op, Threshold):
            source = graph.types[node.inputs[0]]
            tight = np.clip(node.op.thresholds, source.lo, source.hi + 1)
            model.set_initializer(parameter, tight.astype(np.float32))
            model.set_tensor_datatype(parameter, smallest_type(source.lo, source.hi + 1))
        elif isinstance(node.op, Bias):
            lo, hi = int(node.op.values.min()), int(node.op.values.max())
            model.set_tensor_datatype(parameter, smallest_type(lo, hi))
    _check_integers(lowered)


def smallest_type(lo: int, hi: int) -> BaseDataType:
    """FINN's name of the narrowest integer type that holds lo..hi."""
    kind = TensorType((1,), min(lo, 0), max(hi, 0))
    if kind.signed:
        return DataType[f"INT{max(2, kind.bits)}"]
    return DataType["BINARY" if kind.bits == 1 else f"UINT{kind.bits}"]


def _check_integers(lowered: LoweredModel) -> None:
    model = lowered.model
    parameters = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    tensors = {name for node in model.graph.node for name in (*node.input, *node.output)}
    for name in sorted(tensors):
        if name in parameters:
            values = parameters[name]
            assert np.array_equal(values, np.round(values)), f"{name}: fractions are left after the lowering"
            if values.dtype.kind in "iu":
                continue  # the axes of a sum, no data
        assert model.get_tensor_datatype(name).is_integer(), f"{name}: has no integer type after the lowering"
