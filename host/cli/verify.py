"""`fireflow verify`: every tensor of every stage on the same images, compared integer by integer."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from fireflow.host.cli import arguments
from fireflow.host.cli.output import aside, cycle_bars, print_json
from fireflow.hw.errors import InputError
from fireflow.pipeline.inputs import BUNDLE, find_model, kind_of

if TYPE_CHECKING:
    from fireflow.pipeline.verifying import RtlVerification


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a .fireq or QONNX file, or a shipped model by name; with --rtl a bundle that was built",
    )
    parser.add_argument(
        "--rtl",
        action="store_true",
        help="compare the RTL of a built bundle: every layer on its own, under random stalls, and the whole",
    )
    parser.add_argument(
        "--stalls", type=float, default=0.2, metavar="P", help="with --rtl: how often ports pause (0.2)"
    )
    parser.add_argument(
        "--images", type=arguments.path, help="pictures (folder, zip, file); otherwise synthetic ones"
    )
    parser.add_argument("--count", type=arguments.positive, default=2, metavar="N", help="images to take (2)")
    arguments.unsaid(parser)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the table; 1 if a value differs that may not."""
    from fireflow import verify

    options: dict[str, Any] = {
        "images": args.images,
        "count": args.count,
        "preprocessing": args.preprocessing,
        "labels": args.labels,
        "say": aside,
    }
    found = _rtl(args, options) if args.rtl else verify(args.model, **options)
    if args.json:
        print_json(found.to_json())
    else:
        print(found.render())
    return 0 if found.passed else 1


def _rtl(args: argparse.Namespace, options: dict[str, Any]) -> RtlVerification:
    """The verification of a built bundle's RTL; the bundle keeps the result."""
    from fireflow import Bundle, verify_rtl

    folder = find_model(args.model)
    if kind_of(folder) != BUNDLE:
        raise InputError(
            f"{folder}: must be a bundle for --rtl, not {folder.name}; run `fireflow build` first"
        )
    with cycle_bars() as progress:
        found = verify_rtl(Bundle.load(folder), stalls=args.stalls, progress=progress, **options)
    found.bundle.save_again()
    return found
