"""When each layer reads and writes its words, cycle by cycle, in the best case.

A layer is a row of steps, at most one per cycle. Some steps consume an input word, some give an output word.
`early` says when everything happens if each step happens as soon as it can, `late` if as late as a demand on the
outputs allows. The numbers are those of the RTL: FINN's MVAU with its replay buffer (mvu_vvu_axi.sv,
replay_buffer.sv), its sliding window generator (swg_template_*.sv), which reads the next frame only after the
last window of this one has left it, its thresholding, padding and width converter, and our own kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import TYPE_CHECKING, Sequence

import numpy as np

from fireflow.hw.dataflow.layers import (
    Concat,
    Fifo,
    Head,
    Layer,
    MatMul,
    MaxPool,
    Pad,
    Threshold,
    WidthConverter,
    Window,
)
from fireflow.hw.dataflow.maxplus import NEVER, earliest, latest
from fireflow.hw.dataflow.products import product

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array


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


class Model:
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
    def words_in(self) -> tuple[int, ...]:
        raise NotImplementedError

    def needed(self, port: int, outputs: Int64Array) -> Int64Array:
        """How many words of an input it takes before so many output words are there; `outputs` ascending or not."""
        raise NotImplementedError


def _interval(stage: Model, avail: list[Int64Array]) -> int:
    ends, times = [], None
    for _ in range(3):
        times = stage.early(avail, after=times)
        ends.append(int(times.visible[-1]))
    return ends[2] - ends[1]


@dataclass(frozen=True, eq=False)
class StepModel(Model):
    """A layer whose steps come in a fixed order.

    Args:
        steps: of a frame.
        take: for each input, the step that consumes each word.
        give: the step that gives each output word; ascending.
        latency: cycles from a step to its word being offered.
        gap: extra cycles between frames.
        overlap: whether the next frame may begin while the last word waits to be taken.
    """

    steps: int
    take: tuple[Int64Array, ...]
    give: Int64Array
    latency: int
    gap: int = 0
    overlap: bool = True

    @property
    def words_in(self) -> tuple[int, ...]:
        return tuple(len(take) for take in self.take)

    @property
    def interval(self) -> int:
        return self.steps + self.gap if self.overlap else super().interval

    def early(
        self, avail: Sequence[Int64Array], taken: Int64Array | None = None, after: Times | None = None
    ) -> Times:
        lower = np.full(self.steps, NEVER, np.int64)
        for take, times in zip(self.take, avail):
            lower[take] = np.maximum(lower[take], times)
        if taken is not None:  # one word waits in the output register; the step after it must wait for room
            inside = self.give + 1 < self.steps
            behind = self.give[inside] + 1
            lower[behind] = np.maximum(lower[behind], taken[inside])
        if after is not None:
            lower[0] = max(lower[0], int(after.state[0]) + 1 + self.gap, int(after.state[1]))
        times = earliest(lower)
        visible = times[self.give] + self.latency
        left = visible if taken is None else taken
        # The last word: without overlap it must have gone before the next frame begins.
        last = int(left[-1]) if self.overlap else int(left[-1]) + 1
        state = np.array([times[-1], last if taken is not None or not self.overlap else NEVER])
        return Times(tuple(times[take] for take in self.take), visible, state)

    def needed(self, port: int, outputs: Int64Array) -> Int64Array:
        last = self.give[np.clip(outputs, 1, len(self.give)) - 1]
        return np.where(outputs > 0, np.searchsorted(self.take[port], last, side="right"), 0)

    def late(self, demand: Int64Array, period: int) -> Times | None:
        upper = np.full(self.steps, -NEVER, np.int64)
        upper[self.give] = demand - self.latency
        if self.give[-1] != self.steps - 1:
            return None  # steps after the last word have no demand to be late for
        times = latest(upper)
        upper[-1] = min(upper[-1], times[0] + period - 1 - self.gap)
        times = latest(upper)
        state = np.array([times[-1], NEVER])
        return Times(tuple(times[take] for take in self.take), times[self.give] + self.latency, state)


@dataclass(frozen=True, eq=False)
class MatMulModel(Model):
    """A matrix product: for each pixel, its SF words once into a buffer, replayed for each of NF groups of outputs.

    Args:
        pixels, sf, nf: of a frame.
        latency: cycles from the last product of an output to its being offered.
        fetch: cycles from taking a word to multiplying it.
        capacity: words that the buffer holds.
    """

    pixels: int
    sf: int
    nf: int
    latency: int
    fetch: int
    capacity: int

    @property
    def words_in(self) -> tuple[int, ...]:
        return (self.pixels * self.sf,)

    @property
    def interval(self) -> int:
        return self.pixels * self.sf * self.nf

    def early(
        self, avail: Sequence[Int64Array], taken: Int64Array | None = None, after: Times | None = None
    ) -> Times:
        work, lower = self.sf * self.nf, avail[0]
        if after is not None and self.nf == 1:
            lower = np.concatenate([np.maximum(lower[:1], after.state[0]), lower[1:]])
        ready = earliest(lower) + self.fetch
        # A pixel may start when its word s is there by the s-th cycle.
        starts = (ready.reshape(self.pixels, self.sf) - np.arange(self.sf)).max(axis=1)
        if after is not None:
            starts[0] = max(starts[0], int(after.state[0]))
        starts = earliest(starts, work)
        if self.nf == 1:  # a word is taken in the cycle in which it is multiplied
            accept = ready
            done = accept.reshape(self.pixels, self.sf)[:, -1:]
            return Times((accept,), done.ravel() + self.latency, np.array([accept[-1] + 1]))
        return self._times(starts, avail[0], after)

    def _times(self, starts: Int64Array, avail: Int64Array, after: Times | None) -> Times:
        words, capacity = self.pixels * self.sf, self.capacity
        # A word's place is free for another once it was read for the last group.
        freed = (starts[:, None] + (self.nf - 1) * self.sf + np.arange(self.sf)).ravel()
        lower = avail.copy()
        if words > capacity:
            lower[capacity:] = np.maximum(lower[capacity:], freed[:-capacity])
        head = min(capacity, words)
        if after is not None:
            lower[:head] = np.maximum(lower[:head], after.state[1 : 1 + head])
        done = starts[:, None] + np.arange(1, self.nf + 1) * self.sf - 1  # (pixels, NF)
        state = np.concatenate([starts[-1:] + self.sf * self.nf, freed[-head:]])
        return Times((earliest(lower),), done.ravel() + self.latency, state)

    def needed(self, port: int, outputs: Int64Array) -> Int64Array:
        return np.minimum(-(-outputs // self.nf), self.pixels) * self.sf

    def late(self, demand: Int64Array, period: int) -> Times | None:
        work = self.sf * self.nf
        before = np.arange(1, self.nf + 1) * self.sf - 1 + self.latency
        upper = (demand.reshape(self.pixels, self.nf) - before).min(axis=1)
        starts = latest(upper, work)
        upper[-1] = min(upper[-1], starts[0] + period - work)
        starts = latest(upper, work)
        accept = (starts[:, None] + np.arange(self.sf)).ravel() - self.fetch
        return Times((accept,), (starts[:, None] + before).ravel(), np.array([NEVER]))


@dataclass(frozen=True, eq=False)
class WindowModel(Model):
    """FINN's window generator around one memory, a word of the window per cycle.

    Args:
        words: of an input frame.
        element: for each output word, which input word it is.
        free: for each output word, below which input word nothing is needed any more once it was fetched.
        depth: words in the memory.
    """

    words: int
    element: Int64Array
    free: Int64Array
    depth: int

    @property
    def words_in(self) -> tuple[int, ...]:
        return (self.words,)

    def early(
        self, avail: Sequence[Int64Array], taken: Int64Array | None = None, after: Times | None = None
    ) -> Times:
        # Input word j overwrites word j - depth: it has to wait for the fetch after which that one is free.
        index = np.arange(self.depth, self.words, dtype=np.int64)
        waits = np.searchsorted(self.free, index - self.depth, side="right")
        lower = avail[0].copy()
        if after is not None:
            lower[0] = max(lower[0], int(after.state[0]) + 1)
        room = np.full(len(self.element), NEVER, np.int64)
        if taken is not None:
            room[1:] = taken[:-1]
        accept = earliest(lower)
        fetch = earliest(np.maximum(accept[self.element] + 1, room))
        while True:
            again = lower.copy()
            again[self.depth :] = np.maximum(again[self.depth :], fetch[waits] + 1)
            accept = earliest(again)
            later = earliest(np.maximum(accept[self.element] + 1, room))
            if np.array_equal(later, fetch):
                break
            fetch = later
        visible = fetch + 1
        left = visible if taken is None else taken
        return Times((accept,), visible, np.array([max(int(left[-1]), int(accept[-1]))]))

    def needed(self, port: int, outputs: Int64Array) -> Int64Array:
        reach = np.maximum.accumulate(self.element) + 1
        return np.where(outputs > 0, reach[np.clip(outputs, 1, len(reach)) - 1], 0)


@singledispatch
def model(layer: Layer, family: str) -> Model:
    """The timing of a layer on a family of parts, here of one that has as many output words as input words.

    Args:
        layer: of a kind that takes a step for each word, if it is not registered below.
        family: "xc7" or "xcup", whose multipliers differ in width, and so the chains of products in length.
    """
    each = np.arange(layer.output.words, dtype=np.int64)
    return StepModel(len(each), tuple(each for _ in layer.inputs), each, 1)


@model.register
def _fifo(layer: Fifo, family: str) -> Model:
    each = np.arange(layer.output.words, dtype=np.int64)
    return StepModel(len(each), (each,), each, 1 if layer.depth == 2 else 2)


@model.register
def _pad(layer: Pad, family: str) -> Model:
    top, left, _, _ = layer.pads
    height, width, _ = layer.input.shape
    rows = np.arange(top, top + height)[:, None, None]
    columns = np.arange(left, left + width)[:, None]
    groups = layer.input.groups
    take = (rows * layer.output.shape[1] + columns) * groups + np.arange(groups)
    give = np.arange(layer.output.words, dtype=np.int64)
    return StepModel(len(give), (take.astype(np.int64).ravel(),), give, 1)


@model.register
def _threshold(layer: Threshold, family: str) -> Model:
    each = np.arange(layer.output.words, dtype=np.int64)
    return StepModel(len(each), (each,), each, 2 * layer.stages + 2)


@model.register
def _convert(layer: WidthConverter, family: str) -> Model:
    wide = layer.input.words < layer.output.words
    ratio = max(layer.input.words, layer.output.words) // min(layer.input.words, layer.output.words)
    many = np.arange(max(layer.input.words, layer.output.words), dtype=np.int64)
    take, give = (many[::ratio], many) if wide else (many, many[ratio - 1 :: ratio])
    return StepModel(len(many), (take,), give, 1)


@model.register
def _concat(layer: Concat, family: str) -> Model:
    groups = [stream.groups for stream in layer.inputs]
    total, pixels = sum(groups), layer.output.pixels
    take, first = [], 0
    for count in groups:
        own = np.arange(pixels, dtype=np.int64)[:, None] * total + first + np.arange(count)
        take.append(own.ravel())
        first += count
    return StepModel(total * pixels, tuple(take), np.arange(total * pixels, dtype=np.int64), 1)


@model.register
def _head(layer: Head, family: str) -> Model:
    each = np.arange(layer.input.words, dtype=np.int64)
    return StepModel(len(each), (each,), each[-layer.input.groups :], 2)


@model.register
def _max_pool(layer: MaxPool, family: str) -> Model:
    """A step per input word; a window's maximum comes with the last word of the window that lies inside."""
    top, left, _, _ = layer.padding
    height, width, _ = layer.input.shape
    rows, columns, _ = layer.output.shape
    groups = layer.input.groups
    last_row = np.minimum(np.arange(rows) * layer.stride[0] - top + layer.kernel[0] - 1, height - 1)
    last_column = np.minimum(np.arange(columns) * layer.stride[1] - left + layer.kernel[1] - 1, width - 1)
    pixel = last_row[:, None] * width + last_column
    give = (pixel.ravel()[:, None] * groups + np.arange(groups)).ravel().astype(np.int64)
    each = np.arange(layer.input.words, dtype=np.int64)
    return StepModel(len(each), (each,), give, 2)


