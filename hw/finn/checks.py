"""What a QONNX file must be for the lowering to start: checked here once, so that no pass meets anything else."""

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

from hw.errors import InputError

SUPPORTED = (
    "Add", "AveragePool over all pixels", "Concat", "Conv", "Flatten", "GlobalAveragePool", "MaxPool", "Quant", "ReduceMean",
    "Relu",
)  # fmt: skip
MAX_WEIGHT_BITS = 6
MAX_ACTIVATION_BITS = 8
_AVERAGES = ("GlobalAveragePool", "ReduceMean")


@dataclass(frozen=True, slots=True)
class Quantizer:
    """The parameters of a Quant node. Real value = integer * scale."""

    scale: NDArray[Any]
    bits: int
    signed: bool
    narrow: bool


def read_model(path: str | Path) -> ModelWrapper:
    """The model in an ONNX file, shapes inferred.

    Raises:
        InputError: there is no such file, or it is damaged, or its shapes do not fit together.
    """
    try:
        proto = onnx.load(str(path))
    except OSError as error:
        raise InputError(f"{path}: the model must be readable, not {error.strerror}; check the path") from None
    except (DecodeError, ValueError) as error:
        raise InputError(f"{path}: the file must hold an ONNX model ({error}); export it again") from None
    if not proto.graph.node or len(proto.graph.input) != 1 or len(proto.graph.output) != 1:
        raise InputError(
            f"{path}: the model must have nodes, one input and one output, not {len(proto.graph.node)}, "
            f"{len(proto.graph.input)} and {len(proto.graph.output)}; export it again"
        )
    return ModelWrapper(proto)


def check(model: ModelWrapper) -> dict[str, float]:
    """Checks a QONNX model and finds the scale of every quantized activation.

    Returns:
        tensor name -> scale, for the quantizers' outputs and what only moves their values (pools, concats, sums).

    Raises:
        InputError: the model breaks one of the rules; see the functions below, one each.
    """
    _check_numbers(model)
    _check_input(model)
    scales = {model.graph.input[0].name: 1.0}
    for node in model.graph.node:
        check_node = _CHECKS.get(node.op_type)
        if check_node is None or node.domain not in ("", "ai.onnx", "onnx.brevitas", "qonnx.custom_op.general"):
            raise InputError(
                f"{node.name}: the operation must be one of {', '.join(SUPPORTED)}, not {node.op_type}; "
                "change the network or lower that part of it by other means"
            )
        check_node(model, node, scales)
    _check_head(model)
    return scales


def quantizer(model: ModelWrapper, node: NodeProto) -> Quantizer:
    """The parameters of a Quant node.

    Raises:
        InputError: they are not constants, or the zero point is not zero, or rounding is not to the nearest even.
    """
    constants = [model.get_initializer(name) for name in node.input[1:4]]
    if any(constant is None for constant in constants):
        raise InputError(f"{node.name}: scale, zero point and bits must be constants; run qonnx-cleanup on the model")
    scale, zero_point, bits = constants
    if np.any(zero_point != 0):
        raise InputError(f"{node.name}: the zero point must be 0, not {zero_point}; use a symmetric quantizer")
    if not (np.all(scale > 0) and np.isfinite(scale).all()):
        raise InputError(f"{node.name}: scales must be finite and above 0, not {float(np.min(scale))}; calibrate again")
    if bits.size != 1 or float(bits.reshape(-1)[0]) not in range(1, 33):
        raise InputError(f"{node.name}: bits must be one whole number, not {bits}; check the policy")
    rounding = _attribute(node, "rounding_mode", b"ROUND")
    if rounding != b"ROUND":
        raise InputError(f"{node.name}: rounding must be ROUND (half to even), not {rounding.decode()}; change the quantizer")
    signed, narrow = bool(_attribute(node, "signed", 1)), bool(_attribute(node, "narrow", 0))
    return Quantizer(scale, int(bits.reshape(-1)[0]), signed, narrow)


def is_weight(model: ModelWrapper, node: NodeProto) -> bool:
    """Whether a Quant node quantizes constants."""
    return model.get_initializer(node.input[0]) is not None


