"""Arguments that several commands have."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from fireflow.host.unsaid import Unsaid
from fireflow.hw.errors import InputError
from fireflow.hw.picture_options import PictureOptions

if TYPE_CHECKING:
    from argparse import _ActionsContainer


PRECISIONS = ("32-true", "bf16-mixed")
ACCELERATORS = ("auto", "cpu", "cuda", "mps")
MODEL_HELP = "a .fireq file or the name of a model that comes with fireflow (see `fireflow models`)"
BUNDLE_HELP = "a NAME.fire folder"


def output(parser: argparse.ArgumentParser, text: str) -> None:
    """`-o OUTPUT`."""
    parser.add_argument("-o", "--output", type=Path, required=True, help=text)


def force(parser: argparse.ArgumentParser) -> None:
    """`--force`."""
    parser.add_argument(
        "--force", action="store_true", help="replace an output even if it took longer than a minute to make"
    )


def json_output(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")


def weights_source(parser: _ActionsContainer) -> None:
    """What a float weight file does not say itself; `picture_options` takes it together."""
    parser.add_argument(
        "--preprocessing",
        metavar="NAME",
        help="what the weights expect of pictures, where their file does not tell: caffe, torchvision or a JSON file",
    )
    parser.add_argument(
        "--weights-key",
        metavar="KEY",
        help="which network of a checkpoint that holds several, such as state_dict_ema; the error lists them",
    )
    parser.add_argument(
        "--mean",
        type=float,
        nargs=3,
        metavar=("R", "G", "B"),
        help="one field of it: what is subtracted from pixels of 0 to 255, in RGB order",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--std",
        type=float,
        nargs=3,
        metavar=("R", "G", "B"),
        help="what pixels less the mean are divided by, in RGB order",
    )
    size.add_argument(
        "--scale", type=float, metavar="S", help="or what they are multiplied by, as Caffe says it"
    )
    parser.add_argument(
        "--colour-order",
        "--color-order",
        choices=("RGB", "BGR"),
        help="of the channels that the weights expect",
    )
    aspect = parser.add_mutually_exclusive_group()
    aspect.add_argument(
        "--keep-aspect",
        action="store_true",
        default=None,
        help="bring the shorter side to --resize, keep the aspect",
    )
    aspect.add_argument(
        "--squash", dest="keep_aspect", action="store_false", help="or bring both sides to it"
    )
    parser.add_argument("--input-size", type=positive, metavar="PIXELS", help="side of the input, 32 to 256")
    parser.add_argument(
        "--resize",
        type=positive,
        metavar="PIXELS",
        help="side of the picture that the input is cut from the middle of; the input's takes all of it",
    )


def labels(parser: _ActionsContainer) -> None:
    """`--labels`."""
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="names of the network's classes, instead of its own if it has any: one a line, a .csv with class_index "
        "and class_name, a .json list, or `imagenet`",
    )


def unsaid(parser: _ActionsContainer) -> None:
    """`--preprocessing` and `--labels` for a network that does not say them; `said` takes them together."""
    parser.add_argument(
        "--preprocessing",
        metavar="P",
        help="how pictures are prepared, where the network does not say it: caffe, torchvision or a JSON file",
    )
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="names of the classes, where the network does not say them: one a line, a .csv or a .json list",
    )


def said(args: argparse.Namespace) -> Unsaid:
    """The arguments of `unsaid`, where a command has them."""
    return Unsaid(getattr(args, "preprocessing", None), getattr(args, "labels", None))


def picture_options(args: argparse.Namespace) -> PictureOptions:
    """What `weights_source` was given.

    Raises:
        InputError: options that contradict each other.
    """
    return PictureOptions(
        preprocessing=args.preprocessing,
        size=args.input_size,
        resize=args.resize,
        mean=None if args.mean is None else tuple(args.mean),
        std=None if args.std is None else tuple(args.std),
        scale=args.scale,
        source_order=args.colour_order,
        keep_aspect=args.keep_aspect,
    )


def calibration(parser: _ActionsContainer) -> None:
    """How many images set the scales."""
    parser.add_argument("--calibration-images", type=int, default=256, metavar="N", help="256 by default")


def precision(parser: _ActionsContainer, default: str | None) -> None:
    """The floats that training computes in."""
    parser.add_argument(
        "--precision", choices=PRECISIONS, default=default, help="of the floats, as Lightning Fabric names it"
    )


def accelerator(parser: _ActionsContainer) -> None:
    """What training computes on."""
    parser.add_argument("--accelerator", choices=ACCELERATORS, default="auto", help="auto by default")


def golden(parser: argparse.ArgumentParser, count: int) -> None:
    """Which pictures the golden vectors are of, `count` by default."""
    parser.add_argument(
        "--images", type=path, help="pictures for the golden vectors, besides a synthetic one"
    )
    parser.add_argument("--golden", type=positive, default=count, metavar="N", help="pictures to take")


def speed(parser: argparse.ArgumentParser) -> None:
    """Batch and threads of the simulator."""
    parser.add_argument("--batch", type=positive, default=32, metavar="N", help="images held at once")
    parser.add_argument("--threads", type=positive, default=1, metavar="N", help="threads that compute")


def path(text: str) -> Path:
    """A path that is not empty: "" is the current folder to Python, and a mistake in a script."""
    if not text.strip():
        raise argparse.ArgumentTypeError("must be a path, not nothing; write . for this folder")
    return Path(text)


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text!r}")
    return int(text)


def devices(text: str) -> int | str:
    """A number of devices, or "auto"."""
    return text if text == "auto" else positive(text)


def split_share(text: str) -> tuple[Path, float]:
    """PATH[=SHARE] in its parts; a path with "=" in it is taken whole if it is there.

    Raises:
        InputError: no path, or a share that is not above 0.
    """
    head, sign, tail = text.rpartition("=")
    if not (head if sign else text).strip():
        raise InputError(f"data: must be a path, not {text!r}; write . for this folder")
    if not sign or Path(text).exists():
        return Path(text), 1.0
    try:
        weight = float(tail)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise InputError(f"{text}: the share must be a number above 0, not {tail!r}; write {head}=2")
    return Path(head), weight
