"""The arguments of each kind of `fireflow bench`."""

from __future__ import annotations

import argparse
from pathlib import Path

from fireflow.host.cli import arguments
from fireflow.host.cli.arguments import BUNDLE_HELP, MODEL_HELP


def simulator(parser: argparse.ArgumentParser) -> None:
    """The arguments of `bench simulator`."""
    _model(parser)
    parser.add_argument(
        "--images", type=arguments.positive, default=32, metavar="N", help="of fast engines, a round"
    )
    parser.add_argument(
        "--rounds", type=arguments.positive, default=5, metavar="N", help="through all engines"
    )
    arguments.json_output(parser)


def driver(parser: argparse.ArgumentParser) -> None:
    """The arguments of `bench driver`."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=BUNDLE_HELP)
    parser.add_argument("--frames", type=arguments.positive, default=300, metavar="N", help="of each row")
    _times(parser)
    parser.add_argument(
        "--pynq-python",
        type=Path,
        metavar="PYTHON",
        help="a Python with pynq 4 and finn-plus-driver, to compare",
    )
    arguments.json_output(parser)


def serve(parser: argparse.ArgumentParser) -> None:
    """The arguments of `bench serve`."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=BUNDLE_HELP)
    parser.add_argument("--clients", type=arguments.positive, default=200, metavar="N", help="at once")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="of each row")
    parser.add_argument(
        "--queue", type=arguments.positive, default=256, metavar="N", help="requests held at once; 503 beyond"
    )
    _times(parser)
    arguments.json_output(parser)


def training(parser: argparse.ArgumentParser) -> None:
    """The arguments of `bench training`."""
    _model(parser)
    parser.add_argument("--batch-size", type=arguments.positive, default=32, metavar="N")
    parser.add_argument(
        "--rounds", type=arguments.positive, default=5, metavar="N", help="a step of each way"
    )
    parser.add_argument("--threads", type=arguments.positive, default=1, metavar="N", help="on a CPU")
    arguments.precision(parser, default="bf16-mixed")
    arguments.accelerator(parser)
    arguments.json_output(parser)


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help=f"{MODEL_HELP}; by default the shipped 1000-class w4a4 network",
    )


def _times(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--interval-ms", type=float, default=10.0, metavar="MS", help="of the accelerator")
    parser.add_argument("--latency-ms", type=float, default=30.0, metavar="MS", help="of the accelerator")
