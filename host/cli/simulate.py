"""`fireflow simulate`: pictures through the integer network, as the hardware computes it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from host.cli import arguments
from host.cli.inputs import BUNDLE_HELP
from host.cli.output import print_json, progress, table
from host.pictures import find_pictures, prepared, read_picture
from host.scores import Guess, best
from hw.bundle import Bundle
from hw.errors import InputError
from hw.simulator import Simulator

if TYPE_CHECKING:
    from hw.types import Array, Int64Array


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=BUNDLE_HELP)
    parser.add_argument(
        "pictures", metavar="PICTURE", nargs="+", type=Path, help="a picture or a folder of them"
    )
    parser.add_argument("--top", type=arguments.positive, default=5, metavar="K", help="classes to show")
    parser.add_argument(
        "--engine", choices=("fast", "interpreter"), default="fast", help="equal in every bit"
    )
    arguments.speed(parser)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the best classes of every picture."""
    bundle = Bundle.load(args.bundle)
    preprocessing = bundle.manifest.preprocessing
    if preprocessing is None:
        raise InputError(
            f"{args.bundle}: must say how pictures are prepared, and it does not; lower it again"
        )
    paths = find_pictures(args.pictures)
    for path in args.pictures:
        if not path.is_dir():  # one that was named must be good; in a folder, damaged ones are skipped
            read_picture(path, preprocessing)
    score = engine(bundle, args.engine, args.threads, args.batch)
    damaged: list[tuple[str, str]] = []
    results: list[tuple[str, list[Guess]]] = []
    batches = prepared(paths, preprocessing, min(args.batch, len(paths)), damaged)
    for names, images in progress(batches, "simulating", -(-len(paths) // args.batch)):
        for name, row in zip(names, score(images)):
            guesses = best(row, bundle.manifest.labels, bundle.graph.output_scale, args.top)
            results.append((str(name), guesses))
    if not results:
        raise InputError(f"{damaged[0][1]} (and {len(damaged) - 1} others; no picture is whole)")
    _report(args, results, damaged)
    return 0


def engine(bundle: Bundle, name: str, threads: int, batch: int) -> Callable[[Array], Int64Array]:
    """What computes scores: uint8 (N, H, W, C) -> int64 (N, classes)."""
    if name == "interpreter":
        return bundle.graph.run
    return Simulator(bundle.graph, threads=threads, batch=batch).run


def _report(
    args: argparse.Namespace, results: list[tuple[str, list[Guess]]], damaged: list[tuple[str, str]]
) -> None:
    for _name, reason in damaged:
        print(f"skipped {reason}", file=sys.stderr)
    if args.json:
        images: list[dict[str, Any]] = [
            {"image": n, "top": [asdict(g) for g in guesses]} for n, guesses in results
        ]
        print_json({"bundle": str(args.bundle), "images": images, "damaged": [n for n, _reason in damaged]})
        return
    for name, guesses in results:
        print(name)
        print(table(("class", "score", "label"), [(g.index, f"{g.score:.3f}", g.label) for g in guesses]))
