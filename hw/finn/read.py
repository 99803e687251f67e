"""From a file to the model that the lowering takes: uint8 pixels in, operations it knows."""

from __future__ import annotations

from pathlib import Path

from qonnx.core.modelwrapper import ModelWrapper

from fireflow.hw.finn.load import load
from fireflow.hw.finn.pixels import absorb_pixels
from fireflow.hw.finn.simplify import simplify
from fireflow.hw.preprocessing import Preprocessing


def read_model(path: str | Path, record: Preprocessing | None = None) -> ModelWrapper:
    """The model in an ONNX file, with shapes, as a function of whole pixels 0..255.

    Args:
        path: the file.
        record: what its input expects of a pixel; without one, the pixel itself.

    Raises:
        InputError: `load`, `simplify` or `absorb_pixels` refuses the file.
    """
    model = simplify(load(path))
    absorb_pixels(model, record)
    return model
