"""From a quantized model, over QONNX and FINN, to a bundle of integers."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fireflow.host.unsaid import Unsaid, completed
from fireflow.hw.bundle import Bundle, Golden, Manifest
from fireflow.hw.card import new_card, source_record, tool_versions
from fireflow.hw.errors import InputError
from fireflow.hw.files import stem_of
from fireflow.hw.remarks import Say, unheard
from fireflow.pipeline.images import Images, real_images, synthetic_images
from fireflow.pipeline.inputs import BUNDLE, FIREQ, QONNX, find_model, kind_of
from fireflow.pipeline.qonnx_files import qonnx_manifest, write_qonnx

if TYPE_CHECKING:
    from fireflow.hw.preprocessing import Preprocessing
    from fireflow.hw.types import Array
    from fireflow.quant.model_file import Model


def lower(
    model: str | Path | Model,
    *,
    images: Images | None = None,
    golden: int = 1,
    preprocessing: str | Path | Preprocessing | None = None,
    labels: str | Path | None = None,
    say: Say = unheard,
) -> Bundle:
    """Lowers a quantized network to integers, with golden vectors: a bundle for the simulator and for `build`.

    Args:
        model: a model, a .fireq or QONNX file, or a shipped model by name.
        images: pictures for the golden vectors, besides a synthetic one: a folder, zip or file, or uint8 (N, H, W, C)
            of the input's shape.
        golden: how many of them to take.
        preprocessing: how pictures are prepared, where the network does not say it: `caffe`, `torchvision`, a JSON
            file or the record itself.
        labels: a file of the classes' names, where the network does not say them.
        say: told what was taken for granted, or found beside the file.

    Returns:
        a bundle; its card names the file that it was lowered from.

    Raises:
        InputError: another kind of file, one that breaks a rule of the lowering, images that do not fit, or something
            said of a network that says it itself.
    """
    said = Unsaid(preprocessing, labels)
    if not isinstance(model, (str, Path)):
        return _of_model(model, said, images, golden, say, "model", "network")
    source = find_model(model)
    kind = kind_of(source)
    if kind == FIREQ:
        from fireflow.quant.model_file import load_model

        bundle = _of_model(load_model(source), said, images, golden, say, source, stem_of(source))
    elif kind == QONNX:
        bundle = lower_file(source, said, images, golden, say)
    else:
        raise unquantized(source)
    return replace(bundle, manifest=_with_source(bundle.manifest, source))


def unquantized(source: Path) -> InputError:
    """The error where a quantized model's file is wanted, and `source` is something else."""
    return InputError(
        f"{source}: must be a .fireq file or an ONNX file with quantizers (QONNX), not {source.name}; run "
        "`fireflow quantize`"
    )


def load_bundle(
    network: str | Path,
    *,
    preprocessing: str | Path | Preprocessing | None = None,
    labels: str | Path | None = None,
    say: Say = unheard,
) -> Bundle:
    """The bundle of a network in any quantized form: its own, or what its file is lowered to.

    Args:
        network: a bundle, a .fireq or QONNX file, or a shipped model by name.
        preprocessing, labels: what it does not say itself, as for `lower`.
        say: told what was taken for granted, or found beside the file.

    Raises:
        InputError: something else, a file that breaks a rule, or something said of a network that says it itself.
    """
    said, path = Unsaid(preprocessing, labels), find_model(network)
    kind = kind_of(path)
    if kind == FIREQ:
        from fireflow.quant.model_file import load_model

        return lower_model(load_model(path), name=stem_of(path))
    if kind == QONNX:
        return lower_file(path, said, say=say)
    if kind != BUNDLE:
        raise InputError(f"{path}: must be a .fireq, QONNX or .fire file, not {path.name}; name one")
    return completed(Bundle.load(path), said)


def lower_model(model: Model, images: Array | None = None, name: str = "network") -> Bundle:
    """Exports a quantized model to a temporary file and lowers that; images as for `lower_qonnx`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.qonnx.onnx"
        write_qonnx(model, path)
        return lower_qonnx(path, qonnx_manifest(path), images)


def lower_file(
    path: Path, said: Unsaid, images: Images | None = None, count: int = 1, say: Say = unheard
) -> Bundle:
    """The bundle that a QONNX file is lowered to, complete with what is said of it.

    Raises:
        InputError: the file, what is said of it, or the pictures break a rule.
    """
    manifest, said = said_of(path, said, say)
    pictures = None if images is None else real_images(images, manifest.preprocessing, count, say)
    return said.labelled(lower_qonnx(path, manifest, pictures, record=said.record()))


def said_of(path: Path, said: Unsaid, say: Say = unheard) -> tuple[Manifest, Unsaid]:
    """What a QONNX file says itself, and what has to be said of it: by option, or by files beside it.

    Raises:
        InputError: an option for what the file says itself.
    """
    manifest = qonnx_manifest(path)
    said.refuse_said(path, manifest)
    if manifest == Manifest():
        said = said.beside(path, say)
    record = said.record()
    if record is None and manifest.preprocessing is None:
        say(f"{path.name}: does not say what its input is; whole pixels 0 to 255 are assumed")
    return replace(manifest, preprocessing=manifest.preprocessing or record), said


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
    from fireflow.hw.finn import lowering
    from fireflow.hw.finn.convert import to_graph

    graph = to_graph(lowering.lower(path, record), name or stem_of(path))
    pictures = synthetic_images(1, graph.input_type.shape)
    if images is not None:
        pictures = np.concatenate([pictures, graph.check_images(images)])
    return Bundle(graph, manifest, Golden.record(graph, pictures))


def _of_model(
    model: Model, said: Unsaid, images: Images | None, golden: int, say: Say, place: object, name: str
) -> Bundle:
    said.refuse_said(place, Manifest(model.preprocessing, model.labels))
    pictures = None if images is None else real_images(images, model.preprocessing, golden, say)
    return said.labelled(lower_model(model, pictures, name))


def _with_source(manifest: Manifest, source: Path) -> Manifest:
    """The manifest with the file in its card, which is a new one where there was none, and today's tools."""
    card: Mapping[str, Any] = manifest.card or new_card(stem_of(source), "fireflow lower")
    card = {**card, "lowered_from": source_record(source)}
    return Manifest(manifest.preprocessing, manifest.labels, card, tool_versions())
