"""The maximum over windows of a quantized tensor."""

from __future__ import annotations

from typing import ClassVar

from finn.transformation.streamline.reorder import MoveMulPastMaxPool
from onnx import AttributeProto, NodeProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from fireflow.hw.errors import InputError
from fireflow.hw.finn.edits import complete_attributes, new_tensor
from fireflow.hw.finn.qonnx_file import QONNX, attribute, place
from fireflow.hw.finn.rules.base import WINDOW, Form, Forms, Rule, Scales, Stage, Step, Steps
from fireflow.hw.finn.rules.scales import keep_scale
from fireflow.hw.finn.writer import Writer
from fireflow.hw.graph import Graph, Node
from fireflow.hw.ops import MaxPool


def _complete_pools(model: ModelWrapper) -> None:
    for node in model.graph.node:
        if node.op_type == "MaxPool":
            complete_attributes(node, {"strides": [1, 1], "pads": [0, 0, 0, 0], "dilations": [1, 1]})


def _pools_to_nhwc(model: ModelWrapper) -> None:
    """MaxPool  ->  Transpose, MaxPoolNHWC, Transpose. The transposes cancel later against the neighbours'.

    FINN's MakeMaxPoolNHWC looks at one reader of a pool and leaves a wrong graph where a bypass forks there.
    """
    for node in [n for n in model.graph.node if n.op_type == "MaxPool"]:
        _, channels, *before = model.get_tensor_shape(node.input[0])
        _, _, *after = model.get_tensor_shape(node.output[0])
        source, result = new_tensor(model, (1, *before, channels)), new_tensor(model, (1, *after, channels))
        model.graph.node.extend(
            [
                helper.make_node("Transpose", [node.input[0]], [source], perm=[0, 2, 3, 1]),
                helper.make_node("Transpose", [result], [node.output[0]], perm=[0, 3, 1, 2]),
            ]
        )
        node.op_type, node.domain = "MaxPoolNHWC", QONNX
        node.input[0], node.output[0] = source, result


class MaxPoolRule(Rule, op=MaxPool):
    """MaxPool in a file, MaxPoolNHWC in the lowered model."""

    takes = ("MaxPool",)
    forms: ClassVar[Forms] = {
        "MaxPool": Form(
            1,
            1,
            {
                **dict.fromkeys(WINDOW, AttributeProto.INTS),
                **dict.fromkeys(("ceil_mode", "storage_order"), AttributeProto.INT),
                "auto_pad": AttributeProto.STRING,
            },
        )
    }
    steps: ClassVar[Steps] = {
        Stage.ATTRIBUTES: (_complete_pools,),
        Stage.SCALES_FORWARD: (MoveMulPastMaxPool(),),
        Stage.NHWC: (_pools_to_nhwc,),
    }
    lowered = "MaxPoolNHWC"

    def check(self, model: ModelWrapper, node: NodeProto, scales: Scales) -> None:
        kernel, pads = attribute(node, "kernel_shape", []), attribute(node, "pads", [0, 0, 0, 0])
        stride = attribute(node, "strides", [1, 1])
        plain = {"dilations": [1, 1], "auto_pad": b"NOTSET", "storage_order": 0}
        for name, value in plain.items():
            if (actual := attribute(node, name, value)) != value:
                raise InputError(f"{place(node)}: {name} must be {value}, not {actual}; use a plain pool")
        if len(kernel) != 2 or pads[:2] != pads[2:] or stride > kernel:
            raise InputError(
                f"{place(node)}: a pool must have two axes, the same padding on both sides and a stride up to "
                f"the kernel {kernel}, not padding {pads} and stride {stride}; change it"
            )
        keep_scale(node, node.input[:1], scales)

    def read(self, model: ModelWrapper, node: NodeProto) -> tuple[MaxPool, list[str]]:
        """In ceil mode the last window may reach over the border: here that is padding, bottom and right."""
        attributes = getCustomOp(node)
        kernel, stride, pads = (attributes.get_nodeattr(name) for name in ("kernel_shape", "strides", "pads"))
        before, after = (model.get_tensor_shape(name)[1:3] for name in (node.input[0], node.output[0]))
        end = [(after[i] - 1) * stride[i] + kernel[i] - before[i] - pads[i] for i in (0, 1)]
        # Without ceil mode, windows may also end before the padding does.
        padding = (pads[0], pads[1], max(end[0], 0), max(end[1], 0))
        return MaxPool(tuple(kernel), tuple(stride), padding), [node.input[0]]

    def write(self, writer: Writer, node: Node, op: MaxPool) -> None:
        writer.node(
            "MaxPoolNHWC",
            [node.inputs[0]],
            node.name,
            QONNX,
            kernel_shape=list(op.kernel),
            strides=list(op.stride),
            pads=list(op.padding),
        )

    def annotate(self, model: ModelWrapper, node: Node, graph: Graph) -> None:
        """QONNX passes on the type of what is read."""

    def hardware(self) -> tuple[Step, ...]:
        from finn.transformation.fpgadataflow.convert_to_hw.pool import InferPool

        return (InferPool(),)
