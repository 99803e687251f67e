"""A planned accelerator as RTL, simulated: as `verify_rtl` does for a bundle, for a plan that nobody built yet."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fireflow.hw.rtl.simulate import RtlRun, simulate
from fireflow.hw.rtl.stitch import stitch

if TYPE_CHECKING:
    from fireflow.hw.dataflow.plan import Plan
    from fireflow.hw.types import Array


def simulate_rtl(
    plan: Plan,
    images: Array,
    *,
    stalls: float = 0.0,
    seed: int = 0,
    optimize: bool = True,
    progress: Callable[[int, float], None] | None = None,
) -> RtlRun:
    """Writes a plan's Verilog, compiles it, and sends pictures through it, one behind the other.

    Args:
        plan: by `plan`.
        images: uint8 (N, H, W, C), of the input's shape.
        stalls: the probability with which source and sink pause in a cycle.
        seed: of the stalls, and of whatever the RTL leaves uninitialized.
        optimize: compile for long runs; what was compiled before is taken from a cache.
        progress: called now and then with the cycles and the done part.

    Returns:
        scores, int64 (N, classes), and the cycles of every word in and out.

    Raises:
        InputError: no Verilator or C++ compiler.
        SimulationError: the RTL stands still, or breaks the rules of AXI-stream.
    """
    with tempfile.TemporaryDirectory(prefix="fireflow-rtl-") as scratch:
        design = stitch(plan.flow, plan.board.part, 1e3 / plan.clock_mhz, Path(scratch) / "rtl")
        return simulate(
            plan.flow, design, images, stalls=stalls, seed=seed, optimize=optimize, progress=progress
        )
