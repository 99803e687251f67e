"""ONNX nodes as operations of a SqueezeNet, with every attribute and input that changes their function.

Source: the operators' changelog of ONNX, github.com/onnx/onnx/blob/main/docs/Changelog.md; opsets 7 and later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from fireflow.hw.errors import InputError
from fireflow.quant.imported.operations import (
    Add,
    Average,
    Concat,
    Conv,
    Flatten,
    MaxPool,
    Operation,
    Relu,
    Same,
    Scaling,
    Softmax,
    shown,
)  # fmt: skip
from fireflow.quant.readers.onnx_shapes import BATCH, Dimension, Shape

Constant = npt.NDArray[Any]


@dataclass(frozen=True)
class Node:
    """A node on the way of the picture.

    Args:
        place: file and name, for messages.
        kind: ONNX's name of the operation.
        attributes: by name.
        inputs: names; "" stands for an input left out.
        picture: those of them that come from the picture.
        constants: arrays of those that are constant.
        shapes: those that are computed shapes.
        opset: version of ONNX's operators.
        batch: pictures at once where the graph fixes them, else None.
    """

    place: str
    kind: str
    attributes: Mapping[str, Any]
    inputs: Sequence[str]
    picture: Sequence[str]
    constants: Mapping[str, Constant]
    shapes: Mapping[str, Shape]
    opset: int
    batch: int | None

    def wrong(
        self, rule: str, value: object, fix: str = "export the plain float network again"
    ) -> InputError:
        return InputError(f"{self.place}: {rule}, not {shown(value, 200)}; {fix}")

    def known(self, *names: str) -> None:
        """Refuses attributes but these: one that is not understood may change the function."""
        for name in self.attributes:
            if name not in names:
                raise self.wrong(f"{self.kind} must have attributes among {', '.join(names) or 'none'}", name)

    def only(self, name: str, *allowed: object) -> None:
        """Refuses an attribute that is there with another value."""
        value = self.attributes.get(name, allowed[0])
        if value not in allowed:
            listed = " or ".join(str(_plain(choice)) for choice in allowed)
            raise self.wrong(f"{name} must be {listed}", _plain(value))

    def numbers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self.attributes.get(name, default))

    def one_picture(self, inputs: int = 1) -> None:
        """Refuses more than `inputs` inputs, the first of which comes from the picture."""
        given = [name for name in self.inputs if name]
        if len(given) > inputs or list(self.picture) != given[:1]:
            raise self.wrong(f"{self.kind} must read one tensor of the picture", ", ".join(given))

    def constant(self, position: int) -> Constant | None:
        """The constant float32 input at a position; None if it is left out."""
        name = self.inputs[position] if position < len(self.inputs) else ""
        if not name:
            return None
        if name not in self.constants:
            raise self.wrong(
                "weights must be constants", f"computed ({shown(name)})", "give the float network"
            )
        array = self.constants[name]
        if array.dtype != np.float32:
            fix = "convert the network to float32"
            raise self.wrong(f"{shown(name)} must be float32", array.dtype, fix)
        return array

    def axes(self, position: int = 1) -> list[int] | None:
        """Axes from the attribute or, later, the input; None where there are none."""
        name = self.inputs[position] if position < len(self.inputs) else ""
        if "axes" in self.attributes and not name:
            return list(self.attributes["axes"])
        if not name:
            return None
        if name not in self.constants:
            raise self.wrong("axes must be constants", f"computed ({shown(name)})")
        return [int(axis) for axis in self.constants[name].reshape(-1)]


def operation(node: Node) -> Operation:
    """The operation of a node.

    Raises:
        InputError: one that no SqueezeNet has, or with attributes or inputs that none has.
    """
    make = _OPERATIONS.get(node.kind)
    if make is None:
        raise InputError(
            f"{node.place}: operations must be those of a SqueezeNet, not {shown(node.kind)}; "
            "give a SqueezeNet 1.0 or 1.1"
        )
    return make(node)


def _plain(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _conv(node: Node) -> Operation:
    node.known("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    node.only("auto_pad", b"NOTSET", b"VALID")
    node.one_picture(3)
    weight, bias = node.constant(1), node.constant(2)
    if weight is None or weight.ndim != 4:
        shape = "none" if weight is None else weight.shape
        raise node.wrong("a convolution must have a 4-dimensional weight", shape)
    if node.numbers("kernel_shape", weight.shape[2:]) != weight.shape[2:]:
        raise node.wrong(
            f"kernel_shape must be its weight's, {weight.shape[2:]}", node.attributes["kernel_shape"]
        )
    padding = node.numbers("pads", (0, 0, 0, 0))
    _check_valid(node, padding)
    return Conv(
        weight,
        bias,
        stride=node.numbers("strides", (1, 1)),
        padding=padding,
        groups=node.attributes.get("group", 1),
        dilation=node.numbers("dilations", (1, 1)),
    )


def _check_valid(node: Node, padding: tuple[int, ...]) -> None:
    if node.attributes.get("auto_pad") == b"VALID" and any(padding):
        raise node.wrong("pads must be 0 where auto_pad is VALID", padding)


def _window(node: Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Kernel and padding of a pool, after a check of what no SqueezeNet's has."""
    node.one_picture()
    node.only("auto_pad", b"NOTSET", b"VALID")
    node.only("dilations", [1, 1])
    node.only("storage_order", 0)
    node.only("ceil_mode", 0, 1)
    padding = node.numbers("pads", (0, 0, 0, 0))
    _check_valid(node, padding)
    return node.numbers("kernel_shape", ()), padding


