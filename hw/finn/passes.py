"""The transformations that FINN has no equivalent of, or none that is exact. Each changes the model in place.

FINN computes thresholds and scales in float32, one rounding an absorbed node. Here all of a layer's constants stay in
the graph as separate nodes until they are folded at once, in float64, into integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper

from hw.errors import InputError
from hw.finn.checks import head, is_weight, quantizer

OUTPUT_SCALE = "fireflow.output_scale"
ACCUMULATOR_LIMIT = 1 << 24
"""Accumulators must stay below this, so that FINN's float32 tensors hold them exactly."""
_TIE = 1e-9
"""Relative distance within which a threshold counts as an integer: float64 leaves about 1e-15, float32 data 1e-7."""
_MAX_BIAS_ERROR = 0.02
"""Largest distance of the last layer's bias from an integer that counts as float32 error."""


def name_shapes_and_types(model: ModelWrapper) -> None:
    """Declare the input to be uint8, and write out the attributes that ONNX lets a node leave out but FINN reads."""
    model.set_tensor_datatype(model.graph.input[0].name, DataType["UINT8"])
    for node in model.graph.node:
        if node.op_type in ("Conv", "MaxPool"):
            present = {attribute.name for attribute in node.attribute}
            defaults = {"strides": [1, 1], "pads": [0, 0, 0, 0], "dilations": [1, 1]}
            if node.op_type == "Conv":
                defaults |= {"kernel_shape": list(model.get_tensor_shape(node.input[1])[2:])}
                present.discard("group") if "group" in present else node.attribute.append(helper.make_attribute("group", 1))
            node.attribute.extend(helper.make_attribute(n, v) for n, v in defaults.items() if n not in present)


def take_scales_out_of_quantizers(model: ModelWrapper) -> None:
    """Relu, Quant with scale s  ->  Div by s, Relu, Quant with scale 1, Mul by s.

    FINN then makes the thresholds 0.5, 1.5, ... which float32 holds exactly, and s stays a constant of its own for
    `fold_into_thresholds`.
    """
    for node in [n for n in model.graph.node if n.op_type == "Quant" and not is_weight(model, n)]:
        relu = model.find_producer(node.input[0])
        shape = model.get_tensor_shape(node.output[0])
        scale = np.asarray(quantizer(model, node).scale, np.float32).reshape(())
        if scale == 1:
            continue
        one = _constant(model, np.float32(1))
        divided, quantized = _tensor(model, shape), _tensor(model, shape)
        before = helper.make_node("Div", [relu.input[0], _constant(model, scale)], [divided])
        after = helper.make_node("Mul", [quantized, _constant(model, scale)], [node.output[0]])
        relu.input[0] = divided
        node.input[1] = one
        node.output[0] = quantized
        _insert(model, before, model.get_node_index(relu))
        _insert(model, after, model.get_node_index(node) + 1)


def fold_into_thresholds(model: ModelWrapper) -> None:
    """Fold the constants in front of every MultiThreshold into integer thresholds for the integers before them.

    Takes the place of FINN's AbsorbAdd-, AbsorbMulIntoMultiThreshold and RoundAndClipThresholds, which round to float32
    at each step, so that an accumulator next to a threshold could fall on the other side. Between an integer producer
    and the thresholds stand x -> x * c, x + c, x / c with constants; together a * x + b, in float64. The k-th level is
    reached where round(a * x + b) >= k, and round goes from halves to the even neighbour: at a * x + b = k - 1/2 exactly
    it gives k if k is even, k - 1 if k is odd.
    """
    for node in [n for n in model.graph.node if n.op_type == "MultiThreshold"]:
        chain = _constants_before(model, node)
        scale, offset = _affine(model, chain)
        if not np.all(scale > 0):
            raise InputError(f"{node.name}: scales before thresholds must be above 0, not {scale.min()}; calibrate again")
        levels = model.get_initializer(node.input[1]).astype(np.float64)  # (1, T): 0.5, 1.5, ...
        exact = (levels - offset.reshape(-1, 1)) / scale.reshape(-1, 1)  # (C, T) or (1, T)
        nearest = np.round(exact)
        tie = np.abs(exact - nearest) <= _TIE * np.maximum(1, np.abs(nearest))
        reached_at_tie = np.round(levels) > levels  # rounding takes this half up
        thresholds = np.where(tie, np.where(reached_at_tie, nearest, nearest + 1), np.ceil(exact))
        thresholds = np.clip(thresholds, -ACCUMULATOR_LIMIT, ACCUMULATOR_LIMIT)
        model.set_initializer(node.input[1], thresholds.astype(np.float32))
        if chain:
            node.input[0] = chain[0].input[0]
        for link in chain:
            model.graph.node.remove(link)


