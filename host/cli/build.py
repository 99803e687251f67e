"""`fireflow build`: an accelerator for a board, from a folding chosen for it to Verilog, and on to a bitstream."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from fireflow.host.cli import arguments, toolchain_arguments
from fireflow.host.cli.output import aside, print_json, remark
from fireflow.host.cli.step_progress import StepProgress
from fireflow.host.cli.verdict import document, verdict
from fireflow.hw.dataflow.budget import BUDGET
from fireflow.hw.errors import InputError, ToolFailure
from fireflow.hw.files import check_suffix
from fireflow.hw.overwrite import check_bundle, check_hardware
from fireflow.hw.parts import RESOURCES, board
from fireflow.hw.parts.boards import boards, listed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument(
        "model", metavar="MODEL", help="a bundle, a .fireq or QONNX file, or a shipped model by name"
    )
    arguments.output(parser, "the bundle to write, NAME.fire")
    parser.add_argument("--board", required=True, help=listed(list(boards)))
    parser.add_argument(
        "--target-fps", type=float, metavar="F", help="frames a second; by default as many as fit the board"
    )
    parser.add_argument("--clock-mhz", type=float, metavar="MHZ", help="by default the board's usual clock")
    parser.add_argument(
        "--budget",
        type=float,
        default=BUDGET,
        metavar="S",
        help=f"share of each resource to use at most ({BUDGET})",
    )
    parser.add_argument(
        "--spare",
        choices=RESOURCES,
        help="the resource to use least of; by default that which is scarcest, or lut where --toolchain open "
        "could not place the design otherwise",
    )
    parser.add_argument(
        "--folding", type=Path, metavar="FILE", help="JSON: take this folding and say whether it fits"
    )
    parser.add_argument("--no-rtl", action="store_true", help="stop after the verdict and the FIFO depths")
    toolchain_arguments.add_arguments(parser)
    arguments.force(parser)
    arguments.unsaid(parser)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the verdict, then writes the bundle with folding, FIFO depths and RTL; 1 if it does not fit."""
    from fireflow import build, load_bundle, plan
    from fireflow.pipeline.planning import hardware_of

    began = time.process_time()
    output = check_suffix(args.output, ".fire")
    if args.no_rtl and args.toolchain != toolchain_arguments.NONE:
        raise InputError("no-rtl: a bitstream needs RTL; leave --no-rtl or --toolchain out")
    tool, options = toolchain_arguments.chosen(args) or (None, None)
    if tool is not None:
        tool.check(board(args.board), options)
    check_bundle(output, args.force, hardware_too=True, say=remark)
    bundle = load_bundle(args.model, preprocessing=args.preprocessing, labels=args.labels, say=aside)
    toolchain = None if tool is None else tool.name
    chosen = plan(
        bundle,
        board=args.board,
        target_fps=args.target_fps,
        clock_mhz=args.clock_mhz,
        budget=args.budget,
        spare=args.spare,
        folding=args.folding,
        toolchain=toolchain,
    )
    hardware = hardware_of(chosen)
    if not args.json:
        print(verdict(chosen, hardware), flush=True)
    if not chosen.fits:
        if args.json:
            print_json({**document(chosen, hardware), "fits": False, "bitstream": None, "output": None})
        return 1
    check_hardware(output, args.force, hardware, remark)
    try:
        built = build(
            bundle,
            chosen,
            output,
            rtl=not args.no_rtl,
            toolchain=toolchain,
            options=options,
            force=args.force,
            spent_s=time.process_time() - began,
            say=aside,
            progress=StepProgress(),
        )
    except ToolFailure as error:
        remark(str(error))
        return 1
    made, hardware = built.bitstream, built.bundle.require_hardware()
    if args.json:
        record = None if made is None else made.record
        print_json({**document(chosen, hardware), "fits": True, "bitstream": record, "output": str(output)})
        return 0
    if made is not None and tool is not None:
        print(tool.summary(made, hardware))
    print(output)
    return 0
