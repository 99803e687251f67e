"""Arguments that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _ActionsContainer


PRECISIONS = ("32-true", "bf16-mixed")
ACCELERATORS = ("auto", "cpu", "cuda", "mps")


def output(parser: argparse.ArgumentParser, text: str) -> None:
    """`-o OUTPUT`."""
    parser.add_argument("-o", "--output", type=Path, required=True, help=text)


def json_output(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")


def weights_source(parser: _ActionsContainer) -> None:
    """What a float weight file does not say itself."""
    parser.add_argument(
        "--preprocessing",
        metavar="NAME",
        help="what the weights expect of pictures, where their file does not tell: caffe, torchvision or a JSON file",
    )
    parser.add_argument("--input-size", type=int, metavar="PIXELS", help="side of the input, 32 to 256")
    parser.add_argument(
        "--resize",
        type=positive,
        metavar="PIXELS",
        help="side of the picture that the input is cut from the middle of; the input's takes all of it",
    )


def calibration(parser: _ActionsContainer) -> None:
    """How many images set the scales."""
    parser.add_argument("--calibration-images", type=int, default=256, metavar="N", help="256 by default")


def precision(parser: _ActionsContainer, default: str | None) -> None:
    """In what floats training computes."""
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