def feeds_quantizer(model: ModelWrapper, node: NodeProto) -> bool:
    """Whether the only reader of a node is a Quant node."""
    readers = model.find_consumers(node.output[0])
    return len(readers) == 1 and readers[0].op_type == "Quant"


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    for attribute in node.attribute:
        if attribute.name == name:
            return onnx.helper.get_attribute_value(attribute)
    return default


def _check_numbers(model: ModelWrapper) -> None:
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = array[~np.isfinite(array)].flat[0]
            raise InputError(f"{tensor.name}: every number must be finite, not {bad}; export a network without NaN and Inf")


def _check_input(model: ModelWrapper) -> None:
    tensor = model.graph.input[0]
    shape = tuple(d.dim_value for d in tensor.type.tensor_type.shape.dim)
    if len(shape) != 4 or min(shape) < 1 or shape[0] != 1 or shape[1] > min(shape[2:]):
        raise InputError(
            f"{tensor.name}: the input must be one picture of shape (1, channels, height, width), not {shape}; "
            "export with batch size 1 and NCHW"
        )
    if tensor.type.tensor_type.elem_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8):
        kind = onnx.TensorProto.DataType.Name(tensor.type.tensor_type.elem_type)
        raise InputError(f"{tensor.name}: the input must be float32 that holds uint8 pixels, not {kind}; export again")
    first = model.find_consumers(tensor.name)
    if [node.op_type for node in first] != ["Conv"]:
        kinds = ", ".join(node.op_type for node in first) or "nothing"
        raise InputError(
            f"{tensor.name}: the uint8 pixels must go straight into one Conv, not into {kinds}; fold mean and scale into "
            "the first layer and leave its input unquantized"
        )


def _check_conv(model: ModelWrapper, node: NodeProto, scales: dict[str, float]) -> None:
    weights = model.find_producer(node.input[1])
    if weights is None or weights.op_type != "Quant":
        raise InputError(f"{node.name}: weights must come from a Quant node, not unquantized; quantize this layer")
    if node.input[0] not in scales:
        raise InputError(f"{node.name}: the input must be quantized, not {node.input[0]}; put a quantizer before it")
    if len(node.input) == 3 and model.get_initializer(node.input[2]) is None:
        raise InputError(f"{node.name}: the bias must be a constant, not quantized; leave it float, thresholds absorb it")
    found = quantizer(model, weights)
    if found.bits > MAX_WEIGHT_BITS:
        raise InputError(
            f"{node.name}: weights must have {MAX_WEIGHT_BITS} bits or fewer, not {found.bits}; choose a smaller policy"
        )
    if not found.signed or found.scale.size not in (1, model.get_tensor_shape(weights.input[0])[0]):
        raise InputError(
            f"{node.name}: weights must be signed with one scale or one an output channel, not signed={int(found.signed)} "
            f"with {found.scale.size} scales; change the weight quantizer"
        )
    for name, value in (("group", 1), ("dilations", [1, 1])):
        if _attribute(node, name, value) != value:
            raise InputError(f"{node.name}: {name} must be {value}, not {_attribute(node, name, value)}; use a plain Conv")


def _check_quant(model: ModelWrapper, node: NodeProto, scales: dict[str, float]) -> None:
    if is_weight(model, node):
        return
    found = quantizer(model, node)
    before = model.find_producer(node.input[0])
    if before is None or before.op_type != "Relu" or found.signed or found.narrow:
        raise InputError(
            f"{node.name}: an activation must be unsigned, not narrow, and follow a Relu, not "
            f"{before.op_type if before else 'the input'} with signed={int(found.signed)}; use QuantReLU"
        )
    if found.bits > MAX_ACTIVATION_BITS:
        raise InputError(
            f"{node.name}: activations must have {MAX_ACTIVATION_BITS} bits or fewer, not {found.bits}; "
            "choose a smaller policy"
        )
    if found.scale.size != 1:
        raise InputError(f"{node.name}: an activation must have one scale, not {found.scale.size}; use a per-tensor one")
    scales[node.output[0]] = float(found.scale.reshape(-1)[0])


