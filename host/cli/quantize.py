"""`fireflow quantize`: integers from float weights, without training."""

from __future__ import annotations

import argparse
from pathlib import Path

from fireflow.host.cli import arguments
from fireflow.host.cli.output import bar, print_model, remark, tell_left_out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("weights", metavar="WEIGHTS", type=Path, help="float weights, or a .fireq file")
    arguments.output(parser, "the quantized model, NAME.fireq")
    parser.add_argument(
        "--policy", default="w6a6", help="w6a6, w4a4, w3a4, w2a4, wXaY[,LAYER=wXaY...] or a .json file"
    )
    parser.add_argument(
        "--data", type=arguments.path, required=True, help="calibration images: a folder or a zip"
    )
    arguments.calibration(parser)
    arguments.weights_source(parser)
    arguments.labels(parser)
    parser.add_argument("--equalize", action="store_true", help="bring channels to like ranges first")
    parser.add_argument("--no-bias-correction", action="store_true", help="leave the biases as they are")
    arguments.force(parser)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Quantizes and writes the model."""
    from fireflow import open_images, quantize

    images = open_images(args.data)
    with bar("decoding images") as progress:
        made = quantize(
            args.weights,
            images,
            output=args.output,
            policy=args.policy,
            calibration_images=args.calibration_images,
            preprocessing=arguments.picture_options(args),
            weights_key=args.weights_key,
            labels=args.labels,
            equalize=args.equalize,
            bias_correction=not args.no_bias_correction,
            force=args.force,
            say=remark,
            progress=progress,
        )
    tell_left_out(images.left_out)
    print_model(
        args.output, made.card, f"{made.card['policy']['name']}, {len(made.labels)} labels", args.json
    )
    return 0
