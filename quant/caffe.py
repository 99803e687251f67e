"""Caffe's .caffemodel files, old and new, without Caffe.

Source: message and field numbers of BVLC Caffe, src/caffe/proto/caffe.proto.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from hw.errors import InputError
from hw.preprocessing import CAFFE
from quant.family import Raw
from quant.wiring import Conv, Pool, Step, name_layers

# Only the fields we read; protobuf skips the others, and reads packed and unpacked alike. * is repeated.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "BlobShape": {"dim": (1, "*int64")},
    "Blob": {
        "num": (1, "int32"), "channels": (2, "int32"), "height": (3, "int32"), "width": (4, "int32"),
        "data": (5, "*float"), "double_data": (8, "*double"), "shape": (7, "BlobShape"),
    },
    "Convolution": {
        "pad": (3, "*uint32"), "pad_h": (9, "uint32"), "pad_w": (10, "uint32"),
        "stride": (6, "*uint32"), "stride_h": (13, "uint32"), "stride_w": (14, "uint32"),
        "group": (5, "uint32"), "dilation": (18, "*uint32"),
    },
    "Pooling": {
        "pool": (1, "int32"), "kernel_size": (2, "uint32"), "stride": (3, "uint32"),
        "global_pooling": (12, "bool"),
    },
    "Layer": {
        "name": (1, "string"), "type": (2, "string"), "bottom": (3, "*string"), "top": (4, "*string"),
        "blobs": (7, "*Blob"), "convolution": (106, "Convolution"), "pooling": (121, "Pooling"),
    },
    "V1Layer": {
        "bottom": (2, "*string"), "top": (3, "*string"), "name": (4, "string"), "type": (5, "int32"),
        "blobs": (6, "*Blob"), "convolution": (10, "Convolution"), "pooling": (19, "Pooling"),
    },
    "Net": {"name": (1, "string"), "layers": (2, "*V1Layer"), "layer": (100, "*Layer")},
}  # fmt: skip

_V1_TYPES = {
    1: "Accuracy", 3: "Concat", 4: "Convolution", 5: "Data", 6: "Dropout", 8: "Flatten", 9: "HDF5Data",
    12: "ImageData", 14: "InnerProduct", 15: "LRN", 17: "Pooling", 18: "ReLU", 20: "Softmax",
    21: "SoftmaxWithLoss", 22: "Split", 24: "WindowData", 25: "Eltwise", 29: "MemoryData", 32: "DummyData",
    36: "Silence",
}  # fmt: skip
_SOURCES = {
    "Data",
    "HDF5Data",
    "ImageData",
    "WindowData",
    "MemoryData",
    "DummyData",
    "Input",
    "AnnotatedData",
}
_ENDS = {"Accuracy", "SoftmaxWithLoss", "Silence"}
_SAME = {"Dropout", "Flatten", "ReLU", "Reshape", "Softmax", "Split"}


def read_caffemodel(path: Path) -> Raw:
    """The convolutions of a SqueezeNet from a .caffemodel file.

    Raises:
        InputError: not a SqueezeNet. On damage, whatever protobuf raises.
    """
    net = _net_class()()
    net.ParseFromString(path.read_bytes())
    layers = list(net.layer) or list(net.layers)
    if not layers:
        raise InputError(f"{path}: a .caffemodel file must hold layers, not none; download it again")
    return name_layers(path, "caffe", _steps(path, layers), CAFFE)


def _steps(path: Path, layers: Iterable[Any]) -> Iterable[Step]:
    for layer in layers:
        kind = layer.type if isinstance(layer.type, str) else _V1_TYPES.get(layer.type, f"type {layer.type}")
        if kind in _SOURCES or kind in _ENDS:
            continue
        inputs, outputs, place = tuple(layer.bottom), tuple(layer.top), f"{path}: {layer.name}"
        if not inputs or not outputs:
            raise InputError(
                f"{place}: a {kind} layer must have inputs and outputs, not none; give the whole network"
            )
        if kind == "Convolution":
            yield Step("conv", layer.name, inputs, outputs, conv=_convolution(place, layer))
        elif kind == "Pooling":
            yield Step("pool", layer.name, inputs, outputs, pool=_pool(layer.pooling))
        elif kind in ("Concat", "Eltwise"):
            yield Step("concat" if kind == "Concat" else "add", layer.name, inputs, outputs)
        else:
            yield Step("same" if kind in _SAME else kind, layer.name, inputs, outputs)


def _convolution(place: str, layer: Any) -> Conv:
    param = layer.convolution
    if not layer.blobs:
        raise InputError(f"{place}: a convolution must hold weights, not none; give the trained network")
    return Conv(
        _blob(f"{place}.weight", layer.blobs[0]),
        _blob(f"{place}.bias", layer.blobs[1]).reshape(-1) if len(layer.blobs) > 1 else None,
        stride=_pair(param.stride, param.stride_h, param.stride_w, 1),
        padding=_pair(param.pad, param.pad_h, param.pad_w, 0) * 2,
        groups=param.group or 1,
        dilation=_pair(param.dilation, 0, 0, 1),
    )


def _pair(repeated: Any, height: int, width: int, default: int) -> tuple[int, int]:
    if height or width:
        return (height, width)
    values = [*repeated] or [default]
    return (values[0], values[-1])


def _pool(param: Any) -> Pool | None:
    """Max pools only: the average over everything at the end is the same in all of the family."""
    is_max = param.pool == 0 and not param.global_pooling
    return Pool((param.kernel_size,) * 2, (param.stride or 1,) * 2) if is_max else None


def _blob(place: str, blob: Any) -> npt.NDArray[Any]:
    data = np.array(blob.data, np.float32) if len(blob.data) else np.array(blob.double_data, np.float64)
    old = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else old
    if min(shape, default=1) < 0 or int(np.prod(shape, dtype=object)) != data.size:
        raise InputError(
            f"{place}: must hold as many values as its shape {shape}, not {data.size}; download it again"
        )
    return data.reshape(shape)


@cache
def _net_class() -> Any:
    """A class for Caffe's NetParameter, from the table above."""
    field_types = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="fireflow_caffe.proto", package="fireflow_caffe", syntax="proto2"
    )
    for message_name, fields in _MESSAGES.items():
        described = file.message_type.add(name=message_name)
        for field_name, (number, kind) in fields.items():
            repeated, kind = kind.startswith("*"), kind.lstrip("*")
            field = described.field.add(name=field_name, number=number)
            field.label = field_types.LABEL_REPEATED if repeated else field_types.LABEL_OPTIONAL
            if kind in _MESSAGES:
                field.type, field.type_name = field_types.TYPE_MESSAGE, f".fireflow_caffe.{kind}"
            else:
                field.type = getattr(field_types, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("fireflow_caffe.Net"))
