"""Bitstreams by FINN's own builder, with its shell and its kernels: here, or in a folder that runs where it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Mapping

from fireflow.hw.bitstream.toolchains.base import Result, Toolchain, build_folder
from fireflow.hw.bitstream.toolchains.elsewhere import Elsewhere, deliver
from fireflow.hw.parts.boards import finn_board
from fireflow.hw.remarks import Say, unheard

if TYPE_CHECKING:
    from fireflow.hw.bitstream.steps import Outcome, Progress
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.dataflow.hardware import Hardware
    from fireflow.hw.parts import Board
    from fireflow.hw.rtl.stitch import Design


@dataclass(frozen=True)
class FinnOptions(Elsewhere):
    """What a user may choose of FINN's builder: where it runs."""


class FinnTools(Toolchain[FinnOptions]):
    name = "finn"
    title = "FINN's own builder and shell"
    Options = FinnOptions
    needs = ("finn-plus", "Vivado", "Vitis HLS")

    def check(self, board: Board, options: FinnOptions) -> None:
        from fireflow.hw.bitstream.finn_flow import FinnBuilder

        finn_board(board.name)
        options.check_target()
        if options.here:
            FinnBuilder.find()

    def build(
        self,
        bundle: Bundle,
        hardware: Hardware,
        design: Design,
        options: FinnOptions,
        *,
        say: Say = unheard,
        progress: Progress | None = None,
    ) -> Result | None:
        from fireflow.hw.bitstream import finn_flow as flow
        from fireflow.hw.bitstream.steps import run_steps
        from fireflow.hw.finn.hand_over import hand_over
        from fireflow.hw.rtl.shell import content_hash

        builder = flow.FinnBuilder.find() if options.here else None
        outcomes: Mapping[str, Outcome] = {}
        if options.results:
            place = options.results
        else:
            folder = design.folder.with_name("finn")
            given = hand_over(bundle.graph, hardware)
            given.write(folder)
            flow.write_script(folder, given.hls)
            if options.scripts_only:
                deliver(folder, options.scripts_only, self.name, say)
                return None
            assert builder is not None
            target = build_folder(bundle, content_hash(design), self.name, say)
            outcomes = run_steps(flow.finn_steps(builder, folder, options.limit_s), target, progress)
            place = outcomes["finn"].folder
        places = flow.check(place)
        record = {
            "toolchain": self.name,
            "tools": {},
            "target_mhz": hardware.clock_mhz,
            "clock_mhz": hardware.clock_mhz,
            "steps": {step: outcome.usage.to_json() for step, outcome in outcomes.items()},
        }
        return Result(
            hardware.clock_mhz,
            places[flow.BITSTREAM],
            places[flow.HWH],
            {f"finn.{flow.TIMING}": places[flow.TIMING]},
            record,
        )

    def summary(self, result: Result, hardware: Hardware) -> str:
        return (
            f"{result.clock_mhz:.6g} MHz, {hardware.frames_per_second:.1f} frames a second, "
            f"latency {hardware.latency_ms:.2f} ms"
        )
