"""The sum of two quantized tensors of one scale."""

from __future__ import annotations

from typing import ClassVar

from finn.transformation.streamline.reorder import MoveLinearPastEltwiseAdd, MoveTransposePastJoinAdd
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper

from fireflow.hw.errors import InputError
from fireflow.hw.finn.qonnx_file import place
from fireflow.hw.finn.rules.base import Form, Forms, Rule, Scales, Stage, Step, Steps
from fireflow.hw.finn.rules.scales import check_different, keep_scale
from fireflow.hw.finn.writer import Writer
from fireflow.hw.graph import Node
from fireflow.hw.ops import Add


class AddRule(Rule, op=Add):
    """Add of two computed tensors, in a file and in the lowered model."""

    takes = ("Add",)
    forms: ClassVar[Forms] = {"Add": Form(2, 2, {})}
    steps: ClassVar[Steps] = {
        Stage.SCALES_FORWARD: (MoveLinearPastEltwiseAdd(),),
        Stage.TRANSPOSES: (MoveTransposePastJoinAdd(),),
    }
    lowered = "Add"

    def check(self, model: ModelWrapper, node: NodeProto, scales: Scales) -> None:
        shapes = [tuple(model.get_tensor_shape(name)) for name in node.input]
        if len(set(shapes)) != 1:
            raise InputError(f"{place(node)}: both sides must have one shape, not {shapes}; check the wiring")
        check_different(node)
        keep_scale(node, node.input, scales)

    def becomes(self, model: ModelWrapper, node: NodeProto) -> bool:
        return node.op_type == self.lowered and model.get_initializer(node.input[1]) is None

    def read(self, model: ModelWrapper, node: NodeProto) -> tuple[Add, list[str]]:
        return Add(), list(node.input)

    def write(self, writer: Writer, node: Node, op: Add) -> None:
        writer.node("Add", list(node.inputs), node.name)

    def hardware(self) -> tuple[Step, ...]:
        from finn.transformation.fpgadataflow.convert_to_hw.elementwise_binary_operation import (
            InferElementwiseBinaryOperation,
        )

        return (InferElementwiseBinaryOperation(),)
