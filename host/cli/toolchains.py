"""From the RTL of an accelerator to a bitstream, by the toolchain that the user names."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

from fireflow.host.cli import vendor
from fireflow.hw.contents import BITSTREAM_RECORD

if TYPE_CHECKING:
    from fireflow.hw.bitstream.steps import Status
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.dataflow.hardware import Hardware
    from fireflow.hw.rtl.stitch import Design

NAMES = ("none", "open", "vivado", "finn")
CHECKS = ("none", "routed", "bits", "all")
RECORD = BITSTREAM_RECORD
# Of one picture through a netlist in Verilator on one core of a laptop; beyond an hour it is the user's to ask for.
_SIMULATION_S, _SIMULATION_LIMIT_S = 2.0e-8, 3600.0
_WIDTH = 100
# From here on nextpnr's static placer is the faster one by far.
_LARGE_LUTS = 8000
PLACEABLE_LUTS = 12500
"""Of an accelerator, by the model: what nextpnr places and routes on xc7z020. 12,400 were routed. Of 13,500 the router
left 1,600 wires overused and 6 % fewer in each pass, of 15,900 2,300 and no fewer; 36,000 were not even placed in an
hour (`docs/open-flow.md`)."""
PLACEABLE_DSPS = 0.82
"""Share: chains of DSPs lie in one column each. The static placer did not find places for those of 213 out of 220."""


@dataclass(frozen=True)
class Built:
    """What a toolchain made.

    Args:
        clock_mhz: that the bitstream may run at, and one that the board can set.
        files: the bitstream and reports, by their names in the bundle.
        record: for RECORD.
    """

    clock_mhz: float
    files: Mapping[str, Path]
    record: Mapping[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What a user may say of a toolchain."""
    group = parser.add_argument_group("bitstream")
    group.add_argument(
        "--toolchain",
        choices=NAMES,
        default="none",
        help="none: stop at Verilog; open: Yosys, nextpnr and prjxray, for PYNQ-Z1 and Z2; vivado: every board; "
        "finn: FINN's own builder and shell",
    )
    group.add_argument("--seed", type=int, default=1, metavar="N", help="open: of place and route; 1")
    group.add_argument(
        "--seeds",
        type=int,
        default=3,
        metavar="N",
        help="open: seeds to try, from --seed on, while the router comes to a standstill; 3",
    )
    group.add_argument(
        "--placer", choices=("static", "heap"), help="open: nextpnr's; by default static for large designs"
    )
    group.add_argument(
        "--router", choices=("router2", "router1"), default="router2", help="open: nextpnr's; router2"
    )
    group.add_argument(
        "--check",
        choices=CHECKS,
        help="open: simulate the golden images on the routed netlist, the one recovered from the bits, or both; "
        "by default both where that takes less than an hour",
    )
    vendor.add_arguments(group)


def build(
    args: argparse.Namespace, name: str, bundle: Bundle, hardware: Hardware, design: Design
) -> Built | None:
    """Makes a bitstream, in steps that an interrupted build goes on from; None where it is to be made elsewhere.

    Args:
        args: what `add_arguments` declared, and clock_mhz.
        name: of the bundle.
        bundle: its golden images are simulated.
        hardware: how it is built.
        design: the accelerator that `stitch` wrote.

    Raises:
        InputError: no tools, or a board that they do not know.
        ToolError, CheckError: a tool failed, or made what is wrong.
    """
    builders = {"open": _open, **vendor.BUILDERS}
    return builders[args.toolchain](args, name, bundle, hardware, design)


def _open(args: argparse.Namespace, name: str, bundle: Bundle, hardware: Hardware, design: Design) -> Built:
    from fireflow.hw.bitstream import open_flow, routing
    from fireflow.hw.bitstream.recover import Database
    from fireflow.hw.bitstream.simulate import check_step
    from fireflow.hw.bitstream.steps import run_steps
    from fireflow.hw.bitstream.toolbox import Toolbox
    from fireflow.hw.boards import board

    chosen, toolbox, flow = board(hardware.board), Toolbox.find(), hardware.dataflow(bundle.graph)
    shell, content = vendor.with_shell(bundle, hardware, design, chosen)
    folder = vendor.build_folder(bundle, content, "open")
    placer = args.placer or ("static" if hardware.resources.lut > _LARGE_LUTS else "heap")
    options = routing.Options(hardware.clock_mhz, args.clock_mhz, placer, args.router, args.seed, args.seeds)
    steps = open_flow.steps(shell, chosen.part, hardware.resources.lut, toolbox, options)
    checked, seconds = _checks(args.check, hardware, len(bundle.golden.images))
    database = Database(toolbox.database, chosen.part)
    for which in checked:
        golden = bundle.golden
        # The buses of the bench pause, and the memory answers slowly: a few times the cycles of a busy accelerator.
        limit = 4 * hardware.latency_cycles + 100_000
        steps.append(
            check_step(
                which, database, flow, golden.images, golden.scores, max_idle_cycles=limit, estimate_s=seconds
            )
        )
    done = run_steps(steps, folder, show)
    clock = open_flow.Clock.load(done["timing"].folder)
    stalled = routing.stalled_seeds(done["route"].folder)
    record = {
        "toolchain": "open",
        "tools": dict(toolbox.versions),
        "content": content,
        "target_mhz": hardware.clock_mhz,
        "max_mhz": round(clock.max_mhz, 2),
        "clock_mhz": clock.clock_mhz,
        "place_and_route": {
            "placer": placer,
            "router": args.router,
            "seed": args.seed + len(stalled),
            "overused_wires_of_stalled_seeds": stalled,
        },
        "synthesized": open_flow.synthesized(done["synthesize"].folder).to_json(),
        "utilization": open_flow.utilization(done["route"].folder),
        "steps": {step: outcome.usage.to_json() for step, outcome in done.items()},
        "images_simulated": {which: len(bundle.golden.images) for which in checked},
    }
    files = {
        f"{name}.bit": done["pack"].folder / open_flow.BITSTREAM,
        "reports/nextpnr.json": done["route"].folder / routing.REPORT,
        "reports/nextpnr.log": folder / "route.log",
    }
    return Built(clock.clock_mhz, files, record)


