"""`fireflow report`: one HTML page about a bundle that was built for a board."""

from __future__ import annotations

import argparse
from pathlib import Path

from fireflow.host.cli.arguments import BUNDLE_HELP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=f"{BUNDLE_HELP} that was built")
    parser.add_argument("-o", "--output", type=Path, help="the page; NAME.html beside the bundle by default")


def run(args: argparse.Namespace) -> int:
    """Writes the page."""
    from fireflow import Bundle, report

    print(report(Bundle.load(args.bundle), args.output))
    return 0
