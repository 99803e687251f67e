"""Caffe networks described by dictionaries: written as .caffemodel files, and executed in NumPy.

The executor follows the code of BVLC Caffe's layers in the TEST phase, in float64, and shares nothing with the reader
under test. What Caffe refuses with a CHECK raises `CaffeError`.

A network is ``{"layers": [layer, ...]}`` and may have ``input``, ``input_dim`` and ``input_shape``; a layer has
``name``, ``type``, ``bottom`` and ``top``, and may have ``blobs``, ``include``, ``exclude`` and, by their names without
``_param``, parameters.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.quant.weight_files import field, new_blob, varint

Described = dict[str, Any]
Array = np.ndarray
TRAIN, TEST = 0, 1

# --- writing. Numbers as in src/caffe/proto/caffe.proto; f floats, the others varints, strings or messages.
_NUMBERS: dict[str, dict[str, int]] = {
    "batch_norm": {"use_global_stats": 1, "moving_average_fraction": 2, "eps": -3},
    "bias": {"axis": 1, "num_axes": 2},
    "concat": {"axis": 2, "concat_dim": 1},
    "convolution": {
        "num_output": 1, "bias_term": 2, "pad": 3, "kernel_size": 4, "group": 5, "stride": 6, "weight_filler": 7,
        "pad_h": 9, "pad_w": 10, "kernel_h": 11, "kernel_w": 12, "stride_h": 13, "stride_w": 14, "engine": 15,
        "axis": 16, "force_nd_im2col": 17, "dilation": 18, "unknown": 40,
    },
    "data": {"source": 1, "batch_size": 4, "backend": 8, "scale": -2, "mean_file": 3, "crop_size": 5, "mirror": 6},
    "dropout": {"dropout_ratio": -1},
    "eltwise": {"operation": 1, "coeff": -2, "stable_prod_grad": 3},
    "flatten": {"axis": 1, "end_axis": 2},
    "image_data": {"new_height": 9, "new_width": 10, "is_color": 11},
    "input": {"shape": 1},
    "memory_data": {"batch_size": 1, "channels": 2, "height": 3, "width": 4},
    "pooling": {
        "pool": 1, "kernel_size": 2, "stride": 3, "pad": 4, "kernel_h": 5, "kernel_w": 6, "stride_h": 7,
        "stride_w": 8, "pad_h": 9, "pad_w": 10, "engine": 11, "global_pooling": 12, "round_mode": 13, "unknown": 40,
    },
    "power": {"power": -1, "scale": -2, "shift": -3},
    "relu": {"negative_slope": -1, "engine": 2, "unknown": 40},
    "reshape": {"shape": 1, "axis": 2, "num_axes": 3},
    "rule": {"phase": 1, "min_level": 2, "max_level": 3, "stage": 4, "not_stage": 5},
    "scale": {"axis": 1, "num_axes": 2, "bias_term": 4},
    "softmax": {"engine": 1, "axis": 2},
    "transform": {
        "scale": -1, "mirror": 2, "crop_size": 3, "mean_file": 4, "mean_value": -5, "force_color": 6, "force_gray": 7,
        "unknown": 40,
    },
}  # fmt: skip
_LAYER = {
    "name": 1, "type": 2, "bottom": 3, "top": 4, "blobs": 7, "include": 8, "exclude": 9, "phase": 10, "transform": 100,
    "concat": 104, "convolution": 106, "data": 107, "dropout": 108, "eltwise": 110, "image_data": 115,
    "memory_data": 119, "pooling": 121, "power": 122, "relu": 123, "softmax": 125, "reshape": 133, "flatten": 135,
    "batch_norm": 139, "bias": 141, "scale": 142, "input": 143, "unknown": 9999,
}  # fmt: skip
_V1_LAYER = {
    "bottom": 2, "top": 3, "name": 4, "type": 5, "blobs": 6, "concat": 9, "convolution": 10, "data": 11, "dropout": 12,
    "image_data": 15, "pooling": 19, "power": 21, "memory_data": 22, "eltwise": 24, "relu": 30, "include": 32,
    "exclude": 33, "transform": 36, "softmax": 39, "unknown": 9999,
}  # fmt: skip
V1_TYPES = {
    "Accuracy": 1, "Concat": 3, "Convolution": 4, "Data": 5, "Dropout": 6, "Flatten": 8, "ImageData": 12,
    "InnerProduct": 14, "LRN": 15, "Pooling": 17, "ReLU": 18, "Sigmoid": 19, "Softmax": 20, "SoftmaxWithLoss": 21,
    "Split": 22, "TanH": 23, "Eltwise": 25, "Power": 26, "MemoryData": 29, "AbsVal": 35, "Silence": 36, "BNLL": 2,
}  # fmt: skip


def has_v1(network: Described) -> bool:
    """Whether every layer of a network can be written as V1."""
    return all(
        layer["type"] in V1_TYPES and not set(layer) - {*_V1_LAYER} and "phase" not in layer
        for layer in network["layers"]
    )


def written(network: Described, v1: bool = False, blob: Callable[[Array], bytes] = new_blob) -> bytes:
    """The bytes of a .caffemodel file."""
    numbers, content = (_V1_LAYER, b"") if v1 else (_LAYER, b"")
    content = field(1, "a net") + b"".join(field(3, name) for name in network.get("input", ()))
    content += b"".join(field(4, dim) for dim in network.get("input_dim", ()))
    content += b"".join(field(8, _dims(shape)) for shape in network.get("input_shape", ()))
    for layer in network["layers"]:
        content += field(2 if v1 else 100, _layer(layer, numbers, v1, blob))
    return content + network.get("extra", b"")


def _layer(layer: Described, numbers: dict[str, int], v1: bool, blob: Callable[[Array], bytes]) -> bytes:
    content = b""
    for key, value in layer.items():
        number = numbers[key]
        if key == "type":
            content += field(number, V1_TYPES[value] if v1 else value)
        elif key in ("bottom", "top"):
            content += b"".join(field(number, name) for name in value)
        elif key == "blobs":
            content += b"".join(field(number, blob(np.asarray(array))) for array in value)
        elif key in ("include", "exclude"):
            content += b"".join(field(number, _message("rule", rule)) for rule in value)
        else:
            content += field(number, value if key in ("name", "phase", "unknown") else _message(key, value))
    return content


def _message(kind: str, fields: Described) -> bytes:
    content = b""
    for key, value in fields.items():
        number = _NUMBERS[kind][key]
        for item in value if isinstance(value, list) and key != "shape" else [value]:
            if key == "shape":
                content += field(number, _dims(item))
            elif number < 0:
                content += varint(-number << 3 | 5) + struct.pack("<f", item)
            else:
                content += field(number, item % (1 << 64) if isinstance(item, int) else item)
    return content


def _dims(shape: Sequence[int]) -> bytes:
    return b"".join(field(1, dim % (1 << 64)) for dim in shape)


# --- executing


class CaffeError(Exception):
    """What Caffe refuses."""


def check(good: bool) -> None:
    if not good:
        raise CaffeError


def execute(network: Described, pixels: Array) -> list[Array]:
    """What comes out of the network for a picture that has its size: uint8 (side, side, 3) RGB.

    Mostly one array; more where a layer is read by nothing.

    Data layers of training give the picture where there are none for tests, as in snapshots; colours are in the order
    of OpenCV. A network that does not say how it is scaled takes what SqueezeNet's authors took.
    """
    tensors: dict[str, Array] = {name: _authors(pixels) for name in network.get("input", ())[:1]}
    layers = [layer for layer in network["layers"] if included(layer, TEST)]
    if not any(layer["type"] in _SOURCES for layer in layers) and "input" not in network:
        layers = [
            la for la in network["layers"] if la in layers or (la["type"] in _SOURCES and included(la, TRAIN))
        ]
    unread: list[str] = []  # tensors that no layer reads, or only one that measures
    for layer in layers:
        bottoms, tops = layer["bottom"], layer["top"]
        if layer["type"] in _SOURCES:
            check(not set(tops) & set(tensors))
            tensors.update({name: np.zeros(1) for name in tops[1:]})
            tensors[tops[0]] = transformed(layer, pixels)
            continue
        check(all(name in tensors for name in bottoms))
        if layer["type"] in ("Accuracy", "SoftmaxWithLoss", "Silence"):
            continue
        unread = [name for name in unread if name not in bottoms]
        results = run_layer(layer, [tensors[name] for name in bottoms])
        for position, (name, result) in enumerate(zip(tops, results, strict=False)):
            check(name not in tensors or bottoms[position : position + 1] == [name])
            tensors[name] = result
            unread.append(name)
    # Splits give one tensor several names; labels are single numbers.
    outputs = {tensors[name].tobytes(): name for name in unread if tensors[name].size > 1}
    return [tensors[name] for name in outputs.values()]


def run_layer(layer: Described, inputs: list[Array]) -> list[Array]:
    kind = layer["type"]
    in_place = bool(set(layer["bottom"]) & set(layer["top"]))
    check(
        kind in _LAYERS
        and not (in_place and kind in ("Convolution", "Pooling", "Concat", "Flatten", "Reshape"))
    )
    if kind in ("Concat", "Eltwise"):
        check(not in_place)
    else:
        check(len(inputs) == 1)
    if kind == "Split":
        return inputs * len(layer["top"])
    return [_LAYERS[kind](layer, *inputs)]


def included(layer: Described, phase: int) -> bool:
    if layer.get("include"):
        return any(_meets(rule, phase) for rule in layer["include"])
    return not any(_meets(rule, phase) for rule in layer.get("exclude", ()))


def _meets(rule: Described, phase: int) -> bool:
    """With level 0 and no stages, as a network has that sets neither."""
    if rule.get("phase", phase) != phase or rule.get("stage"):
        return False
    return bool(rule.get("min_level", 0) <= 0 <= rule.get("max_level", 0))


def _authors(pixels: Array) -> Array:
    bgr = pixels[:, :, ::-1].astype(np.float64) - [104, 117, 123]
    return bgr.transpose(2, 0, 1)[None]


def transformed(layer: Described, pixels: Array) -> Array:
    """(1, 3, side, side): (pixel - mean) * scale, blue first."""
    param = {**layer.get("transform", {})}
    param |= {k: v for k, v in layer.get("data", {}).items() if k in ("scale", "mean_file", "crop_size")}
    if not {k for k in param if k in ("scale", "mean_value", "mean_file", "crop_size", "force_gray")}:
        return _authors(pixels)
    check("mean_file" not in param and not param.get("force_gray"))
    means = param.get("mean_value", [0.0])
    means = means if isinstance(means, list) else [means]
    check(len(means) in (1, 3))
    bgr = (pixels[:, :, ::-1].astype(np.float64) - np.float32(means)) * np.float32(param.get("scale", 1.0))
    return bgr.transpose(2, 0, 1)[None]


def _single_or_pair(param: Described, name: str, square: str, default: int) -> tuple[int, int]:
    if f"{name}_h" in param or f"{name}_w" in param:
        check(square not in param)
        return param.get(f"{name}_h", 0), param.get(f"{name}_w", 0)
    values = param.get(square, default)
    values = values if isinstance(values, list) else [values]
    check(1 <= len(values) <= 2)
    return values[0], values[-1]


def _convolution(layer: Described, x: Array) -> Array:
    param, blobs = layer.get("convolution", {}), [np.asarray(b, np.float64) for b in layer.get("blobs", ())]
    check(len(blobs) == 1 + int(param.get("bias_term", True)) and param.get("axis", 1) in (1, -3))
    weight, group = blobs[0], param.get("group", 1)
    check(weight.ndim == 4 and x.ndim == 4 and group > 0)
    kernel = weight.shape[2:]
    check(_single_or_pair(param, "kernel", "kernel_size", list(kernel)) == kernel)  # type: ignore[arg-type]
    check(param.get("num_output", len(weight)) == len(weight) and "unknown" not in param)
    check(x.shape[1] == weight.shape[1] * group and len(weight) % group == 0)
    (ph, pw), (sh, sw) = (
        _single_or_pair(param, "pad", "pad", 0),
        _single_or_pair(param, "stride", "stride", 1),
    )
    dh, dw = _single_or_pair(param, "dilation", "dilation", 1)
    check(min(sh, sw, dh, dw) > 0)
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    height = (x.shape[2] - (dh * (kernel[0] - 1) + 1)) // sh + 1
    width = (x.shape[3] - (dw * (kernel[1] - 1) + 1)) // sw + 1
    check(min(height, width) > 0)
    per = x.shape[1] // group
    out = np.zeros((1, len(weight), height, width))
    for g in range(group):
        rows = slice(g * len(weight) // group, (g + 1) * len(weight) // group)
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                part = x[:, g * per : (g + 1) * per, i * dh :, j * dw :]
                part = part[:, :, : (height - 1) * sh + 1 : sh, : (width - 1) * sw + 1 : sw]
                out[:, rows] += np.einsum("oc,nchw->nohw", weight[rows, :, i, j], part)
    return out if len(blobs) == 1 else out + blobs[1].reshape(1, -1, 1, 1)


def _pooling(layer: Described, x: Array) -> Array:
    param = layer.get("pooling", {})
    method, is_global = param.get("pool", 0), param.get("global_pooling", 0)
    check(method in (0, 1) and x.ndim == 4 and "unknown" not in param)
    sized = any(name in param for name in ("kernel_size", "kernel_h", "kernel_w"))
    check(not sized if is_global else sized)
    for name, square in (("kernel", "kernel_size"), ("pad", "pad"), ("stride", "stride")):
        both = [f"{name}_{axis}" in param for axis in "hw"]
        check(not any(both) or (all(both) and square not in param))
    size = x.shape[2:]
    kernel = size if is_global else _single_or_pair(param, "kernel", "kernel_size", 0)
    pad, stride = _single_or_pair(param, "pad", "pad", 0), _single_or_pair(param, "stride", "stride", 1)
    check(not is_global or (pad == (0, 0) and stride == (1, 1)))
    check(min(*kernel, *stride) > 0 and all(p < k for p, k in zip(pad, kernel, strict=True)))
    counts = []
    for axis in (0, 1):
        room = size[axis] + 2 * pad[axis] - kernel[axis]
        steps = room / stride[axis]
        rounding = param.get("round_mode", 0)
        check(rounding in (0, 1))
        count = int(np.ceil(steps) if rounding == 0 else np.floor(steps)) + 1
        if any(pad) and (count - 1) * stride[axis] >= size[axis] + pad[axis]:
            count -= 1
        counts.append(count)
    check(min(counts) > 0)
    out = np.zeros((*x.shape[:2], *counts))
    for row in range(counts[0]):
        for column in range(counts[1]):
            top, left = row * stride[0] - pad[0], column * stride[1] - pad[1]
            bottom, right = min(top + kernel[0], size[0] + pad[0]), min(left + kernel[1], size[1] + pad[1])
            area = (bottom - top) * (right - left)
            seen = x[:, :, max(top, 0) : min(bottom, size[0]), max(left, 0) : min(right, size[1])]
            check(seen.size > 0)
            out[:, :, row, column] = seen.max(axis=(2, 3)) if method == 0 else seen.sum(axis=(2, 3)) / area
    return out


def _relu(layer: Described, x: Array) -> Array:
    slope = float(np.float32(layer.get("relu", {}).get("negative_slope", 0.0)))
    return np.maximum(x, 0) + slope * np.minimum(x, 0)


def _concat(layer: Described, *inputs: Array) -> Array:
    param = layer.get("concat", {})
    check(not {"axis", "concat_dim"} <= set(param))
    axis = param.get("concat_dim", param.get("axis", 1))
    try:
        return np.concatenate(inputs, axis=axis)
    except ValueError:
        raise CaffeError from None


def _eltwise(layer: Described, *inputs: Array) -> Array:
    param = layer.get("eltwise", {})
    operation, coefficients = param.get("operation", 1), param.get("coeff", [])
    check(len({x.shape for x in inputs}) == 1 and operation in (0, 1, 2) and len(inputs) >= 2)
    check(not coefficients or (operation == 1 and len(coefficients) == len(inputs)))
    if operation == 0:
        return np.prod(inputs, axis=0)  # type: ignore[no-any-return]
    if operation == 2:
        return np.max(inputs, axis=0)  # type: ignore[no-any-return]
    factors = coefficients or [1.0] * len(inputs)
    return sum(np.float64(np.float32(f)) * x for f, x in zip(factors, inputs, strict=True))  # type: ignore[return-value]


def _softmax(layer: Described, x: Array) -> Array:
    axis = layer.get("softmax", {}).get("axis", 1)
    check(-x.ndim <= axis < x.ndim)
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)  # type: ignore[no-any-return]


def _flatten(layer: Described, x: Array) -> Array:
    param = layer.get("flatten", {})
    first, last = param.get("axis", 1), param.get("end_axis", -1)
    check(-x.ndim <= first < x.ndim and -x.ndim <= last < x.ndim)
    first, last = first % x.ndim, last % x.ndim
    check(first <= last)
    return x.reshape(*x.shape[:first], -1, *x.shape[last + 1 :])


def _reshape(layer: Described, x: Array) -> Array:
    param = layer.get("reshape", {})
    check(param.get("axis", 0) == 0 and param.get("num_axes", -1) == -1)
    dims = list(param["shape"])
    check(all(dim != 0 or at < x.ndim for at, dim in enumerate(dims)))
    try:
        return x.reshape([x.shape[at] if dim == 0 else dim for at, dim in enumerate(dims)])
    except ValueError:
        raise CaffeError from None


def _batch_norm(layer: Described, x: Array) -> Array:
    param, blobs = layer.get("batch_norm", {}), [np.asarray(b, np.float64) for b in layer.get("blobs", ())]
    check(len(blobs) == 3 and len(blobs[0]) == len(blobs[1]) == x.shape[1])
    count = 0.0 if blobs[2][0] == 0 else 1 / blobs[2][0]
    mean, variance = (b.reshape(1, -1, *(1,) * (x.ndim - 2)) * count for b in blobs[:2])
    if not param.get("use_global_stats", 1):
        axes = (0, *range(2, x.ndim))
        mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + np.float32(param.get("eps", 1e-5)))  # type: ignore[no-any-return]


def _scale(layer: Described, x: Array) -> Array:
    param, blobs = layer.get("scale", {}), [np.asarray(b, np.float64) for b in layer.get("blobs", ())]
    check(len(blobs) == 1 + int(param.get("bias_term", 0)))
    axis = param.get("axis", 1) % x.ndim
    shape = [-1 if at == axis else 1 for at in range(x.ndim)]
    check(all(b.ndim == 1 and b.size == x.shape[axis] for b in blobs))
    return x * blobs[0].reshape(shape) + (blobs[1].reshape(shape) if len(blobs) > 1 else 0)  # type: ignore[no-any-return]


def _bias(layer: Described, x: Array) -> Array:
    return _scale(
        {"scale": {**layer.get("bias", {}), "bias_term": 1}, "blobs": [np.ones(x.shape[1]), *layer["blobs"]]},
        x,
    )


def _power(layer: Described, x: Array) -> Array:
    param = {name: np.float64(np.float32(v)) for name, v in layer.get("power", {}).items()}
    base = param.get("shift", 0) + param.get("scale", 1) * x
    return base if param.get("power", 1) == 1 else base ** param["power"]


_SOURCES = ("Data", "ImageData", "Input", "MemoryData", "HDF5Data")
_LAYERS: dict[str, Callable[..., Array]] = {
    "AbsVal": lambda _layer, x: np.abs(x),
    "BNLL": lambda _layer, x: np.logaddexp(x, 0),
    "BatchNorm": _batch_norm,
    "Bias": _bias,
    "Concat": _concat,
    "Convolution": _convolution,
    "Dropout": lambda _layer, x: x,
    "ELU": lambda _layer, x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "Eltwise": _eltwise,
    "Flatten": _flatten,
    "Pooling": _pooling,
    "Power": _power,
    "ReLU": _relu,
    "Reshape": _reshape,
    "Scale": _scale,
    "Sigmoid": lambda _layer, x: 1 / (1 + np.exp(-x)),
    "Softmax": _softmax,
    "Split": lambda _layer, x: x,
    "TanH": lambda _layer, x: np.tanh(x),
}
