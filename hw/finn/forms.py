"""The form of single nodes: how many inputs, which attributes of which type, and what numbers a window may have.

Checked before anything of ONNX reads a node: its shape inference, in C++, does not survive a stride of 0.
"""

from __future__ import annotations

from onnx import GraphProto, NodeProto

from fireflow.hw.errors import InputError
from fireflow.hw.finn.qonnx_file import attribute, place
from fireflow.hw.finn.rules import forms
from fireflow.hw.finn.rules.base import WINDOW, Form

_MAX_WINDOW = 1 << 12
"""Kernels, strides, dilations and padding reach no further. Pictures have at most 16384 pixels on a side."""


def check_forms(graph: GraphProto) -> None:
    """No attribute that nobody reads, no input that nobody takes, no window without an end.

    Raises:
        InputError: a node breaks a rule.
    """
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    producers = {node.output[0]: node for node in graph.node}
    known = forms()
    for node in graph.node:
        if node.op_type not in known:
            continue
        form, rule = known[node.op_type]
        _check_form(node, form)
        _check_window(node)
        rule.complete(node, producers, shapes)


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
    for name in WINDOW:
        lowest = 0 if name == "pads" else 1
        for value in attribute(node, name, []):
            if not lowest <= value <= _MAX_WINDOW:
                raise InputError(
                    f"{place(node)}: {name} must be {lowest} to {_MAX_WINDOW}, not {value}; export it again"
                )
