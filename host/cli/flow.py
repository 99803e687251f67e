"""The way of a model from Brevitas over QONNX and FINN to a bundle: what several commands need of it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from host.cli.card import new_card, source_record, tool_versions
from host.cli.inputs import BUNDLE, FIREQ, QONNX, kind_of, stem_of
from host.cli.output import tell_left_out
from hw.bundle import Bundle, Golden, Manifest
from hw.errors import InputError
from hw.preprocessing import Preprocessing

if TYPE_CHECKING:
    from hw.types import Array
    from quant.model_file import Model

_METADATA = "fireflow"


def write_qonnx(model: Model, path: Path) -> None:
    """Writes a quantized model as QONNX, with labels, preprocessing and card in its metadata.

    Raises:
        InputError: the model is float.
    """
    import onnx

    from hw.files import atomic_file
    from quant.export import export

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
    from hw.finn.qonnx_file import read_model

    proto = read_model(path).model
    text = next((prop.value for prop in proto.metadata_props if prop.key == _METADATA), None)
    if text is None:
        return Manifest()
    try:
        return Manifest.from_json(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: metadata must be as fireflow wrote it ({error}); export it again"
        ) from None


def lower_qonnx(
    path: Path, manifest: Manifest, images: Array | None = None, name: str | None = None
) -> Bundle:
    """Lowers a QONNX file; golden vectors are of `images` and of a synthetic one.

    Raises:
        InputError: the file breaks a rule of `hw.finn.lowering`, or the images do not fit.
    """
    from hw.finn.convert import to_graph
    from hw.finn.lowering import lower

    graph = to_graph(lower(path), name or stem_of(path))
    pictures = synthetic_images(1, graph.input_type.shape)
    if images is not None:
        pictures = np.concatenate([pictures, graph.check_images(images)])
    return Bundle(graph, manifest, Golden.record(graph, pictures))


def lower_model(model: Model, images: Array | None = None, name: str = "network") -> Bundle:
    """Exports a quantized model to a temporary file and lowers that."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.qonnx.onnx"
        write_qonnx(model, path)
        return lower_qonnx(path, qonnx_manifest(path), images)


def load_bundle(path: Path) -> Bundle:
    """A bundle, or the one that a .fireq or QONNX file is lowered to.

    Raises:
        InputError: something else, or a file that breaks a rule.
    """
    kind = kind_of(path)
    if kind == FIREQ:
        from quant.model_file import load_model

        return lower_model(load_model(path), name=stem_of(path))
    if kind == QONNX:
        return lower_qonnx(path, qonnx_manifest(path))
    if kind != BUNDLE:
        raise InputError(f"{path}: must be a .fireq, .qonnx.onnx or .fire file, not {path.name}; name one")
    return Bundle.load(path)


def bundle_manifest(manifest: Manifest, source: Path) -> Manifest:
    """The manifest of a bundle lowered from `source`: a card where there was none, and today's tools."""
    card: Mapping[str, Any] = manifest.card or new_card(stem_of(source), "fireflow lower")
    card = {**card, "lowered_from": source_record(source)}
    return Manifest(manifest.preprocessing, manifest.labels, card, tool_versions())


def real_images(path: Path, preprocessing: Preprocessing | None, limit: int) -> Array:
    """The first pictures of a folder, zip or file, as a network wants them: uint8 (N, S, S, 3).

    Raises:
        InputError: no picture there can be decoded, or the network does not say what it wants.
    """
    from quant.data import open_images

    if preprocessing is None:
        raise InputError(
            f"{path}: the model must have a preprocessing record for pictures; export it with fireflow"
        )
    opened = open_images(path)
    tell_left_out(opened.left_out)
    pictures = []
    for _position, picture in opened.images():
        pictures.append(preprocessing.prepare(picture))
        if len(pictures) == limit:
            break
    if not pictures:
        name, reason = opened.damaged[0]
        raise InputError(
            f"{path}: at least one picture must be whole, and {name} is not ({reason}); replace it"
        )
    return np.stack(pictures)


def synthetic_images(count: int, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Pictures with large and small structure: uint8 (count, H, W, C), the same on every machine."""
    random = np.random.default_rng(seed)
    height, width, channels = shape
    coarse = random.integers(0, 256, (count, 4, 4, channels))
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    noise = random.integers(-32, 33, (count, *shape))
    pixels: Array = np.clip(coarse[:, rows][:, :, columns] + noise, 0, 255).astype(np.uint8)
    return pixels
