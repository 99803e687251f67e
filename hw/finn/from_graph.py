"""From the integer graph back to a model of FINN's: what the lowering gave, for builders that start from a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper
from qonnx.core.datatype import BaseDataType, DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.util.basic import qonnx_make_model

from fireflow.hw.errors import InputError
from fireflow.hw.finn.environment import finn
from fireflow.hw.finn.lowered import LoweredModel
from fireflow.hw.finn.ranges import annotate, smallest_type
from fireflow.hw.graph import Graph, Node
from fireflow.hw.ops import Add, Bias, Concat, Conv, GlobalSum, MaxPool, Op, Relu, Threshold

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GENERAL = "qonnx.custom_op.general"


def to_model(graph: Graph) -> LoweredModel:
    """The model that `hw.finn.convert.to_graph` makes this graph of: NHWC, integers in float32.

    Tensors have the graph's names.
    """
    writer = _Writer(graph)
    for node in graph.nodes:
        writer.add(node)
    with finn():
        model = ModelWrapper(qonnx_make_model(writer.proto()))
        for name, value in writer.constants.items():
            model.set_initializer(name, value)
        for name, kind in writer.kinds.items():
            model.set_tensor_datatype(name, kind)
        lowered = LoweredModel(model, {name: name for name in graph.types}, graph.output_scale)
        annotate(lowered)
    return lowered


class _Writer:
    """Collects nodes and constants."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.extra: list[onnx.ValueInfoProto] = []
        image = graph.input_type
        self.kinds: dict[str, BaseDataType] = {graph.input_name: smallest_type(image.lo, image.hi)}

    def proto(self) -> onnx.GraphProto:
        graph = self.graph
        ends = [self._info(name) for name in (graph.input_name, graph.output_name)]
        inner = [
            self._info(name) for name in graph.types if name not in (graph.input_name, graph.output_name)
        ]
        return helper.make_graph(
            self.nodes, graph.name, [ends[0]], [ends[1]], value_info=[*inner, *self.extra]
        )

    def add(self, node: Node) -> None:
        _WRITERS[type(node.op)](self, node, node.op)

    def node(self, kind: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants[name] = value if name.endswith(".axes") else value.astype(np.float32)
        return name

    def _info(self, name: str, shape: tuple[int, ...] | None = None) -> onnx.ValueInfoProto:
        given = shape or (1, *self.graph.types[name].shape)
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, given)

    def conv(self, node: Node, op: Conv) -> None:
        """Im2Col where there is a window to lay out, and MatMul."""
        if op.groups != 1:
            raise InputError(
                f"{node.name}: groups must be 1 for FINN's matrix products, not {op.groups}; ungroup it"
            )
        width, *kernel, depth = op.weight.shape
        source = node.inputs[0]
        if (*kernel, *op.stride) != (1, 1, 1, 1) or any(op.padding):
            height_width = self.graph.types[node.name].shape[:2]
            window = f"{node.name}.window"
            self.extra.append(self._info(window, (1, *height_width, kernel[0] * kernel[1] * depth)))
            self.node(
                "Im2Col",
                [source],
                window,
                _GENERAL,
                kernel_size=kernel,
                stride=list(op.stride),
                pad_amount=list(op.padding),
                pad_value=op.pad_value,
                input_shape=str((1, *self.graph.types[source].shape)),
            )
            source = window
        weight = self.constant(f"{node.name}.weight", op.weight.reshape(width, -1).T)
        self.kinds[weight] = DataType[f"INT{max(2, op.weight_bits or 0)}"]
        self.node("MatMul", [source, weight], node.name)

    def threshold(self, node: Node, op: Threshold) -> None:
        kind = self.graph.types[node.name]
        self.node(
            "MultiThreshold",
            [node.inputs[0], self.constant(f"{node.name}.thresholds", op.thresholds)],
            node.name,
            _GENERAL,
            out_dtype=f"{'INT' if kind.signed else 'UINT'}{kind.bits}",
            out_bias=float(op.out_lo),
            out_scale=1.0,
            data_layout="NHWC",
        )

    def pool(self, node: Node, op: MaxPool) -> None:
        self.node(
            "MaxPoolNHWC",
            [node.inputs[0]],
            node.name,
            _GENERAL,
            kernel_shape=list(op.kernel),
            strides=list(op.stride),
            pads=list(op.padding),
        )

    def concat(self, node: Node, op: Concat) -> None:
        self.node("Concat", list(node.inputs), node.name, axis=-1)

    def join(self, node: Node, op: Add) -> None:
        self.node("Add", list(node.inputs), node.name)

    def bias(self, node: Node, op: Bias) -> None:
        self.node("Add", [node.inputs[0], self.constant(f"{node.name}.values", op.values)], node.name)

    def relu(self, node: Node, op: Relu) -> None:
        self.node("Relu", [node.inputs[0]], node.name)

    def total(self, node: Node, op: GlobalSum) -> None:
        axes = self.constant(f"{node.name}.axes", np.array([1, 2], np.int64))
        self.node("ReduceSum", [node.inputs[0], axes], node.name, keepdims=0)


_WRITERS: Mapping[type[Op], Callable[[_Writer, Node, Any], None]] = {
    Conv: _Writer.conv,
    Threshold: _Writer.threshold,
    MaxPool: _Writer.pool,
    Concat: _Writer.concat,
    Add: _Writer.join,
    Bias: _Writer.bias,
    Relu: _Writer.relu,
    GlobalSum: _Writer.total,
}
