"""The accuracy of weights, a model or a bundle on labelled images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fireflow.host.scores import ranks
from fireflow.host.unsaid import Unsaid, completed, needed
from fireflow.hw import given
from fireflow.hw.bundle import Bundle
from fireflow.hw.classes import ClassMatch
from fireflow.hw.errors import InputError
from fireflow.hw.files import stem_of
from fireflow.hw.labels import read_labels
from fireflow.hw.picture_options import PictureOptions, Pictures, picture_options
from fireflow.hw.preprocessing import Preprocessing
from fireflow.hw.remarks import Notes, Progress, Say, unheard
from fireflow.pipeline.engines import FAST, INTERPRETER
from fireflow.pipeline.engines import engine as engine_of
from fireflow.pipeline.inputs import BUNDLE, QONNX, find_model, kind_of
from fireflow.pipeline.lowering import load_bundle, lower_model
from fireflow.pipeline.networks import network_of
from fireflow.quant.data import DamagedImage, Data, ImageSet, opened

if TYPE_CHECKING:
    from torch import nn

    from fireflow.hw.types import Array, Int64Array
    from fireflow.quant.model_file import Model

BREVITAS, TORCH = "brevitas", "torch"
ENGINES = (FAST, INTERPRETER, BREVITAS)
Score = Callable[["Array"], "Array"]
"""uint8 (N, S, S, 3) -> scores (N, classes)."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well a network tells classes apart.

    Args:
        top1: pictures whose best class is the right one, in percent.
        top5: pictures whose right class is among the five best, in percent.
        images: pictures that were measured.
        damaged: (name, what is wrong) of the pictures that could not be decoded.
        left_out: how many files of the data are no pictures of it, by kind.
        ms_per_image: time of the scores, in milliseconds.
        classes: how the classes of the data were found among the network's.
        engine: what computed the scores: fast, interpreter, brevitas or torch.
        notes: what was taken for granted of weights and classes.

    Raises:
        nothing; `evaluate` makes it.
    """

    top1: float
    top5: float
    images: int
    damaged: tuple[tuple[str, str], ...]
    left_out: Mapping[str, int]
    ms_per_image: float
    classes: str
    engine: str
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The facts for scripts, as `fireflow evaluate --json` prints them; of damaged pictures the names."""
        return {
            "engine": self.engine,
            "classes": self.classes,
            "top1": self.top1,
            "top5": self.top5,
            "images": self.images,
            "damaged": [name for name, _reason in self.damaged],
            "left_out": dict(self.left_out),
            "ms_per_image": self.ms_per_image,
        }


@dataclass(frozen=True, slots=True)
class _Scorer:
    """What computes scores, what it wants of pictures, how many classes it has, their names, and its own name."""

    score: Score
    preprocessing: Preprocessing
    classes: int
    labels: Sequence[str]
    engine: str


def evaluate(
    model: str | Path | Model | Bundle,
    data: Data,
    *,
    limit: int | None = None,
    engine: str | None = None,
    preprocessing: Pictures = None,
    weights_key: str | None = None,
    labels: str | Path | None = None,
    batch: int = 32,
    threads: int = 1,
    say: Say = unheard,
    progress: Progress | None = None,
) -> Accuracy:
    """The accuracy of a network on labelled images.

    Args:
        model: float weights, a .fireq or QONNX file, a bundle's folder, the name of a model that comes with fireflow,
            or a `Model` or `Bundle`.
        data: a folder or zip of pictures in class folders or with a labels.csv, or an `ImageSet`.
        limit: how many of the pictures to take, spread evenly; all by default.
        engine: of a quantized network: `fast` (default), `interpreter` or `brevitas`, which agree in every integer;
            a float network runs in torch.
        preprocessing: what the network expects of pictures, where its file does not tell: `caffe`, `torchvision`, a
            JSON file, a record, or for weights single fields of it as `PictureOptions`.
        weights_key: which network of a checkpoint that holds several.
        labels: a file with the names of the network's classes, instead of its own if it has any, or `imagenet`.
        batch: pictures held at once.
        threads: that compute.
        say: told what is assumed of a QONNX file or lies beside it.
        progress: told how many batches are done.

    Raises:
        InputError: no labels, classes that the network does not have, no picture that can be decoded, or a model that
            cannot be run so.
    """
    path = find_model(model) if isinstance(model, (str, Path)) else Path("model")
    batch, threads = given.whole("batch", batch), given.whole("threads", threads)
    limit = None if limit is None else given.whole("limit", limit)
    images = opened(data)
    if limit is not None and limit < len(images):
        images = images.select(np.linspace(0, len(images) - 1, limit).round().astype(int).tolist())
    notes = Notes()
    source = path if isinstance(model, (str, Path)) else model
    pictures = picture_options(preprocessing)
    network: Model | Bundle
    if isinstance(source, Bundle) or (isinstance(source, Path) and kind_of(source) in (BUNDLE, QONNX)):
        network = _bundle(path, source, engine, pictures, weights_key, say)
    else:
        network = network_of(source, pictures, weights_key, notes.add)
    scorer = _scorer(path, network, engine, threads, batch)
    names = scorer.labels if labels is None else read_labels(str(labels), scorer.classes)
    match = images.match(scorer.classes, names)
    if match.assumed_imagenet:
        notes.imagenet(model if isinstance(model, (str, Path)) else "the network")
    measured = _measured(scorer, match, images, batch, progress)
    return replace(measured, notes=notes.lines)


