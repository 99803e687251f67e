"""Vivado's text reports as figures. A report without the expected table is an error, never a zero."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from fireflow.hw.bitstream.process import ToolError
from fireflow.hw.files import PathLike
from fireflow.hw.parts import FAMILIES, Board, Resources
from fireflow.hw.parts.clocks import reachable_mhz
from fireflow.hw.parts.description import CONTROL_RANGE

_NUMBER = r"-?\d+(?:\.\d+)?"
# Rows of `report_utilization`: 7-series, UltraScale+. A block RAM tile is a RAMB36.
_ROWS = {
    "lut": ("Slice LUTs", "CLB LUTs"),
    "ff": ("Slice Registers", "CLB Registers"),
    "bram36": ("Block RAM Tile",),
    "dsp": ("DSPs",),
    "uram": ("URAM",),
}
_OPTIONAL = ("uram",)  # 7-series has none, and no row


@dataclass(frozen=True)
class Timing:
    """The table "Design Timing Summary" of `report_timing_summary`.

    Args:
        setup_ns, hold_ns, pulse_ns: the worst slack of each kind; below 0 it fails. Infinite where nothing is checked.
        failing: endpoints that fail, of all kinds.
        unclocked: registers without a clock, of which the slacks say nothing.
    """

    setup_ns: float
    hold_ns: float
    pulse_ns: float
    failing: int
    unclocked: int

    @property
    def met(self) -> bool:
        return min(self.setup_ns, self.hold_ns, self.pulse_ns) >= 0 and not self.failing

    def to_json(self) -> dict[str, float]:
        values = {"setup_slack_ns": self.setup_ns, "hold_slack_ns": self.hold_ns}
        values["pulse_width_slack_ns"] = self.pulse_ns
        return {
            **{name: value for name, value in values.items() if math.isfinite(value)},
            "failing": self.failing,
        }


class TimingError(ToolError):
    """A design that is too slow for its clock."""


@dataclass(frozen=True)
class Figures:
    """What Vivado measured of a routed design.

    Args:
        clock_mhz: that it may run at.
        fmax_mhz: by the worst setup slack.
        resources: of the whole design: accelerator, shell, and what connects it.
        power_w: of the chip, estimated.
    """

    clock_mhz: float
    fmax_mhz: float
    timing: Timing
    resources: Resources
    power_w: float

    def to_json(self) -> dict[str, Any]:
        return {
            "clock_mhz": self.clock_mhz,
            "fmax_mhz": round(self.fmax_mhz, 2),
            "timing": self.timing.to_json(),
            "resources": self.resources.to_json(),
            "power_w": self.power_w,
        }


def read_timing(path: PathLike) -> Timing:
    """Raises ToolError where the report has no such table."""
    text = _read(path)
    table = re.search(r"\| Design Timing Summary\n(.*)", text, re.DOTALL)
    row = re.search(
        rf"^\s*((?:(?:{_NUMBER}|NA)\s+){{11}}(?:{_NUMBER}|NA))\s*$", table[1] if table else "", re.M
    )
    unclocked = re.search(r"checking no_clock \((\d+)\)", text)
    if row is None or unclocked is None:
        raise _unknown(path, "a design timing summary")
    fields = row[1].split()
    worst = [math.inf if field == "NA" else float(field) for field in fields[0::4]]
    counts = [field for field in fields[2::4] if field != "NA"]
    if not all(count.isdecimal() for count in counts):
        raise _unknown(path, "whole numbers of failing endpoints")
    failing = sum(map(int, counts))
    if fields[0] == "NA":
        raise _unknown(path, "a path with a setup time")
    return Timing(worst[0], worst[1], worst[2], failing, int(unclocked[1]))


def read_utilization(path: PathLike) -> Resources:
    """What a design uses, all of it. Raises ToolError where a row is missing."""
    text = _read(path)
    found = {}
    for resource, names in _ROWS.items():
        rows = (
            re.search(rf"^\|\s*{re.escape(name)}\*?\s*\|\s*({_NUMBER})\s*\|", text, re.M) for name in names
        )
        row = next(filter(None, rows), None)
        if row is not None:
            found[resource] = float(row[1])
        elif resource not in _OPTIONAL:
            raise _unknown(path, f"a row {' or '.join(names)}")
    return Resources(**found)


def read_power_w(path: PathLike) -> float:
    """Watts of the whole chip by Vivado's estimate. Raises ToolError where the report does not say."""
    row = re.search(rf"^\|\s*Total On-Chip Power \(W\)\s*\|\s*({_NUMBER})\b", _read(path), re.M)
    if row is None:
        raise _unknown(path, "the total on-chip power")
    return float(row[1])


