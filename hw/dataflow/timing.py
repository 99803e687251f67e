"""When each layer reads and writes its words, cycle by cycle, in the best case.

A layer is a row of steps, at most one per cycle. Some steps consume an input word, some give an output word.
`early` says when everything happens if each step happens as soon as it can, `late` if as late as a demand on the
outputs allows. The numbers are those of the RTL: FINN's MVAU with its replay buffer (mvu_vvu_axi.sv,
replay_buffer.sv), its sliding window generator (swg_template_*.sv), which reads the next frame only after the
last window of this one has left it, its thresholding and padding, and our own kernels. The model of each kind of
layer is in its own file, `layers/`; here is what they have in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

import numpy as np

from fireflow.hw.dataflow.maxplus import ANYTIME, earliest, latest
from fireflow.hw.parts.families import FAMILIES

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array

ANY_FAMILY = next(iter(FAMILIES))
"""For what is the same on every family of parts: the interval, and how many words a layer needs; not the latency."""


@dataclass(frozen=True, eq=False)
class Times:
    """One frame of a layer.

    Args:
        accept: for each input, the cycle in which each word is taken; int64 (words,).
        visible: the cycle from which each output word is offered; int64 (words,).
        state: what the next frame has to wait for; the model's matter.
        inner: of a chain, its layers.
    """

    accept: tuple[Int64Array, ...]
    visible: Int64Array
    state: Int64Array
    inner: tuple[Times, ...] = ()

    def shifted(self, cycles: int) -> Times:
        accept, inner = (a + cycles for a in self.accept), (times.shifted(cycles) for times in self.inner)
        return Times(tuple(accept), self.visible + cycles, self.state + cycles, tuple(inner))


class StreamModel:
    """How a layer times its words."""

    def early(
        self,
        avail: Sequence[Int64Array],
        taken: Int64Array | None = None,
        after: Times | None = None,
    ) -> Times:
        """Everything as soon as it can.

        Args:
            avail: for each input, the cycle from which each word is offered.
            taken: when the next layer takes each output word, if it may keep this layer waiting.
            after: the frame before.
        """
        raise NotImplementedError

    def late(self, demand: Int64Array, period: int) -> Times | None:
        """Everything as late as it can, so that output word k is offered by demand[k]; None: not known.

        `period` cycles later the same happens with the next frame.
        """
        return None

    @property
    def interval(self) -> int:
        """Cycles per frame of a layer that never waits: from one frame's end to the next's."""
        return _interval(self, [np.zeros(words, np.int64) for words in self.words_in])

    @property
    def work(self) -> int:
        """Cycles that it spends on a pixel while whoever gives it the next one waits; 0 where none does."""
        return 0

    def paced(self, work: int) -> int:
        """About the interval where whoever reads spends `work` cycles on a pixel, without walking the words."""
        return self.interval

    @property
    def words_in(self) -> tuple[int, ...]:
        raise NotImplementedError

    def needed(self, port: int, outputs: Int64Array) -> Int64Array:
        """How many words of an input it takes before so many output words are there; `outputs` ascending or not."""
        raise NotImplementedError


def _interval(stage: StreamModel, avail: list[Int64Array]) -> int:
    ends, times = [], None
    for _ in range(3):
        times = stage.early(avail, after=times)
        ends.append(int(times.visible[-1]))
    return ends[2] - ends[1]


@dataclass(frozen=True, eq=False)
class StepModel(StreamModel):
    """A layer whose steps come in a fixed order.

    Args:
        steps: of a frame.
        take: for each input, the step that consumes each word.
        give: the step that gives each output word; ascending.
        latency: cycles from a step to its word being offered.
        gap: extra cycles between frames.
        overlap: whether the next frame may begin while the last word waits to be taken.
        start: cycles after reset before the first step of the first frame.
    """

    steps: int
    take: tuple[Int64Array, ...]
    give: Int64Array
    latency: int
    gap: int = 0
    overlap: bool = True
    start: int = 0

    @property
    def words_in(self) -> tuple[int, ...]:
        return tuple(len(take) for take in self.take)

    @property
    def interval(self) -> int:
        return self.steps + self.gap if self.overlap else super().interval

    def paced(self, work: int) -> int:
        return self.steps + self.gap + (not self.overlap)

    def early(
        self, avail: Sequence[Int64Array], taken: Int64Array | None = None, after: Times | None = None
    ) -> Times:
        lower = np.full(self.steps, ANYTIME, np.int64)
        for take, times in zip(self.take, avail):
            lower[take] = np.maximum(lower[take], times)
        if taken is not None:  # one word waits in the output register; the step after it must wait for room
            inside = self.give + 1 < self.steps
            behind = self.give[inside] + 1
            lower[behind] = np.maximum(lower[behind], taken[inside])
        if after is None:
            lower[0] = max(lower[0], self.start)
        else:
            lower[0] = max(lower[0], int(after.state[0]) + 1 + self.gap, int(after.state[1]))
        times = earliest(lower)
        visible = times[self.give] + self.latency
        left = visible if taken is None else taken
        # The last word: without overlap it must have gone before the next frame begins.
        last = int(left[-1]) if self.overlap else int(left[-1]) + 1
        state = np.array([times[-1], last if taken is not None or not self.overlap else ANYTIME])
        return Times(tuple(times[take] for take in self.take), visible, state)

    def needed(self, port: int, outputs: Int64Array) -> Int64Array:
        last = self.give[np.clip(outputs, 1, len(self.give)) - 1]
        return np.where(outputs > 0, np.searchsorted(self.take[port], last, side="right"), 0)

    def late(self, demand: Int64Array, period: int) -> Times | None:
        upper = np.full(self.steps, -ANYTIME, np.int64)
        upper[self.give] = demand - self.latency
        if self.give[-1] != self.steps - 1:
            return None  # steps after the last word have no demand to be late for
        times = latest(upper)
        upper[-1] = min(upper[-1], times[0] + period - 1 - self.gap)
        times = latest(upper)
        state = np.array([times[-1], ANYTIME])
        return Times(tuple(times[take] for take in self.take), times[self.give] + self.latency, state)


def word_by_word(words: int, latency: int, inputs: int = 1) -> StepModel:
    """A layer that takes a word of each input and gives one in each step."""
    each = np.arange(words, dtype=np.int64)
    return StepModel(words, (each,) * inputs, each, latency)