@model.register
def _matmul(layer: MatMul, family: str) -> Model:
    pixels, sf, nf = layer.input.pixels, layer.mw // layer.simd, layer.mh // layer.pe
    if layer.kernel == "finn":
        # mvu.sv: 3 stages of the DSP, an adder tree over SIMD, a register; then the output queue and its register.
        depth = 3 + (layer.simd - 1).bit_length() + (layer.simd == 1) + 1
        return MatMulModel(pixels, sf, nf, depth + 2, 2 if nf > 1 else 0, max(2, 1 << (sf - 1).bit_length()))
    # matmul.sv: a read of the weights, the chain, an adder tree over chains, an adder, the queue and its register.
    shared = product(layer, family)
    digits, blocks = (layer.weight_bits + 1) // 2, 2 if layer.memory == "bram" else 1
    chain = blocks + (shared.chain + 2 if layer.kernel == "dsp" else shared.chain * digits + (digits > 1))
    tree = (layer.simd // shared.chain - 1).bit_length()
    return MatMulModel(pixels, sf, nf, chain + tree + 3, int(nf > 1), max(32, 2 << (sf - 1).bit_length()))


@model.register
def _window(layer: Window, family: str) -> Model:
    width, groups = layer.input.shape[1], layer.input.groups
    (kernel_h, kernel_w), (stride_h, stride_w) = layer.kernel, layer.stride
    rows, columns, _ = layer.output.shape
    corner = (np.arange(rows)[:, None] * stride_h * width + np.arange(columns) * stride_w).ravel()
    if layer.parallel or layer.kernel == (1, 1):
        reach = (kernel_h - 1) * width + kernel_w - 1
        give = ((corner + reach)[:, None] * groups + np.arange(groups)).ravel().astype(np.int64)
        each = np.arange(layer.input.words, dtype=np.int64)
        return StepModel(len(each), (each,), give, 1, overlap=False)
    inside = (np.arange(kernel_h)[:, None] * width + np.arange(kernel_w)).ravel() * groups
    offsets = (inside[:, None] + np.arange(groups)).ravel()  # (KH * KW * groups,)
    corner = corner.astype(np.int64) * groups
    element = corner[:, None] + offsets  # (windows, KH * KW * groups)
    following = np.append(corner[1:], layer.input.words)
    ahead = np.append(element.ravel()[1:], layer.input.words).reshape(element.shape)
    free = np.minimum(following[:, None], ahead).ravel()
    return WindowModel(layer.input.words, element.ravel(), free, layer.buffer_words)
