"""`fireflow simulate`: pictures through the integer network, as the hardware computes it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping

from host.cli import arguments
from host.cli.inputs import BUNDLE_HELP
from host.cli.output import cycles_bar, print_json, progress, table, tell_left_out
from host.pictures import find_pictures, prepared, read_picture
from host.scores import Guess, best
from hw.bundle import RTL, Bundle
from hw.errors import InputError
from hw.simulator import Simulator

if TYPE_CHECKING:
    from hw.dataflow.hardware import Hardware
    from hw.types import Array, Int64Array


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
    paths, left_out = find_pictures(args.pictures)
    for path in args.pictures:
        if not path.is_dir():  # one that was named must be good; in a folder, damaged ones are skipped
            read_picture(path, preprocessing)
    if args.engine == "rtl":
        score = rtl_engine(bundle, args.bundle)
    else:
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
    _report(args, results, damaged, left_out)
    return 0


def engine(bundle: Bundle, name: str, threads: int, batch: int) -> Callable[[Array], Int64Array]:
    """What computes scores: uint8 (N, H, W, C) -> int64 (N, classes)."""
    if name == "interpreter":
        return bundle.graph.run
    return Simulator(bundle.graph, threads=threads, batch=batch).run


def rtl_engine(bundle: Bundle, folder: Path) -> Callable[[Array], Int64Array]:
    """Like `engine`, from the accelerator's RTL; tells cycles on stderr.

    Raises:
        InputError: the bundle was not built.
    """
    from hw.rtl.simulate import simulate
    from hw.rtl.stitch import Design

    hardware = built(bundle, folder)
    dataflow, design = hardware.dataflow(bundle.graph), Design.load(folder / RTL)

    def score(images: Array) -> Int64Array:
        with cycles_bar("simulating the RTL") as report:
            found = simulate(dataflow, design, images, progress=report)
        interval = f", {found.interval_cycles} from frame to frame" if found.interval_cycles else ""
        print(
            f"RTL: {found.latency_cycles} cycles to the first scores{interval}; "
            f"expected {hardware.latency_cycles} and {hardware.interval_cycles}",
            file=sys.stderr,
        )
        return found.scores

    return score


def built(bundle: Bundle, folder: Path) -> Hardware:
    """How a bundle was built. Raises InputError where it was not."""
    if bundle.hardware is None:
        raise InputError(f"{folder}: must be built for a board, and it is not; run `fireflow build` first")
    return bundle.hardware


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
