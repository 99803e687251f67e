"""`fireflow evaluate`: accuracy on labelled images."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

import numpy as np

from fireflow.host.cli import arguments
from fireflow.host.cli.output import aside, print_json, progress, remark, table, tell_left_out
from fireflow.host.scores import ranks
from fireflow.host.unsaid import needed
from fireflow.hw.errors import InputError
from fireflow.hw.files import stem_of
from fireflow.hw.labels import read_labels
from fireflow.hw.preprocessing import Preprocessing
from fireflow.hw.remarks import Notes
from fireflow.pipeline.engines import engine
from fireflow.pipeline.inputs import BUNDLE, QONNX, find_model, kind_of

if TYPE_CHECKING:
    from fireflow.hw.types import Array, Int64Array
    from fireflow.quant.data import ImageSet
    from fireflow.quant.networks import Network

_Score = Callable[["Array"], "Array"]
_FAST, _INTERPRETER, _BREVITAS, _TORCH = "fast", "interpreter", "brevitas", "torch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument(
        "model", metavar="MODEL", help="a bundle, a .fireq or QONNX file, float weights or a name"
    )
    parser.add_argument(
        "--data", type=arguments.path, required=True, help="labelled images: a folder or a zip"
    )
    parser.add_argument("--limit", type=arguments.positive, metavar="N", help="of the images, spread evenly")
    parser.add_argument(
        "--engine",
        choices=(_FAST, _INTERPRETER, _BREVITAS),
        help="of a quantized model: the fast simulator by default; float networks run in torch",
    )
    arguments.weights_source(parser)
    arguments.labels(parser)
    arguments.speed(parser)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Prints top-1, top-5 and the time per image."""
    from fireflow.quant.data import open_images

    path = find_model(args.model)
    images = open_images(args.data)
    if args.limit is not None and args.limit < len(images):
        images = images.select(np.linspace(0, len(images) - 1, args.limit).round().astype(int).tolist())
    notes = Notes()
    score, preprocessing, classes, labels, used = _scorer(args, path, notes)
    if args.labels is not None:
        labels = read_labels(args.labels, classes)
    match = images.match(classes, labels)
    if match.assumed_imagenet:
        notes.imagenet(args.model)
    facts = {"classes": str(match), **measure(score, preprocessing, images, classes, args.batch, labels)}
    notes.tell(remark)
    facts = {"model": args.model, "data": args.data.name, "engine": used, **facts}
    for name, reason in images.damaged:
        print(f"skipped {name}: {reason}", file=sys.stderr)
    tell_left_out(images.left_out)
    if args.json:
        print_json(facts)
        return 0
    rows = [("top-1", f"{facts['top1']:.2f} %"), ("top-5", f"{facts['top5']:.2f} %")]
    rows += [("classes", facts["classes"])]
    rows += [("images", str(facts["images"])), ("damaged", str(len(facts["damaged"]))), ("engine", used)]
    print(table(("measure", "value"), [*rows, ("ms per image", f"{facts['ms_per_image']:.2f}")]))
    return 0


def measure(
    score: _Score,
    preprocessing: Preprocessing,
    images: ImageSet,
    classes: int,
    batch: int,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """Accuracy in percent, and how long the scores took; holds one batch of pictures at a time.

    Args:
        score: gives the scores of a batch.
        preprocessing: what it wants of pictures.
        images: with labels.
        classes: of the network.
        batch: how many pictures are held.
        names: of the network's classes, or empty.

    Raises:
        InputError: no labels, labels of other classes, or no picture that can be decoded.
    """
    labels = images.labels_among(classes, names)
    top1 = top5 = count = 0
    seconds = 0.0
    batches = _decoded(images, preprocessing, batch)
    for positions, pixels in progress(batches, "evaluating", -(-len(images) // batch)):
        started = time.perf_counter()
        scores = score(pixels)
        seconds += time.perf_counter() - started
        rank = ranks(scores, labels[positions])
        top1, top5 = top1 + int((rank < 1).sum()), top5 + int((rank < 5).sum())
        count += len(positions)
    if count == 0:
        name, reason = images.damaged[0]
        raise InputError(
            f"{images.source.place}: at least one picture must be whole; {name} is not ({reason})"
        )
    return {
        "top1": round(100 * top1 / count, 3),
        "top5": round(100 * top5 / count, 3),
        "images": count,
        "damaged": [name for name, _reason in images.damaged],
        "left_out": images.left_out,
        "ms_per_image": round(1000 * seconds / count, 3),
    }


def _decoded(
    images: ImageSet, preprocessing: Preprocessing, batch: int
) -> Iterator[tuple[Int64Array, Array]]:
    """(positions, uint8 (N, S, S, 3)) of the pictures that can be decoded, a batch at a time."""
    from fireflow.quant.data import DamagedImage

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
                (position, picture) for position, picture in zip(positions, pixels) if picture is not None
            ]
            if good:
                yield np.array([position for position, _ in good]), np.stack([picture for _, picture in good])


def _scorer(
    args: argparse.Namespace, path: Path, notes: Notes
) -> tuple[_Score, Preprocessing, int, Sequence[str], str]:
    """What computes scores, what it wants of pictures, the number and names of its classes, and its own name."""
    kind = kind_of(path)
    wanted, pictures = args.engine, arguments.picture_options(args)
    if kind not in (BUNDLE, QONNX):
        from fireflow.quant.build import load_network

        model = load_network(path, pictures, notes.add, args.weights_key)
        network = model.network
        if network.policy is None and wanted is not None:
            raise InputError(
                f"{path}: a float network runs in torch, not in the engine {wanted!r}; leave it out"
            )
        if network.policy is None or wanted == _BREVITAS:
            name = _TORCH if network.policy is None else _BREVITAS
            classes = network.spec.num_classes
            return _torch(network, args.threads), model.preprocessing, classes, model.labels, name
    from fireflow.pipeline.lowering import load_bundle, lower_model

    if wanted == _BREVITAS:
        raise InputError(f"{path}: the engine brevitas runs .fireq files, not {path.name}; choose fast")
    if kind in (BUNDLE, QONNX):
        said = [option for option in pictures.said() if option != "--preprocessing"]
        said += ["--weights-key"] if args.weights_key is not None else []
        if said:
            raise InputError(
                f"{path}: {said[0]} is for weights and .fireq files, not for {path.name}; give a whole record with "
                "--preprocessing FILE.json where it says none itself, or leave it out"
            )
        bundle = load_bundle(path, preprocessing=args.preprocessing, say=aside)
    else:
        bundle = lower_model(model, name=stem_of(path))
    preprocessing = needed(bundle, path)
    used = wanted or _FAST
    score = engine(bundle, used, args.threads, args.batch)
    return score, preprocessing, bundle.graph.output_type.shape[-1], bundle.manifest.labels, used


def _torch(network: Network, threads: int) -> _Score:
    import torch

    torch.set_num_threads(threads)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def score(images: Array) -> Array:
        with torch.inference_mode():
            pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
            result: Array = network(pixels).numpy()
        return result

    return score
