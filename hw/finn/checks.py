"""What a QONNX file must be for the lowering to start, so that no pass meets anything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper

from fireflow.hw.errors import InputError
from fireflow.hw.finn.qonnx_file import (
    AVERAGES,
    attribute,
    feeds_quantizer,
    head,
    is_weight,
    place,
    quantizer,
)

MIN_WEIGHT_BITS, MAX_WEIGHT_BITS = 2, 6
MAX_ACTIVATION_BITS = 8
Scales = dict[str, float]


def check(model: ModelWrapper) -> Scales:
    """Checks a QONNX model and finds the scale of every quantized activation.

    Returns:
        tensor -> scale: the input (1), the quantizers' outputs, and the pools, concats and sums of them.

    Raises:
        InputError: the model breaks a rule; each function below has a few.
    """
    _check_numbers(model)
    _check_input(model)
    scales = {model.graph.input[0].name: 1.0}
    for node in model.graph.node:
        shape = model.get_tensor_shape(node.output[0])
        if shape is None:
            given = [model.get_tensor_shape(name) for name in node.input]
            raise InputError(f"{place(node)}: shapes and attributes must fit, not inputs {given}; check them")
        if min(shape, default=1) < 1:
            raise InputError(
                f"{place(node)}: the result must have at least one pixel, not shape {shape}; "
                "use a larger picture"
            )
        _CHECKS[node.op_type](model, node, scales)
    _check_head(model)
    return scales


def _check_numbers(model: ModelWrapper) -> None:
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = array[~np.isfinite(array)].flat[0]
            raise InputError(f"{tensor.name}: numbers must be finite, not {bad}; train or export it again")


def _check_input(model: ModelWrapper) -> None:
    tensor = model.graph.input[0]
    shape = tuple(axis.dim_value for axis in tensor.type.tensor_type.shape.dim)
    wanted = _channels_read(model, tensor.name)
    if len(shape) != 4 or min(shape) < 1 or shape[0] != 1 or wanted not in (None, shape[1]):
        raise InputError(
            f"{tensor.name}: the input must be one picture (1, channels, height, width), not {shape}; "
            "export it with batch size 1, channels first"
        )
    kind = tensor.type.tensor_type.elem_type
    if kind != onnx.TensorProto.FLOAT:
        raise InputError(
            f"{tensor.name}: the input must be float32 that holds uint8 pixels, "
            f"not {onnx.TensorProto.DataType.Name(kind)}; export it again"
        )
    readers = [node.op_type for node in model.find_consumers(tensor.name)]
    if readers != ["Conv"]:
        raise InputError(
            f"{tensor.name}: the uint8 pixels must be read by one Conv, "
            f"not by {', '.join(readers) or 'nothing'}; "
            "fold mean and scale into the first layer and do not quantize its input"
        )


def _channels_read(model: ModelWrapper, image: str) -> int | None:
    """How many channels the convolution takes that reads the input; None where that is not known."""
    for node in model.find_consumers(image) or []:
        weights = model.find_producer(node.input[1]) if node.op_type == "Conv" else None
        shape = None if weights is None else model.get_tensor_shape(weights.input[0])
        if shape is not None and len(shape) == 4 and attribute(node, "group", 1) == 1:
            return int(shape[1])
    return None


def _check_conv(model: ModelWrapper, node: NodeProto, scales: Scales) -> None:
    weights = model.find_producer(node.input[1])
    if weights is None or weights.op_type != "Quant" or not is_weight(model, weights):
        raise InputError(
            f"{place(node)}: weights must be quantized constants, not floats; quantize this layer"
        )
    if node.input[0] not in scales:
        raise InputError(
            f"{place(node)}: the input must be quantized, not {node.input[0]} as it is; quantize it"
        )
    if len(node.input) == 3 and model.get_initializer(node.input[2]) is None:
        raise InputError(
            f"{place(node)}: the bias must be constant, not computed from the picture; use a float bias or Int32Bias"
        )
    if len(model.find_consumers(weights.output[0])) != 1:
        raise InputError(f"{place(node)}: weights must belong to one layer, not be shared; copy them")
    found = quantizer(model, weights)
    if not MIN_WEIGHT_BITS <= found.bits <= MAX_WEIGHT_BITS:
        raise InputError(
            f"{place(node)}: weights must have {MIN_WEIGHT_BITS} to {MAX_WEIGHT_BITS} bits, "
            f"not {found.bits}; choose another policy"
        )
    if (group := attribute(node, "group", 1)) != 1:
        raise InputError(
            f"{place(node)}: group must be 1, not {group}; use a plain convolution, since depthwise and grouped "
            "ones are not supported"
        )
    channels, depth, *kernel = model.get_tensor_shape(weights.input[0])
    given = model.get_tensor_shape(node.input[0])[1]
    sizes = [model.get_initializer(name).shape for name in node.input[2:]]
    if depth != given or len(kernel) != 2 or sizes not in ([], [(channels,)]):
        raise InputError(
            f"{place(node)}: weights must be (channels, {given}, height, width) and a bias for each channel, "
            f"not {(channels, depth, *kernel)} with biases {sizes}; export it again"
        )
    if not found.signed or found.scale.shape not in ((), (1,), (1, 1, 1, 1), (channels, 1, 1, 1)):
        sign = "signed" if found.signed else "unsigned"
        raise InputError(
            f"{place(node)}: weights must be signed with one scale or one for each output channel, "
            f"not {sign} with scales {found.scale.shape}; change the weight quantizer"
        )
    plain = {"dilations": [1, 1], "auto_pad": b"NOTSET"}
    for name, value in plain.items():
        if (actual := attribute(node, name, value)) != value:
            raise InputError(f"{place(node)}: {name} must be {value}, not {actual}; use a plain convolution")
    readers = model.find_consumers(node.output[0])
    if len(readers) != 1 or readers[0].op_type not in ("Relu", *AVERAGES):
        kinds = ", ".join(reader.op_type for reader in readers) or "nothing"
        hint = ""
        if any(reader.op_type == "Quant" and attribute(reader, "signed", 0) for reader in readers):
            hint = " in place of the signed quantizer (in front of a sum, one QuantReLU shared by both sides)"
        raise InputError(
            f"{place(node)}: the result must go into one Relu, not into {kinds}; add QuantReLU{hint}"
        )


def _check_quant(model: ModelWrapper, node: NodeProto, scales: Scales) -> None:
    if is_weight(model, node):
        return
    found = quantizer(model, node)
    before = model.find_producer(node.input[0])
    kind = before.op_type if before is not None else "the input"
    if kind != "Relu" or found.signed or found.narrow:
        raise InputError(
            f"{place(node)}: an activation must follow a Relu, unsigned and not narrow, not follow {kind} "
            f"with signed={int(found.signed)}, narrow={int(found.narrow)}; use QuantReLU"
        )
    if found.bits > MAX_ACTIVATION_BITS:
        raise InputError(
            f"{place(node)}: activations must have at most {MAX_ACTIVATION_BITS} bits, not {found.bits}; "
            "choose a policy of fewer"
        )
    if found.scale.size != 1:
        raise InputError(
            f"{place(node)}: an activation must have one scale, not {found.scale.size}; use a per-tensor one"
        )
    scales[node.output[0]] = float(found.scale.flat[0])


def _check_pool(model: ModelWrapper, node: NodeProto, scales: Scales) -> None:
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
    _keep_scale(node, node.input[:1], scales)


def _check_join(model: ModelWrapper, node: NodeProto, scales: Scales) -> None:
    if node.op_type == "Concat" and (axis := attribute(node, "axis", 1)) not in (1, -3):
        raise InputError(f"{place(node)}: Concat must join channels, axis 1, not axis {axis}; change it")
    shapes = [tuple(model.get_tensor_shape(name)) for name in node.input]
    if node.op_type == "Add" and len(set(shapes)) != 1:
        raise InputError(f"{place(node)}: both sides must have one shape, not {shapes}; check the wiring")
    if len(set(node.input)) != len(node.input):
        raise InputError(
            f"{place(node)}: inputs must be different tensors, not {node.input[0]} twice; change it"
        )
    _keep_scale(node, node.input, scales)


def _keep_scale(node: NodeProto, inputs: Iterable[str], scales: Scales) -> None:
    """A node that moves or adds integers keeps their scale, so all its inputs must have the same."""
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


def _check_relu(model: ModelWrapper, node: NodeProto, scales: Scales) -> None:
    readers = [reader.op_type for reader in model.find_consumers(node.output[0])]
    if readers not in (["Quant"], *([kind] for kind in AVERAGES)):
        raise InputError(
            f"{place(node)}: a Relu must feed one quantizer, or the average at the end, "
            f"not {', '.join(readers) or 'nothing'}; quantize its output"
        )


def _check_average(model: ModelWrapper, node: NodeProto, scales: Scales) -> None:
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


def _check_flatten(model: ModelWrapper, node: NodeProto, scales: Scales) -> None:
    before = model.find_producer(node.input[0])
    if before is None or before.op_type not in AVERAGES or attribute(node, "axis", 1) != 1:
        raise InputError(
            f"{place(node)}: Flatten must follow the average at the end; average all pixels first"
        )


def _check_head(model: ModelWrapper) -> None:
    nodes = head(model)
    kinds = [node.op_type for node in nodes if node.op_type not in ("Relu", "Flatten")]
    if len(kinds) != 2 or kinds[0] != "Conv" or kinds[1] not in AVERAGES:
        found = ", ".join(node.op_type for node in nodes)
        raise InputError(
            f"{model.graph.output[0].name}: the network must end in Conv, Relu and an average of all pixels, "
            f"not in {found}; change its head"
        )
    averages = [node for node in model.graph.node if node.op_type in AVERAGES]
    if len(averages) != 1:
        raise InputError(f"{place(averages[0])}: an average must stand at the end only; change the network")
    weights = quantizer(model, model.find_producer(nodes[0].input[1]))
    if weights.scale.size != 1:
        raise InputError(
            f"{place(nodes[0])}: the last layer must have one weight scale, not {weights.scale.size}; "
            "class scores of different scales cannot be compared as integers"
        )
    for node in model.graph.node:
        if node.op_type == "Relu" and not feeds_quantizer(model, node):
            assert node.output[0] == nodes[1].output[0], place(node)


_CHECKS: dict[str, Callable[[ModelWrapper, NodeProto, Scales], None]] = {
    "Add": _check_join,
    "Concat": _check_join,
    "Conv": _check_conv,
    "Flatten": _check_flatten,
    "GlobalAveragePool": _check_average,
    "MaxPool": _check_pool,
    "Quant": _check_quant,
    "ReduceMean": _check_average,
    "Relu": _check_relu,
}
