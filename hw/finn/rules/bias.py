"""The integer bias of the last convolution; all others are folded into thresholds."""

from __future__ import annotations

from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper

from fireflow.hw.finn.datatypes import smallest_type
from fireflow.hw.finn.edits import integers
from fireflow.hw.finn.rules.base import Rule, Step
from fireflow.hw.finn.writer import Writer
from fireflow.hw.graph import Graph, Node
from fireflow.hw.ops import Bias


class BiasRule(Rule, op=Bias):
    """Add of a constant in the lowered model. In a file it is an input of the convolution, and has no name."""

    lowered = "Add"
    parameter = "values"
    suffix = "bias"

    def becomes(self, model: ModelWrapper, node: NodeProto) -> bool:
        return node.op_type == self.lowered and model.get_initializer(node.input[1]) is not None

    def read(self, model: ModelWrapper, node: NodeProto) -> tuple[Bias, list[str]]:
        values = integers(model, node.input[1])
        assert values is not None
        return Bias(values.reshape(-1)), [node.input[0]]

    def write(self, writer: Writer, node: Node, op: Bias) -> None:
        writer.node("Add", [node.inputs[0], writer.constant(f"{node.name}.values", op.values)], node.name)

    def annotate(self, model: ModelWrapper, node: Node, graph: Graph) -> None:
        super().annotate(model, node, graph)
        assert isinstance(node.op, Bias)
        values = model.find_producer(node.name).input[1]
        lo, hi = int(node.op.values.min()), int(node.op.values.max())
        model.set_tensor_datatype(values, smallest_type(lo, hi))

    def hardware(self) -> tuple[Step, ...]:
        from finn.transformation.fpgadataflow.convert_to_hw.elementwise_binary_operation import (
            InferElementwiseBinaryOperation,
        )

        return (InferElementwiseBinaryOperation(),)
