"""The way of a model from Brevitas over QONNX and FINN to a bundle: what several commands need of it."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from fireflow.host.cli.output import aside, tell_left_out
from fireflow.host.unsaid import Unsaid, completed
from fireflow.hw.bundle import Bundle, Golden, Manifest
from fireflow.hw.card import new_card, source_record, tool_versions
from fireflow.hw.errors import InputError
from fireflow.hw.files import stem_of
from fireflow.hw.npz import map_npy
from fireflow.hw.preprocessing import Preprocessing
from fireflow.pipeline.inputs import BUNDLE, FIREQ, QONNX, kind_of

if TYPE_CHECKING:
    from fireflow.hw.types import Array
    from fireflow.quant.model_file import Model

_METADATA = "fireflow"
NOTHING = Unsaid()


def write_qonnx(model: Model, path: Path) -> None:
    """Writes a quantized model as QONNX, with labels, preprocessing and card in its metadata.

    Raises:
        InputError: the model is float.
    """
    import onnx

    from fireflow.hw.files import atomic_file
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


def lower_qonnx(
    path: Path,
    manifest: Manifest,
    images: Array | None = None,
    name: str | None = None,
    record: Preprocessing | None = None,
) -> Bundle:
    """Lowers a QONNX file; golden vectors are of `images` and of a synthetic one.

    Args:
        path: the file.
        manifest: for the bundle.
        images: uint8 (N, H, W, C).
        name: of the network; the file's by default.
        record: what the file's input expects of a pixel, where it is not the pixel itself.

    Raises:
        InputError: the file breaks a rule of `hw.finn.lowering`, or the images do not fit.
    """
    from fireflow.hw.finn.convert import to_graph
    from fireflow.hw.finn.lowering import lower

    graph = to_graph(lower(path, record), name or stem_of(path))
    pictures = synthetic_images(1, graph.input_type.shape)
    if images is not None:
        pictures = np.concatenate([pictures, graph.check_images(images)])
    return Bundle(graph, manifest, Golden.record(graph, pictures))


def said_of(path: Path, said: Unsaid) -> tuple[Manifest, Unsaid]:
    """What a QONNX file says itself, and what has to be said of it: by option, or by files beside it.

    Raises:
        InputError: an option for what the file says itself.
    """
    manifest = qonnx_manifest(path)
    said.refuse_said(path, manifest)
    if manifest == Manifest():
        said = said.beside(path, aside)
    record = said.record()
    if record is None and manifest.preprocessing is None:
        aside(f"{path.name}: does not say what its input is; whole pixels 0 to 255 are assumed")
    return replace(manifest, preprocessing=manifest.preprocessing or record), said


def lower_file(path: Path, said: Unsaid, pictures: Path | None = None, count: int = 1) -> Bundle:
    """The bundle that a QONNX file is lowered to, complete with what is said of it.

    Raises:
        InputError: the file, what is said of it, or the pictures break a rule.
    """
    manifest, said = said_of(path, said)
    images = None if pictures is None else real_images(pictures, manifest.preprocessing, count)
    return said.labelled(lower_qonnx(path, manifest, images, record=said.record()))


def lower_model(model: Model, images: Array | None = None, name: str = "network") -> Bundle:
    """Exports a quantized model to a temporary file and lowers that."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.qonnx.onnx"
        write_qonnx(model, path)
        return lower_qonnx(path, qonnx_manifest(path), images)


def load_bundle(path: Path, said: Unsaid = NOTHING) -> Bundle:
    """A bundle, or the one that a .fireq or QONNX file is lowered to, with what is said of it.

    Raises:
        InputError: something else, or a file that breaks a rule.
    """
    kind = kind_of(path)
    if kind == FIREQ:
        from fireflow.quant.model_file import load_model

        return lower_model(load_model(path), name=stem_of(path))
    if kind == QONNX:
        return lower_file(path, said)
    if kind != BUNDLE:
        raise InputError(f"{path}: must be a .fireq, QONNX or .fire file, not {path.name}; name one")
    return completed(Bundle.load(path), path, said)


def bundle_manifest(manifest: Manifest, source: Path) -> Manifest:
    """The manifest of a bundle lowered from `source`: a card where there was none, and today's tools."""
    card: Mapping[str, Any] = manifest.card or new_card(stem_of(source), "fireflow lower")
    card = {**card, "lowered_from": source_record(source)}
    return Manifest(manifest.preprocessing, manifest.labels, card, tool_versions())


def real_images(path: Path, preprocessing: Preprocessing | None, limit: int) -> Array:
    """The first pictures of a folder, zip or file, as a network wants them: uint8 (N, H, W, C).

    A .npy file holds inputs as they are.

    Raises:
        InputError: no picture there can be decoded, or the network does not say what it wants.
    """
    from fireflow.quant.data import open_images

    if path.suffix.lower() == ".npy":
        return read_arrays(path)[:limit]
    if preprocessing is None:
        raise InputError(
            f"{path}: the model does not say how pictures are prepared; say it with --preprocessing NAME or FILE.json, "
            "or give arrays of the input's shape (.npy)"
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


def read_arrays(path: Path) -> Array:
    """Inputs in a .npy file, one or several: uint8 (N, H, W, C); their shape is checked by who takes them."""
    try:
        images = map_npy(path)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: must hold an array of inputs ({error}); save it with numpy.save") from None
    return images[np.newaxis] if images.ndim == 3 else images


def synthetic_images(count: int, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Pictures with large and small structure: uint8 (count, H, W, C), the same on every machine."""
    random = np.random.default_rng(seed)
    height, width, channels = shape
    coarse = random.integers(0, 256, (count, 4, 4, channels))
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    noise = random.integers(-32, 33, (count, *shape))
    pixels: Array = np.clip(coarse[:, rows][:, :, columns] + noise, 0, 255).astype(np.uint8)
    return pixels
