"""The folding of every layer for a frame rate, or the highest rate within a share of a board: exact for the model.

Each node has a handful of ways to be folded (PE, SIMD, lanes, kind of memory), each with its cycles and its cost;
two neighbours whose lanes differ need a width converter between them. Which ways together fit a board at a given
number of cycles is an integer program, solved by HiGHS through SciPy: a binary variable per way, and per edge a flow
that couples the lanes on both sides, which pays for the converter. The highest rate is found by bisection over the
cycle counts that any way has, because whatever fits at some cycles also fits at more. FIFOs are known only of a whole
plan: a plan that they do not let fit is made again with as much kept in reserve as was lacking.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fireflow.hw.dataflow.budget import BUDGET, check_budget, excess, room
from fireflow.hw.dataflow.integer_program import IntegerProgram, first
from fireflow.hw.dataflow.layers.conv import KERNELS
from fireflow.hw.dataflow.plan import Plan, fold_as_given
from fireflow.hw.dataflow.ways import Way, Ways
from fireflow.hw.errors import InputError
from fireflow.hw.graph import Graph
from fireflow.hw.parts import LABELS, RESOURCES, Board, Resources

ENDLESS = 1e3
"""A share that no network needs."""
NOTHING = Resources()
_ATTEMPTS, _RAISE = 10, 1.25
"""How often a plan makes room for its FIFOs, and how much more than was lacking: the next plan has others."""

__all__ = ["Plan", "fold_as_given", "fold_fastest", "fold_for_rate"]


def fold_for_rate(
    graph: Graph,
    board: Board,
    target_fps: float,
    clock_mhz: float | None = None,
    budget: float = BUDGET,
    kernels: Sequence[str] = KERNELS,
    spare: str | None = None,
    limits: Mapping[str, float] | None = None,
) -> Plan:
    """The cheapest folding that reaches a frame rate.

    Args:
        graph, board: what runs where.
        target_fps: frames a second, back to back.
        clock_mhz: by default the first of the board's.
        budget: share of each resource that may be used.
        kernels: matrix units to choose from: "finn", "dsp", "lut".
        spare: of which resource to use least ("lut", "bram36", ...); None: to leave the most of the scarcest.
        limits: shares of single resources that may be used, where they are below `budget`.

    Raises:
        InputError: it cannot be reached; says the best that can, and what stops it.
    """
    search = _Search(graph, board, budget, kernels, spare, limits or {})
    clock = float(clock_mhz or board.clocks_mhz[0])
    if not target_fps > 0:
        raise InputError(f"target rate must be above 0 frames a second, not {target_fps}; change it")
    plan, _ = search.plan_at(int(clock * 1e6 / target_fps), clock)
    if plan is None:
        best = search.fastest(clock)
        if best.fps >= target_fps:  # the FIFOs of a faster plan happen to be smaller
            return best
        raise InputError(
            f"target rate must be at most {best.fps:.0f} frames a second on {board.name} at {clock:g} MHz, not "
            f"{target_fps:g}: {' and '.join(best.limits)} do not allow more; ask for less or take a larger board"
        )
    return plan


def fold_fastest(
    graph: Graph,
    board: Board,
    clock_mhz: float | None = None,
    budget: float = BUDGET,
    kernels: Sequence[str] = KERNELS,
    spare: str | None = None,
    limits: Mapping[str, float] | None = None,
) -> Plan:
    """The folding of the highest rate that fits the board's budget; arguments as for `fold_for_rate`.

    Raises:
        InputError: not even the slowest fits; names the resources that are missing.
    """
    return _Search(graph, board, budget, kernels, spare, limits or {}).fastest(
        float(clock_mhz or board.clocks_mhz[0])
    )


@dataclass(eq=False)
class _Search:
    """The integer programs over all ways of all nodes."""

    graph: Graph
    board: Board
    budget: float
    kernels: Sequence[str] = KERNELS
    spare: str | None = None
    limits: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for share in (self.budget, *self.limits.values()):
            check_budget(share)
        if self.spare is not None and self.spare not in RESOURCES:
            raise InputError(
                f"spare: must be one of {', '.join(RESOURCES)}, not {self.spare!r}; choose one or leave it out"
            )
        self.ways = Ways(self.graph, self.board.family, self.kernels, self.board.has_uram)
        self.allowed = room(self.board.resources, self.budget, self.limits)

    def plan_at(self, cycles: int, clock: float) -> tuple[Plan | None, Resources]:
        """The cheapest plan within so many cycles, FIFOs included, and what was kept in reserve for them.

        The ways do not know of FIFOs: solves again, as much more kept in reserve as was lacking, until they fit too.
        """
        reserve = NOTHING
        for _ in range(_ATTEMPTS):
            chosen = self.solve(cycles, self.allowed, reserve)
            if chosen is None:
                return None, reserve
            plan = self._plan(chosen, clock)
            lacking = excess(plan.used, self.allowed)
            if not lacking:
                return plan, reserve
            reserve += Resources(**{name: _RAISE * count for name, count in lacking.items()})
        return None, reserve

    def fastest(self, clock: float) -> Plan:
        slowest = max(
            min(way.cycles for way in ways) for ways in self.ways.all.values()
        )  # of each the fastest way
        counts = sorted(
            {way.cycles for ways in self.ways.all.values() for way in ways if way.cycles >= slowest}
        )
        found: dict[int, Plan] = {}
        kept: dict[int, Resources] = {}

        def fits(index: int) -> bool:
            plan, kept[index] = self.plan_at(counts[index], clock)
            if plan is not None:
                found[index] = plan
            return plan is not None

        # What does not even fit with fractions of ways, and without FIFOs, does not fit; it is quick to find out.
        start = first(
            lambda index: self.solve(counts[index], self.allowed, whole=False) is not None, 0, len(counts)
        )
        at = first(fits, start, len(counts), near=True)
        if at not in found:
            return self._least_or_refused(counts[-1], clock, kept.get(len(counts) - 1, NOTHING))
        limits = (
            self.limits_at(counts[at - 1], kept.get(at - 1, NOTHING)) if at else (self._slowest(slowest),)
        )
        return replace(found[at], limits=limits)

    def _least_or_refused(self, cycles: int, clock: float, reserve: Resources) -> Plan:
        """The plan that leaves the most of the scarcest resource. Raises InputError where not even that fits."""
        chosen = self.solve(cycles, room(self.board.resources, ENDLESS), reserve)
        assert chosen is not None, "without limits something fits"
        least = self._plan(chosen, clock)
        over = excess(least.used, self.allowed)
        lacking = [f"{share:.0%} of {LABELS[name]}" for name, share in least.shares.items() if name in over]
        if not lacking:  # what `plan_at` kept in reserve for FIFOs was too much
            return replace(least, limits=self.limits_at(cycles, reserve))
        own = "".join(f" and {share:.0%} of its {LABELS[name]}" for name, share in self.limits.items())
        raise InputError(
            f"{self.graph.name}: the network must fit {self.budget:.0%} of {self.board.name}{own}, "
            f"not need at least {' and '.join(lacking)}; take a larger board, fewer bits or fewer classes"
        )

    def _slowest(self, cycles: int) -> str:
        name = next(name for name, ways in self.ways.all.items() if min(way.cycles for way in ways) == cycles)
        return f"the {cycles} cycles of {name}"

    def limits_at(self, cycles: int, reserve: Resources) -> tuple[str, ...]:
        """Which resources, each (or the fewest together) given without end, would let it fit so many cycles."""
        for count in range(1, len(RESOURCES)):
            freed = [
                some
                for some in itertools.combinations(RESOURCES, count)
                if self.solve(cycles, self.allowed, reserve, some) is not None
            ]
            if freed:
                return tuple(sorted({name.upper() for some in freed for name in some}))
        return tuple(name.upper() for name in RESOURCES)

    def _plan(self, chosen: Mapping[str, Way], clock: float) -> Plan:
        folding = {name: dict(way.given) for name, way in chosen.items()}
        return fold_as_given(self.graph, self.board, folding, clock, self.budget)

    def solve(
        self,
        cycles: int,
        allowed: Resources,
        reserve: Resources = NOTHING,
        without: Sequence[str] = (),
        whole: bool = True,
    ) -> dict[str, Way] | None:
        """The cheapest ways that fit within so many cycles, or None if none do.

        Args:
            cycles: per frame, at most.
            allowed: what may be used.
            reserve: what of it is kept for FIFOs, which no single node can tell.
            without: resources that have no limit.
            whole: a way is taken or not; otherwise fractions may be, and the result only tells whether it fits.
        """
        options = {name: self.ways.usable(name, cycles) for name in self.ways.nodes}
        if not all(options.values()):
            return None
        program = IntegerProgram(self.board, allowed, reserve, without, self.spare)
        columns = {
            name: [program.add(way.cost, binary=True) for way in ways] for name, ways in options.items()
        }
        for own in columns.values():
            program.equal([(column, 1.0) for column in own], 1.0)
        for source, target in self.ways.edges:
            into = _by(options[target], columns[target], "lanes_in")
            if source in options:
                out = _by(options[source], columns[source], "lanes_out")
            else:
                out = {self.graph.input_type.shape[-1]: []}
            kind = self.graph.types[source]
            flows = {(a, b): program.add(self.ways.converter(kind, a, b)) for a in out for b in into}
            for a, own in out.items():
                terms = [(flows[a, b], 1.0) for b in into]
                program.equal([*terms, *((column, -1.0) for column in own)], 0.0 if own else 1.0)
            for b, own in into.items():
                program.equal([*((flows[a, b], 1.0) for a in out), *((column, -1.0) for column in own)], 0.0)
        picked = program.solve(whole)
        if picked is None:
            return None
        return {
            name: max(zip(ways, columns[name], strict=True), key=lambda pair: picked[pair[1]])[0]
            for name, ways in options.items()
        }


def _by(ways: Sequence[Way], columns: Sequence[int], key: str) -> dict[int, list[int]]:
    result: dict[int, list[int]] = {}
    for way, column in zip(ways, columns, strict=True):
        result.setdefault(getattr(way, key), []).append(column)
    return result
