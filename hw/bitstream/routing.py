"""Place and route by nextpnr, with another seed where its router no longer gains."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fireflow.hw.bitstream.errors import CheckError
from fireflow.hw.bitstream.process import Headlines
from fireflow.hw.bitstream.steps import Work
from fireflow.hw.bitstream.toolbox import Toolbox
from fireflow.hw.files import read_tool_json

FASM, ROUTED, REPORT = "design.fasm", "routed.json", "report.json"
_STALLED = "stalled.json"
_HEADLINES = (
    r"Info: ((?:Pack|Plac|Rout|Running|Constrain|Creating|Max freq|at iter).{0,90})|^Info:\s+(iter=\d+ .*)"
)
_PASS = re.compile(r"^Info:\s+iter=\d+ wires=\d+ overused=(\d+)")
# With one seed a design of 20,000 LUTs was left with 428 wires overused, with the next one with none, after 97 passes
# from 200 wires on: below that the router may take its time (docs/open-flow.md).
_FEW_WIRES, _PASSES, _GAIN = 200, 8, 0.2


@dataclass(frozen=True)
class RoutingOptions:
    """How a netlist is placed and routed.

    Args:
        target_mhz: the clock that nextpnr works towards.
        clock_mhz: what the design must reach; None: the highest clock that it reaches is taken.
        placer, router: of nextpnr; "static" is the fast placer.
        seed: another one gives another result.
        seeds: how many are tried, `seed` and those that follow it, while the router stalls.
    """

    target_mhz: float
    clock_mhz: float | None = None
    placer: str = "static"
    router: str = "router2"
    seed: int = 1
    seeds: int = 3


class Stalled(Exception):
    """The router no longer gains.

    Args:
        overused: wires that still carry more than one net, at best.
    """

    def __init__(self, overused: int) -> None:
        super().__init__(f"{overused} wires stay overused")
        self.overused = overused


@dataclass
class Passes:
    """Follows the passes of nextpnr's router2, each of which ends with a number of wires that carry several nets.

    Args:
        overused: that number, of each pass so far.
    """

    overused: list[int] = field(default_factory=list)

    def __call__(self, line: str) -> None:
        """Takes a line of nextpnr's log.

        Raises:
            Stalled: many wires are left, and the last passes took away hardly any.
        """
        found = _PASS.search(line)
        if not found:
            return
        self.overused.append(int(found[1]))
        before, lately = self.overused[:-_PASSES], self.overused[-_PASSES:]
        if before and min(lately) > max(_FEW_WIRES, (1 - _GAIN) * min(before)):
            raise Stalled(min(self.overused))


def route(work: Work, netlist: Path, part: str, toolbox: Toolbox, options: RoutingOptions) -> None:
    """The work of a step: places and routes a netlist; FASM, ROUTED and REPORT are its result.

    Args:
        work: of the step; its usage counts the seed that was routed, not those that stalled.
        netlist: of Yosys.
        part: the device.
        toolbox: nextpnr.
        options: what the user chose.

    Raises:
        CheckError: the router stalls with every seed that may be tried.
        ToolError: nextpnr fails.
    """
    constraints = work.folder / "constraints.xdc"
    constraints.write_text("# No pins: the design meets the processing system only.\n")
    stalled: dict[int, int] = {}
    for seed in range(options.seed, options.seed + options.seeds):
        arguments = [
            *("--device", part, "--json", str(netlist)),
            *("-o", f"xdc={constraints}", "-o", f"fasm={FASM}", "--report", REPORT, "--write", ROUTED),
            *("--freq", f"{options.target_mhz:g}", "--timing-allow-fail", "--seed", str(seed)),
            *("--placer", options.placer, "--router", options.router),
        ]
        try:
            work.tool(
                toolbox.command("nextpnr-himbaechel-xilinx", *arguments),
                environment=toolbox.environment,
                on_line=_both(Headlines(work.say, _HEADLINES), Passes()),
            )
        except Stalled as error:
            stalled[seed] = error.overused
            work.say(f"seed {seed}: {error}")
            continue
        if stalled:
            (work.folder / _STALLED).write_text(json.dumps(stalled) + "\n")
        return
    left = ", ".join(f"{overused} with seed {seed}" for seed, overused in stalled.items())
    raise CheckError(
        f"place and route: every wire must carry one net, and the router no longer gains with {left} overused; "
        f"try --seed {options.seed + options.seeds}, or a smaller design (a lower --target-fps, --spare lut); "
        f"see {work.log}"
    )


def stalled_seeds(folder: Path) -> dict[int, int]:
    """The seeds that were given up before the one that was routed, and how many wires each left overused.

    Args:
        folder: of the step that `route` was the work of.
    """
    path = folder / _STALLED
    return (
        {int(seed): int(overused) for seed, overused in read_tool_json(path).items()} if path.exists() else {}
    )


def _both(first: Callable[[str], None], second: Callable[[str], None]) -> Callable[[str], None]:
    def call(line: str) -> None:
        first(line)
        second(line)

    return call
