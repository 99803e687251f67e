"""The ways to fold each node of a network, and what each costs."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from fireflow.hw.dataflow.budget import fits
from fireflow.hw.dataflow.build import Workbench
from fireflow.hw.dataflow.cost import cost, total
from fireflow.hw.dataflow.layers.conv import KERNELS
from fireflow.hw.dataflow.layers.fork import Fork
from fireflow.hw.dataflow.layers.maker import Choices
from fireflow.hw.dataflow.layers.width_converter import WidthConverter, steps_between
from fireflow.hw.dataflow.schedule import estimated_interval
from fireflow.hw.dataflow.stream import Stream
from fireflow.hw.parts import RESOURCES, Resources

if TYPE_CHECKING:
    from fireflow.hw.graph import Graph, Node
    from fireflow.hw.types import Array, TensorType


@dataclass(frozen=True)
class Way:
    """One way to fold a node.

    Args:
        given: its entry in a folding.
        lanes_in, lanes_out: of its inputs and its output.
        cycles: per frame, of its slowest stage.
        cost: of its layers.
    """

    given: Mapping[str, Any]
    lanes_in: int
    lanes_out: int
    cycles: int
    cost: Resources


class Ways:
    """All ways of all nodes of a graph on parts of one family, with these matrix units; uram: and with UltraRAM."""

    def __init__(
        self, graph: Graph, family: str, kernels: Sequence[str] = KERNELS, uram: bool = False
    ) -> None:
        self.graph, self.family, self.kernels, self.uram = graph, family, kernels, uram
        self.bench = Workbench(graph)
        self.nodes = {node.name: node for node in self.bench.nodes}
        self.edges = [(source, node.name) for node in self.bench.nodes for source in self.bench.inputs(node)]
        self._converters: dict[tuple[int, int, int], Resources] = {}
        self._usable: dict[tuple[str, int], list[Way]] = {}
        self.all = {node.name: self._ways(node) for node in self.bench.nodes}
        self._cycles = {name: [way.cycles for way in ways] for name, ways in self.all.items()}

    def _ways(self, node: Node) -> list[Way]:
        result = []
        readers = sum(source == node.name for source, _ in self.edges)
        for given in self.bench.choices(node, Choices(self.kernels, self.uram)):
            layers = self.bench.layers(node, given)
            if self.uram:
                better = self.bench.with_uram(node, given, layers)
                given, layers = better, layers if better == given else self.bench.layers(node, better)
            whole = total({layer.name: cost(layer, self.family) for layer in layers})
            stream = layers[-1].output
            if readers > 1:
                whole = whole + cost(Fork("fork", (node.name,), (stream,), stream, readers), self.family)
            lanes_in = layers[0].inputs[0].lanes
            cycles = estimated_interval([layer.timing(self.family) for layer in layers])
            result.append(Way(given, lanes_in, stream.lanes, cycles, whole))
        return sorted(result, key=lambda way: way.cycles)

    def usable(self, name: str, cycles: int) -> list[Way]:
        """The ways of a node within so many cycles, without those that another of the same lanes beats."""
        count = bisect_right(self._cycles[name], cycles)
        if (name, count) not in self._usable:
            groups: dict[tuple[int, int], list[Way]] = {}
            for way in self.all[name][:count]:
                groups.setdefault((way.lanes_in, way.lanes_out), []).append(way)
            best = [way for group in groups.values() for way in _pareto(group)]
            self._usable[name, count] = self._needed(name, best)
        return self._usable[name, count]

    def _needed(self, name: str, ways: list[Way]) -> list[Way]:
        """Without those that another way of other lanes beats even with the converters to their lanes."""
        if not ways:
            return []
        rows = _rows([way.cost for way in ways])
        inputs = self.bench.inputs(self.nodes[name])
        sources = [self.graph.types[source] for source in inputs]
        keep = []
        for index, way in enumerate(ways):
            closer = np.flatnonzero((rows <= rows[index]).all(axis=1))
            for other in (ways[int(at)] for at in closer if at != index):
                extra = other.cost + self.converter(self.graph.types[name], other.lanes_out, way.lanes_out)
                for kind in sources:
                    extra = extra + self.converter(kind, way.lanes_in, other.lanes_in)
                if fits(extra, way.cost) and extra != way.cost:
                    break
            else:
                keep.append(way)
        return keep

    def converter(self, kind: TensorType, source: int, target: int) -> Resources:
        """What stands between words of `source` lanes and of `target` lanes."""
        key = (kind.bits, source, target)
        if key not in self._converters:
            lanes = steps_between(source, target)
            found = Resources()
            for a, b in zip(lanes, lanes[1:]):
                one, two = (Stream((1, 1, max(lanes)), kind.lo, kind.hi, n) for n in (a, b))
                found = found + cost(WidthConverter("width", ("in",), (one,), two), self.family)
            self._converters[key] = found
        return self._converters[key]


def _pareto(ways: list[Way]) -> list[Way]:
    """Those that no other matches or beats in every resource; of equals the first."""
    rows = _rows([way.cost for way in ways])
    keep: list[int] = []
    for index in np.lexsort(rows.T[::-1]):
        if not any((rows[other] <= rows[index]).all() for other in keep):
            keep.append(int(index))
    return [ways[index] for index in sorted(keep)]


def _rows(costs: Sequence[Resources]) -> Array:
    return np.array([[getattr(price, name) for name in RESOURCES] for price in costs])