def integer_head(model: ModelWrapper) -> None:
    """Make the class scores integers: Conv, Add of an integer bias, Relu, sum over the pixels, all NHWC.

    The average becomes a sum; its 1 / pixels and the scale of the last accumulator go to the metadata. Both are the same
    for all classes and above 0, so Relu and the order of the classes do not change.

    Raises:
        InputError: the bias is not an integer multiple of the accumulator's scale.
    """
    nodes = head(model)
    conv, output = nodes[0], model.graph.output[0].name
    linear = [node for node in nodes[1:] if node.op_type in ("Mul", "Add", "Div")]
    scale, offset = _affine(model, linear)
    _, channels, height, width = model.get_tensor_shape(conv.output[0])
    assert scale.size == 1, f"{conv.name}: per-channel scale in the head"  # checked before the lowering
    bias = np.broadcast_to(offset / scale, channels)
    integers = np.round(bias)
    worst = int(np.argmax(np.abs(bias - integers)))
    if abs(bias[worst] - integers[worst]) > _MAX_BIAS_ERROR:
        raise InputError(
            f"{conv.name}: the bias must be an integer multiple of the accumulator's scale {float(scale.reshape(-1)[0]):.9g}, "
            f"not {bias[worst]:.6g} times it in channel {worst}; finalize the network before the export"
        )
    has_relu = any(node.op_type == "Relu" for node in nodes)
    for node in nodes[1:]:
        model.graph.node.remove(node)

    image = (1, height, width, channels)
    tail = [helper.make_node("Transpose", [conv.output[0]], [_tensor(model, image)], perm=[0, 2, 3, 1])]
    tail.append(helper.make_node("Add", [tail[-1].output[0], _constant(model, integers)], [_tensor(model, image)]))
    if has_relu:
        tail.append(helper.make_node("Relu", [tail[-1].output[0]], [_tensor(model, image)]))
    axes = _constant(model, np.array([1, 2], np.int64))
    tail.append(helper.make_node("ReduceSum", [tail[-1].output[0], axes], [output], keepdims=0))
    model.graph.node.extend(tail)
    model.set_tensor_shape(output, (1, channels))
    model.set_metadata_prop(OUTPUT_SCALE, repr(float(scale.reshape(-1)[0]) / (height * width)))


def pools_to_nhwc(model: ModelWrapper) -> None:
    """MaxPool  ->  Transpose, MaxPoolNHWC, Transpose; the transposes cancel later against those of the neighbours.

    FINN's MakeMaxPoolNHWC looks at one reader of the pool only, and breaks the other where a bypass forks behind it.
    """
    for node in [n for n in model.graph.node if n.op_type == "MaxPool"]:
        (_, channels, *before), (_, _, *after) = (model.get_tensor_shape(name) for name in (node.input[0], node.output[0]))
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


def _affine(model: ModelWrapper, chain: list[NodeProto]) -> tuple[NDArray[Any], NDArray[Any]]:
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


def _tensor(model: ModelWrapper, shape: Any) -> str:
    """A new float tensor's name."""
    name: str = model.make_new_valueinfo_name()
    model.graph.value_info.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape)))
    return name


def _constant(model: ModelWrapper, value: Any) -> str:
    """A new constant's name; floats are stored as float32."""
    array = np.asarray(value)
    name: str = model.make_new_valueinfo_name()
    model.set_initializer(name, array.astype(np.float32) if array.dtype.kind == "f" else array)
    return name


def _insert(model: ModelWrapper, node: NodeProto, index: int) -> None:
    model.graph.node.insert(index, node)