def _max_pool(node: Node) -> Operation:
    node.known("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides")
    kernel, padding = _window(node)
    ceil = bool(node.attributes.get("ceil_mode", 0))
    return MaxPool(kernel, node.numbers("strides", (1, 1)), padding, ceil)


def _average_pool(node: Node) -> Operation:
    names = ("auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides")
    node.known(*names)
    kernel, padding = _window(node)
    if any(padding):
        raise node.wrong("an average must not pad", padding)
    return Average(
        kernel
    )  # a kernel as large as the map, as is checked, has one place: strides do not matter


def _global_average(node: Node) -> Operation:
    node.known()
    node.one_picture()
    return Average()


def _reduce_mean(node: Node) -> Operation:
    node.known("axes", "keepdims", "noop_with_empty_axes")
    node.one_picture(2)
    axes = node.axes()
    if axes is None or sorted(axis % 4 for axis in axes if -4 <= axis < 4) != [2, 3] or len(axes) != 2:
        raise node.wrong("a mean must be over height and width, axes [2, 3]", axes)
    return Average(flat=not node.attributes.get("keepdims", 1))


def _relu(node: Node) -> Operation:
    node.known()
    node.one_picture()
    return Relu()


def _concat(node: Node) -> Operation:
    node.known("axis")
    if list(node.picture) != list(node.inputs) or "axis" not in node.attributes:
        raise node.wrong(
            "a concat must join tensors of the picture along a given axis", ", ".join(node.inputs)
        )
    return Concat(node.attributes["axis"])


def _arithmetic(node: Node) -> Operation:
    """Sums of two tensors of the picture, and scalings of one by constants."""
    node.known()
    if node.kind in ("Add", "Sum") and len(node.inputs) == 2 and list(node.picture) == list(node.inputs):
        return Add()
    if len(node.inputs) != 2 or len(node.picture) != 1 or node.kind == "Sum":
        raise node.wrong(
            f"{node.kind} must take a tensor of the picture and a constant", ", ".join(node.inputs)
        )
    first = node.inputs[0] == node.picture[0]
    constant = _by_channel(node, int(first))
    one, zero = np.ones(1), np.zeros(1)
    if node.kind == "Add":
        return Scaling(one, constant)
    if node.kind == "Mul":
        return Scaling(constant, zero)
    if node.kind == "Sub":
        return Scaling(one, -constant) if first else Scaling(-one, constant)
    if not first or not constant.all():
        raise node.wrong("a Div must divide a tensor of the picture by constants that are not 0", "otherwise")
    return Scaling(1 / constant, zero)


def _by_channel(node: Node, position: int) -> npt.NDArray[np.float64]:
    """A constant input that broadcasts along the channels of (N, C, H, W), float64 (1,) or (C,)."""
    array = node.constant(position)
    assert array is not None
    shape = (1,) * (4 - array.ndim) + array.shape
    if len(shape) != 4 or (shape[0], shape[2], shape[3]) != (1, 1, 1):
        raise node.wrong(
            "a constant must be one number or one for each channel, shape (C, 1, 1)", array.shape
        )
    return array.reshape(-1).astype(np.float64)


