"""QONNX files of quantized models: written with what Fireflow knows of a network, which it finds there again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from fireflow.hw.bundle import Manifest
from fireflow.hw.card import tool_versions
from fireflow.hw.errors import InputError
from fireflow.hw.files import atomic_file

if TYPE_CHECKING:
    from fireflow.quant.model_file import Model

_METADATA = "fireflow"


def write_qonnx(model: Model, path: Path) -> None:
    """Writes a quantized model as QONNX, with labels, preprocessing and card in its metadata.

    Raises:
        InputError: the model is float.
    """
    import onnx

    from fireflow.quant.export import export

    with atomic_file(path) as temporary:
        export(model.network, temporary)
        proto = onnx.load(str(temporary))
        manifest = Manifest(model.preprocessing, model.labels, model.card, tool_versions())
        onnx.helper.set_model_props(proto, {_METADATA: json.dumps(manifest.to_json())})
        onnx.save(proto, str(temporary))


def qonnx_manifest(path: Path) -> Manifest:
    """What `write_qonnx` put into a file's metadata; an empty manifest for a QONNX file from elsewhere.

    Raises:
        InputError: the file is missing or damaged.
    """
    from fireflow.hw.finn.load import load

    proto = load(path).model
    text = next((prop.value for prop in proto.metadata_props if prop.key == _METADATA), None)
    if text is None:
        return Manifest()
    try:
        return Manifest.from_json(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: metadata must be as fireflow wrote it ({error}); export it again"
        ) from None
