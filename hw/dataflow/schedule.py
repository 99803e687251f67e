"""The schedule of a whole accelerator: its initiation interval, its latency, and when every word moves.

A FIFO can stand on any stream but those inside a convolution: padding, window, width converter and matrix product
hand their words over directly, so the slowest sets the pace of the others. Such a chain is one stage here. Behind
a parallel window a FIFO can stand: it is silent for whole rows where it strides, and bursts in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Mapping, Sequence

import numpy as np

from fireflow.hw.dataflow.layers.base import Layer
from fireflow.hw.dataflow.maxplus import ANYTIME
from fireflow.hw.dataflow.network import Dataflow, Edge
from fireflow.hw.dataflow.timing import StreamModel, Times

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class Chain(StreamModel):
    """Layers that hand their words over directly, each waiting for the next to take them."""

    models: tuple[StreamModel, ...]

    @property
    def words_in(self) -> tuple[int, ...]:
        return self.models[0].words_in

    def early(
        self, avail: Sequence[Int64Array], taken: Int64Array | None = None, after: Times | None = None
    ) -> Times:
        # A layer's times depend on those of the layer behind it, which depend on its own: repeated until nothing
        # changes. Times only grow, towards the earliest ones that satisfy both, and soon arrive there.
        behind: list[Int64Array | None] = [*([None] * (len(self.models) - 1)), taken]
        while True:
            inner: list[Times] = []
            given = avail
            for index, part in enumerate(self.models):
                before = after.inner[index] if after is not None else None
                inner.append(part.early(given, behind[index], before))
                given = [inner[-1].visible]
            now = [times.accept[0] for times in inner[1:]]
            if all(old is not None and np.array_equal(old, new) for old, new in zip(behind, now)):
                break
            behind[: len(now)] = now
        return Times(inner[0].accept, inner[-1].visible, np.array([ANYTIME]), tuple(inner))


@dataclass(frozen=True, eq=False)
class Stage:
    """A layer, or a chain of them, between places where FIFOs can stand. inputs: the edges it reads."""

    layers: tuple[Layer, ...]
    model: StreamModel
    inputs: tuple[Edge, ...]

    @property
    def output(self) -> str:
        return self.layers[-1].name


def direct(flow: Dataflow, edge: Edge) -> bool:
    """Whether an edge lies inside a convolution, where no FIFO stands."""
    target, source = flow[edge.target], flow.by_name.get(edge.source)
    while source is not None and source.passes_on:
        source = flow.by_name.get(source.sources[0])
    return (
        source is not None and source.gives_directly != "" and source.gives_directly == target.takes_directly
    )


@dataclass(frozen=True, eq=False)
class Timing:
    """The timing of a dataflow network.

    Args:
        flow: with or without FIFOs.
        family: of parts, as `Layer.timing` takes it; the interval is the same on all, the latency is not.
    """

    flow: Dataflow
    family: str

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages in topological order."""
        result: list[Stage] = []
        flow = self.flow
        open_chain: dict[str, list[Layer]] = {}
        for layer in flow.layers:
            edge = flow.inward[layer.name][0]
            chain = [*open_chain.pop(edge.source), layer] if direct(flow, edge) else [layer]
            onward = flow.outward[layer.name]
            if len(onward) == 1 and direct(flow, onward[0]):
                open_chain[layer.name] = chain
                continue
            models = [part.timing(self.family) for part in chain]
            stage_model = models[0] if len(models) == 1 else Chain(tuple(models))
            result.append(Stage(tuple(chain), stage_model, flow.inward[chain[0].name]))
        return tuple(result)

    @cached_property
    def intervals(self) -> Mapping[str, int]:
        """Cycles per frame of each stage that never waits, by the name of its last layer."""
        return {stage.output: stage.model.interval for stage in self.stages}

    @property
    def interval(self) -> int:
        """Cycles from frame to frame, if the FIFOs are deep enough: those of the slowest stage."""
        return max(self.intervals.values())

    @property
    def bottleneck(self) -> str:
        """The slowest stage, by the name of its last layer."""
        return max(self.intervals, key=lambda name: self.intervals[name])

    @cached_property
    def latency(self) -> int:
        """Cycles from the first word of a lone frame to the last word of its scores."""
        words = np.arange(self.flow.input.words, dtype=np.int64)
        times = self._walk(words, 0, None)
        return int(times[self.flow.output_name].visible[-1]) + 1

    def steady(self, period: int) -> dict[str, Times]:
        """One frame of a schedule that repeats every `period` cycles, each stage as early as it can.

        The words of the input come evenly over the period. Every edge where a FIFO can stand takes a cycle.
        By the name of the stage's last layer.
        """
        return self._walk(self.arrivals(period), 1, period)

    def arrivals(self, period: int) -> Int64Array:
        """When the words of the input come, evenly over a period."""
        words = self.flow.input.words
        return np.arange(words, dtype=np.int64) * period // words

    def _walk(self, given: Int64Array, hop: int, period: int | None) -> dict[str, Times]:
        visible = {self.flow.input_name: given}
        result: dict[str, Times] = {}
        for stage in self.stages:
            avail = [visible[edge.source] + hop for edge in stage.inputs]
            times = stage.model.early(avail) if period is None else settle(stage.model, avail, period)
            result[stage.output], visible[stage.output] = times, times.visible
        return result


def settle(stage: StreamModel, avail: Sequence[Int64Array], period: int) -> Times:
    """The earliest frame that repeats every `period` cycles, not fewer than the stage's interval."""
    times = stage.early(avail)
    while True:  # until the frame before, a period earlier, is the same
        again = stage.early(avail, after=times.shifted(-period))
        if np.array_equal(again.visible, times.visible):
            return again
        times = again


def estimated_interval(models: Sequence[StreamModel]) -> int:
    """About the interval of a node's slowest stage, without walking its words: for trying out many foldings.

    A window hands each of its words to the matrix product directly, which keeps it waiting.
    """
    work = max(model.work for model in models)
    return max(model.paced(work) for model in models)
