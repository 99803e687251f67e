"""Exact ranges of the lowered model's tensors: their types, tight thresholds, the proof of integers."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper
from qonnx.transformation.infer_datatypes import InferDataTypes

from fireflow.hw.errors import InputError
from fireflow.hw.finn.convert import to_graph
from fireflow.hw.finn.lowered import ACCUMULATOR_LIMIT, LoweredModel
from fireflow.hw.finn.rules import rule_of


def annotate(lowered: LoweredModel) -> None:
    """Give tensors the smallest types of their exact ranges, clip thresholds, check that all are integers.

    FINN's InferDataTypes calls every sum INT32. The ranges of the integer graph come from the actual weights.

    Raises:
        InputError: an accumulator beyond 24 bits.
    """
    model = lowered.model.transform(InferDataTypes(), make_deepcopy=False, cleanup=False)
    graph = to_graph(lowered)
    for node in graph.nodes:
        rule, kind = rule_of(node.op), graph.types[node.name]
        if kind.magnitude >= ACCUMULATOR_LIMIT and rule.bounded:
            raise InputError(
                f"{node.name}: values must stay below 2^24, not reach {kind.magnitude}; use fewer bits"
            )
        rule.annotate(model, node, graph)
    _check_integers(lowered)


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
