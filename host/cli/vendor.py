"""Bitstreams by Vivado, and by FINN's own builder: here, or in a folder that runs where these tools are."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping

from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.host.cli.toolchains import Built
    from fireflow.hw.bitstream.steps import Outcome
    from fireflow.hw.bitstream.vivado import Options
    from fireflow.hw.boards import Board
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.dataflow.hardware import Hardware
    from fireflow.hw.rtl.stitch import Design

_HOUR_S = 3600.0


def add_arguments(group: Any) -> None:
    """What a user may say of these toolchains."""
    group.add_argument(
        "--scripts-only",
        type=Path,
        metavar="FOLDER",
        help="vivado, finn: write a folder whose run.sh makes the bitstream where the tools are, and no bitstream",
    )
    group.add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="vivado, finn: take the bitstream of such a folder whose run.sh has ended",
    )
    group.add_argument(
        "--lower-clock",
        action="store_true",
        help="vivado: where timing is missed, take the highest clock of the board at which it is met",
    )
    group.add_argument(
        "--ignore-timing", action="store_true", help="vivado: make a bitstream that misses its timing"
    )
    group.add_argument(
        "--time-limit",
        type=float,
        metavar="HOURS",
        help="vivado, finn: end a run of the tool that takes longer; by default none",
    )


def check(args: argparse.Namespace) -> None:
    """That what is asked of Vivado or FINN can begin: before anything is built, and before an output is looked at.

    Raises:
        InputError: the tool is missing, options do not go together, or a folder for scripts is taken.
    """
    from fireflow.hw.bitstream import finn_flow
    from fireflow.hw.bitstream import vivado as flow

    _options(args)
    if args.scripts_only:
        _check_target(args.scripts_only)
    elif not args.results:
        (flow.Vivado if args.toolchain == "vivado" else finn_flow.FinnBuilder).find()


def vivado(
    args: argparse.Namespace,
    name: str,
    bundle: Bundle,
    hardware: Hardware,
    design: Design,
) -> Built | None:
    """A bitstream by Vivado; None after --scripts-only.

    Raises:
        InputError: no Vivado, or options that do not go together.
        ToolError: it failed, or its result misses a check.
    """
    from fireflow.host.cli.toolchains import Built, show
    from fireflow.hw.bitstream import vivado as flow
    from fireflow.hw.bitstream.steps import run_steps
    from fireflow.hw.boards import board
    from fireflow.hw.clocks import reachable_mhz

    options = _options(args)
    tool = None if args.scripts_only or args.results else flow.Vivado.find()
    chosen = board(hardware.board)
    clock_mhz = reachable_mhz(chosen.family, hardware.clock_mhz)
    if clock_mhz < 0.999 * hardware.clock_mhz:
        print(
            f"{chosen.name}'s divider gives {clock_mhz:.6g} MHz for {hardware.clock_mhz:g} MHz",
            file=sys.stderr,
        )
    shell, content = with_shell(bundle, hardware, design, chosen)
    scripts = design.folder.with_name("scripts")
    flow.write_scripts(shell, chosen, clock_mhz, scripts)
    if args.scripts_only:
        _deliver(scripts, args.scripts_only, "vivado")
        return None
    outcomes: Mapping[str, Outcome] = {}
    version = ""
    if args.results:
        key = (scripts / flow.KEY).read_text(encoding="utf-8")
        found = flow.import_results(args.results, key, chosen, clock_mhz, options)
    else:
        assert tool is not None
        version = tool.version
        steps = flow.vivado_steps(tool, scripts, chosen, clock_mhz, options)
        outcomes = run_steps(steps, build_folder(bundle, content, "vivado"), show)
        found = flow.results({step: outcome.folder for step, outcome in outcomes.items()})
    record = {
        "toolchain": "vivado",
        "tools": {"vivado": version} if version else {},
        "content": content,
        "target_mhz": hardware.clock_mhz,
        "max_mhz": found.figures["fmax_mhz"],
        **found.figures,
        "steps": {step: outcome.usage.to_json() for step, outcome in outcomes.items()},
    }
    files = {f"reports/vivado.{path.name}": path for path in found.reports.values()}
    return Built(float(found.figures["clock_mhz"]), {f"{name}.bit": found.bitstream, **files}, record)


def finn(
    args: argparse.Namespace,
    name: str,
    bundle: Bundle,
    hardware: Hardware,
    design: Design,
) -> Built | None:
    """A bitstream by FINN's own builder; None after --scripts-only.

    Raises:
        InputError: it, Vivado or Vitis HLS is missing, or options that do not go together.
        ToolError: it failed, or its result misses its timing.
    """
    from fireflow.host.cli.toolchains import Built, show
    from fireflow.hw.bitstream import finn_flow
    from fireflow.hw.bitstream.steps import run_steps
    from fireflow.hw.finn.hand_over import hand_over
    from fireflow.hw.rtl.shell import content_hash

    options = _options(args)
    builder = None if args.scripts_only or args.results else finn_flow.FinnBuilder.find()
    outcomes: Mapping[str, Outcome] = {}
    if args.results:
        place = args.results
    else:
        folder = design.folder.with_name("finn")
        given = hand_over(bundle.graph, hardware)
        given.write(folder)
        finn_flow.write_script(folder, given.hls)
        if args.scripts_only:
            _deliver(folder, args.scripts_only, "finn")
            return None
        assert builder is not None
        build = build_folder(bundle, content_hash(design), "finn")
        outcomes = run_steps(finn_flow.finn_steps(builder, folder, options.limit_s), build, show)
        place = outcomes["finn"].folder
    places = finn_flow.check(place)
    files = {
        f"{name}.bit": places[finn_flow.BITSTREAM],
        f"{name}.hwh": places[finn_flow.HWH],
        f"reports/finn.{finn_flow.TIMING}": places[finn_flow.TIMING],
    }
    record = {
        "toolchain": "finn",
        "tools": {},
        "target_mhz": hardware.clock_mhz,
        "clock_mhz": hardware.clock_mhz,
        "steps": {step: outcome.usage.to_json() for step, outcome in outcomes.items()},
    }
    return Built(hardware.clock_mhz, files, record)


BUILDERS: Mapping[str, Callable[..., Built | None]] = {"vivado": vivado, "finn": finn}


def summary(built: Built, hardware: Hardware) -> str:
    """The bitstream in a few lines."""
    record = built.record
    lines = [
        f"{built.clock_mhz:.6g} MHz, {hardware.frames_per_second:.1f} frames a second, "
        f"latency {hardware.latency_ms:.2f} ms"
    ]
    if "max_mhz" in record:
        used = ", ".join(f"{kind} {count:g}" for kind, count in record["resources"].items() if count)
        lines.append(
            f"{record['max_mhz']:.2f} MHz by timing analysis; {used}; {record['power_w']} W by Vivado's estimate"
        )
    return "\n".join(lines)


def _options(args: argparse.Namespace) -> Options:
    from fireflow.hw.bitstream.vivado import Options

    if args.scripts_only and args.results:
        raise InputError("results: must come without --scripts-only, not with it; leave one of them out")
    if args.time_limit is not None and not args.time_limit > 0:
        raise InputError(f"time limit: must be above 0 hours, not {args.time_limit}; leave it out for none")
    limit_s = None if args.time_limit is None else args.time_limit * _HOUR_S
    return Options(args.lower_clock, args.ignore_timing, limit_s)


def with_shell(bundle: Bundle, hardware: Hardware, design: Design, chosen: Board) -> tuple[Design, str]:
    """The accelerator in its shell, and the hash that it tells."""
    from fireflow.hw.rtl.shell import content_hash, write_shell

    content, folder = content_hash(design), design.folder.with_name("shell")
    return write_shell(design, hardware.dataflow(bundle.graph), chosen, content, folder), content


def build_folder(bundle: Bundle, content: str, toolchain: str) -> Path:
    """Where the steps of this build stay."""
    from fireflow.hw.names import file_stem
    from fireflow.hw.tools.cache import cache_folder

    folder = cache_folder("builds") / f"{file_stem(bundle.graph.name)}-{content[:16]}-{toolchain}"
    print(f"building in {folder}; what is done there is kept when this is interrupted", file=sys.stderr)
    return folder


def _check_target(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder}: the folder must be new or empty, not hold other things; give another name"
        )


def _deliver(made: Path, target: Path, toolchain: str) -> None:
    from fireflow.hw.files import atomic_directory

    with atomic_directory(target) as folder:
        shutil.copytree(made, folder, dirs_exist_ok=True)
    print(
        f"{target}: run its run.sh where the tools are, bring it back, and give the same command with "
        f"--toolchain {toolchain} --results instead of --scripts-only",
        file=sys.stderr,
    )
