"""What a file computes from constants alone, such as the scale of an exporter that folds nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from fireflow.hw.errors import InputError
from fireflow.hw.finn.qonnx_file import place

SHAPING = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
"""Operations that only change the shape; behind the average they change nothing."""
IDLE = ("Identity", "Dropout")
"""Operations that change nothing, where they do not train."""
# What ONNX can compute of constants, whether the lowering knows it or not.
_ELEMENTWISE = (
    *("Abs", "Add", "Cast", "Ceil", "Clip", "Div", "Exp", "Floor", "Identity", "Max", "Min", "Mul", "Neg"),
    *("Pow", "Reciprocal", "Relu", "Round", "Sqrt", "Sub"),
)
FOLDED = (*_ELEMENTWISE, "Concat", "Constant", "Expand", "Gather", "Slice", "Transpose", *SHAPING)
"""Operations that may stand where everything they read is constant: ONNX computes them, and none is lowered."""
_MAX_VALUES = 1 << 24
"""A computed constant has at most so many."""


def fold(proto: ModelProto) -> None:
    """Computes every constant of a sorted or unsorted graph in place, with ONNX's reference evaluator.

    Raises:
        InputError: a constant that cannot be computed, or that is far larger than what it is computed from.
    """
    graph = proto.graph
    changed = True
    while changed:
        changed = False
        for node in list(graph.node):
            result = evaluate(node, proto)
            if result is not None:
                graph.node.remove(node)
                graph.initializer.append(numpy_helper.from_array(result, node.output[0]))
                changed = True


def evaluate(node: NodeProto, proto: ModelProto) -> NDArray[Any] | None:
    """The result of a node whose inputs are all constants; None for other nodes."""
    if node.op_type not in (*FOLDED, "Dropout") or node.domain not in ("", "ai.onnx"):
        return None
    wanted = {name for name in node.input if name}
    given = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer if t.name in wanted}
    if len(given) != len(wanted):
        return None
    values = [given[name] for name in node.input if name]
    if node.op_type == "Dropout":
        training = len(node.input) > 2 and bool(np.any(given[node.input[2]]))
        return None if training else values[0]  # hw.finn.simplify refuses one that trains
    try:
        count = _count(node, values)
        if count > _MAX_VALUES:
            raise InputError(
                f"{place(node)}: a computed constant must have at most {_MAX_VALUES} values, not {count:g}; store "
                "the constant itself"
            )
        return _run(node, given, proto)
    except InputError:
        raise
    except Exception as error:  # the evaluator of ONNX has no common type for what it cannot compute
        raise InputError(
            f"{place(node)}: constants must be computable ({type(error).__name__}: {error}); export it again"
        ) from None


def _count(node: NodeProto, values: list[NDArray[Any]]) -> float:
    """At most how many values the result has."""
    if node.op_type == "Expand":
        return float(np.prod(np.maximum(values[1], 1), dtype=float)) * values[0].size
    if node.op_type == "Gather":
        return float(values[0].size) * values[1].size
    if node.op_type in _ELEMENTWISE:
        return float(np.prod(np.broadcast_shapes(*(value.shape for value in values)), dtype=float))
    return float(sum(value.size for value in values))


def _run(node: NodeProto, given: dict[str, NDArray[Any]], proto: ModelProto) -> NDArray[Any]:
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    ]
    output = helper.make_empty_tensor_value_info(node.output[0])
    opsets = [item for item in proto.opset_import if item.domain in ("", "ai.onnx")]
    single = helper.make_model(helper.make_graph([node], "constant", inputs, [output]), opset_imports=opsets)
    (result,) = ReferenceEvaluator(single).run(None, given)
    return np.asarray(result)