def failures() -> tuple[type[Exception], ...]:
    """What a build can fail with that is no fault of the input."""
    from fireflow.hw.bitstream.errors import CheckError
    from fireflow.hw.bitstream.process import ToolError
    from fireflow.hw.bitstream.recover import RecoveryError
    from fireflow.hw.tools.cxx import BuildError
    from fireflow.hw.tools.verilator import SimulationError
    from fireflow.hw.tools.yosys import SynthesisError

    return CheckError, ToolError, RecoveryError, BuildError, SimulationError, SynthesisError


def files(built: Built, name: str, bundle: Bundle, hardware: Hardware, folder: Path) -> dict[str, Path]:
    """What the bundle gets: the toolchain's files, the description that pynq reads, and RECORD.

    Args:
        built: by `build`.
        name: of the bundle.
        hardware: with the clock of the bitstream.
        folder: for files that are written here.
    """
    from fireflow.host.devices.overlay import family_of, render_hwh
    from fireflow.host.interface import Interface

    hwh, record = folder / f"{name}.hwh", folder / RECORD
    interface = Interface.of(bundle.graph, hardware)
    hwh.write_text(render_hwh(interface, family_of(hardware.board)), encoding="utf-8")
    record.write_text(json.dumps(built.record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return {hwh.name: hwh, record.name: record, **built.files}


def summary(built: Built, hardware: Hardware) -> str:
    """The bitstream in a few lines."""
    from fireflow.hw.boards import board

    record = built.record
    if record["toolchain"] != "open":
        return vendor.summary(built, hardware)
    whole, counted = board(hardware.board).resources.to_json(), record["synthesized"]
    used = ", ".join(
        f"{name.upper()} {counted[name]:g} ({counted[name] / whole[name]:.0%})"
        for name in whole
        if counted[name]
    )
    simulated = [
        f"{count} images on the {which} netlist" for which, count in record["images_simulated"].items()
    ]
    route = record["steps"]["route"]
    return "\n".join(
        [
            f"{built.clock_mhz:.6g} MHz ({record['max_mhz']} by timing analysis), "
            f"{hardware.frames_per_second:.1f} frames a second, latency {hardware.latency_ms:.2f} ms",
            f"place and route: {_duration(route['seconds'])} ({_duration(route['cpu_s'])} of processor time), "
            f"{route['memory_mib']:.0f} MiB; {used}",
            f"equal to the integer graph: {' and '.join(simulated) or 'not simulated'}",
        ]
    )


def _checks(wanted: str | None, hardware: Hardware, images: int) -> tuple[list[str], float]:
    """Which netlists to simulate, and how long each may take."""
    seconds = 60 + _SIMULATION_S * hardware.resources.lut * hardware.latency_cycles * images
    both = ["routed", "bits"]
    if wanted is None and seconds > _SIMULATION_LIMIT_S:
        hours = seconds / 3600
        print(
            f"not simulated: it would take about {hours:.1f} hours; add --check all to have it done",
            file=sys.stderr,
        )
        return [], 0.0
    return [which for which in both if wanted in (None, "all", which)], seconds


_SHOWN_EVERY_S = 20.0


class _Shown:
    """When something was last said, and of what step."""

    at, step = 0.0, ""


def show(status: Status) -> None:
    """The current step on stderr: a line that changes on a terminal, else one now and then."""
    left = "" if status.remaining_s is None else f", about {_duration(status.remaining_s)} left"
    if status.state == "runs":
        text = f"{_duration(status.seconds)}{left}" + (f": {status.detail}" if status.detail else "")
    else:
        text = "done before" if status.state == "kept" else f"done in {_duration(status.seconds)}"
    line = f"[{status.number}/{status.total}] {status.step}: {text}"
    if sys.stderr.isatty():
        end = "" if status.state == "runs" else "\n"
        print(f"\r\x1b[K{line[:_WIDTH]}", end=end, file=sys.stderr, flush=True)
        return
    now = time.monotonic()
    if status.state != "runs" or status.step != _Shown.step or now - _Shown.at > _SHOWN_EVERY_S:
        _Shown.at, _Shown.step = now, status.step
        print(line, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes}:{rest:02d}"