def _check_pool(model: ModelWrapper, node: NodeProto, scales: dict[str, float]) -> None:
    if len(_attribute(node, "kernel_shape", [])) != 2 or _attribute(node, "dilations", [1, 1]) != [1, 1]:
        raise InputError(f"{node.name}: a pool must have two axes and no dilation; use a plain MaxPool")
    top, left, bottom, right = _attribute(node, "pads", [0, 0, 0, 0])
    if (top, left) != (bottom, right):
        raise InputError(
            f"{node.name}: padding must be the same on opposite sides, not {(top, left, bottom, right)}; "
            "FINN's pool has no other"
        )
    _keep_scale(node, scales, node.input[:1])


def _check_join(model: ModelWrapper, node: NodeProto, scales: dict[str, float]) -> None:
    if node.op_type == "Concat" and _attribute(node, "axis", 1) != 1:
        raise InputError(f"{node.name}: Concat must join channels (axis 1), not axis {_attribute(node, 'axis', 1)}")
    shapes = {tuple(model.get_tensor_shape(name)) for name in node.input}
    if node.op_type == "Add" and len(shapes) != 1:
        raise InputError(f"{node.name}: both sides of Add must have one shape, not {sorted(shapes)}; check the wiring")
    _keep_scale(node, scales, node.input)


def _keep_scale(node: NodeProto, scales: dict[str, float], inputs: Any) -> None:
    for name in inputs:
        if name not in scales:
            raise InputError(f"{node.name}: inputs must be quantized, not {name}; put a quantizer behind it")
    found = [scales[name] for name in inputs]
    for name, scale in zip(inputs, found, strict=True):
        if scale != found[0]:
            raise InputError(
                f"{node.name}: unequal {node.op_type.lower()} scales: {inputs[0]} must have the scale of {name}, {scale:.9g}, "
                f"not {found[0]:.9g}; share one quantizer between them"
            )
    scales[node.output[0]] = found[0]


def _check_anything(model: ModelWrapper, node: NodeProto, scales: dict[str, float]) -> None:
    """Relu and the averages of the head need no check of their own: where they may stand is checked by `_check_head`."""


_CHECKS = {
    "Conv": _check_conv,
    "Quant": _check_quant,
    "MaxPool": _check_pool,
    "Concat": _check_join,
    "Add": _check_join,
    "Relu": _check_anything,
    "GlobalAveragePool": _check_anything,
    "ReduceMean": _check_anything,
    "Flatten": _check_anything,
}


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


def _check_head(model: ModelWrapper) -> None:
    """The network must end in Conv, maybe Relu, the average over all pixels, maybe Flatten; Relu is elsewhere quantized."""
    nodes = head(model)
    kinds = [node.op_type for node in nodes]
    rest = [kind for kind in kinds[1:] if kind not in ("Relu", "Flatten")]
    good = kinds[:1] == ["Conv"] and len(rest) == 1 and rest[0] in _AVERAGES and kinds[1:].count("Relu") <= 1
    if "Relu" in kinds:
        good = good and kinds.index("Relu") == 1
    if not good:
        raise InputError(
            f"{model.graph.output[0].name}: the network must end in Conv, Relu or not, and an average over all pixels, "
            f"not in {', '.join(kinds)}; see quant.squeezenet"
        )
    for node in nodes:
        if node.op_type == "ReduceMean" and sorted(axis % 4 for axis in _axes(model, node)) != [2, 3]:
            raise InputError(f"{node.name}: the average must be over height and width, not axes {_axes(model, node)}")
    weights = quantizer(model, model.find_producer(nodes[0].input[1]))
    if weights.scale.size != 1:
        raise InputError(
            f"{nodes[0].name}: the last layer must have one weight scale, not {weights.scale.size}; class scores of "
            "different scales cannot be compared as integers"
        )
    for node in model.graph.node:
        if node.op_type == "Relu" and node.output[0] != nodes[1].output[0] and not feeds_quantizer(model, node):
            raise InputError(f"{node.name}: a Relu must feed one quantizer, not something else; quantize its output")


def _axes(model: ModelWrapper, node: NodeProto) -> list[int]:
    if len(node.input) > 1:
        return [int(axis) for axis in model.get_initializer(node.input[1])]
    return list(_attribute(node, "axes", []))
