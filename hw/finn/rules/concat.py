"""Quantized tensors of one scale side by side."""

from __future__ import annotations

from typing import ClassVar

from finn.transformation.streamline.reorder import MoveMulPastJoinConcat, MoveTransposePastJoinConcat
from onnx import AttributeProto, NodeProto
from qonnx.core.modelwrapper import ModelWrapper

from fireflow.hw.errors import InputError
from fireflow.hw.finn.qonnx_file import attribute, place
from fireflow.hw.finn.rules.base import Form, Forms, Rule, Scales, Stage, Step, Steps
from fireflow.hw.finn.rules.scales import check_different, keep_scale
from fireflow.hw.finn.writer import Writer
from fireflow.hw.graph import Graph, Node
from fireflow.hw.ops import Concat


class ConcatRule(Rule, op=Concat):
    """Concat of channels: axis 1 in a file, the last in the lowered model."""

    takes = ("Concat",)
    forms: ClassVar[Forms] = {"Concat": Form(2, 1 << 16, {"axis": AttributeProto.INT})}
    steps: ClassVar[Steps] = {
        Stage.SCALES_FORWARD: (MoveMulPastJoinConcat(),),
        Stage.TRANSPOSES: (MoveTransposePastJoinConcat(),),
    }
    lowered = "Concat"

    def check(self, model: ModelWrapper, node: NodeProto, scales: Scales) -> None:
        if (axis := attribute(node, "axis", 1)) not in (1, -3):
            raise InputError(f"{place(node)}: Concat must join channels, axis 1, not axis {axis}; change it")
        check_different(node)
        keep_scale(node, node.input, scales)

    def read(self, model: ModelWrapper, node: NodeProto) -> tuple[Concat, list[str]]:
        return Concat(), list(node.input)

    def write(self, writer: Writer, node: Node, op: Concat) -> None:
        writer.node("Concat", list(node.inputs), node.name, axis=-1)

    def annotate(self, model: ModelWrapper, node: Node, graph: Graph) -> None:
        """QONNX passes on the type of what is joined."""

    def hardware(self) -> tuple[Step, ...]:
        from finn.transformation.fpgadataflow.convert_to_hw.concat import InferConcatLayer

        return (InferConcatLayer(),)
