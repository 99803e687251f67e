"""The arithmetic of a built bundle's Verilog, as a function of pictures."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fireflow.hw.rtl.regenerate import regenerate
from fireflow.hw.rtl.simulate import Progress, RtlRun, build, simulate

if TYPE_CHECKING:
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.types import Array, Int64Array


class RtlEngine:
    """Scores by the accelerator's RTL, which is generated anew and compiled at once: no picture waits for that.

    Args:
        bundle: built for a board, and loaded from its folder.
        progress: called now and then with the cycles and the done part of the pictures in simulation.
        simulated: called after each simulation with what it gave.

    Raises:
        InputError: the bundle was not built, its RTL is not what this version generates, or there is no Verilator or
            C++ compiler.
    """

    def __init__(
        self,
        bundle: Bundle,
        progress: Progress | None = None,
        simulated: Callable[[RtlRun], None] | None = None,
    ) -> None:
        self._progress, self._simulated = progress, simulated
        self._dataflow = bundle.require_hardware().dataflow(bundle.graph)
        scratch = tempfile.mkdtemp(prefix="fireflow-rtl-")
        # The memory images lie there as long as somebody may simulate.
        weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)
        self._design = regenerate(bundle, Path(scratch))
        build(self._design)

    def __call__(self, images: Array) -> Int64Array:
        """The scores of uint8 (N, H, W, C): int64 (N, classes).

        Raises:
            DeadlockError: the accelerator stands still.
            SimulationError: it breaks the rules of AXI-stream.
        """
        run = simulate(self._dataflow, self._design, images, progress=self._progress)
        if self._simulated is not None:
            self._simulated(run)
        return run.scores