def _batch_norm(node: Node) -> Operation:
    node.known("epsilon", "momentum", "spatial", "training_mode")
    node.only("training_mode", 0)
    node.only("spatial", 1)
    node.one_picture(5)
    parts = [node.constant(position) for position in range(1, 5)]
    if any(part is None or part.ndim != 1 for part in parts):
        raise node.wrong("a BatchNormalization must have four vectors", "fewer")
    gain, shift, mean, variance = (part.astype(np.float64) for part in parts if part is not None)
    scale = gain / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    return Scaling(scale, shift - mean * scale)


def _dropout(node: Node) -> Operation:
    node.known("ratio", "seed")
    node.one_picture(3)
    training = node.inputs[2] if len(node.inputs) > 2 else ""
    if training and (training not in node.constants or node.constants[training].any()):
        raise node.wrong("training_mode must be false", "true or computed")
    return Same()


def _identity(node: Node) -> Operation:
    node.known()
    node.one_picture()
    return Same()


def _cast(node: Node) -> Operation:
    node.known("to", "saturate", "round_mode")
    node.one_picture()
    kind = node.attributes.get("to")
    if kind != onnx.TensorProto.FLOAT:
        name = onnx.TensorProto.DataType.Name(kind) if kind in onnx.TensorProto.DataType.values() else kind
        raise node.wrong("the network must compute in float32", name, "convert the network to float32")
    return Same()


def _softmax(node: Node) -> Operation:
    node.known("axis")
    node.one_picture()
    old = node.opset < 13  # takes all axes from `axis` on as one
    return Softmax(node.attributes.get("axis", 1 if old else -1), rest=old)


def _flatten(node: Node) -> Operation:
    node.known("axis")
    node.one_picture()
    if node.attributes.get("axis", 1) not in (1, -3):
        raise node.wrong("Flatten must keep the batch, axis 1", node.attributes["axis"])
    return Flatten()


def _squeeze(node: Node) -> Operation:
    node.known("axes")
    node.one_picture(2)
    axes = node.axes()
    if axes is None or len(axes) != 2 or {axis % 4 for axis in axes} != {2, 3}:
        raise node.wrong("Squeeze must drop height and width, axes [2, 3]", axes)
    return Flatten()


def _reshape(node: Node) -> Operation:
    """A Reshape to (batch, classes), whose target is constant or computed from shapes."""
    node.known("allowzero")
    node.only("allowzero", 0)
    node.one_picture(2)
    shape = node.shapes.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if not isinstance(shape, list) or len(shape) != 2 or shape == [-1, -1]:
        raise node.wrong("Reshape must give (batch, classes)", _text(shape))
    batch, classes = shape
    whole = batch == node.batch if node.batch is not None else batch == 1
    if isinstance(batch, Dimension):
        whole = batch.axis == BATCH  # of whatever tensor of the picture: all have the same
    if not (whole or batch in (0, -1)):
        raise node.wrong("Reshape must keep the batch", _text(shape))
    if isinstance(classes, Dimension):
        if classes != Dimension(node.inputs[0], 1):
            raise node.wrong("Reshape must give (batch, classes)", _text(shape))
        return Flatten()
    if classes < -1 or (classes == -1 and batch == -1):
        raise node.wrong("Reshape must give (batch, classes)", _text(shape))
    return Flatten(None if classes in (-1, 0) else classes)


def _text(shape: Shape | None) -> str:
    entries = shape if isinstance(shape, list) else [shape]
    return ", ".join("a computed size" if isinstance(e, Dimension) else str(e) for e in entries)


_OPERATIONS: dict[str, Callable[[Node], Operation]] = {
    "Add": _arithmetic,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Concat": _concat,
    "Conv": _conv,
    "Div": _arithmetic,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "GlobalAveragePool": _global_average,
    "Identity": _identity,
    "LogSoftmax": _softmax,
    "MaxPool": _max_pool,
    "Mul": _arithmetic,
    "ReduceMean": _reduce_mean,
    "Relu": _relu,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "Squeeze": _squeeze,
    "Sub": _arithmetic,
    "Sum": _arithmetic,
}
