"""What computes the scores of a bundle: the fast simulator, the interpreter, or the accelerator's RTL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from fireflow.hw.errors import InputError
from fireflow.hw.remarks import Say, unheard
from fireflow.hw.simulator import Simulator

if TYPE_CHECKING:
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.rtl.simulate import RtlRun
    from fireflow.hw.types import Array, Int64Array

FAST, INTERPRETER, RTL = "fast", "interpreter", "rtl"
ENGINES = (FAST, INTERPRETER, RTL)
"""Equal in every bit, from the fastest to the slowest."""
Score = Callable[["Array"], "Int64Array"]
"""uint8 (N, H, W, C) -> int64 (N, classes)."""
Cycles = Callable[[str, int, float], None]
"""Takes what is simulated in RTL, the cycles so far, and the done part of it."""


def engine(
    bundle: Bundle,
    name: str = FAST,
    threads: int = 1,
    batch: int = 32,
    say: Say = unheard,
    cycles: Cycles | None = None,
) -> Score:
    """What computes the scores of a bundle.

    Args:
        bundle: for `rtl` one that was built, and loaded from its folder.
        name: one of `ENGINES`.
        threads: of the fast simulator.
        batch: pictures that it holds at once.
        say: told after each RTL simulation how many cycles it took.
        cycles: told now and then how far it is.

    Raises:
        InputError: another name; for `rtl` as `RtlEngine` does.
    """
    if name not in ENGINES:
        raise InputError(f"engine: must be one of {', '.join(ENGINES)}, not {name!r}; choose fast")
    if name == INTERPRETER:
        return bundle.graph.run
    if name == RTL:
        return _rtl(bundle, say, cycles)
    return Simulator(bundle.graph, threads=threads, batch=batch).run


def _rtl(bundle: Bundle, say: Say, cycles: Cycles | None) -> Score:
    from fireflow.hw.rtl.engine import RtlEngine

    hardware = bundle.require_hardware()

    def simulated(run: RtlRun) -> None:
        interval = f", {run.interval_cycles} from frame to frame" if run.interval_cycles else ""
        say(
            f"RTL: {run.latency_cycles} cycles to the first scores{interval}; "
            f"expected {hardware.latency_cycles} and {hardware.interval_cycles}"
        )

    progress = None if cycles is None else lambda count, part: cycles("the RTL", count, part)
    return RtlEngine(bundle, progress, simulated)
