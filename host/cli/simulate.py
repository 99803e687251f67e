"""`fireflow simulate`: pictures through the integer network, as the hardware computes it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from fireflow.host.cli import arguments, unsaid
from fireflow.host.cli.inputs import BUNDLE_HELP
from fireflow.host.cli.output import cycles_bar, print_json, progress, table, tell_left_out
from fireflow.host.cli.unsaid import Unsaid, completed, pictures_or_arrays
from fireflow.host.pictures import find_pictures, prepared, read_picture
from fireflow.host.scores import Guess, best
from fireflow.hw.bundle import Bundle
from fireflow.hw.errors import InputError
from fireflow.pipeline.engines import RTL, Score, engine

if TYPE_CHECKING:
    from fireflow.hw.preprocessing import Preprocessing
    from fireflow.hw.rtl.simulate import RtlRun
    from fireflow.hw.types import Array, Int64Array


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=BUNDLE_HELP)
    parser.add_argument(
        "pictures", metavar="PICTURE", nargs="+", type=arguments.path, help="a picture or a folder of them"
    )
    parser.add_argument("--top", type=arguments.positive, default=5, metavar="K", help="classes to show")
    parser.add_argument(
        "--engine",
        choices=("fast", "interpreter", "rtl"),
        default="fast",
        help="equal in every bit; rtl runs the Verilog of a built bundle, in minutes",
    )
    unsaid.add_arguments(parser)
    arguments.speed(parser)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the best classes of every picture."""
    bundle = completed(Bundle.load(args.bundle), args.bundle, Unsaid.of(args))
    preprocessing = pictures_or_arrays(bundle, args.bundle)
    paths, left_out = find_pictures(args.pictures)
    for path in args.pictures:
        if not path.is_dir():  # one that was named must be good; in a folder, damaged ones are skipped
            read_picture(path, preprocessing)
    name = args.engine
    score = rtl_engine(bundle) if name == RTL else engine(bundle, name, args.threads, args.batch)
    return _simulate(args, bundle, preprocessing, paths, left_out, score)


def _simulate(
    args: argparse.Namespace,
    bundle: Bundle,
    preprocessing: Preprocessing,
    paths: Sequence[Path],
    left_out: Mapping[str, int],
    score: Score,
) -> int:
    damaged: list[tuple[str, str]] = []
    results: list[tuple[str, list[Guess]]] = []
    batches = prepared(paths, preprocessing, min(args.batch, len(paths)), damaged)
    for names, images in progress(batches, "simulating", -(-len(paths) // args.batch)):
        for name, row in zip(names, score(images)):
            guesses = best(row, bundle.manifest.labels, bundle.graph.output_scale, args.top)
            results.append((str(name), guesses))
    if not results:
        raise InputError(f"{damaged[0][1]} (and {len(damaged) - 1} others; no picture is whole)")
    _report(args, results, damaged, left_out)
    return 0


def rtl_engine(bundle: Bundle) -> Score:
    """The RTL, which tells cycles on stderr. Raises InputError as `RtlEngine` does."""
    from fireflow.hw.rtl.engine import RtlEngine

    hardware = bundle.require_hardware()

    def told(found: RtlRun) -> None:
        interval = f", {found.interval_cycles} from frame to frame" if found.interval_cycles else ""
        print(
            f"RTL: {found.latency_cycles} cycles to the first scores{interval}; "
            f"expected {hardware.latency_cycles} and {hardware.interval_cycles}",
            file=sys.stderr,
        )

    rtl = RtlEngine(bundle, simulated=told)

    def score(images: Array) -> Int64Array:
        with cycles_bar("simulating the RTL") as report:
            rtl.progress = report
            return rtl(images)

    return score


def _report(
    args: argparse.Namespace,
    results: list[tuple[str, list[Guess]]],
    damaged: list[tuple[str, str]],
    left_out: Mapping[str, int],
) -> None:
    for _name, reason in damaged:
        print(f"skipped {reason}", file=sys.stderr)
    tell_left_out(left_out)
    if args.json:
        images: list[dict[str, Any]] = [
            {"image": n, "top": [asdict(g) for g in guesses]} for n, guesses in results
        ]
        names = [name for name, _reason in damaged]
        print_json({"bundle": str(args.bundle), "images": images, "damaged": names, "left_out": left_out})
        return
    for name, guesses in results:
        print(name)
        print(table(("class", "score", "label"), [(g.index, f"{g.score:.3f}", g.label) for g in guesses]))
