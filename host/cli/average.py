"""`fireflow average`: one float network from several runs of the same start."""

from __future__ import annotations

import argparse

from fireflow.host.cli import arguments
from fireflow.host.cli.output import print_model, remark


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument(
        "networks",
        metavar="MODEL[=SHARE]",
        nargs="+",
        help="float networks that `fireflow train` wrote, and their shares of the mean (1 by default)",
    )
    arguments.output(parser, "the mean, NAME.fireq")
    arguments.force(parser)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Averages and writes the network."""
    from fireflow import average

    networks = [arguments.split_share(text) for text in args.networks]
    made = average(networks, output=args.output, force=args.force, say=remark)
    print_model(args.output, made.card, f"the mean of {len(networks)} networks", args.json)
    return 0
