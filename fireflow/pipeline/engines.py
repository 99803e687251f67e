"""What computes the scores of a bundle: the fast simulator, the interpreter, or the accelerator's RTL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from fireflow.hw.errors import InputError
from fireflow.hw.simulator import Simulator

if TYPE_CHECKING:
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.types import Array, Int64Array

FAST, INTERPRETER, RTL = "fast", "interpreter", "rtl"
ENGINES = (FAST, INTERPRETER, RTL)
"""Equal in every bit, from the fastest to the slowest."""
Score = Callable[["Array"], "Int64Array"]
"""uint8 (N, H, W, C) -> int64 (N, classes)."""


def engine(bundle: Bundle, name: str = FAST, threads: int = 1, batch: int = 32) -> Score:
    """What computes the scores of a bundle.

    Args:
        bundle: for `rtl` one that was built, and loaded from its folder.
        name: one of `ENGINES`.
        threads: of the fast simulator.
        batch: pictures that it holds at once.

    Raises:
        InputError: another name; for `rtl` as `RtlEngine` does.
    """
    if name not in ENGINES:
        raise InputError(f"engine: must be one of {', '.join(ENGINES)}, not {name!r}; choose fast")
    if name == INTERPRETER:
        return bundle.graph.run
    if name == RTL:
        from fireflow.hw.rtl.engine import RtlEngine

        return RtlEngine(bundle)
    return Simulator(bundle.graph, threads=threads, batch=batch).run
