"""Groups of arguments of `fireflow train`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fireflow.host.cli import arguments
from fireflow.hw.preprocessing import NAMED


def data_arguments(parser: argparse.ArgumentParser) -> None:
    """What is trained on."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        action="append",
        required=True,
        metavar="PATH[=SHARE]",
        help="images, and their share of each batch (1 by default); may be repeated",
    )
    data.add_argument(
        "--exclude", action="append", type=arguments.path, default=[], metavar="IMAGES",
        help="leave out pictures whose name is in this set: what is measured must not be trained on",
    )  # fmt: skip
    data.add_argument(
        "--decode-size", type=arguments.positive, metavar="PIXELS", help="8/7 of the input by default"
    )
    data.add_argument(
        "--crop-scale", type=float, nargs=2, metavar=("A", "B"), help="least and greatest area of crops"
    )
    arguments.calibration(data)


def network_arguments(parser: argparse.ArgumentParser) -> None:
    """What is trained, and from whom it learns."""
    network = parser.add_argument_group("network")
    network.add_argument("--policy", help="bit widths as for quantize, or `float`; by default as in START")
    network.add_argument(
        "--head",
        choices=("data", "keep", "new"),
        default="keep",
        help="`data`: keep only the classes of the first labelled data, found by wnid, name or number; "
        "`new`: learn them from nothing, under the names that the data has",
    )
    arguments.labels(network)
    network.add_argument(
        "--teacher",
        action="append",
        default=[],
        metavar="WEIGHTS[=PREPROCESSING]",
        help="float network to distil from, START by default, if float; may be repeated",
    )
    network.add_argument(
        "--onnx-teacher", action="append", type=Path, default=[], metavar="FILE",
        help="classifier of any kind to distil scores from as well: ONNX, RGB pixels of 0 to 255 in; may be repeated",
    )  # fmt: skip
    network.add_argument(
        "--equalize", action="store_true", help="bring channels to like ranges before quantizing"
    )
    arguments.weights_source(network)


def recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """How; the names are those of a `Recipe`'s settings, and `--epochs`."""
    recipe = parser.add_argument_group("recipe")
    length = recipe.add_mutually_exclusive_group()
    length.add_argument("--steps", type=arguments.positive, metavar="N")
    length.add_argument(
        "--epochs", type=float, metavar="E", help="as many steps as pass over all data E times"
    )
    recipe.add_argument("--batch-size", type=arguments.positive, metavar="N")
    recipe.add_argument(
        "--learning-rate", type=float, metavar="R", help="share of a tensor's own size a step"
    )
    recipe.add_argument(
        "--scale-learning-rate", type=float, metavar="R", help="the same for quantizers' scales"
    )
    recipe.add_argument(
        "--distillation", type=float, metavar="S", help="share of the loss, 0 to 1; the rest is labels"
    )
    recipe.add_argument("--temperature", type=float, metavar="T", help="of the distillation")
    recipe.add_argument(
        "--features", type=float, metavar="W", help="weight of the teacher's maps beside its scores"
    )
    recipe.add_argument(
        "--mixup", type=float, metavar="S", help="share of pictures blended with another, 0 to 1"
    )
    recipe.add_argument(
        "--crop-size",
        type=arguments.positive,
        metavar="PIXELS",
        help="side of the crops; the input's by default",
    )
    recipe.add_argument(
        "--first-size", type=arguments.positive, metavar="PIXELS", help="side of the first crops, if smaller"
    )
    recipe.add_argument(
        "--average", type=float, metavar="S", help="last share of the steps whose mean weights are the result"
    )
    recipe.add_argument(
        "--start-share", type=float, metavar="S", help="of the starting weights in a float network's result"
    )
    recipe.add_argument("--seed", type=int)
    arguments.precision(recipe, default=None)
    recipe.add_argument(
        "--compile", action="store_true", default=None, help="compile the network and its loss"
    )
    recipe.add_argument("--checkpoint-every", type=arguments.positive, metavar="STEPS")


def teacher(text: str) -> tuple[str, str] | str:
    """WEIGHTS[=PREPROCESSING] in its parts; teachers may see pictures in different ways."""
    head, sign, tail = text.rpartition("=")
    return (head, tail) if sign and (tail in NAMED or Path(tail).is_file()) else text


def recipe_settings(args: argparse.Namespace, names: Any) -> dict[str, Any]:
    """The settings of the recipe that are given."""
    given = {name: getattr(args, name, None) for name in names}
    return {name: value for name, value in given.items() if value is not None}
