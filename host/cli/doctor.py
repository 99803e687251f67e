"""`fireflow doctor`: what is installed, what a missing part would add, and how to install it."""

from __future__ import annotations

import argparse
from typing import Any, Mapping

from fireflow.host.cli import arguments
from fireflow.host.cli.output import print_json
from fireflow.hw.bitstream.toolchains import TOOLCHAINS
from fireflow.hw.table import table
from fireflow.pipeline.installation import examine
from fireflow.pipeline.systems import SYSTEMS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument(
        "--system",
        choices=SYSTEMS,
        help="whose commands to show for what is missing; by default this system's, or all",
    )
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Prints one line per package and per program, then how to get what is missing."""
    found = examine()
    if args.json:
        print_json(found)
        return 0
    print(table(("package", "version", "part", "adds"), _cells(found["tools"])))
    for part in found["missing_parts"]:
        print(f"for what is missing of {part}: pip install 'fireflow[{part}]'")
    print()
    print(table(("program", "version", "toolchain", "unlocks"), _cells(found["programs"])))
    _print_advice(found["programs"], args.system or found["system"])
    ready = [name for name, usable in found["toolchains"].items() if usable]
    print(f"build --toolchain can use: {', '.join(ready) or f'none of {_names()}'}")
    return 0


def _names() -> str:
    *most, last = TOOLCHAINS
    return f"{', '.join(most)} and {last}"


def _cells(rows: list[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            row["tool"],
            row["version"] or ("unfit" if row.get("problem") else "missing"),
            row["part"] or "-",
            row["adds"],
        )
        for row in rows
    ]


def _print_advice(programs: list[Mapping[str, Any]], system: str | None) -> None:
    """What to do for the programs that are missing, once for all that the same is done for."""
    advice: dict[str, list[str]] = {}
    for row in programs:
        for name in [system] if system else SYSTEMS:
            text = row["problem"] or f"on {name}: {row['install'][name]}"
            if row["version"] is None:
                advice.setdefault(text, []).append(row["tool"])
    for text, names in advice.items():
        print(f"{', '.join(names)}, {text}" if text.startswith("on ") else text)
