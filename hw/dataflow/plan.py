"""A folding on a board, with everything that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Mapping

from fireflow.hw.dataflow import budget as budgets
from fireflow.hw.dataflow.budget import BUDGET, check_budget
from fireflow.hw.dataflow.build import to_dataflow
from fireflow.hw.dataflow.cost import costs, total
from fireflow.hw.dataflow.fifo import fifo_depths
from fireflow.hw.dataflow.schedule import Timing
from fireflow.hw.parts import Board, Resources

if TYPE_CHECKING:
    from fireflow.hw.dataflow.network import Dataflow
    from fireflow.hw.graph import Graph


@dataclass(frozen=True, eq=False)
class Plan:
    """A folding with what comes of it.

    Args:
        graph: that is folded.
        board, clock_mhz, budget: for which it was made.
        folding: for `to_dataflow`.
        flow: the layers, with FIFOs.
        parts: resources by layer name.
        bottleneck: the slowest stage.
        limits: what keeps it from being faster: resources, or the layer that cannot be folded any less.
    """

    graph: Graph
    board: Board
    clock_mhz: float
    budget: float
    folding: Mapping[str, Mapping[str, Any]]
    flow: Dataflow
    parts: Mapping[str, Resources]
    bottleneck: str
    limits: tuple[str, ...] = ()

    def __repr__(self) -> str:
        fit = "fits" if self.fits else "does not fit"
        rate = f"{self.fps:.1f} frames/s at {self.clock_mhz:g} MHz"
        return f"<Plan {self.flow.name} on {self.board.name}: {rate}, {fit}>"

    @cached_property
    def timing(self) -> Timing:
        return Timing(self.flow, self.board.family)

    @property
    def interval(self) -> int:
        """Cycles per frame."""
        return self.timing.interval

    @property
    def fps(self) -> float:
        return self.clock_mhz * 1e6 / self.interval

    @property
    def latency_ms(self) -> float:
        return self.timing.latency / self.clock_mhz / 1e3

    @property
    def used(self) -> Resources:
        return total(self.parts)

    @property
    def fits(self) -> bool:
        """Whether every resource stays within the budget."""
        return not self.excess

    @property
    def excess(self) -> dict[str, float]:
        """How much each resource that is over the budget is over it."""
        return budgets.excess(self.used, budgets.room(self.board.resources, self.budget))

    @property
    def missing(self) -> tuple[str, ...]:
        """Resources that are used although the board has none."""
        return budgets.missing(self.used, self.board.resources)

    @property
    def shares(self) -> dict[str, float]:
        """The share used of each resource that the board has."""
        return budgets.shares(self.used, self.board.resources)


def fold_as_given(
    graph: Graph,
    board: Board,
    folding: Mapping[str, Mapping[str, Any]],
    clock_mhz: float | None = None,
    budget: float = BUDGET,
) -> Plan:
    """The plan of a folding, whether it fits or not: `fits`, `shares` and `missing` tell.

    Raises:
        InputError: a folding that the graph cannot have; a budget that is no share.
    """
    check_budget(budget)
    bare = to_dataflow(graph, folding)
    timing = Timing(bare, board.family)
    flow = bare.with_fifos(fifo_depths(timing).depths, board.has_uram)
    clock = float(clock_mhz or board.clocks_mhz[0])
    return Plan(graph, board, clock, budget, folding, flow, costs(flow, board.family), timing.bottleneck)
