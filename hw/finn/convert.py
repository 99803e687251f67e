"""From the lowered model to the integer graph, node for node."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from fireflow.hw.finn.lowered import LoweredModel
from fireflow.hw.graph import Graph, Node
from fireflow.hw.ops import Add, Bias, Concat, Conv, GlobalSum, MaxPool, Op, Relu, Threshold
from fireflow.hw.types import TensorType


def to_graph(lowered: LoweredModel, name: str = "network") -> Graph:
    """The integer graph of a lowered model.

    Args:
        lowered: what `hw.finn.lowering.lower` gave.
        name: the graph's name.

    Raises:
        InputError: a value range that the graph cannot hold.
    """
    model = lowered.model
    canonical = {tensor: name for name, tensor in lowered.names.items()}
    image = model.graph.input[0].name
    _, height, width, channels = model.get_tensor_shape(image)
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Im2Col":
            continue  # read together with the MatMul behind it
        op, sources = _operation(model, node)
        nodes.append(Node(canonical[node.output[0]], op, tuple(canonical[source] for source in sources)))
    return Graph(
        name,
        canonical[image],
        TensorType((height, width, channels), 0, 255),
        tuple(nodes),
        lowered.output_scale,
    )


def _operation(model: ModelWrapper, node: NodeProto) -> tuple[Op, list[str]]:
    """The operation of a node and the tensors it reads."""
    data = node.input[0]
    constant = integers(model, node.input[1]) if len(node.input) > 1 else None
    if node.op_type == "MatMul":
        return _convolution(model, node)
    if node.op_type == "MultiThreshold":
        attributes = getCustomOp(node)
        assert attributes.get_nodeattr("out_scale") == 1, node.name
        assert attributes.get_nodeattr("data_layout") == "NHWC", node.name
        assert constant is not None
        return Threshold(constant, int(attributes.get_nodeattr("out_bias"))), [data]
    if node.op_type == "MaxPoolNHWC":
        return _pool(model, node), [data]
    if node.op_type == "Concat":
        return Concat(), list(node.input)
    if node.op_type == "Add":
        return (Add(), list(node.input)) if constant is None else (Bias(constant.reshape(-1)), [data])
    if node.op_type == "Relu":
        return Relu(), [data]
    assert node.op_type == "ReduceSum", f"{node.name}: {node.op_type} was not lowered"
    return GlobalSum(), [data]


def _convolution(model: ModelWrapper, node: NodeProto) -> tuple[Op, list[str]]:
    """MatMul, with the Im2Col before it if there is one: weights (KH * KW * IC, OC) -> (OC, KH, KW, IC)."""
    weight = integers(model, node.input[1])
    assert weight is not None, f"{node.name}: weights are not constant"
    bits = model.get_tensor_datatype(node.input[1]).bitwidth()
    before = model.find_producer(node.input[0])
    if before is None or before.op_type != "Im2Col":
        return Conv(weight.T.reshape(weight.shape[1], 1, 1, -1), weight_bits=bits), [node.input[0]]
    gather = getCustomOp(before)
    kernel, stride, padding = (gather.get_nodeattr(name) for name in ("kernel_size", "stride", "pad_amount"))
    shaped = weight.T.reshape(weight.shape[1], *kernel, -1)
    return Conv(shaped, tuple(stride), tuple(padding), weight_bits=bits), [before.input[0]]


def _pool(model: ModelWrapper, node: NodeProto) -> MaxPool:
    """In ceil mode the last window may reach over the border: here that is padding, bottom and right."""
    attributes = getCustomOp(node)
    kernel, stride, pads = (attributes.get_nodeattr(name) for name in ("kernel_shape", "strides", "pads"))
    before, after = (model.get_tensor_shape(name)[1:3] for name in (node.input[0], node.output[0]))
    end = [(after[i] - 1) * stride[i] + kernel[i] - before[i] - pads[i] for i in (0, 1)]
    # Without ceil mode, windows may also end before the padding does.
    return MaxPool(tuple(kernel), tuple(stride), (pads[0], pads[1], max(end[0], 0), max(end[1], 0)))


def integers(model: ModelWrapper, tensor: str) -> NDArray[np.int64] | None:
    """A constant as int64; None where the tensor is computed."""
    array: NDArray[Any] | None = model.get_initializer(tensor)
    if array is None:
        return None
    result = array.astype(np.int64)
    assert np.array_equal(result, array), f"{tensor}: holds fractions after the lowering"
    return result
