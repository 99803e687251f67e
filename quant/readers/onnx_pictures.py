"""What an ONNX file's input shape and metadata tell of the pictures that it takes.

Source: ONNX's metadata of image models, github.com/onnx/onnx/blob/main/docs/MetadataProps.md: the order of colours
and the range of pixels.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from fireflow.hw.errors import InputError
from fireflow.hw.preprocessing import Preprocessing
from fireflow.quant.imported.input_record import Told, all_told
from fireflow.quant.imported.operations import shown

KEY = "preprocessing"
"""A metadata entry with the JSON of a `Preprocessing` tells all of it."""

_ORDER, _RANGE = "Image.BitmapPixelFormat", "Image.NominalPixelRange"
_IGNORED = ("Image.ColorSpaceGamma",)  # how pictures are stored, which no reader here changes
_ORDERS = {"Rgb8": "RGB", "Bgr8": "BGR"}
_RANGES = {"NominalRange_0_255": (0.0, 1.0), "Normalized_0_1": (0.0, 255.0), "Normalized_1_1": (127.5, 127.5)}
_TELLING = re.compile(r"mean|std|normal|pre_?proc|pixel|colou?r|\bbgr\b|\brgb\b|scale", re.IGNORECASE)


def metadata_told(path: Path, model: onnx.ModelProto, told: Told, side: int | None) -> Told:
    """`told` with what the metadata and the shape of the input tell.

    An entry that speaks of pictures and is not understood makes every guess unlikely.

    Raises:
        InputError: an entry of a known name with a value outside its rules.
    """
    told = replace(told, size=side)
    for entry in model.metadata_props:
        if entry.key == KEY:
            record = _record(path, entry.value)
            told = replace(record, size=side or record.size)
        elif entry.key == _ORDER:
            told = replace(told, source_order=_choice(path, entry, _ORDERS))
        elif entry.key == _RANGE:
            mean, std = _choice(path, entry, _RANGES)
            told = replace(told, mean=(mean,) * 3, std=(std,) * 3)
        elif entry.key not in _IGNORED and _TELLING.search(entry.key):
            told = told.without_guess(f"its metadata {shown(entry.key)!r} is not understood")
    return told


def _record(path: Path, text: str) -> Told:
    try:
        return all_told(Preprocessing.from_json(json.loads(text)))
    except (ValueError, InputError) as error:
        reason = shown(error, 200)
        raise InputError(
            f"{path}: metadata {KEY!r} must be a preprocessing record ({reason}); write it again"
        ) from None


def _choice(path: Path, entry: Any, choices: dict[str, Any]) -> Any:
    if entry.value not in choices:
        listed = ", ".join(choices)
        raise InputError(
            f"{path}: metadata {entry.key} must be {listed}, not {shown(entry.value)}; say it with --preprocessing"
        )
    return choices[entry.value]
