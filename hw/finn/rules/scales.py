"""Scales of operations that move or add integers."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import NodeProto

from fireflow.hw.errors import InputError
from fireflow.hw.finn.qonnx_file import place
from fireflow.hw.finn.rules.base import Scales


def keep_scale(node: NodeProto, inputs: Iterable[str], scales: Scales) -> None:
    """A node that moves or adds integers keeps their scale, so all its inputs must have the same.

    Raises:
        InputError: they have not, or are not quantized.
    """
    first, *others = inputs
    for name in (first, *others):
        if name not in scales:
            raise InputError(f"{place(node)}: inputs must be quantized, not {name} as it is; quantize it")
        if scales[name] != scales[first]:
            raise InputError(
                f"{place(node)}: unequal {node.op_type.lower()} scales: {name} must have that of {first}, "
                f"{scales[first]:.9g}, not {scales[name]:.9g}; share one quantizer between them"
            )
    scales[node.output[0]] = scales[first]


def check_different(node: NodeProto) -> None:
    """No tensor twice: streams have one reader.

    Raises:
        InputError: one is.
    """
    if len(set(node.input)) != len(node.input):
        raise InputError(
            f"{place(node)}: inputs must be different tensors, not {node.input[0]} twice; change it"
        )
