"""Relu: in front of a quantizer a part of it, at the end of the network an operation of its own."""

from __future__ import annotations

from typing import ClassVar

from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper

from fireflow.hw.errors import InputError
from fireflow.hw.finn.qonnx_file import AVERAGES, feeds_quantizer, place
from fireflow.hw.finn.rules.base import Form, Forms, Rule, Scales, Step
from fireflow.hw.finn.writer import Writer
from fireflow.hw.graph import Node
from fireflow.hw.ops import Relu


class ReluRule(Rule, op=Relu):
    """Relu in front of the average; thresholds take in the others."""

    takes = ("Relu",)
    forms: ClassVar[Forms] = {"Relu": Form(1, 1, {})}
    reads_sums = ("Relu",)
    lowered = "Relu"

    def check(self, model: ModelWrapper, node: NodeProto, scales: Scales) -> None:
        readers = [reader.op_type for reader in model.find_consumers(node.output[0])]
        if readers not in (["Quant"], *([kind] for kind in AVERAGES)):
            raise InputError(
                f"{place(node)}: a Relu must feed one quantizer, or the average at the end, "
                f"not {', '.join(readers) or 'nothing'}; quantize its output"
            )

    def named(self, model: ModelWrapper, node: NodeProto) -> str | None:
        return None if feeds_quantizer(model, node) else super().named(model, node)

    def read(self, model: ModelWrapper, node: NodeProto) -> tuple[Relu, list[str]]:
        return Relu(), [node.input[0]]

    def write(self, writer: Writer, node: Node, op: Relu) -> None:
        writer.node("Relu", [node.inputs[0]], node.name)

    def hardware(self) -> tuple[Step, ...]:
        from finn.transformation.fpgadataflow.convert_to_hw.relu_as_elementwise_max import (
            InferReLUAsElementwiseMax,
        )

        return (InferReLUAsElementwiseMax(),)
