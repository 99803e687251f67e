"""Whether given FIFO depths deadlock, and which depth would free them.

A network of layers that only wait for words and for room stops for good where a fork cannot give a word to one branch,
which is full, while the layer that joins the branches waits for a word of the other, which needs the fork. For
every fork and join we count, for each step of the join: the words that the fork must have given for the branch that
the join reads next, and those that the other branch can take while the join does not go on. Whether the first ever
exceeds the second depends on the depths alone, not on timing or stalls. Registers inside layers are counted as one
word each, though some hold more: depths found to be enough are, and a depth said to be too small may just be enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fireflow.hw.dataflow.layers.base import Layer
from fireflow.hw.dataflow.network import Dataflow, Edge
from fireflow.hw.dataflow.timing import ANY_FAMILY, StepModel, StreamModel


@dataclass(frozen=True)
class Deadlock:
    """Layers that wait for each other.

    Args:
        cycle: their names, each waiting for the next: the fork, the full branch, the join, the empty branch back.
        label: the stream where a FIFO must be deeper.
        depth: that frees it.
    """

    cycle: tuple[str, ...]
    label: str
    depth: int

    def __str__(self) -> str:
        waits = " waits for ".join((*self.cycle, self.cycle[0]))
        return f"{waits}; {self.label} of depth {self.depth} frees it"


def deadlock(flow: Dataflow) -> Deadlock | None:
    """The first deadlock of a network with these FIFOs; None where there is none, whatever stalls at its ends."""
    analysis = _Analysis(flow)
    for fork in flow.layers:
        if fork.outputs > 1:
            found = analysis.check(fork)
            if found is not None:
                return found
    return None


class _Analysis:
    def __init__(self, flow: Dataflow) -> None:
        self.flow = flow
        self.models: dict[str, StreamModel] = {}

    def model(self, layer: Layer) -> StreamModel:
        if layer.name not in self.models:
            self.models[layer.name] = layer.timing(ANY_FAMILY)
        return self.models[layer.name]

    def check(self, fork: Layer) -> Deadlock | None:
        """Whether the branches of a fork stop before they meet again, which they do at the first layer all reach."""
        branches = self.flow.outward[fork.name]
        reached = [self._behind(edge) for edge in branches]
        join = next(
            (layer for layer in self.flow.layers if all(layer.name in each for each in reached)), None
        )
        if join is None:
            return None
        ways = [way for edge in branches for way in self._paths(edge, join.name)]
        worst = max(
            (
                (self._lack(join, wide, empty), wide, empty)
                for wide in ways
                for empty in ways
                if _apart(wide, empty)
            ),
            key=lambda found: found[0],
        )
        return self._report(fork, worst[1], worst[2], worst[0]) if worst[0] > 0 else None

    def _report(self, fork: Layer, wide: tuple[Edge, ...], empty: tuple[Edge, ...], lack: int) -> Deadlock:
        """It waits from the fork along the full branch to the join, and from there back along the empty one."""
        first = self.flow[wide[0].target]
        along = [edge.target for edge in wide]  # ends with the join
        back = [edge.source for edge in reversed(empty)]  # ends with the fork
        if first.capacity > 1:  # a FIFO stands there
            return Deadlock((fork.name, *along, *back[:-1]), first.name, first.capacity + lack)
        return Deadlock((fork.name, *along, *back[:-1]), wide[0].label, max(2, lack))

    def _behind(self, edge: Edge) -> set[str]:
        """All layers that a stream leads to."""
        found: set[str] = set()
        todo = [edge.target]
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += [onward.target for onward in self.flow.outward[name]]
        return found

    def _paths(self, start: Edge, end: str) -> list[tuple[Edge, ...]]:
        """Every way from an edge to a layer, as edges."""
        if start.target == end:
            return [(start,)]
        return [(start, *rest) for edge in self.flow.outward[start.target] for rest in self._paths(edge, end)]

    def _lack(self, join: Layer, wide: tuple[Edge, ...], empty: tuple[Edge, ...]) -> int:
        """How many words the full branch takes too few for the empty one ever to give the join its next word."""
        steps, full, starved = self.model(join), wide[-1].target_port, empty[-1].target_port
        assert isinstance(steps, StepModel)
        wanted = np.arange(1, len(steps.take[starved]) + 1, dtype=np.int64)
        taken = np.searchsorted(steps.take[full], steps.take[starved]).astype(np.int64)
        for edge in reversed(empty[1:]):
            layer = self.flow[edge.source]
            wanted = self.model(layer).needed(_port(empty, edge), wanted)
        for edge in reversed(wide[1:]):
            layer = self.flow[edge.source]
            taken = self.model(layer).needed(_port(wide, edge), taken + layer.capacity)
        return int((wanted - taken).max()) - 1  # the fork itself holds a word for the full branch


def _port(path: tuple[Edge, ...], edge: Edge) -> int:
    """The input port through which a path enters the layer that it leaves by `edge`."""
    return path[path.index(edge) - 1].target_port


def _apart(one: tuple[Edge, ...], other: tuple[Edge, ...]) -> bool:
    """Whether two ways from a fork leave it and come to the join by different ports."""
    return one[0] is not other[0] and one[-1] is not other[-1]
