"""The nodes of a QONNX model: attributes; Quant, with which any layer may be surrounded; the head, by its pattern."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper

from fireflow.hw.errors import InputError

QONNX = "qonnx.custom_op.general"
"""The domain of QONNX's own operations."""
AVERAGES = ("GlobalAveragePool", "ReduceMean")
"""The end of a network, by which its head is found."""


@dataclass(frozen=True, slots=True)
class Quantizer:
    """The parameters of a Quant node. Real value = integer * scale."""

    scale: NDArray[Any]
    bits: int
    signed: bool
    narrow: bool


def place(node: NodeProto) -> str:
    """What to call a node in a message."""
    return node.name or node.output[0]


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """The value of an attribute."""
    for item in node.attribute:
        if item.name == name:
            return onnx.helper.get_attribute_value(item)
    return default


def quantizer(model: ModelWrapper, node: NodeProto) -> Quantizer:
    """The parameters of a Quant node.

    Raises:
        InputError: they are not constants, or of a kind that FINN has no equivalent of.
    """
    if len(node.input) != 4:
        raise InputError(
            f"{place(node)}: Quant must have 4 inputs (data, scale, zero point, bits), not {len(node.input)}; "
            "export it again"
        )
    scale, zero_point, bits = (model.get_initializer(name) for name in node.input[1:4])
    if scale is None or zero_point is None or bits is None:
        raise InputError(
            f"{place(node)}: scale, zero point and bits must be constants, not computed from the picture; "
            "use a static quantizer"
        )
    shape = model.get_tensor_shape(node.input[0])
    for what, array in (("scale", scale), ("zero point", zero_point), ("bits", bits)):
        if shape is not None and not _fits(array.shape, shape):  # without a shape, hw.finn.checks refuses it
            raise InputError(
                f"{place(node)}: the {what} must fit the tensor of shape {shape}, not have shape {array.shape}; "
                "export it again"
            )
    if np.any(zero_point != 0):
        found = zero_point[zero_point != 0].flat[0]
        raise InputError(f"{place(node)}: the zero point must be 0, not {found}; use a symmetric quantizer")
    if not (np.isfinite(scale).all() and np.all(scale > 0)):
        raise InputError(
            f"{place(node)}: scales must be above 0, not {scale.min()}; calibrate the network again"
        )
    width = float(bits.flat[0])
    if bits.size != 1 or not 1 <= width <= 64 or width != int(width):
        raise InputError(
            f"{place(node)}: bits must be one whole number above 0, not {bits}; check the policy"
        )
    rounding = attribute(node, "rounding_mode", b"ROUND").decode()
    if rounding.upper() not in ("ROUND", "HALF_EVEN"):
        raise InputError(
            f"{place(node)}: rounding must be ROUND (halves to even), not {rounding}; change the quantizer"
        )
    flags = {name: attribute(node, name, None) for name in ("signed", "narrow")}
    for name, value in flags.items():
        if value not in (0, 1):
            raise InputError(f"{place(node)}: {name} must be 0 or 1, not {value}; export it again")
    return Quantizer(scale, int(width), bool(flags["signed"]), bool(flags["narrow"]))


def _fits(small: tuple[int, ...], shape: Sequence[int]) -> bool:
    """Whether an array broadcasts against a tensor and leaves its shape."""
    tail = shape[len(shape) - len(small) :] if small else []
    return len(small) <= len(shape) and all(a in (1, b) for a, b in zip(small, tail, strict=True))


def is_weight(model: ModelWrapper, node: NodeProto) -> bool:
    """Whether a Quant node quantizes constants."""
    return model.get_initializer(node.input[0]) is not None


def feeds_quantizer(model: ModelWrapper, node: NodeProto) -> bool:
    """Whether the only reader of a node is a Quant node."""
    readers = model.find_consumers(node.output[0])
    return len(readers) == 1 and readers[0].op_type == "Quant"


def head(model: ModelWrapper) -> list[NodeProto]:
    """The nodes from the last convolution to the output, both included, in order."""
    nodes: list[NodeProto] = []
    node = model.find_producer(model.graph.output[0].name)
    while node is not None:
        nodes.insert(0, node)
        if node.op_type == "Conv":
            break
        node = model.find_producer(node.input[0])
    return nodes
