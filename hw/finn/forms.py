"""The form of single nodes: how many inputs, which attributes of which type, and what numbers a window may have.

Checked before anything of ONNX reads a node: its shape inference, in C++, does not survive a stride of 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from onnx import AttributeProto, GraphProto, NodeProto

from fireflow.hw.errors import InputError
from fireflow.hw.finn.qonnx_file import attribute, place

_MAX_WINDOW = 1 << 12
"""Of kernels, strides, dilations and padding. Pictures have at most 16384 pixels on a side."""
_WINDOW = ("dilations", "kernel_shape", "pads", "strides")
_POOL = {
    **dict.fromkeys(_WINDOW, AttributeProto.INTS),
    **dict.fromkeys(("ceil_mode", "storage_order", "count_include_pad"), AttributeProto.INT),
    "auto_pad": AttributeProto.STRING,
}


class Form(NamedTuple):
    """Fewest and most inputs, and the attributes a node may have, by name and type."""

    fewest: int
    most: int
    attributes: Mapping[str, int]


FORMS: Mapping[str, Form] = {
    "Add": Form(2, 2, {}),
    "AveragePool": Form(1, 1, _POOL),
    "Concat": Form(2, 1 << 16, {"axis": AttributeProto.INT}),
    "Conv": Form(
        2,
        3,
        {
            **dict.fromkeys(_WINDOW, AttributeProto.INTS),
            "group": AttributeProto.INT,
            "auto_pad": AttributeProto.STRING,
        },
    ),
    "Flatten": Form(1, 1, {"axis": AttributeProto.INT}),
    "GlobalAveragePool": Form(1, 1, {}),
    "MaxPool": Form(1, 1, {name: kind for name, kind in _POOL.items() if name != "count_include_pad"}),
    "Quant": Form(
        4,
        4,
        {**dict.fromkeys(("signed", "narrow"), AttributeProto.INT), "rounding_mode": AttributeProto.STRING},
    ),
    "ReduceMean": Form(
        1,
        2,
        {
            **dict.fromkeys(("keepdims", "noop_with_empty_axes"), AttributeProto.INT),
            "axes": AttributeProto.INTS,
        },
    ),
    "Relu": Form(1, 1, {}),
}


def check_forms(graph: GraphProto) -> None:
    """No attribute that nobody reads, no input that nobody takes, no window without an end.

    A convolution that leaves out its `kernel_shape` gets that of its weights.

    Raises:
        InputError: a node breaks a rule.
    """
    ranks = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    producers = {node.output[0]: node for node in graph.node}
    for node in graph.node:
        form = FORMS.get(node.op_type)
        if form is None:
            continue
        _check_form(node, form)
        _check_window(node)
        if node.op_type == "Conv":
            before = producers.get(node.input[1])
            while before is not None and before.op_type in ("Identity", "Dropout"):
                before = producers.get(before.input[0])
            source = before.input[0] if before is not None and before.op_type == "Quant" else node.input[1]
            _give_kernel(node, ranks.get(source))


def _check_form(node: NodeProto, form: Form) -> None:
    if not form.fewest <= len(node.input) <= form.most or not all(node.input):
        raise InputError(
            f"{place(node)}: {node.op_type} must have {form.fewest} to {form.most} inputs, not "
            f"{list(node.input)}; export it again"
        )
    names = [item.name for item in node.attribute]
    for item in node.attribute:
        if form.attributes.get(item.name) != item.type or item.ref_attr_name or names.count(item.name) > 1:
            raise InputError(
                f"{place(node)}: the attributes of {node.op_type} must be among "
                f"{', '.join(form.attributes) or 'none'}, once and as ONNX has them, not {item.name}; export it again"
            )


def _check_window(node: NodeProto) -> None:
    for name in _WINDOW:
        lowest = 0 if name == "pads" else 1
        for value in attribute(node, name, []):
            if not lowest <= value <= _MAX_WINDOW:
                raise InputError(
                    f"{place(node)}: {name} must be {lowest} to {_MAX_WINDOW}, not {value}; export it again"
                )


def _give_kernel(node: NodeProto, weights: tuple[int, ...] | None) -> None:
    if weights is None:
        raise InputError(
            f"{place(node)}: weights must be quantized constants, not computed from the picture; quantize this layer"
        )
    if len(weights) != 4:
        raise InputError(
            f"{place(node)}: weights must be (channels, depth, height, width), not {weights}; use Conv2d"
        )
    given = attribute(node, "kernel_shape", None)
    if given is not None and tuple(given) != weights[2:]:
        raise InputError(
            f"{place(node)}: kernel_shape must be that of the weights, {list(weights[2:])}, not {given}; "
            "export it again"
        )
    if given is None:
        item = node.attribute.add(name="kernel_shape", type=AttributeProto.INTS)
        item.ints.extend(weights[2:])
