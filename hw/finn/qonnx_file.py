"""Reading a QONNX file and its quantizers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_shapes import InferShapes

from hw.errors import InputError

SUPPORTED = (
    "Add",
    "Concat",
    "Conv",
    "Flatten",
    "GlobalAveragePool",
    "MaxPool",
    "Quant",
    "ReduceMean",
    "Relu",
)
AVERAGES = ("GlobalAveragePool", "ReduceMean")
_DOMAINS = ("", "ai.onnx", "qonnx.custom_op.general")


@dataclass(frozen=True, slots=True)
class Quantizer:
    """The parameters of a Quant node. Real value = integer * scale."""

    scale: NDArray[Any]
    bits: int
    signed: bool
    narrow: bool


def read_model(path: str | Path) -> ModelWrapper:
    """The model in an ONNX file, with shapes.

    Raises:
        InputError: the file is missing or damaged, has not one input and one output, holds an operation that
            is not supported, or its shapes do not fit.
    """
    try:
        proto = onnx.load(str(path))
    except OSError as error:
        raise InputError(
            f"{path}: the model must be readable, not {error.strerror}; check the path"
        ) from None
    except (DecodeError, ValueError) as error:
        raise InputError(
            f"{path}: the file must hold a whole ONNX model ({error}); export it again"
        ) from None
    graph = proto.graph
    if not graph.node or len(graph.input) != 1 or len(graph.output) != 1:
        raise InputError(
            f"{path}: the model must have nodes, one input and one output, not {len(graph.node)} nodes, "
            f"{len(graph.input)} inputs and {len(graph.output)} outputs; export it again"
        )
    produced = {name for node in graph.node for name in node.output}
    known = produced | {tensor.name for tensor in (*graph.input, *graph.initializer)} | {""}
    for name in [graph.output[0].name, *(name for node in graph.node for name in node.input)]:
        if name not in known:
            raise InputError(f"{path}: every tensor must be computed somewhere, not {name}; export it again")
    for node in graph.node:
        if node.op_type not in SUPPORTED or node.domain not in _DOMAINS:
            found = f"{node.domain}.{node.op_type}".lstrip(".")
            raise InputError(
                f"{place(node)}: the operation must be one of {', '.join(SUPPORTED)}, not {found}; "
                "change that part of the network"
            )
    try:
        return ModelWrapper(proto).transform(InferShapes())
    except Exception as error:  # onnx and qonnx have no common type for shapes that do not fit
        raise InputError(f"{path}: shapes must fit together ({error}); export it again") from error


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
    scale, zero_point, bits = (model.get_initializer(name) for name in node.input[1:4])
    if scale is None or zero_point is None or bits is None:
        raise InputError(
            f"{place(node)}: scale, zero point and bits must be constants, not computed; run qonnx-cleanup"
        )
    if np.any(zero_point != 0):
        found = zero_point[zero_point != 0].flat[0]
        raise InputError(f"{place(node)}: the zero point must be 0, not {found}; use a symmetric quantizer")
    if not (np.isfinite(scale).all() and np.all(scale > 0)):
        raise InputError(
            f"{place(node)}: scales must be above 0, not {scale.min()}; calibrate the network again"
        )
    width = float(bits.flat[0])
    if bits.size != 1 or width != int(width) or width < 1:
        raise InputError(
            f"{place(node)}: bits must be one whole number above 0, not {bits}; check the policy"
        )
    rounding = attribute(node, "rounding_mode", b"ROUND").decode()
    if rounding.upper() != "ROUND":
        raise InputError(
            f"{place(node)}: rounding must be ROUND (halves to even), not {rounding}; change the quantizer"
        )
    signed, narrow = bool(attribute(node, "signed", 1)), bool(attribute(node, "narrow", 0))
    return Quantizer(scale, int(width), signed, narrow)


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
