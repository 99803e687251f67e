"""What a file's input expects of a pixel, and how the first layer takes the pixel itself instead.

That layer is a convolution (`hw.finn.checks`), perhaps behind a quantizer: the only operations that are named here.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.general.quant import quant

from fireflow.hw.errors import InputError
from fireflow.hw.finn.qonnx_file import attribute, is_weight, place, quantizer
from fireflow.hw.preprocessing import Preprocessing

Floats: TypeAlias = "NDArray[np.float32]"


def as_input(images: NDArray[Any], record: Preprocessing | None) -> Floats:
    """What a file reads for pictures.

    Args:
        images: uint8 (N, H, W, C).
        record: (pixel - mean) / std in its colour order, or None for the pixels as they are.

    Returns:
        float32 (N, C, H, W).
    """
    mean, std, order = _constants(record, images.shape[-1])
    values = (images.astype(np.float32)[..., order] - mean) / std
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2), np.float32)


def absorb_pixels(model: ModelWrapper, record: Preprocessing | None) -> None:
    """Folds mean, std, colour order and the input's own quantizer into the first convolution, exactly.

    Integer weights can be divided by one number, in another order, and shifted where nothing is padded. What
    would need more is refused.

    Raises:
        InputError: the record is of another input, or cannot be folded; a quantizer that changes pixels.
    """
    image = model.graph.input[0].name
    readers = model.find_consumers(image) or []
    shape = model.get_tensor_shape(image) or []
    if len(shape) != 4 or len(readers) != 1:
        if record is not None:
            raise InputError(
                f"{image}: preprocessing needs one layer that reads pictures, not {len(readers)}"
            )
        return  # hw.finn.checks says what is wrong
    if record is not None:
        check_record(image, record, (*shape[2:], shape[1]))
    mean, std, order = _constants(record, shape[1])
    factor: float | None = None
    if readers[0].op_type == "Quant":
        factor = _absorb_quantizer(model, readers[0], mean, std)
        mean, std = np.zeros_like(mean), np.ones_like(std)
        readers = model.find_consumers(image) or []
    if readers[0].op_type != "Conv" or len(readers) != 1:
        return
    if np.unique(std).size != 1:
        raise InputError(
            f"preprocessing: std must be one number for all channels, not {std.tolist()}: the weights of "
            f"{place(readers[0])} are integers with one scale for each output; fold it before training"
        )
    scale = float(factor if factor is not None else 1 / std[0])
    if scale == 1 and not mean.any() and order == sorted(order):
        return
    _rewrite(model, readers[0], mean, scale, order)


def check_record(name: str, record: Preprocessing, shape: tuple[int, ...]) -> None:
    """Whether pictures prepared so are what an input takes.

    Args:
        name: of the input.
        record: always square RGB.
        shape: (H, W, C).

    Raises:
        InputError: they are not.
    """
    if shape[2:] != (3,) or shape[0] != shape[1]:
        raise InputError(
            f"{name}: pictures are prepared for square inputs of three colours, not for {shape}; leave the "
            "preprocessing out and give uint8 arrays of that shape (.npy)"
        )
    if record.size != shape[0]:
        raise InputError(
            f"{name}: size must be {shape[0]}, the input's, not {record.size}; change the record"
        )


def _constants(record: Preprocessing | None, channels: int) -> tuple[Floats, Floats, list[int]]:
    """Mean and std (channels,) in the order in which the file has the channels, and that order."""
    if record is None:
        return np.zeros(channels, np.float32), np.ones(channels, np.float32), list(range(channels))
    order = [2, 1, 0] if record.source_order == "BGR" else [0, 1, 2]
    mean, std = (np.array(values, np.float32)[order] for values in (record.mean, record.std))
    return mean, std, order


def _absorb_quantizer(model: ModelWrapper, node: NodeProto, mean: Floats, std: Floats) -> float:
    """Takes out a quantizer of the input that keeps pixels apart; what is read is then the pixel times this."""
    found = quantizer(model, node)
    if found.scale.size != 1:
        raise InputError(f"{place(node)}: the input must have one scale, not {found.scale.size}; use one")
    scale = np.float32(found.scale.flat[0])
    pixels = np.arange(256, dtype=np.float32)[:, None]
    bits = np.float32(min(found.bits, 32))
    values = quant((pixels - mean) / std, scale, np.float32(0), bits, found.signed, found.narrow, "ROUND")
    steps = np.round(values / scale)
    if not np.array_equal(steps, np.broadcast_to(pixels, steps.shape)):
        pixel, channel = (int(part) for part in np.argwhere(steps != pixels)[0])
        raise InputError(
            f"{place(node)}: a quantizer of the input must leave the pixels 0..255 as they are, not make "
            f"{steps[pixel, channel]:g} of {pixel}; feed whole pixels and use 8 unsigned bits with scale 1, or "
            "none, or say with --preprocessing FILE.json what the input expects"
        )
    source, result = node.input[0], node.output[0]
    model.graph.node.remove(node)
    for reader in model.graph.node:
        for index, name in enumerate(reader.input):
            if name == result:
                reader.input[index] = source
    return float(scale)


def _rewrite(model: ModelWrapper, conv: NodeProto, mean: Floats, scale: float, order: list[int]) -> None:
    """conv((x - mean) * scale)  ->  conv'(x): the same integers, another scale, bias and order of channels."""
    weights = model.find_producer(conv.input[1])
    if weights is None or weights.op_type != "Quant" or not is_weight(model, weights):
        return  # hw.finn.checks refuses it
    found = quantizer(model, weights)
    values = model.get_initializer(weights.input[0])
    bits = np.float32(found.bits)
    whole = quant(values, found.scale, np.float32(0), bits, found.signed, found.narrow, "ROUND")
    if any(mean):
        if any(attribute(conv, "pads", [0])) or attribute(conv, "auto_pad", b"NOTSET") not in (
            b"NOTSET",
            b"VALID",
        ):
            raise InputError(
                f"{place(conv)}: mean must be 0 where the first convolution is padded, not {mean.tolist()}: what "
                "it pads with would be no pixel; train with pixels less nothing, or without that padding"
            )
        shift = scale * (whole.astype(np.float64) * mean.reshape(1, -1, 1, 1)).sum(axis=(1, 2, 3))
        bias = model.get_initializer(conv.input[2]) if len(conv.input) > 2 else 0
        name = _new(
            model, f"{conv.output[0]}.shifted", (np.asarray(bias, np.float64) - shift).astype(np.float32)
        )
        del conv.input[2:]
        conv.input.append(name)
    steps = np.round(whole / found.scale)
    step = np.asarray(found.scale * np.float64(scale), np.float32)
    whole = (steps * step)[:, order].astype(np.float32)
    weights.input[0] = _new(model, f"{conv.output[0]}.pixel_weight", whole)
    weights.input[1] = _new(model, f"{conv.output[0]}.pixel_scale", step)


def _new(model: ModelWrapper, name: str, value: NDArray[Any]) -> str:
    taken = set(model.get_all_tensor_names())
    while name in taken:
        name += "_"
    model.graph.initializer.append(numpy_helper.from_array(value, name))
    return name
