"""The transformations that FINN has no equivalent of, or none that is exact. Each changes the model in place.

FINN folds scales and biases in float32, with one rounding for each. Here all constants of a layer stay in the
graph as nodes of their own until they are folded at once, in float64, into integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper

from fireflow.hw.errors import InputError
from fireflow.hw.finn.qonnx_file import head, is_weight, place, quantizer

OUTPUT_SCALE = "fireflow.output_scale"
"""Metadata of the lowered model: real scores are its output times this."""
ACCUMULATOR_LIMIT = 1 << 24
"""Accumulators must stay below this, so that FINN's float32 tensors hold them exactly."""
_TIE = 1e-9
"""Relative distance at which a threshold counts as an integer. Float64 leaves 1e-15, other numbers 1e-7."""
MAX_BIAS_ERROR = 0.02
"""Distance from an integer at which the bias of the last layer still counts as one, rounded to float32."""


def complete_attributes(model: ModelWrapper) -> None:
    """Write out the attributes that ONNX lets a node leave out but FINN reads; declare the input uint8."""
    model.set_tensor_datatype(model.graph.input[0].name, DataType["UINT8"])
    for node in model.graph.node:
        if node.op_type not in ("Conv", "MaxPool"):
            continue
        defaults: dict[str, Any] = {"strides": [1, 1], "pads": [0, 0, 0, 0], "dilations": [1, 1]}
        if node.op_type == "Conv":
            defaults |= {"kernel_shape": list(model.get_tensor_shape(node.input[1])[2:]), "group": 1}
        present = {item.name for item in node.attribute}
        node.attribute.extend(helper.make_attribute(n, v) for n, v in defaults.items() if n not in present)


def integer_weights(model: ModelWrapper) -> None:
    """Conv with weights of Quant of scale s  ->  Conv with the integers, Mul by s.

    FINN's FoldQuantWeights gives the same, but infers all shapes anew for every layer: half of the time of a
    whole lowering.
    """
    for node in [n for n in model.graph.node if n.op_type == "Quant" and is_weight(model, n)]:
        (conv,) = model.find_consumers(node.output[0])
        found = quantizer(model, node)
        top = 2 ** (found.bits - 1) - 1
        lo, hi = (-top if found.narrow else -top - 1), top
        steps = model.get_initializer(node.input[0]) / found.scale  # float32, as QONNX and Brevitas divide
        weights = _constant(model, np.clip(np.round(steps), lo, hi))
        model.set_tensor_datatype(weights, DataType[f"INT{found.bits}"])
        scaled = _tensor(model, model.get_tensor_shape(conv.output[0]))
        factor = _constant(model, found.scale.reshape(1, -1, 1, 1))
        model.graph.node.append(helper.make_node("Mul", [scaled, factor], [conv.output[0]]))
        conv.input[1], conv.output[0] = weights, scaled
        model.graph.node.remove(node)


def trim_kernels(model: ModelWrapper) -> None:
    """Drop kernel rows and columns that only ever meet padding.

    Behind the last pool of a small picture a map may be one pixel wide; QONNX's Im2Col takes such a map for
    one-dimensional, and refuses kernels and padding across it.

    Raises:
        InputError: padding across such a map remains, as in the last layer of SqueezeNet 1.0.
    """
    for node in [n for n in model.graph.node if n.op_type == "Conv"]:
        attributes = {item.name: item for item in node.attribute}
        sizes = model.get_tensor_shape(node.input[0])[2:]
        outputs = model.get_tensor_shape(node.output[0])[2:]
        strides, pads = attributes["strides"].ints, list(attributes["pads"].ints)
        weights = model.get_initializer(node.input[1])
        for axis, (size, count, stride) in enumerate(zip(sizes, outputs, strides, strict=True)):
            taps = weights.shape[2 + axis]
            at = np.arange(count)[:, None] * stride + np.arange(taps) - pads[axis]  # (outputs, taps)
            used = np.flatnonzero(((at >= 0) & (at < size)).any(axis=0))
            first, last = int(used[0]), int(used[-1])
            weights = weights.take(range(first, last + 1), axis=2 + axis)
            pads[axis], pads[2 + axis] = pads[axis] - first, pads[2 + axis] - (taps - 1 - last)
        if 1 in sizes and any(pads):
            raise InputError(
                f"{place(node)}: a map of {sizes[0]}x{sizes[1]} must not be padded, and pads are {pads}; "
                "use larger pictures"
            )
        if weights.shape == model.get_initializer(node.input[1]).shape:
            continue
        narrow = _constant(model, weights)
        model.set_tensor_datatype(narrow, model.get_tensor_datatype(node.input[1]))
        node.input[1] = narrow
        attributes["pads"].ints[:] = pads
        attributes["kernel_shape"].ints[:] = weights.shape[2:]


