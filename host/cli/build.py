"""`fireflow build`: an accelerator for a board, from a folding chosen for it to Verilog, and on to a bitstream."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fireflow.host.cli import arguments, toolchain_arguments, unsaid
from fireflow.host.cli.inputs import find_model
from fireflow.host.cli.output import print_json, table
from fireflow.host.cli.overwrite import check_bundle, check_hardware, timed
from fireflow.host.cli.step_progress import StepProgress
from fireflow.hw.bitstream.toolchains import TOOLCHAINS
from fireflow.hw.errors import InputError, ToolFailure
from fireflow.hw.parts import RESOURCES, board
from fireflow.hw.parts.boards import boards, listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fireflow.hw.bundle import Bundle
    from fireflow.hw.dataflow.folding import Plan
    from fireflow.hw.dataflow.hardware import Hardware
    from fireflow.hw.parts import Board


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
        "--budget", type=float, default=0.8, metavar="S", help="share of each resource to use at most (0.8)"
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
    unsaid.add_arguments(parser)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the verdict, then writes the bundle with folding, FIFO depths and RTL; 1 if it does not fit."""
    from fireflow.host.cli.flow import load_bundle
    from fireflow.host.cli.inputs import check_suffix
    from fireflow.hw.bundle import SUFFIX

    began = time.process_time()
    output = check_suffix(args.output, SUFFIX)
    if args.no_rtl and args.toolchain != "none":
        raise InputError("no-rtl: a bitstream needs RTL; leave --no-rtl or --toolchain out")
    chosen = toolchain_arguments.chosen(args)
    if chosen is not None:
        chosen[0].check(board(args.board), chosen[1])
    check_bundle(output, args.force, hardware_too=True)
    bundle = load_bundle(find_model(args.model), unsaid.Unsaid.of(args))
    plan = _plan(args, bundle)
    hardware = _hardware(plan)
    if not args.json:
        print(verdict(plan, hardware), flush=True)
    if not plan.fits:
        if args.json:
            print_json({**_document(plan, hardware), "fits": False, "bitstream": None, "output": None})
        return 1
    check_hardware(output, args.force, hardware)
    built = None
    with tempfile.TemporaryDirectory() as scratch:
        rtl, extra = None, {}
        if not args.no_rtl:
            from fireflow.hw.rtl.stitch import stitch

            design = stitch(plan.flow, hardware.part, hardware.clock_ns, Path(scratch) / "rtl")
            rtl = design.folder
        seconds = time.process_time() - began  # of folding and Verilog; the bitstream has a record of its own
        if chosen is not None:
            toolchain, options = chosen
            try:
                built = toolchain.build(bundle, hardware, design, options, say=_say, progress=StepProgress())
            except ToolFailure as error:
                print(f"fireflow: {error}", file=sys.stderr)
                return 1
            if built is not None:
                hardware = replace(hardware, clock_mhz=built.clock_mhz)
                extra = built.files(output.stem, Path(scratch))
        timed(bundle.with_hardware(hardware), "build", seconds).save(output, rtl, extra)
    if args.json:
        made = built.record if built else None
        print_json({**_document(plan, hardware), "fits": True, "bitstream": made, "output": str(output)})
    else:
        if built is not None and chosen is not None:
            print(chosen[0].summary(built, hardware))
        print(output)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _plan(args: argparse.Namespace, bundle: Bundle) -> Plan:
    from fireflow.hw.dataflow.folding import fold_as_given
    from fireflow.hw.files import read_json

    chosen = board(args.board)
    if args.clock_mhz is not None and not args.clock_mhz > 0:
        raise InputError(
            f"clock: must be above 0 MHz, not {args.clock_mhz}; leave it out for {chosen.clocks_mhz[0]}"
        )
    if args.folding is not None:
        for option, given in (("--target-fps", args.target_fps), ("--spare", args.spare)):
            if given is not None:
                raise InputError(f"folding: must come without {option}, not with it; leave one of them out")
        return fold_as_given(bundle.graph, chosen, read_json(args.folding), args.clock_mhz, args.budget)
    toolchain = TOOLCHAINS.get(args.toolchain)
    placeable = None if toolchain is None else toolchain.placeable
    if placeable is None:
        return _folded(args, bundle, chosen, args.spare, {})
    limits = {"dsp": placeable.dsps}
    plan = _folded(args, bundle, chosen, args.spare, limits)
    if args.spare is not None or plan.used.lut <= placeable.luts:
        return plan
    if args.target_fps is None:
        limits["lut"] = min(1.0, placeable.luts / chosen.resources.lut)
    return _folded(args, bundle, chosen, "lut", limits)


def _folded(
    args: argparse.Namespace, bundle: Bundle, chosen: Board, spare: str | None, limits: Mapping[str, float]
) -> Plan:
    from fireflow.hw.dataflow.folding import fold_fastest, fold_for_rate

    options: dict[str, Any] = {"budget": args.budget, "spare": spare, "limits": limits}
    if args.target_fps is not None:
        return fold_for_rate(bundle.graph, chosen, args.target_fps, args.clock_mhz, **options)
    return fold_fastest(bundle.graph, chosen, args.clock_mhz, **options)


def _hardware(plan: Plan) -> Hardware:
    from fireflow.hw.dataflow.hardware import Hardware
    from fireflow.hw.dataflow.layers import Fifo

    depths = {layer.name: layer.depth for layer in plan.flow.layers if isinstance(layer, Fifo)}
    return Hardware(
        board=plan.board.name,
        part=plan.board.part,
        clock_mhz=plan.clock_mhz,
        budget=plan.budget,
        folding=plan.folding,
        fifo_depths=depths,
        bottleneck=plan.bottleneck,
        limits=plan.limits,
        interval_cycles=plan.interval,
        latency_cycles=plan.timing.latency,
        resources=plan.used,
    )


def verdict(plan: Plan, hardware: Hardware) -> str:
    """What a user wants to know before anything slow runs."""
    from fireflow.hw.parts import LABELS

    board, used = plan.board, plan.used
    rows = []
    for name in (*plan.shares, *plan.missing):
        count, whole = getattr(used, name), getattr(board.resources, name)
        over = count - whole * plan.budget
        rows.append(
            (
                LABELS[name],
                f"{count:.0f}",
                f"{whole:.0f}",
                f"{count / whole:.0%}" if whole else "",
                f"{over:.0f} too many" if over > 0 else "fits",
            )
        )
    limits = f", limited by {' and '.join(plan.limits)}" if plan.limits else ""
    lines = [
        f"{board.name} ({board.part}) at {plan.clock_mhz:g} MHz, at most {plan.budget:.0%} of each resource",
        f"{plan.fps:.1f} frames a second: {plan.interval} cycles a frame, the bottleneck is {plan.bottleneck}{limits}",
        f"latency {plan.latency_ms:.2f} ms: {plan.timing.latency} cycles",
        f"{len(hardware.fifo_depths)} FIFOs, {sum(hardware.fifo_depths.values())} words",
        table(("resource", "used", "available", "share", ""), rows),
        "fits" if plan.fits else "does not fit",
    ]
    return "\n".join(lines)


def _document(plan: Plan, hardware: Hardware) -> dict[str, Any]:
    return {
        **hardware.to_json(),
        "frames_per_second": plan.fps,
        "latency_ms": plan.latency_ms,
        "available": plan.board.resources.to_json(),
        "shares": plan.shares,
    }
