"""`fireflow simulate`: pictures through the integer network, as the hardware computes it."""

from __future__ import annotations

import argparse
import contextlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fireflow.host.cli import arguments
from fireflow.host.cli.output import aside, bar, cycle_bars, print_json, tell_left_out
from fireflow.hw.table import table

if TYPE_CHECKING:
    from fireflow.pipeline.simulating import Simulated


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=arguments.BUNDLE_HELP)
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
    arguments.unsaid(parser)
    arguments.speed(parser)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the best classes of every picture."""
    from fireflow import Bundle, simulate

    shown: Any = {"cycles": cycle_bars()} if args.engine == "rtl" else {"progress": bar("simulating")}
    with contextlib.ExitStack() as stack:
        found = simulate(
            Bundle.load(args.bundle),
            args.pictures,
            engine=args.engine,
            threads=args.threads,
            batch=args.batch,
            top=args.top,
            preprocessing=args.preprocessing,
            labels=args.labels,
            say=aside,
            **{name: stack.enter_context(shown_bar) for name, shown_bar in shown.items()},
        )
    _report(args, found)
    return 0


def _report(args: argparse.Namespace, found: Simulated) -> None:
    for _name, reason in found.damaged:
        print(f"skipped {reason}", file=sys.stderr)
    tell_left_out(found.left_out)
    if args.json:
        images = [
            {"image": str(one.picture), "top": [asdict(guess) for guess in one.top]} for one in found.pictures
        ]
        names = [name for name, _reason in found.damaged]
        left_out = dict(found.left_out)
        print_json({"bundle": str(args.bundle), "images": images, "damaged": names, "left_out": left_out})
        return
    for one in found.pictures:
        print(one.picture)
        print(table(("class", "score", "label"), [(g.index, f"{g.score:.3f}", g.label) for g in one.top]))