def take_scales_out_of_quantizers(model: ModelWrapper) -> None:
    """Relu, Quant of scale s  ->  Div by s, Relu, Quant of scale 1, Mul by s.

    FINN then makes the thresholds 0.5, 1.5, ..., exact in float32, and s is left to `fold_into_thresholds`.
    """
    for node in [n for n in model.graph.node if n.op_type == "Quant" and not is_weight(model, n)]:
        scale = np.float32(quantizer(model, node).scale.flat[0])
        if scale == 1:
            continue
        relu = model.find_producer(node.input[0])
        shape = model.get_tensor_shape(node.output[0])
        divided, quantized = _tensor(model, shape), _tensor(model, shape)
        model.graph.node.extend(
            [
                helper.make_node("Div", [relu.input[0], _constant(model, scale)], [divided]),
                helper.make_node("Mul", [quantized, _constant(model, scale)], [node.output[0]]),
            ]
        )
        relu.input[0] = divided
        node.input[1] = _constant(model, np.float32(1))
        node.output[0] = quantized


def fold_into_thresholds(model: ModelWrapper) -> None:
    """Fold the constants before every MultiThreshold into it: integer thresholds for integer inputs.

    Takes the place of FINN's AbsorbAddIntoMultiThreshold, AbsorbMulIntoMultiThreshold and
    RoundAndClipThresholds: in their float32 an accumulator next to a threshold may change sides.

    An integer x comes through x * c, x + c and x / c to the thresholds as a * x + b. Level k is reached where
    round(a * x + b) >= k. At a * x + b = k - 1/2 exactly, round goes to the even one of k - 1 and k.
    """
    for node in [n for n in model.graph.node if n.op_type == "MultiThreshold"]:
        chain = _constants_before(model, node)
        scale, offset = _affine(model, chain)
        if not np.all(scale > 0):
            raise InputError(f"{place(node)}: scales must be above 0, not {scale.min()}; calibrate again")
        levels = model.get_initializer(node.input[1]).astype(np.float64)  # (1, T): 0.5, 1.5, ...
        exact = (levels - offset[:, None]) / scale[:, None]  # (C, T), or (1, T) after a sum
        nearest = np.round(exact)
        tie = np.abs(exact - nearest) <= _TIE * np.maximum(1, np.abs(nearest))
        rounds_up = np.round(levels) > levels
        thresholds = np.where(tie, np.where(rounds_up, nearest, nearest + 1), np.ceil(exact))
        # No accumulator goes further, and float32 holds every integer up to here.
        thresholds = np.clip(thresholds, -ACCUMULATOR_LIMIT, ACCUMULATOR_LIMIT)
        model.set_initializer(node.input[1], thresholds.astype(np.float32))
        if chain:
            node.input[0] = chain[0].input[0]
        _remove(model, chain)


