"""`fireflow report`: one HTML page about a bundle that was built for a board."""

from __future__ import annotations

import argparse
from pathlib import Path

from fireflow.host.cli.inputs import BUNDLE_HELP
from fireflow.host.cli.overwrite import check_page
from fireflow.hw.contents import BITSTREAM_RECORD


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=f"{BUNDLE_HELP} that was built")
    parser.add_argument("-o", "--output", type=Path, help="the page; NAME.html beside the bundle by default")


def run(args: argparse.Namespace) -> int:
    """Writes the page."""
    from fireflow.host.cli.simulate import built
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.files import atomic_file, parse_json
    from fireflow.hw.report import report_page

    bundle = Bundle.load(args.bundle)
    built(bundle, args.bundle)
    output = args.output or args.bundle.with_suffix(".html")
    check_page(output)
    data = bundle.read(args.bundle, BITSTREAM_RECORD)
    record = None if data is None else parse_json(data, args.bundle / BITSTREAM_RECORD)
    page = report_page(bundle, record)
    with atomic_file(output) as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(output)
    return 0
