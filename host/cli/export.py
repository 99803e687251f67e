"""`fireflow export`: QONNX for FINN and others, with what it must compute."""

from __future__ import annotations

import argparse

from fireflow.host.cli import arguments
from fireflow.host.cli.output import aside, print_json
from fireflow.hw.card import MODEL_CARD


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("model", metavar="MODEL", help=arguments.MODEL_HELP)
    arguments.output(parser, f"NAME.qonnx.onnx; NAME.golden.npz and {MODEL_CARD} go beside it")
    arguments.golden(parser, count=3)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the three files."""
    from fireflow import export

    made = export(args.model, args.output, images=args.images, golden=args.golden, say=aside)
    if args.json:
        files = [str(made.qonnx), str(made.golden), str(made.card)]
        print_json({"files": files, "images": made.images, "tensors": made.tensors})
    else:
        print(f"{made.qonnx}\n{made.golden}: {made.images} images, {len(made.tensors)} tensors\n{made.card}")
    return 0
