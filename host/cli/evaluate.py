"""`fireflow evaluate`: accuracy on labelled images."""

from __future__ import annotations

import argparse
import sys

from fireflow.host.cli import arguments
from fireflow.host.cli.output import aside, bar, print_json, remark, tell_left_out
from fireflow.hw.table import table


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
        choices=("fast", "interpreter", "brevitas"),
        help="of a quantized model: the fast simulator by default; float networks run in torch",
    )
    arguments.weights_source(parser)
    arguments.labels(parser)
    arguments.speed(parser)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Prints top-1, top-5 and the time per image."""
    from fireflow import evaluate

    with bar("evaluating") as progress:
        found = evaluate(
            args.model,
            args.data,
            limit=args.limit,
            engine=args.engine,
            preprocessing=arguments.picture_options(args),
            weights_key=args.weights_key,
            labels=args.labels,
            batch=args.batch,
            threads=args.threads,
            say=aside,
            progress=progress,
        )
    for line in found.notes:
        remark(line)
    for name, reason in found.damaged:
        print(f"skipped {name}: {reason}", file=sys.stderr)
    tell_left_out(found.left_out)
    if args.json:
        print_json({"model": args.model, "data": args.data.name, **found.to_json()})
        return 0
    rows = [
        ("top-1", f"{found.top1:.2f} %"),
        ("top-5", f"{found.top5:.2f} %"),
        ("classes", found.classes),
        ("images", str(found.images)),
        ("damaged", str(len(found.damaged))),
        ("engine", found.engine),
        ("ms per image", f"{found.ms_per_image:.2f}"),
    ]
    print(table(("measure", "value"), rows))
    return 0
