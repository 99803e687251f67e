"""What a QONNX file must be for the lowering to start, so that no pass meets anything else.

The operations check themselves (`hw.finn.rules`). Named here are those by which the whole begins and ends: pixels go
into a convolution, and class scores come of one and an average.
"""

from __future__ import annotations

import numpy as np
import onnx
from qonnx.core.modelwrapper import ModelWrapper

from fireflow.hw.errors import InputError
from fireflow.hw.finn.qonnx_file import AVERAGES, attribute, feeds_quantizer, head, place, quantizer
from fireflow.hw.finn.rules import rule_of_file
from fireflow.hw.finn.rules.base import Scales


def check(model: ModelWrapper) -> Scales:
    """Checks a QONNX model and finds the scale of every quantized activation.

    Returns:
        tensor -> scale: the input (1), the quantizers' outputs, and what only moves or combines their integers.

    Raises:
        InputError: the model breaks a rule of an operation (`hw.finn.rules`), or one of those below, of the whole:
            how a network begins and ends.
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
        rule_of_file(model, node).check(model, node, scales)
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
