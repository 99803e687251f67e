"""Caffe's layers as operations of a SqueezeNet, with every parameter that changes their function.

Source: BVLC Caffe, src/caffe/layers: what its layers refuse is refused here too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

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
from fireflow.quant.readers.caffe_format import unknown_field, value

_MAX, _AVERAGE, _SUM = 0, 1, 1
_ARRAYS = ("weight", "bias", "factor")


@dataclass(frozen=True)
class Layer:
    """A layer as in the file, of V1 or later.

    Args:
        place: file and name, for messages.
        kind: Caffe's name of the type.
        message: the layer.
    """

    place: str
    kind: str
    message: Any

    def wrong(self, rule: str, found: object) -> InputError:
        return InputError(f"{self.place}: {rule}, not {shown(found, 200)}; give a plain SqueezeNet")

    def parameter(self, name: str) -> Any:
        """The parameters called `name`, all of whose fields are known."""
        message = getattr(self.message, name)
        number = unknown_field(message)
        if number is not None:
            raise self.wrong(f"{name}_param must have the fields of BVLC Caffe", f"field {number}")
        return message

    def blobs(self, *counts: int) -> list[npt.NDArray[Any]]:
        """The layer's arrays, as many as there must be."""
        if len(self.message.blobs) not in counts:
            wanted = " or ".join(map(str, counts))
            raise self.wrong(
                f"a {self.kind} layer must hold {wanted} arrays of weights", len(self.message.blobs)
            )
        return [
            _blob(f"{self.place}.{name}", blob)
            for name, blob in zip(_ARRAYS, self.message.blobs, strict=False)
        ]


def operation(layer: Layer) -> Operation:
    """The operation of a layer.

    Raises:
        InputError: one that no SqueezeNet has, or with parameters that none has.
    """
    make = _LAYERS.get(layer.kind)
    if make is None:
        raise InputError(
            f"{layer.place}: operations must be those of a SqueezeNet, not {shown(layer.kind)}; "
            "give a SqueezeNet 1.0 or 1.1"
        )
    inputs = 2 if layer.kind in ("Concat", "Eltwise") else 1
    if len(layer.message.bottom) != inputs or not layer.message.top:
        found = f"{len(layer.message.bottom)} and {len(layer.message.top)}"
        raise layer.wrong(f"a {layer.kind} layer must have {inputs} inputs and an output", found)
    number = unknown_field(layer.message)
    if number is not None:
        raise layer.wrong("a layer must have the fields of BVLC Caffe", f"field {number}")
    return make(layer)


def _convolution(layer: Layer) -> Operation:
    param = layer.parameter("convolution")
    has_bias = value(param, "bias_term", True)
    if not layer.message.blobs:
        raise InputError(
            f"{layer.place}: a convolution must hold weights, not none; give the trained network"
        )
    weight, *biases = layer.blobs(2 if has_bias else 1)
    kernel = _pair(layer, param, "kernel", param.kernel_size, None)
    shapes = {
        "num_output": (value(param, "num_output", len(weight)), len(weight)),
        "kernel_size": (kernel or weight.shape[2:], weight.shape[2:]),
        "axis": (value(param, "axis", 1), 1),
    }
    if weight.ndim != 4:
        raise layer.wrong("a convolution must have a 4-dimensional weight", weight.shape)
    for name, (said, wanted) in shapes.items():
        if said != wanted:
            raise layer.wrong(f"{name} must be {wanted}", said)
    padding = _pair(layer, param, "pad", param.pad, 0)
    dilation = list(param.dilation) or [1]
    return Conv(
        weight,
        biases[0].reshape(-1) if biases else None,
        stride=_pair(layer, param, "stride", param.stride, 1),
        padding=padding * 2,
        groups=value(param, "group", 1),
        dilation=(dilation[0], dilation[-1]) if len(dilation) <= 2 else tuple(dilation),
    )


def _pair(layer: Layer, param: Any, name: str, repeated: Any, default: int | None) -> tuple[int, ...]:
    """(height, width) of a kernel, stride or padding; () where the file has none and there is no default."""
    single = param.HasField(f"{name}_h") or param.HasField(f"{name}_w")
    if (single and len(repeated)) or len(repeated) > 2:
        raise layer.wrong(f"{name} must be said once", "several times")
    if single:
        return (getattr(param, f"{name}_h"), getattr(param, f"{name}_w"))
    if not len(repeated):
        return () if default is None else (default, default)
    return (repeated[0], repeated[-1])


def _pooling(layer: Layer) -> Operation:
    param = layer.parameter("pooling")
    method, rounding = value(param, "pool", _MAX), value(param, "round_mode", 0)
    if method not in (_MAX, _AVERAGE) or rounding not in (0, 1):
        raise layer.wrong("a pool must be MAX or AVE and round CEIL or FLOOR", f"{method} and {rounding}")
    pad = _pool_pair(layer, param, "pad", "pad", 0)
    stride = _pool_pair(layer, param, "stride", "stride", 1)
    if param.global_pooling:
        sized = any(param.HasField(name) for name in ("kernel_size", "kernel_h", "kernel_w"))
        if sized or (pad, stride) != ((0, 0), (1, 1)):
            raise layer.wrong("a global pool must have no kernel, padding or stride", "some")
        if method == _MAX:
            raise layer.wrong("a global pool must be an average", "a maximum")
        return Average()
    kernel = _pool_pair(layer, param, "kernel", "kernel_size", 0)
    if method == _MAX:
        return MaxPool(kernel, stride, pad * 2, ceil=rounding == 0)
    if any(pad):
        raise layer.wrong("an average must not pad", pad)
    return Average(kernel)


