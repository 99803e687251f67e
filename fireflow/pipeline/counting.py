"""What every layer of an accelerator takes of the FPGA, counted by Yosys, beside what the cost model expects."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fireflow.hw import given
from fireflow.hw.bundle import Bundle
from fireflow.hw.dataflow.budget import fits, room
from fireflow.hw.dataflow.cost import costs, total
from fireflow.hw.dataflow.counts import Counts, Error, errors
from fireflow.hw.finn.estimate import finn_estimate
from fireflow.hw.overwrite import timed
from fireflow.hw.parts import Board
from fireflow.hw.parts import board as board_named
from fireflow.hw.rtl.count import count_layers
from fireflow.hw.tools.yosys import wasm_version

if TYPE_CHECKING:
    from fireflow.hw.dataflow.network import Dataflow
    from fireflow.hw.parts import Resources


@dataclass(frozen=True, eq=False)
class Counted:
    """What `count_resources` found.

    Args:
        bundle: with the counts in it; `save_again` writes it.
        counts: by layer, with FINN's estimates.
        modelled: by layer, what the cost model expects.
        flow: the layers.
        board: that they are for.
        budget: the share of each resource that may be used.
    """

    bundle: Bundle
    counts: Counts
    modelled: Mapping[str, Resources]
    flow: Dataflow
    board: Board
    budget: float

    @property
    def fits(self) -> bool:
        """Whether every resource that was counted stays within the budget."""
        return fits(total(self.counts.counted), room(self.board.resources, self.budget))

    @property
    def errors(self) -> dict[str, Error]:
        """How far the model is from the counts, by resource."""
        counted = self.counts.counted
        return errors([(counted[name], self.modelled[name]) for name in counted])


def count_resources(
    bundle: Bundle,
    *,
    jobs: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Counted:
    """Counts what every layer takes of the FPGA, by synthesis with Yosys; counts are cached.

    Args:
        bundle: built for a board.
        jobs: layers at once; by default one for each core.
        progress: told which layer was counted, how many are, and of how many.

    Raises:
        InputError: it was not built.
        ToolFailure: Yosys failed.
    """
    began = time.perf_counter()
    hardware = given.instance("bundle", bundle, Bundle, "load it with load_bundle").require_hardware()
    jobs = None if jobs is None else given.whole("jobs", jobs)
    board, flow = board_named(hardware.board), hardware.dataflow(bundle.graph)
    counted = count_layers(flow.layers, hardware.part, hardware.clock_ns, jobs=jobs, progress=progress)
    finn = {layer.name: finn_estimate(layer, hardware.part) for layer in flow.layers}
    counts = Counts(f"Yosys {wasm_version()}", counted, finn)
    found = timed(bundle.with_counts(counts), "resources", time.perf_counter() - began)
    return Counted(found, counts, costs(flow, board.family), flow, board, hardware.budget)
