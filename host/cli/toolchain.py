"""`fireflow toolchain`: the open FPGA tools, installed without touching the system, or where they are."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fireflow.host.cli import arguments
from fireflow.host.cli.output import print_json
from fireflow.hw.table import table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    install = actions.add_parser("install", help="download the tools and unpack them into a folder")
    install.add_argument(
        "name",
        metavar="NAME",
        choices=("open",),
        help="open: Yosys, nextpnr and prjxray from Debian's packages, 1.1 GB; wants debootstrap, and root or fakeroot",
    )
    install.add_argument("--folder", type=Path, help="by default in $XDG_CACHE_HOME/fireflow/toolchains")
    where = actions.add_parser("where", help="which tools a build would use")
    arguments.json_output(where)


def run(args: argparse.Namespace) -> int:
    """Installs, or prints the tools."""
    from fireflow.hw.bitstream.process import ToolError
    from fireflow.hw.bitstream.toolbox import VARIABLE, Toolbox, default_folder, install

    if args.action == "where":
        found = Toolbox.find()
        document = {"folder": str(found.root or "PATH"), "versions": dict(found.versions)}
        if args.json:
            print_json(document)
        else:
            print(table(("tool", "version"), sorted(found.versions.items())))
            print(document["folder"])
        return 0
    folder = args.folder or default_folder()
    log = folder.with_name(f"{folder.name}.log")
    try:
        install(folder, log, _say)
    except ToolError as error:
        print(f"\nfireflow: {error}", file=sys.stderr)
        return 1
    if args.folder is not None:
        print(f"set {VARIABLE}={folder} to use them")
    print(folder)
    return 0


def _say(text: str) -> None:
    """One changing line on a terminal; nothing elsewhere, where the log serves."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text[:100]}", end="", file=sys.stderr, flush=True)
