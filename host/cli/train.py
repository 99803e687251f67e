"""`fireflow train`: fine-tuning, in float or quantization-aware, with distillation."""

from __future__ import annotations

import argparse
import sys

from fireflow.host.cli import arguments, train_arguments
from fireflow.host.cli.output import print_model, remark, tell_left_out
from fireflow.host.cli.training_progress import training_progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument(
        "start",
        metavar="START",
        help="float weights, a .fireq file, a shipped model by name, or an architecture to train from nothing: "
        "squeezenet1_1 and so on",
    )
    arguments.output(
        parser,
        "a folder for model.fireq, MODEL_CARD.md, checkpoint, TensorBoard logs and what the run is made from",
    )
    parser.add_argument(
        "--restart", action="store_true", help="begin anew where a run is in the folder, and lose it"
    )
    arguments.force(parser)
    train_arguments.data_arguments(parser)
    train_arguments.network_arguments(parser)
    train_arguments.recipe_arguments(parser)
    device = parser.add_argument_group("devices")
    device.add_argument("--devices", type=arguments.devices, default="auto", help="how many, or auto")
    arguments.accelerator(device)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Trains, or goes on where a run into the same folder stopped."""
    from fireflow import Recipe, open_images, train
    from fireflow.quant.processes import is_first_process

    excluded = [open_images(path) for path in args.exclude]
    shares = [arguments.split_share(text) for text in args.data]
    data = [(open_images(path), share) for path, share in shares]
    told: list[int] = []
    with training_progress() as (decoded, trained):

        def report(step: int, steps: int, loss: float) -> None:
            if not told:
                tell_left_out(*(images.left_out for images, _share in data))
                for name, reason in (entry for images, _share in data for entry in images.damaged):
                    print(f"skipped {name}: {reason}", file=sys.stderr)
            told.append(step)
            trained(step, steps, loss)

        made = train(
            args.start,
            args.output,
            data,
            exclude=excluded,
            decode_size=args.decode_size,
            calibration_images=args.calibration_images,
            policy=args.policy,
            head=args.head,
            labels=args.labels,
            teacher=[train_arguments.teacher(text) for text in args.teacher],
            onnx_teacher=args.onnx_teacher,
            equalize=args.equalize,
            preprocessing=arguments.picture_options(args),
            weights_key=args.weights_key,
            recipe=train_arguments.recipe_settings(args, Recipe.model_fields),
            epochs=args.epochs,
            devices=args.devices,
            accelerator=args.accelerator,
            restart=args.restart,
            force=args.force,
            say=remark,
            progress=decoded,
            report=report,
        )
    if is_first_process():
        policy = made.card["policy"]
        text = policy if isinstance(policy, str) else policy["name"]
        print_model(args.output / "model.fireq", made.card, text, args.json)
    return 0
