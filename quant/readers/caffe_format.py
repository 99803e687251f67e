"""Caffe's messages, as far as they are read, and which of their other fields change nothing in inference.

Source: message and field numbers of BVLC Caffe, src/caffe/proto/caffe.proto.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, unknown_fields

# * is repeated; protobuf reads packed and unpacked alike.
_GEOMETRY = {
    "pad": (3, "*uint32"), "kernel_size": (4, "*uint32"), "stride": (6, "*uint32"), "dilation": (18, "*uint32"),
    "pad_h": (9, "uint32"), "pad_w": (10, "uint32"), "kernel_h": (11, "uint32"), "kernel_w": (12, "uint32"),
    "stride_h": (13, "uint32"), "stride_w": (14, "uint32"),
}  # fmt: skip
_PARAMETERS = {
    # by name: number in a layer, number in a V1 layer (0: there is none), message
    "transform": (100, 36, "Transformation"), "batch_norm": (139, 0, "BatchNorm"), "bias": (141, 0, "Bias"),
    "concat": (104, 9, "Concat"), "convolution": (106, 10, "Convolution"), "data": (107, 11, "Data"),
    "eltwise": (110, 24, "Eltwise"), "flatten": (135, 0, "Flatten"), "image_data": (115, 15, "ImageData"),
    "input": (143, 0, "Input"), "memory_data": (119, 22, "MemoryData"), "pooling": (121, 19, "Pooling"),
    "power": (122, 21, "Power"), "relu": (123, 30, "ReLU"), "reshape": (133, 0, "Reshape"),
    "scale": (142, 0, "Scale"), "softmax": (125, 39, "Softmax"), "window_data": (129, 20, "Data"),
}  # fmt: skip
_OLD_TRANSFORMATION = {
    "scale": (2, "float"), "mean_file": (3, "string"), "crop_size": (5, "uint32"), "mirror": (6, "bool"),
}  # fmt: skip
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "BlobShape": {"dim": (1, "*int64")},
    "Blob": {
        "num": (1, "int32"), "channels": (2, "int32"), "height": (3, "int32"), "width": (4, "int32"),
        "data": (5, "*float"), "double_data": (8, "*double"), "shape": (7, "BlobShape"),
    },
    "BatchNorm": {"use_global_stats": (1, "bool"), "eps": (3, "float")},
    "Bias": {"axis": (1, "int32"), "num_axes": (2, "int32")},
    "Concat": {"axis": (2, "int32"), "concat_dim": (1, "uint32")},
    "Convolution": {
        "num_output": (1, "uint32"), "bias_term": (2, "bool"), "group": (5, "uint32"), "axis": (16, "int32"),
        **_GEOMETRY,
    },
    "Data": _OLD_TRANSFORMATION,
    "Eltwise": {"operation": (1, "int32"), "coeff": (2, "*float")},
    "Flatten": {"axis": (1, "int32"), "end_axis": (2, "int32")},
    "ImageData": {
        "new_height": (9, "uint32"), "new_width": (10, "uint32"), "is_color": (11, "bool"), **_OLD_TRANSFORMATION,
    },
    "Input": {"shape": (1, "*BlobShape")},
    "MemoryData": {"channels": (2, "uint32"), "height": (3, "uint32"), "width": (4, "uint32")},
    "Pooling": {
        "pool": (1, "int32"), "kernel_size": (2, "uint32"), "stride": (3, "uint32"), "pad": (4, "uint32"),
        "kernel_h": (5, "uint32"), "kernel_w": (6, "uint32"), "stride_h": (7, "uint32"), "stride_w": (8, "uint32"),
        "pad_h": (9, "uint32"), "pad_w": (10, "uint32"), "global_pooling": (12, "bool"), "round_mode": (13, "int32"),
    },
    "Power": {"power": (1, "float"), "scale": (2, "float"), "shift": (3, "float")},
    "ReLU": {"negative_slope": (1, "float")},
    "Reshape": {"shape": (1, "BlobShape"), "axis": (2, "int32"), "num_axes": (3, "int32")},
    "Rule": {
        "phase": (1, "int32"), "min_level": (2, "int32"), "max_level": (3, "int32"), "stage": (4, "*string"),
        "not_stage": (5, "*string"),
    },
    "Scale": {"axis": (1, "int32"), "num_axes": (2, "int32"), "bias_term": (4, "bool")},
    "Softmax": {"axis": (2, "int32")},
    "State": {"phase": (1, "int32"), "level": (2, "int32"), "stage": (3, "*string")},
    "Transformation": {
        "scale": (1, "float"), "mirror": (2, "bool"), "crop_size": (3, "uint32"), "mean_file": (4, "string"),
        "mean_value": (5, "*float"), "force_color": (6, "bool"), "force_gray": (7, "bool"),
    },
    "Layer": {
        "name": (1, "string"), "type": (2, "string"), "bottom": (3, "*string"), "top": (4, "*string"),
        "blobs": (7, "*Blob"), "include": (8, "*Rule"), "exclude": (9, "*Rule"),
        **{name: (number, kind) for name, (number, _v1, kind) in _PARAMETERS.items()},
    },
    "V1Layer": {
        "bottom": (2, "*string"), "top": (3, "*string"), "name": (4, "string"), "type": (5, "int32"),
        "blobs": (6, "*Blob"), "include": (32, "*Rule"), "exclude": (33, "*Rule"),
        **{name: (number, kind) for name, (_v2, number, kind) in _PARAMETERS.items() if number},
    },
    "Net": {
        "name": (1, "string"), "layers": (2, "*V1Layer"), "layer": (100, "*Layer"), "input": (3, "*string"),
        "input_dim": (4, "*int32"), "state": (6, "State"), "input_shape": (8, "*BlobShape"),
    },
}  # fmt: skip
# Fields that are known and change nothing in inference: fillers, engines, what training needs, and in a layer the
# parameters of other layers.
_IDLE: dict[str, set[int]] = {
    "BatchNorm": {2},
    "Bias": {3},
    "Convolution": {7, 8, 15, 17},
    "Eltwise": {3},
    "Layer": {5, 6, 10, 11, *range(101, 149)},
    "Pooling": {11},
    "ReLU": {2},
    "Scale": {3, 5},
    "Softmax": {1},
    "V1Layer": {7, 8, 35, 1001, 1002, *range(9, 43)},
}
V1_TYPES = {
    1: "Accuracy", 3: "Concat", 4: "Convolution", 5: "Data", 6: "Dropout", 8: "Flatten", 9: "HDF5Data",
    12: "ImageData", 14: "InnerProduct", 15: "LRN", 16: "MultinomialLogisticLoss", 17: "Pooling", 18: "ReLU",
    19: "Sigmoid", 20: "Softmax", 21: "SoftmaxWithLoss", 22: "Split", 23: "TanH", 24: "WindowData", 25: "Eltwise",
    26: "Power", 29: "MemoryData", 32: "DummyData", 36: "Silence",
}  # fmt: skip
"""Names of the layer types that V1 numbers."""


def parse(content: bytes) -> Any:
    """The NetParameter in `content`. On damage, whatever protobuf raises."""
    net = _net_class()()
    net.ParseFromString(content)
    return net


def unknown_field(message: Any) -> int | None:
    """The number of a field that is in a message and neither read nor known to change nothing."""
    idle = _IDLE.get(message.DESCRIPTOR.name, set())
    return next(
        (f.field_number for f in unknown_fields.UnknownFieldSet(message) if f.field_number not in idle), None
    )


def value(message: Any, name: str, default: Any) -> Any:
    """An optional field, or Caffe's default where it is not there."""
    return getattr(message, name) if message.HasField(name) else default


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
