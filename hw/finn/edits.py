"""New tensors, constants and nodes of a model, and the constants in front of a node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper
from qonnx.core.modelwrapper import ModelWrapper


def new_tensor(model: ModelWrapper, shape: Sequence[int]) -> str:
    """The name of a new float tensor."""
    name: str = model.make_new_valueinfo_name()
    model.graph.value_info.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape)))
    return name


def new_constant(model: ModelWrapper, value: Any) -> str:
    """The name of a new constant; floats are stored as float32."""
    array = np.asarray(value)
    name: str = model.make_new_valueinfo_name()
    model.set_initializer(name, array.astype(np.float32) if array.dtype.kind == "f" else array)
    return name


def remove(model: ModelWrapper, nodes: Sequence[NodeProto]) -> None:
    """Takes nodes out, and leaves their tensors."""
    for node in nodes:
        model.graph.node.remove(node)


def complete_attributes(node: NodeProto, defaults: dict[str, Any]) -> None:
    """Writes out the attributes that a node leaves out."""
    present = {item.name for item in node.attribute}
    node.attribute.extend(helper.make_attribute(n, v) for n, v in defaults.items() if n not in present)


def integers(model: ModelWrapper, tensor: str) -> NDArray[np.int64] | None:
    """A constant of a lowered model as int64; None where the tensor is computed."""
    array: NDArray[Any] | None = model.get_initializer(tensor)
    if array is None:
        return None
    result = array.astype(np.int64)
    assert np.array_equal(result, array), f"{tensor}: holds fractions after the lowering"
    return result


# --- constants in front of a node: FINN's form of scales and biases, whatever operation they came from ---------


def constants_before(model: ModelWrapper, node: NodeProto) -> list[NodeProto]:
    """The x * c, x + c and x / c that lead to the node's input, in order of execution."""
    chain: list[NodeProto] = []
    before = model.find_producer(node.input[0])
    while before is not None and before.op_type in ("Mul", "Add", "Div"):
        if model.get_initializer(before.input[1]) is None or model.is_fork_node(before):
            break
        chain.insert(0, before)
        before = model.find_producer(before.input[0])
    return chain


def affine(model: ModelWrapper, chain: Sequence[NodeProto]) -> tuple[NDArray[Any], NDArray[Any]]:
    """a and b of the chain's a * x + b: float64, each (1,) or (channels,)."""
    scale, offset = np.ones(1), np.zeros(1)
    for node in chain:
        constant = model.get_initializer(node.input[1]).astype(np.float64).reshape(-1)
        if node.op_type == "Mul":
            scale, offset = scale * constant, offset * constant
        elif node.op_type == "Div":
            scale, offset = scale / constant, offset / constant
        else:
            offset = offset + constant
    return scale, offset
