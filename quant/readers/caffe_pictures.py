"""What the data layers and input shapes of a Caffe file tell of its pictures.

Source: BVLC Caffe, src/caffe/data_transformer.cpp: (pixel - mean) * scale, with colours in the order of OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fireflow.hw.errors import InputError
from fireflow.hw.preprocessing import CAFFE
from fireflow.quant.imported.input_record import Told
from fireflow.quant.readers.caffe_format import unknown_field, value
from fireflow.quant.readers.caffe_layers import Layer

_AUTHORS = Told(guess=CAFFE, whose="SqueezeNet's authors have it")
_TOOLS = Told(guess=CAFFE, whose="Caffe's tools store pictures (BGR, squashed to 256x256)")
_OLD = {"Data": "data", "ImageData": "image_data", "WindowData": "window_data"}


def shape_told(place: str, dims: Sequence[int]) -> Told:
    """What the shape of an input tells: the size of the pictures.

    Raises:
        InputError: a shape that no SqueezeNet's pictures have.
    """
    if len(dims) != 4 or dims[1] != 3 or dims[2] != dims[3] or dims[2] < 1:
        raise InputError(
            f"{place}: the input must be (N, 3, side, side), not {tuple(dims)}; give a SqueezeNet"
        )
    return replace(_AUTHORS, size=dims[2], because="the file tells its input's size only")


def nothing_told() -> Told:
    """What a file without a word on its pictures tells."""
    return replace(_AUTHORS, because="the file does not tell")


def layer_told(layer: Layer) -> Told:
    """What a layer that pictures come from tells."""
    if layer.kind == "Input":
        shapes = layer.message.input.shape
        return shape_told(layer.place, list(shapes[0].dim)) if shapes else nothing_told()
    if layer.kind == "MemoryData":
        memory = layer.message.memory_data
        return shape_told(layer.place, [1, memory.channels, memory.height, memory.width])
    number = unknown_field(layer.message.transform)
    if number is not None:
        why = f"its transform_param has field {number}, which BVLC Caffe does not know"
        return replace(_AUTHORS, because="its data layer is not understood", missing=("mean", why))
    facts, mean_values = _transformation(layer)
    if not facts and not mean_values:
        return replace(_AUTHORS, because="its data layer does not tell")
    told = replace(_TOOLS, because="its data layer does not tell", size=facts.get("crop_size") or None)
    scale = facts.get("scale", 1.0)
    if not 0 < scale < float("inf"):
        raise layer.wrong("scale must be above 0", scale)
    means = mean_values * 3 if len(mean_values) < 2 else mean_values
    if len(means) not in (0, 3):
        raise layer.wrong("mean_value must be one number or three", len(means))
    blue, green, red = means or (0.0, 0.0, 0.0)
    told = replace(told, std=(1 / scale,) * 3, mean=(red, green, blue))
    if "mean_file" in facts:
        told = replace(told, mean=None, missing=("mean", "its mean_file is not part of the file"))
    return _image_data(layer, told, facts)


def _transformation(layer: Layer) -> tuple[dict[str, Any], list[float]]:
    """The fields of a data layer's transformation that are there, and its means in its order of colours."""
    transform = layer.message.transform
    names = ("scale", "crop_size", "mean_file", "force_gray")
    facts = {name: getattr(transform, name) for name in names if transform.HasField(name)}
    old = getattr(layer.message, _OLD[layer.kind]) if layer.kind in _OLD else None
    if old is not None:
        facts |= {
            name: getattr(old, name) for name in ("scale", "crop_size", "mean_file") if old.HasField(name)
        }
    return facts, list(transform.mean_value)


def _image_data(layer: Layer, told: Told, facts: dict[str, Any]) -> Told:
    """`told` with what a layer that reads files of pictures says of their size and colours."""
    gray = facts.get("force_gray", False)
    if layer.kind == "ImageData":
        image = layer.message.image_data
        gray = gray or not value(image, "is_color", True)
        if image.new_height or image.new_width:
            if image.new_height != image.new_width:
                found = f"{image.new_height} and {image.new_width}"
                raise layer.wrong("new_height and new_width must be the same", found)
            told = replace(told, resize=image.new_height, keep_aspect=False)
    if gray:
        raise layer.wrong("pictures must have colours", "gray")
    return told