def integer_head(model: ModelWrapper) -> None:
    """Make the class scores integers: Conv, Add of an integer bias, Relu, sum over the pixels, in NHWC.

    The average becomes a sum. Its 1 / pixels and the scale of the last accumulator become metadata: they are
    above 0 and the same for all classes, so they commute with the Relu and keep the order of the scores.

    Raises:
        InputError: the bias is not an integer multiple of the accumulator's scale.
    """
    nodes = head(model)
    conv = nodes[0]
    scale, offset = _affine(model, [node for node in nodes[1:] if node.op_type in ("Mul", "Add", "Div")])
    _, channels, height, width = model.get_tensor_shape(conv.output[0])
    step = float(scale.item())  # that there is one scale has been checked
    bias = np.broadcast_to(offset / step, channels)
    integers = np.round(bias)
    worst = int(np.argmax(np.abs(bias - integers)))
    if abs(bias[worst] - integers[worst]) > MAX_BIAS_ERROR:
        raise InputError(
            f"{place(conv)}: the bias must be an integer times the accumulator's scale {step:.9g}, not "
            f"{bias[worst]:.6g} times it in channel {worst}; train the last layer with bias=False or "
            "bias_quant=Int32Bias (fireflow's own networks: finalize them)"
        )
    has_relu = any(node.op_type == "Relu" for node in nodes)
    _remove(model, nodes[1:])

    def append(kind: str, *constants: str, to: str | None = None, **attributes: Any) -> None:
        source = model.graph.node[-1].output[0] if kind != "Transpose" else conv.output[0]
        result = to or _tensor(model, (1, height, width, channels))
        model.graph.node.append(helper.make_node(kind, [source, *constants], [result], **attributes))

    append("Transpose", perm=[0, 2, 3, 1])
    append("Add", _constant(model, integers))
    if has_relu:
        append("Relu")
    output = model.graph.output[0].name
    append("ReduceSum", _constant(model, np.array([1, 2], np.int64)), to=output, keepdims=0)
    model.set_tensor_shape(output, (1, channels))
    model.set_metadata_prop(OUTPUT_SCALE, repr(step / (height * width)))


def pools_to_nhwc(model: ModelWrapper) -> None:
    """MaxPool  ->  Transpose, MaxPoolNHWC, Transpose. The transposes cancel later against the neighbours'.

    FINN's MakeMaxPoolNHWC looks at one reader of a pool and leaves a wrong graph where a bypass forks there.
    """
    for node in [n for n in model.graph.node if n.op_type == "MaxPool"]:
        _, channels, *before = model.get_tensor_shape(node.input[0])
        _, _, *after = model.get_tensor_shape(node.output[0])
        source, result = _tensor(model, (1, *before, channels)), _tensor(model, (1, *after, channels))
        model.graph.node.extend(
            [
                helper.make_node("Transpose", [node.input[0]], [source], perm=[0, 2, 3, 1]),
                helper.make_node("Transpose", [result], [node.output[0]], perm=[0, 3, 1, 2]),
            ]
        )
        node.op_type, node.domain = "MaxPoolNHWC", "qonnx.custom_op.general"
        node.input[0], node.output[0] = source, result


def _constants_before(model: ModelWrapper, node: NodeProto) -> list[NodeProto]:
    """The x * c, x + c and x / c that lead to the node's input, in order of execution."""
    chain: list[NodeProto] = []
    before = model.find_producer(node.input[0])
    while before is not None and before.op_type in ("Mul", "Add", "Div"):
        if model.get_initializer(before.input[1]) is None or model.is_fork_node(before):
            break
        chain.insert(0, before)
        before = model.find_producer(before.input[0])
    return chain


def _affine(model: ModelWrapper, chain: Sequence[NodeProto]) -> tuple[NDArray[Any], NDArray[Any]]:
    """a and b of the chain's a * x + b: float64, each (1,) or (channels,)."""
    scale, offset = np.ones(1), np.zeros(1)
    for node in chain:
        constant = model.get_initializer(node.input[1]).astype(np.float64).reshape(-1)
        if node.op_type == "Mul":
            scale, offset = scale * constant, offset * constant
        elif node.op_type == "Div":
            scale, offset = scale / constant, offset / constant
        else:
            offset = offset + constant
    return scale, offset


def _tensor(model: ModelWrapper, shape: Sequence[int]) -> str:
    """The name of a new float tensor."""
    name: str = model.make_new_valueinfo_name()
    model.graph.value_info.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape)))
    return name


def _constant(model: ModelWrapper, value: Any) -> str:
    """The name of a new constant; floats are stored as float32."""
    array = np.asarray(value)
    name: str = model.make_new_valueinfo_name()
    model.set_initializer(name, array.astype(np.float32) if array.dtype.kind == "f" else array)
    return name


def _remove(model: ModelWrapper, nodes: Sequence[NodeProto]) -> None:
    for node in nodes:
        model.graph.node.remove(node)
