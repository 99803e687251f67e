"""The average of all pixels at the end of a file: a sum, and a factor that is no part of the integers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from onnx import AttributeProto, NodeProto, helper
from qonnx.core.modelwrapper import ModelWrapper

from fireflow.hw.errors import InputError
from fireflow.hw.finn.constants import SHAPING
from fireflow.hw.finn.edits import affine, new_constant, new_tensor, remove
from fireflow.hw.finn.lowered import FINN, MAX_BIAS_ERROR, OUTPUT_SCALE
from fireflow.hw.finn.qonnx_file import AVERAGES, attribute, head, place
from fireflow.hw.finn.rules.base import WINDOW, Form, Forms, Rule, Scales, Stage, Step, Steps
from fireflow.hw.finn.writer import Writer
from fireflow.hw.graph import Node
from fireflow.hw.ops import GlobalSum


def _one_window_is_global(model: ModelWrapper) -> None:
    """An average pool over the whole map is an average of all pixels."""
    for node in model.graph.node:
        if node.op_type == "AveragePool" and _is_global(model, node):
            node.op_type = "GlobalAveragePool"
            del node.attribute[:]


def _is_global(model: ModelWrapper, node: NodeProto) -> bool:
    """Whether an average pool takes the mean of every whole map, which is one window."""
    size = model.get_tensor_shape(node.input[0])[2:]
    plain = attribute(node, "auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
    plain = plain and not any(attribute(node, "pads", [0])) and set(attribute(node, "dilations", [1])) == {1}
    return plain and attribute(node, "kernel_shape", []) == size


def _one_flatten(model: ModelWrapper) -> None:
    """What follows the average up to the output changes the shape only: one Flatten to (1, classes)."""
    output = model.graph.output[0].name
    tail: list[NodeProto] = []
    node = model.find_producer(output)
    while node is not None and node.op_type in SHAPING:
        tail.append(node)
        node = model.find_producer(node.input[0])
    if not tail or node is None or node.op_type not in AVERAGES:
        return
    if any(len(model.find_consumers(item.input[0]) or []) != 1 for item in tail):
        return
    for item in tail:
        model.graph.node.remove(item)
    flat = helper.make_node("Flatten", [node.output[0]], [output], name=tail[0].name, axis=1)
    model.graph.node.append(flat)
    shape = model.graph.output[0].type.tensor_type
    kind = shape.elem_type
    shape.Clear()
    shape.elem_type = kind


def _integer_head(model: ModelWrapper) -> None:
    """Make the class scores integers: Conv, Add of an integer bias, Relu, sum over the pixels, in NHWC.

    The average becomes a sum. Its 1 / pixels and the scale of the last accumulator become metadata: they are
    above 0 and the same for all classes, so they commute with the Relu and keep the order of the scores.

    Raises:
        InputError: the bias is not an integer multiple of the accumulator's scale.
    """
    nodes = head(model)
    conv = nodes[0]
    scale, offset = affine(model, [node for node in nodes[1:] if node.op_type in ("Mul", "Add", "Div")])
    _, channels, height, width = model.get_tensor_shape(conv.output[0])
    step = float(scale.item())  # that there is one scale has been checked
    integers = _integer_bias(conv, np.broadcast_to(offset / step, channels), step)
    has_relu = any(node.op_type == "Relu" for node in nodes)
    remove(model, nodes[1:])

    def append(kind: str, *constants: str, to: str | None = None, **attributes: Any) -> None:
        source = model.graph.node[-1].output[0] if kind != "Transpose" else conv.output[0]
        result = to or new_tensor(model, (1, height, width, channels))
        model.graph.node.append(helper.make_node(kind, [source, *constants], [result], **attributes))

    append("Transpose", perm=[0, 2, 3, 1])
    append("Add", new_constant(model, integers))
    if has_relu:
        append("Relu")
    output = model.graph.output[0].name
    append("ReduceSum", new_constant(model, np.array([1, 2], np.int64)), to=output, keepdims=0)
    model.set_tensor_shape(output, (1, channels))
    model.set_metadata_prop(OUTPUT_SCALE, repr(step / (height * width)))


def _integer_bias(conv: NodeProto, bias: Any, step: float) -> Any:
    integers = np.round(bias)
    worst = int(np.argmax(np.abs(bias - integers)))
    if abs(bias[worst] - integers[worst]) > MAX_BIAS_ERROR:
        raise InputError(
            f"{place(conv)}: the bias must be an integer times the accumulator's scale {step:.9g}, not "
            f"{bias[worst]:.6g} times it in channel {worst}; train the last layer with bias=False or "
            "bias_quant=Int32Bias (fireflow's own networks: finalize them)"
        )
    return integers


def _sum_as_layer(model: ModelWrapper) -> None:
    """ReduceSum over the pixels as FINN's GlobalAccPool, whose output keeps its axes of size 1."""
    for node in [node for node in model.graph.node if node.op_type == "ReduceSum"]:
        source, result = node.input[0], node.output[0]
        shape = [int(size) for size in model.get_tensor_shape(source)]
        total = helper.make_node(
            "GlobalAccPool",
            [source],
            [result],
            name=node.name,
            domain=FINN,
            backend="fpgadataflow",
            NumChannels=shape[-1],
            PE=1,
            inputDataType=model.get_tensor_datatype(source).name,
            numInputVectors=shape[:-1],
        )
        position = list(model.graph.node).index(node)
        model.graph.node.remove(node)
        model.graph.node.insert(position, total)
        model.set_tensor_shape(result, [1, 1, 1, shape[-1]])


