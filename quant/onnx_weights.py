"""Float SqueezeNets in ONNX files: the model zoo's, exports of torchvision's, and any connected like them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import external_data_helper, numpy_helper

from hw.errors import InputError
from hw.preprocessing import TORCHVISION
from quant.family import MAX_BYTES, Raw
from quant.wiring import Conv, Pool, Step, name_layers

_SAME = (
    "AveragePool", "Cast", "Dropout", "Flatten", "GlobalAveragePool", "Identity", "LogSoftmax", "ReduceMean",
    "Relu", "Reshape", "Softmax", "Squeeze", "Unsqueeze",
)  # fmt: skip
_KINDS = {"Conv": "conv", "Concat": "concat", "Add": "add", "Sum": "add", "MaxPool": "pool"}
_KINDS |= dict.fromkeys(_SAME, "same")
# Names that torchvision's and Gluon's (the model zoo's) SqueezeNet give conv1; both take normalised RGB.
_TORCHVISION_STEM = re.compile(r"(.*\.)?features\.0\.weight|squeezenet\d+_conv0_weight")


def read_onnx(path: Path) -> Raw:
    """The convolutions of a SqueezeNet from an ONNX file (its external data must lie beside it).

    Raises:
        InputError: not a float SqueezeNet. On damage, whatever onnx raises.
    """
    graph = _load(path).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    images = [value.name for value in graph.input if value.name not in constants]
    if len(images) != 1:
        raise InputError(
            f"{path}: the graph must have one input, not {', '.join(images) or 'none'}; export it again"
        )
    known = any(_TORCHVISION_STEM.fullmatch(name) for name in constants)
    return name_layers(
        path, "onnx", _steps(path, graph, images[0], constants), TORCHVISION if known else None
    )


def _load(path: Path) -> onnx.ModelProto:
    model = onnx.load(str(path), load_external_data=False)
    external = [t for t in model.graph.initializer if external_data_helper.uses_external_data(t)]
    files = {path.parent / external_data_helper.ExternalDataInfo(tensor).location for tensor in external}
    size = sum(file.stat().st_size for file in files)
    if size > MAX_BYTES:
        raise InputError(
            f"{path}: external data must have at most {MAX_BYTES} bytes, not {size}; is it a SqueezeNet?"
        )
    if external:
        # onnx refuses locations that leave the folder.
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    return model


def _steps(path: Path, graph: Any, image: str, constants: dict[str, npt.NDArray[Any]]) -> Iterator[Step]:
    """The operations that the image passes through, without those on constants and shapes."""
    data = {image}
    for number, node in enumerate(graph.node):
        name = node.name or f"{node.op_type} {number}"
        if node.op_type == "Constant":
            value = onnx.helper.get_attribute_value(node.attribute[0])
            is_tensor = isinstance(value, onnx.TensorProto)
            constants[node.output[0]] = numpy_helper.to_array(value) if is_tensor else np.asarray(value)
            continue
        inputs = tuple(tensor for tensor in node.input if tensor in data)
        if not inputs and node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
        if not inputs or node.op_type in ("Shape", "Size"):
            continue
        data.update(node.output[:1])
        kind = _KINDS.get(node.op_type, node.op_type)
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        yield Step(
            kind,
            name,
            inputs,
            tuple(node.output[:1]),
            conv=_conv(f"{path}: {name}", node, attributes, constants) if kind == "conv" else None,
            pool=_pool(attributes) if kind == "pool" else None,
        )


def _conv(place: str, node: Any, attributes: dict[str, Any], constants: dict[str, npt.NDArray[Any]]) -> Conv:
    for tensor in node.input[1:]:
        if tensor and tensor not in constants:
            raise InputError(
                f"{place}: weights must be constants, not computed ({tensor}); give the float network"
            )
    if len(node.input) < 2 or constants[node.input[1]].ndim != 4:
        raise InputError(
            f"{place}: a convolution must have a 4-dimensional weight, not none; export it again"
        )
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise InputError(
            f"{place}: auto_pad must be NOTSET, not {attributes['auto_pad'].decode()}; give pads"
        )
    return Conv(
        constants[node.input[1]],
        constants[node.input[2]] if len(node.input) > 2 and node.input[2] else None,
        stride=_numbers(attributes, "strides", (1, 1)),
        padding=_numbers(attributes, "pads", (0, 0, 0, 0)),
        groups=attributes.get("group", 1),
        dilation=_numbers(attributes, "dilations", (1, 1)),
    )


def _pool(attributes: dict[str, Any]) -> Pool:
    return Pool(_numbers(attributes, "kernel_shape", ()), _numbers(attributes, "strides", (1, 1)))


def _numbers(attributes: dict[str, Iterable[int]], name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(attributes.get(name, default))
