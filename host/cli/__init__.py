"""`fireflow`: every step from float weights to class scores on the command line.

Each command is the module of its name, with `add_arguments(parser)` and `run(args) -> int`: arguments and printing over
the library. It is imported only when its command is given, and imports the heavy parts inside `run`, so that `--help`
works everywhere and at once. The other modules here are what commands share, or how one of them shows its results.
"""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import sys
import warnings
from typing import Mapping, Sequence

import fireflow
from fireflow.host.cli.errors import (
    ThreadErrors,
    internal_error,
    missing_part,
    needs_newer_python,
    one_line,
)
from fireflow.hw.errors import InputError, plain

DONE, CHECK_FAILED, BAD_INPUT, INTERNAL_ERROR, INTERRUPTED = 0, 1, 2, 70, 130

COMMANDS: Mapping[str, str] = {
    "quantize": "float weights to integers after training, with calibration images",
    "train": "fine-tune, in float or with integers, with distillation; resumes where it stopped",
    "average": "one float network from several runs of the same start: the mean of their weights",
    "evaluate": "accuracy of weights, a model or a bundle on labelled images",
    "export": "a quantized model to QONNX, with golden vectors and a model card",
    "lower": "a quantized model to a bundle, through FINN",
    "simulate": "class scores of pictures, bit for bit as the hardware gives them",
    "run": "pictures, videos or a camera through a bundle on a board, real or virtual",
    "deploy": "copy a bundle to a board over SSH, install the host part there, run the self test",
    "serve": "an accelerator for many clients over HTTP, with a page for people",
    "verify": "compare every tensor of every stage, from Brevitas to the fast simulator",
    "build": "an accelerator for a board: folding, FIFO depths, resources, Verilog, and a bitstream",
    "toolchain": "install the open FPGA tools, or say where they are",
    "resources": "count what every layer takes of the FPGA, by Yosys, beside the model and FINN",
    "report": "one HTML page about a bundle that was built: layers, cycles, resources, FIFOs, memory",
    "bench": "measure the simulators against qonnx, FINN and ONNX Runtime, the driver, the service, training",
    "models": "list the models that come with fireflow",
    "doctor": "which tools are here, their versions, and what a missing one adds",
}

# What these warn of (their own deprecations, experiments, optional packages) is nothing a user can act on.
_NOISY = ("brevitas", "torch", "lightning_fabric", "qonnx", "finn")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: without the name of the program; sys.argv[1:] by default.

    Returns:
        the exit code: docs/exit-codes.md says what each means.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may be no text; it is shown as it can be
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings(), ThreadErrors(arguments):
            for package in _NOISY:
                warnings.filterwarnings("ignore", module=rf"{package}(\.|$)")
            return _run(arguments)
    except SystemExit as stop:  # argparse, after --help or a usage error
        return stop.code if isinstance(stop.code, int) else BAD_INPUT
    except InputError as error:
        return _bad_input(str(error))
    except ImportError as error:
        advice = missing_part(error, arguments[0])
        return _internal(error, arguments) if advice is None else _bad_input(advice)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
        return DONE
    except OSError as error:
        return _bad_input(one_line(error))
    except MemoryError:
        return _bad_input(
            "memory: must suffice for this command, not run out; close other programs or ask for less"
        )
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # a traceback says nothing to a user
        return _internal(error, arguments)


def _run(arguments: Sequence[str]) -> int:
    name = arguments[0] if arguments and arguments[0] in COMMANDS else None
    parser = argparse.ArgumentParser(
        "fireflow",
        description="From a network to class scores on an FPGA.",
        epilog="What each exit code means: docs/exit-codes.md.",
    )
    parser.add_argument("--version", action="version", version=f"fireflow {fireflow.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for command, line in COMMANDS.items():
        child = commands.add_parser(command, help=line, description=line[0].upper() + line[1:] + ".")
        if command == name:
            module = importlib.import_module(f"fireflow.host.cli.{command}")
            module.add_arguments(child)
    args = parser.parse_args(arguments)
    # It warns of a CUDA compiler without a GPU, which nothing here needs.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    status: int = module.run(args)
    return status


def _internal(error: BaseException, arguments: Sequence[str]) -> int:
    if os.environ.get("FIREFLOW_TRACEBACK"):
        raise error
    advice = needs_newer_python(error, arguments[0] if arguments else "fireflow")
    if advice is not None:
        return _bad_input(advice)
    print(f"fireflow: {internal_error(error, arguments)}", file=sys.stderr)
    return INTERNAL_ERROR


def _bad_input(message: str) -> int:
    print(f"fireflow: {plain(message)}", file=sys.stderr)
    return BAD_INPUT