def check_routed(path: PathLike) -> None:
    """Raises ToolError for a design with nets that are not routed, or not rightly."""
    text = _read(path)
    counts = {}
    for name in ("routable nets", "fully routed nets", "nets with routing errors"):
        row = re.search(rf"# of {name}\.+\s*:\s*(\d+)\s*:", text)
        if row is None:
            raise _unknown(path, f"the number of {name}")
        counts[name] = int(row[1])
    open_nets = counts["routable nets"] - counts["fully routed nets"]
    if open_nets or counts["nets with routing errors"]:
        raise ToolError(
            f"vivado: every net must be routed, and {max(open_nets, counts['nets with routing errors'])} are not; "
            f"build with a smaller --budget, see {path}"
        )


def check_images(log: PathLike) -> None:
    """Raises ToolError if synthesis missed a memory image or part of one: it goes on with zeros."""
    for line in _read(log).splitlines():
        # Vivado echoes the commands that it reads; messages begin with their kind.
        if "$readmem" in line and line.startswith(("ERROR", "CRITICAL WARNING", "WARNING")):
            raise ToolError(
                f"vivado: every memory must get its image, and one does not ({line.strip()}); see {log}"
            )


def judge(routed: Path, clock_mhz: float) -> Figures:
    """The reports of a routed design.

    Raises:
        ToolError: nets that are not routed, registers without a clock, a report that says something else.
    """
    check_routed(routed / "route_status.rpt")
    timing = read_timing(routed / "timing.rpt")
    if timing.unclocked:
        raise ToolError(
            f"vivado: every register must have a clock, and {timing.unclocked} have none, so that their timing was "
            f"not checked; see {routed / 'timing.rpt'}"
        )
    fmax = 1e3 / (1e3 / clock_mhz - timing.setup_ns)
    resources, power = read_utilization(routed / "utilization.rpt"), read_power_w(routed / "power.rpt")
    return Figures(clock_mhz, fmax, timing, resources, power)


def check_timing(figures: Figures, board: Board, here: bool = True) -> None:
    """Raises TimingError for a design that is too slow for its clock.

    Args:
        here: Vivado is, and can time the design again at a lower clock.
    """
    timing = figures.timing
    if timing.met:
        return
    slacks = {"setup": timing.setup_ns, "hold": timing.hold_ns, "pulse width": timing.pulse_ns}
    kind = min(slacks, key=lambda name: slacks[name])
    if timing.hold_ns < 0:
        advice = "no clock mends a hold time: build with another --budget or --target-fps"
    else:
        slower = reachable_mhz(board.family, figures.fmax_mhz)
        advice = f"{'add --lower-clock, or ' if here else ''}build with --clock-mhz {slower:.6g}"
    raise TimingError(
        f"vivado: timing must be met at {figures.clock_mhz:g} MHz, not missed by {-slacks[kind]:.3f} ns ({kind}; "
        f"{timing.failing} endpoints fail); {advice}, or take the risk with --ignore-timing"
    )


def check_description(path: PathLike, board: Board) -> None:
    """Raises ToolError if Vivado's .hwh places the accelerator's registers elsewhere than its driver looks."""
    system = FAMILIES[board.family].system
    wanted = (system.control_base, system.control_base + CONTROL_RANGE - 1)
    try:
        ranges = list(ElementTree.parse(path).getroot().iter("MEMRANGE"))
        found = [
            (int(item.get("BASEVALUE", ""), 0), int(item.get("HIGHVALUE", ""), 0))
            for item in ranges
            if item.get("INSTANCE") == "accelerator"
        ]
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise ToolError(f"{path}: Vivado's description of the hardware must be readable ({error})") from None
    if found != [wanted]:
        raise ToolError(f"{path}: the registers must be at {wanted[0]:#x} to {wanted[1]:#x}, not at {found}")


def check_bitstream(path: Path) -> None:
    """Raises ToolError where there is none."""
    if not path.is_file() or not path.stat().st_size:
        raise ToolError(f"vivado: a bitstream must be in {path}, and is not")


def first_error(log: PathLike) -> str | None:
    """The first error in a log, as Vivado marks them."""
    path = Path(log)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return next((line.strip() for line in lines if line.startswith("ERROR")), None)


def _read(path: PathLike) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ToolError(
            f"{path}: Vivado must have written it, and it cannot be read ({error.strerror})"
        ) from None


def _unknown(path: PathLike, what: str) -> ToolError:
    return ToolError(f"{path}: Vivado's report must hold {what}, and does not; look into it")
