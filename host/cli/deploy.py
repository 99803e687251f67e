"""`fireflow deploy`: a bundle and the host part to a board over SSH, checked there."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from fireflow import deploy
from fireflow.host.cli.arguments import BUNDLE_HELP
from fireflow.host.cli.output import bar
from fireflow.host.deployment import PYNQ_PYTHON
from fireflow.host.remote import ANSWER_S


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=BUNDLE_HELP)
    parser.add_argument("board", metavar="USER@BOARD", help="as ssh takes it")
    parser.add_argument(
        "--device", default="pynq", help="what the self test runs on: pynq (default) or virtual"
    )
    parser.add_argument("--wheel", type=Path, help="of fireflow; built from the sources by default")
    parser.add_argument(
        "--python", help=f"on the board; {PYNQ_PYTHON} by default, or python3 where that is missing"
    )
    parser.add_argument("--ssh", default="ssh", help="the program and its options, such as 'ssh -p 2222'")
    parser.add_argument(
        "--answer-s",
        type=float,
        default=ANSWER_S,
        metavar="S",
        help=f"seconds that the board may take for a short command, login included ({ANSWER_S:g})",
    )


def run(args: argparse.Namespace) -> int:
    """Copies what the board lacks, installs, runs the self test; fails if a score differs."""

    def copied(sent: int, files: int) -> None:
        print(f"{args.board}: {sent} of {files} files sent, all hashes checked")

    with bar("copying") as progress:
        found = deploy(
            args.bundle,
            args.board,
            device=args.device,
            wheel=args.wheel,
            python=args.python or None,
            ssh=shlex.split(args.ssh),
            answer_s=args.answer_s,
            progress=progress,
            copied=copied,
        )
    print(
        f"self test on {found.device}: {found.images} images, {found.differing} scores differ; "
        f"{found.fps:.1f} frames a second, clock {found.clock_mhz:g} MHz (asked {found.clock_asked_mhz:g})"
    )
    return int(not found.passed)
