"""Bitstreams by Vivado: here, or in a folder that runs where it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Mapping

from fireflow.hw.bitstream.toolchains.base import (
    Result,
    Toolchain,
    build_folder,
    option,
    with_shell,
)
from fireflow.hw.bitstream.toolchains.elsewhere import Elsewhere, deliver
from fireflow.hw.parts import FAMILIES, board
from fireflow.hw.parts.clocks import reachable_mhz
from fireflow.hw.parts.description import render_hwh
from fireflow.hw.remarks import Say, unheard

if TYPE_CHECKING:
    from fireflow.hw.bitstream.steps import Outcome, Progress
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.dataflow.hardware import Hardware
    from fireflow.hw.parts import Board
    from fireflow.hw.rtl.stitch import Design


@dataclass(frozen=True)
class VivadoOptions(Elsewhere):
    """What a user may choose of Vivado, besides where it runs.

    Args:
        lower_clock: take the highest clock at which a design that misses its own meets timing.
        ignore_timing: make a bitstream even so.
    """

    lower_clock: bool = field(
        default=False,
        metadata=option("where timing is missed, take the highest clock of the board at which it is met"),
    )
    ignore_timing: bool = field(default=False, metadata=option("make a bitstream that misses its timing"))


class VivadoTools(Toolchain[VivadoOptions]):
    name = "vivado"
    title = "every board"
    Options = VivadoOptions
    needs = ("Vivado",)

    def check(self, board: Board, options: VivadoOptions) -> None:
        from fireflow.hw.bitstream.vivado import Vivado

        options.check_target()
        if options.here:
            Vivado.find()

    def build(
        self,
        bundle: Bundle,
        hardware: Hardware,
        design: Design,
        options: VivadoOptions,
        *,
        say: Say = unheard,
        progress: Progress | None = None,
    ) -> Result | None:
        from fireflow.hw.bitstream import vivado as flow
        from fireflow.hw.bitstream.steps import run_steps

        tool = flow.Vivado.find() if options.here else None
        chosen = board(hardware.board)
        clock_mhz = reachable_mhz(chosen.family, hardware.clock_mhz)
        if clock_mhz < 0.999 * hardware.clock_mhz:
            say(f"{chosen.name}'s divider gives {clock_mhz:.6g} MHz for {hardware.clock_mhz:g} MHz")
        shell, content = with_shell(bundle, hardware, design, chosen)
        scripts = design.folder.with_name("scripts")
        flow.write_scripts(shell, chosen, clock_mhz, scripts)
        if options.scripts_only:
            deliver(scripts, options.scripts_only, self.name, say)
            return None
        judged = flow.Acceptance(options.lower_clock, options.ignore_timing, options.limit_s)
        outcomes: Mapping[str, Outcome] = {}
        if tool is None:
            assert options.results is not None
            key = (scripts / flow.KEY).read_text(encoding="utf-8")
            found = flow.import_results(options.results, key, chosen, clock_mhz, judged)
        else:
            steps = flow.vivado_steps(tool, scripts, chosen, clock_mhz, judged)
            outcomes = run_steps(steps, build_folder(bundle, content, self.name, say), progress)
            found = flow.results({step: outcome.folder for step, outcome in outcomes.items()})
        record = {
            "toolchain": self.name,
            "tools": {"vivado": tool.version} if tool else {},
            "content": content,
            "target_mhz": hardware.clock_mhz,
            "max_mhz": found.figures["fmax_mhz"],
            **found.figures,
            "steps": {step: outcome.usage.to_json() for step, outcome in outcomes.items()},
        }
        built_mhz = float(found.figures["clock_mhz"])
        return Result(
            built_mhz,
            found.bitstream,
            render_hwh(bundle.graph.name, built_mhz, FAMILIES[chosen.family].system),
            {f"vivado.{path.name}": path for path in found.reports.values()},
            record,
        )

    def summary(self, result: Result, hardware: Hardware) -> str:
        record = result.record
        used = ", ".join(f"{kind} {count:g}" for kind, count in record["resources"].items() if count)
        return (
            f"{result.clock_mhz:.6g} MHz, {hardware.frames_per_second:.1f} frames a second, "
            f"latency {hardware.latency_ms:.2f} ms\n"
            f"{record['max_mhz']:.2f} MHz by timing analysis; {used}; {record['power_w']} W by Vivado's estimate"
        )
