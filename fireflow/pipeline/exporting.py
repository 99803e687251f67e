"""A quantized model as QONNX for FINN and others, with what it must compute."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fireflow.hw import given
from fireflow.hw.card import MODEL_CARD, check_card_file, write_card
from fireflow.hw.errors import InputError
from fireflow.hw.files import atomic_file, check_suffix, stem_of
from fireflow.hw.overwrite import foreign
from fireflow.hw.remarks import Say, unheard
from fireflow.hw.types import narrowest_dtype
from fireflow.pipeline.images import Images, real_images, synthetic_images
from fireflow.pipeline.inputs import FIREQ, find_model, kind_of
from fireflow.pipeline.qonnx_files import qonnx_manifest, write_qonnx
from fireflow.quant.model_file import Model, load_model
from fireflow.quant.trace import brevitas_trace

if TYPE_CHECKING:
    from fireflow.hw.types import Array

ENDING = ".qonnx.onnx"


@dataclass(frozen=True, slots=True)
class Export:
    """Files of an export, and what the golden vectors are of.

    Args:
        qonnx: the network.
        golden: inputs, activations and scores, NAME.golden.npz.
        card: the model card in Markdown.
        images: how many inputs there are.
        tensors: names of what the golden vectors hold of each.

    Raises:
        nothing; `export` makes it.
    """

    qonnx: Path
    golden: Path
    card: Path
    images: int
    tensors: tuple[str, ...]


def export(
    model: str | Path | Model,
    output: str | Path,
    *,
    images: Images | None = None,
    golden: int = 3,
    say: Say = unheard,
) -> Export:
    """Writes a quantized model as QONNX, golden vectors of what it must compute, and its card beside it.

    Golden vectors are the uint8 images (N, S, S, 3) under `image`, the integers of every quantized activation
    (N, H, W, C) under its name, and `scores` (N, classes), in the narrowest dtype that holds them, as Brevitas computes
    them.

    Args:
        model: a quantized .fireq file, the name of a model that comes with fireflow, or a `Model`.
        output: NAME.qonnx.onnx; NAME.golden.npz and MODEL_CARD.md go beside it. What an earlier export wrote there is
            replaced.
        images: pictures for the golden vectors, besides a synthetic one: a folder, zip or file, or uint8 (N, S, S, 3).
        golden: how many of them to take.
        say: told what of a folder or zip was left out.

    Raises:
        InputError: a network that is not quantized, no picture that can be decoded, or files of another origin where
            these shall be.
    """
    path = check_suffix(given.path("output", output), ENDING)
    vectors, card = path.with_name(stem_of(path) + ".golden.npz"), path.with_name(MODEL_CARD)
    check_export(path, vectors, card)
    opened = _quantized(find_model(model)) if isinstance(model, (str, Path)) else model
    size = opened.preprocessing.size
    pictures = synthetic_images(1, (size, size, 3))
    if images is not None:
        pictures = np.concatenate([pictures, real_images(images, opened.preprocessing, golden, say)])
    write_qonnx(opened, path)
    tensors = _write_golden(opened, pictures, vectors)
    write_card(opened.card, card)
    return Export(path, vectors, card, len(pictures), tensors)


def _quantized(source: Path) -> Model:
    if kind_of(source) != FIREQ:
        raise InputError(
            f"{source}: must be a quantized .fireq file, not {source.name}; run `fireflow quantize`"
        )
    return load_model(source)


def _write_golden(model: Model, images: Array, path: Path) -> tuple[str, ...]:
    """Writes images, quantized activations and scores as Brevitas computes them; gives the tensors' names."""
    trace = brevitas_trace(model.network, images).tensors
    kept = {n: a for n, a in trace.items() if n.endswith(".act") or n == "scores"}
    narrow = {n: a.astype(narrowest_dtype(int(a.min()), int(a.max()))) for n, a in kept.items()}
    with atomic_file(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, image=images, **narrow)
    return tuple(narrow)


def check_export(path: Path, golden: Path, card: Path) -> None:
    """That an export may be written: quick to make again, so whatever an earlier export wrote may go.

    Raises:
        InputError: a file of another origin is there.
    """
    if path.exists():
        try:
            ours = bool(qonnx_manifest(path).tools)
        except (InputError, OSError):
            ours = False
        if not ours:
            raise foreign(path, "an export of fireflow")
    if golden.exists():
        try:
            with zipfile.ZipFile(str(golden)) as archive:
                ours = {"image.npy", "scores.npy"} <= set(archive.namelist())
        except (OSError, zipfile.BadZipFile):
            ours = False
        if not ours:
            raise foreign(golden, "golden vectors of an export")
    check_card_file(card)
