"""A planned accelerator as RTL, simulated: as `verify_rtl` does for a bundle, for a plan that nobody built yet."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fireflow.hw import given
from fireflow.hw.dataflow.plan import Plan
from fireflow.hw.errors import InputError
from fireflow.hw.rtl.simulate import RtlRun, simulate
from fireflow.hw.rtl.stitch import stitch

if TYPE_CHECKING:
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
        InputError: images of another shape or dtype or none, a probability outside 0 to below 1, no Verilator or C++
            compiler.
        SimulationError: the RTL stands still, or breaks the rules of AXI-stream.
    """
    given.instance("plan", plan, Plan, "make it with plan")
    wanted = plan.flow.input
    plain = (
        isinstance(images, np.ndarray) and images.dtype == wanted.dtype and images.shape[1:] == wanted.shape
    )
    if not plain or not len(images):
        what = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else given.shown(images)
        shape = ", ".join(map(str, wanted.shape))
        raise InputError(f"images: must be {wanted.dtype} (N, {shape}), not {what}; resize or convert them")
    if not 0 <= given.number("stalls", stalls) < 1:
        raise InputError(f"stalls: must be 0 to below 1, not {stalls}; give 0.2")
    given.whole("seed", seed, least=0)
    with tempfile.TemporaryDirectory(prefix="fireflow-rtl-") as scratch:
        design = stitch(plan.flow, plan.board.part, 1e3 / plan.clock_mhz, Path(scratch) / "rtl")
        return simulate(
            plan.flow, design, images, stalls=stalls, seed=seed, optimize=optimize, progress=progress
        )