def _pool_pair(layer: Layer, param: Any, name: str, square: str, default: int) -> tuple[int, int]:
    parts = [param.HasField(f"{name}_{axis}") for axis in "hw"]
    if any(parts) and (not all(parts) or param.HasField(square)):
        raise layer.wrong(f"{name} must be {square}, or {name}_h and {name}_w", "a mixture")
    if all(parts):
        return (getattr(param, f"{name}_h"), getattr(param, f"{name}_w"))
    return (value(param, square, default),) * 2


def _relu(layer: Layer) -> Operation:
    slope = value(layer.parameter("relu"), "negative_slope", 0.0)
    if slope != 0:
        raise layer.wrong("negative_slope must be 0", f"{slope:g}")
    return Relu()


def _concat(layer: Layer) -> Operation:
    param = layer.parameter("concat")
    if param.HasField("axis") and param.HasField("concat_dim"):
        raise layer.wrong("a concat must say axis or concat_dim", "both")
    return Concat(value(param, "concat_dim", value(param, "axis", 1)))


def _eltwise(layer: Layer) -> Operation:
    param = layer.parameter("eltwise")
    if value(param, "operation", _SUM) != _SUM:
        raise layer.wrong("an element-wise operation must be a sum (SUM, 1)", param.operation)
    if list(param.coeff) not in ([], [1.0, 1.0]):
        raise layer.wrong("coefficients of a sum must be 1", list(param.coeff))
    return Add()


def _batch_norm(layer: Layer) -> Operation:
    param = layer.parameter("batch_norm")
    if not value(param, "use_global_stats", True):
        raise layer.wrong("use_global_stats must be true", "false")
    mean, variance, factor = (blob.astype(np.float64).reshape(-1) for blob in layer.blobs(3))
    if factor.size != 1 or mean.shape != variance.shape:
        raise layer.wrong("a BatchNorm layer must hold means, variances and a factor", "others")
    count = 0.0 if factor[0] == 0 else 1 / factor[0]
    scale = 1 / np.sqrt(variance * count + value(param, "eps", 1e-5))
    return Scaling(scale, -mean * count * scale)


def _scale(layer: Layer) -> Operation:
    param = layer.parameter("scale")
    _check_channels(layer, param)
    scale, *shift = layer.blobs(2 if value(param, "bias_term", False) else 1)
    return Scaling(_vector(layer, scale), _vector(layer, shift[0]) if shift else np.zeros(1))


def _bias(layer: Layer) -> Operation:
    _check_channels(layer, layer.parameter("bias"))
    return Scaling(np.ones(1), _vector(layer, *layer.blobs(1)))


def _check_channels(layer: Layer, param: Any) -> None:
    if value(param, "axis", 1) not in (1, -3) or value(param, "num_axes", 1) != 1:
        raise layer.wrong(
            "must be for each channel, axis 1 alone", f"axis {param.axis}, {param.num_axes} axes"
        )


def _vector(layer: Layer, array: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    if array.ndim != 1:
        raise layer.wrong("must hold one number for each channel", array.shape)
    return array.astype(np.float64)


def _power(layer: Layer) -> Operation:
    param = layer.parameter("power")
    if value(param, "power", 1.0) != 1:
        raise layer.wrong("power must be 1", param.power)
    return Scaling(np.array([value(param, "scale", 1.0)]), np.array([value(param, "shift", 0.0)]))


def _softmax(layer: Layer) -> Operation:
    return Softmax(value(layer.parameter("softmax"), "axis", 1))


def _flatten(layer: Layer) -> Operation:
    param = layer.parameter("flatten")
    axes = value(param, "axis", 1), value(param, "end_axis", -1)
    if axes[0] not in (1, -3) or axes[1] not in (-1, 3):
        raise layer.wrong("Flatten must keep the batch, axis 1 to -1", axes)
    return Flatten()


def _reshape(layer: Layer) -> Operation:
    param = layer.parameter("reshape")
    dims = list(param.shape.dim)
    whole = (value(param, "axis", 0), value(param, "num_axes", -1)) == (0, -1)
    if not whole or len(dims) != 2 or dims[0] not in (0, -1) or dims[1] < -1 or dims == [-1, -1]:
        raise layer.wrong("Reshape must give (batch, classes), as dim 0 and -1", dims)
    return Flatten(None if dims[1] in (0, -1) else dims[1])


def _same(_layer: Layer) -> Operation:
    return Same()


def _blob(place: str, blob: Any) -> npt.NDArray[Any]:
    double = len(blob.double_data)
    data = np.array(blob.double_data, np.float64) if double else np.array(blob.data, np.float32)
    legacy = any(blob.HasField(name) for name in ("num", "channels", "height", "width"))
    old = (blob.num, blob.channels, blob.height, blob.width)
    shape = old if legacy or not blob.HasField("shape") else tuple(blob.shape.dim)
    if min(shape, default=1) < 0 or int(np.prod(shape, dtype=object)) != data.size:
        raise InputError(
            f"{place}: must hold as many values as its shape {shape}, not {data.size}; download it again"
        )
    return data.reshape(shape)


_LAYERS: dict[str, Callable[[Layer], Operation]] = {
    "BatchNorm": _batch_norm,
    "Bias": _bias,
    "Concat": _concat,
    "Convolution": _convolution,
    "Dropout": _same,
    "Eltwise": _eltwise,
    "Flatten": _flatten,
    "Pooling": _pooling,
    "Power": _power,
    "ReLU": _relu,
    "Reshape": _reshape,
    "Scale": _scale,
    "Softmax": _softmax,
    "Split": _same,
}