class GlobalSumRule(Rule, op=GlobalSum):
    """An average in a file, with what drops its axes of size 1; ReduceSum in the lowered model."""

    takes = (*AVERAGES, "Flatten")
    respells = ("AveragePool", *SHAPING)
    forms: ClassVar[Forms] = {
        "AveragePool": Form(
            1,
            1,
            {
                **dict.fromkeys(WINDOW, AttributeProto.INTS),
                **dict.fromkeys(("ceil_mode", "storage_order", "count_include_pad"), AttributeProto.INT),
                "auto_pad": AttributeProto.STRING,
            },
        ),
        "Flatten": Form(1, 1, {"axis": AttributeProto.INT}),
        "GlobalAveragePool": Form(1, 1, {}),
        "ReduceMean": Form(
            1,
            2,
            {
                **dict.fromkeys(("keepdims", "noop_with_empty_axes"), AttributeProto.INT),
                "axes": AttributeProto.INTS,
            },
        ),
    }
    reads_sums = AVERAGES
    steps: ClassVar[Steps] = {
        Stage.SIMPLIFY: (_one_window_is_global, _one_flatten),
        Stage.HEAD: (_integer_head,),
    }
    lowered = "ReduceSum"
    parameter = "axes"
    bounded = False  # nothing is computed of it

    def check(self, model: ModelWrapper, node: NodeProto, scales: Scales) -> None:
        if node.op_type == "Flatten":
            before = model.find_producer(node.input[0])
            if before is None or before.op_type not in AVERAGES or attribute(node, "axis", 1) != 1:
                raise InputError(
                    f"{place(node)}: Flatten must follow the average at the end; average all pixels first"
                )
        if node.op_type != "ReduceMean":
            return
        axes = attribute(node, "axes", None)
        if axes is None and len(node.input) > 1:
            axes = model.get_initializer(node.input[1])
        found = [] if axes is None else sorted(int(axis) % 4 for axis in axes)
        if found != [2, 3]:
            raise InputError(
                f"{place(node)}: the average must be over axes [2, 3], not {found}; average all pixels"
            )

    def named(self, model: ModelWrapper, node: NodeProto) -> str | None:
        """What follows the average only changes its shape."""
        return model.graph.output[0].name if node.op_type in AVERAGES else None

    def read(self, model: ModelWrapper, node: NodeProto) -> tuple[GlobalSum, list[str]]:
        return GlobalSum(), [node.input[0]]

    def write(self, writer: Writer, node: Node, op: GlobalSum) -> None:
        writer.node(
            "ReduceSum", [node.inputs[0], writer.axes(f"{node.name}.axes", (1, 2))], node.name, keepdims=0
        )

    def hardware(self) -> tuple[Step, ...]:
        return (_sum_as_layer,)
