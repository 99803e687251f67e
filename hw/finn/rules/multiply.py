"""A quantized tensor times a quantized gate, a number for each channel."""

from __future__ import annotations

from typing import ClassVar

from finn.transformation.streamline.reorder import MoveConstMulPastJoinMul, MoveTransposePastJoinMul
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper

from fireflow.hw.errors import InputError
from fireflow.hw.finn.qonnx_file import is_weight, place
from fireflow.hw.finn.rules.base import Form, Forms, Rule, Scales, Stage, Step, Steps
from fireflow.hw.finn.rules.scales import check_different
from fireflow.hw.finn.writer import Writer
from fireflow.hw.graph import Node
from fireflow.hw.ops import Multiply


def _is_constant(model: ModelWrapper, name: str) -> bool:
    """Whether a tensor is a constant, quantized or not."""
    before = model.find_producer(name)
    quantized = before is not None and before.op_type == "Quant" and is_weight(model, before)
    return quantized or model.get_initializer(name) is not None


class MultiplyRule(Rule, op=Multiply):
    """Mul of two computed tensors, in a file and in the lowered model; one by a constant is a scale, or not taken."""

    takes = ("Mul",)
    forms: ClassVar[Forms] = {"Mul": Form(2, 2, {})}
    steps: ClassVar[Steps] = {
        Stage.SCALES_FORWARD: (MoveConstMulPastJoinMul(),),
        Stage.TRANSPOSES: (MoveTransposePastJoinMul(),),
    }
    lowered = "Mul"

    def takes_node(self, model: ModelWrapper, node: NodeProto) -> bool:
        return super().takes_node(model, node) and not any(_is_constant(model, name) for name in node.input)

    def check(self, model: ModelWrapper, node: NodeProto, scales: Scales) -> None:
        shapes = [tuple(model.get_tensor_shape(name)) for name in node.input]
        channels = {shape[1] if len(shape) == 4 else 0 for shape in shapes}
        if len(channels) != 1 or not any(shape[2:] == (1, 1) for shape in shapes):
            raise InputError(
                f"{place(node)}: a product must be of maps and a gate (1, C, 1, 1), not of shapes {shapes}; "
                "change it"
            )
        check_different(node)
        for name in node.input:
            if name not in scales:
                raise InputError(f"{place(node)}: inputs must be quantized, not {name} as it is; quantize it")
        first, second = node.input
        scales[node.output[0]] = scales[first] * scales[second]

    def read(self, model: ModelWrapper, node: NodeProto) -> tuple[Multiply, list[str]]:
        """The gate comes second, wherever the file has it."""
        first, second = node.input
        gate_first = model.get_tensor_shape(second)[1:3] != [1, 1]
        return Multiply(), [second, first] if gate_first else [first, second]

    def write(self, writer: Writer, node: Node, op: Multiply) -> None:
        writer.node("Mul", list(node.inputs), node.name)

    def hardware(self) -> tuple[Step, ...]:
        from finn.transformation.fpgadataflow.convert_to_hw.elementwise_binary_operation import (
            InferElementwiseBinaryOperation,
        )

        return (InferElementwiseBinaryOperation(),)