def _measured(
    scorer: _Scorer, match: ClassMatch, images: ImageSet, batch: int, progress: Progress | None
) -> Accuracy:
    """Scores of all pictures, one batch of them in memory at a time."""
    labels = np.array(match.rows, dtype=np.int64)[np.asarray(images.labels, dtype=np.int64)]
    top1 = top5 = count = 0
    seconds = 0.0
    tell = progress or (lambda _done, _of: None)
    total = -(-len(images) // batch)
    tell(0, total)
    for number, (positions, pixels) in enumerate(_decoded(images, scorer.preprocessing, batch), start=1):
        started = time.perf_counter()
        scores = scorer.score(pixels)
        seconds += time.perf_counter() - started
        rank = ranks(scores, labels[positions])
        top1, top5 = top1 + int((rank < 1).sum()), top5 + int((rank < 5).sum())
        count += len(positions)
        tell(number, total)
    if count == 0:
        name, reason = images.damaged[0]
        raise InputError(
            f"{images.source.place}: at least one picture must be whole; {name} is not ({reason})"
        )
    return Accuracy(
        top1=round(100 * top1 / count, 3),
        top5=round(100 * top5 / count, 3),
        images=count,
        damaged=tuple(images.damaged),
        left_out=images.left_out,
        ms_per_image=round(1000 * seconds / count, 3),
        classes=str(match),
        engine=scorer.engine,
    )


def _decoded(
    images: ImageSet, preprocessing: Preprocessing, batch: int
) -> Iterator[tuple[Int64Array, Array]]:
    """(positions, uint8 (N, S, S, 3)) of the pictures that can be decoded, a batch at a time."""

    def decode(position: int) -> Any:
        try:
            return preprocessing.prepare(images[position])
        except DamagedImage:  # the set remembers it
            return None

    with ThreadPoolExecutor(2) as pool:  # Pillow releases the lock of the interpreter
        for first in range(0, len(images), batch):
            positions = range(first, min(first + batch, len(images)))
            pixels = list(pool.map(decode, positions))
            good = [
                (at, picture) for at, picture in zip(positions, pixels, strict=True) if picture is not None
            ]
            if good:
                yield np.array([at for at, _ in good]), np.stack([picture for _, picture in good])


def _bundle(
    path: Path, source: Path | Bundle, engine: str | None, pictures: PictureOptions, key: str | None, say: Say
) -> Bundle:
    """A bundle, or what a QONNX file is lowered to, with what is said of it."""
    if engine == BREVITAS:
        raise InputError(f"{path}: the engine brevitas runs .fireq files, not {path.name}; choose fast")
    said = [option for option in pictures.said() if option != "--preprocessing"]
    said += ["--weights-key"] if key is not None else []
    if said:
        raise InputError(
            f"{path}: {said[0]} is for weights and .fireq files, not for {path.name}; give a whole record with "
            "--preprocessing FILE.json where it says none itself, or leave it out"
        )
    if isinstance(source, Bundle):
        return completed(source, Unsaid(pictures.preprocessing))
    return load_bundle(source, preprocessing=pictures.preprocessing, say=say)


def _scorer(place: Path, network: Model | Bundle, engine: str | None, threads: int, batch: int) -> _Scorer:
    """What computes the scores of a network; a quantized one is lowered for it."""
    if isinstance(network, Bundle):
        bundle = network
    else:
        policy, spec = network.network.policy, network.network.spec
        if policy is None and engine is not None:
            raise InputError(
                f"{place}: a float network runs in torch, not in the engine {engine!r}; leave it out"
            )
        if policy is None or engine == BREVITAS:
            name = TORCH if policy is None else BREVITAS
            score = _in_torch(network.network, threads)
            return _Scorer(score, network.preprocessing, spec.num_classes, network.labels, name)
        bundle = lower_model(network, name=stem_of(place))
    used = engine or FAST
    classes = bundle.graph.output_type.shape[-1]
    score = engine_of(bundle, used, threads, batch)
    return _Scorer(score, needed(bundle, place), classes, bundle.manifest.labels, used)


def _in_torch(network: nn.Module, threads: int) -> Score:
    """Scores by the network's own engine: uint8 (N, S, S, 3) -> float32 (N, classes)."""
    import torch

    torch.set_num_threads(threads)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def score(images: Array) -> Array:
        with torch.inference_mode():
            pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
            result: Array = network(pixels).numpy()
        return result

    return score
