"""`fireflow quantize`: integers from float weights, without training."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from fireflow.host.cli import arguments
from fireflow.host.cli.output import print_model, remark, tell_left_out
from fireflow.hw.card import new_card, source_record
from fireflow.hw.errors import InputError
from fireflow.hw.files import check_suffix
from fireflow.hw.overwrite import check_model
from fireflow.hw.remarks import Notes
from fireflow.pipeline.classes import network_labels


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
    check_model(check_suffix(args.output, ".fireq"), args.force, [args.weights], remark)
    from fireflow.quant.build import ASSUMED, calibration_batches, load_network, to_quantized
    from fireflow.quant.data import open_images
    from fireflow.quant.finalize import finalize
    from fireflow.quant.model_file import Model, save_model
    from fireflow.quant.precision import load_policy

    started = time.perf_counter()
    images = open_images(args.data)
    tell_left_out(images.left_out)
    notes = Notes()
    model = load_network(args.weights, arguments.picture_options(args), notes.add, args.weights_key)
    if model.network.policy is not None:
        raise InputError(
            f"{args.weights}: must be a float network, not {model.network.policy.name}; see train"
        )
    policy = load_policy(args.policy, model.network.spec.layers)
    labels = network_labels(args.labels, model, [images], notes)
    batches = calibration_batches(images, model.preprocessing, args.calibration_images)
    quantized = finalize(
        to_quantized(model, policy, batches, args.equalize, correct_biases=not args.no_bias_correction)
    )
    card = new_card(
        args.output.name[: -len(".fireq")],
        "fireflow quantize",
        policy=policy.model_dump(mode="json"),
        weights=source_record(args.weights),
        **{name: model.card[name] for name in (ASSUMED,) if name in model.card},
        recipe={"equalize": args.equalize, "bias_correction": not args.no_bias_correction},
        calibration={
            "data": args.data.name,
            "images": min(args.calibration_images, len(images)),
            "fingerprint": images.fingerprint(),
        },
        seconds=round(time.perf_counter() - started, 1),
    )
    notes.tell(remark)
    save_model(Model(quantized, model.preprocessing, labels, card), args.output)
    print_model(args.output, card, f"{policy.name}, {len(labels)} labels", args.json)
    return 0
