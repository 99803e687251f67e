"""A plan for a fixed number of images, as a list of NumPy calls on buffers that are allocated once."""

from __future__ import annotations

import math
import operator
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from hw.ops import MaxPool
from hw.simulator.levels import Levels
from hw.simulator.plan import (
    ConvStep,
    EvalStep,
    LevelStep,
    Plan,
    PoolStep,
    Step,
    Window,
    exact_type,
    stored_type,
)

if TYPE_CHECKING:
    from hw.types import Array

# What a tile's pixels and accumulators may take together, so that they stay in the L2 cache of common
# processors.
TILE_BYTES = 768 * 1024
# Elements that the per-channel constants are repeated to: long runs are fast, and still fit in the L1 cache.
RUN = 4096


class Program:
    """Computes `size` images at a time. Not for two threads at once: make one per thread.

    Args:
        plan: what to compute.
        size: number of images.
    """

    def __init__(self, plan: Plan, size: int) -> None:
        self.plan, self.size = plan, size
        self.calls: list[Callable[[], object]] = []
        self._scratch: dict[tuple[str, np.dtype[Any]], Array] = {}
        self._planes: dict[str, Array] = {}
        for name in plan.names:
            self._allocate(name)
        for step in plan.steps:
            self._compile(step)

    @property
    def input(self) -> Array:
        """(size, H, W, C), to be filled in before `run`."""
        return self.tensor(self.plan.graph.input_name)

    def run(self) -> None:
        for call in self.calls:
            call()

    def tensor(self, name: str) -> Array:
        """A tensor that this program computes, without its border: (size, ...) in its narrow type."""
        array = self._planes[name]
        if name not in self.plan.borders:
            return array
        top, left, _, _ = self.plan.borders[name]
        height, width, _ = self.plan.graph.types[name].shape
        return array[:, top : top + height, left : left + width]

    def _allocate(self, name: str) -> None:
        shape = self.plan.graph.types[name].shape
        top, left, bottom, right = self.plan.borders.get(name, (0, 0, 0, 0))
        if len(shape) == 3:
            shape = (shape[0] + top + bottom, shape[1] + left + right, shape[2])
        fill = self.plan.pad_values.get(name, self.plan.graph.types[name].lo)
        self._planes[name] = np.full((self.size, *shape), fill, stored_type(self.plan, name))

    def _temporary(self, use: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """Scratch memory shared by all steps: what one leaves in it, the next one overwrites."""
        key, count = (use, np.dtype(dtype)), math.prod(shape)
        if key not in self._scratch or self._scratch[key].size < count:
            self._scratch[key] = np.zeros(max(count, TILE_BYTES // np.dtype(dtype).itemsize), dtype)
        return self._scratch[key][:count].reshape(shape)

    def _emit(self, function: Callable[..., object], *args: Any, **options: Any) -> None:
        self.calls.append(partial(function, *args, **options))

    def _image(self, name: str) -> Array:
        """A tensor as (size, H, W, C), the (C,) after a global sum as one pixel."""
        array = self.tensor(name)
        return array if array.ndim == 4 else array[:, None, None, :]

    def _tiles(self, height: int, width: int, pixel_bytes: int) -> Iterator[tuple[int, int, int, int]]:
        """First and last image and row of each tile: some whole images, or some rows of one image."""
        pixels = max(1, TILE_BYTES // pixel_bytes)
        if pixels >= height * width:
            for first, last in _split(self.size, pixels // (height * width)):
                yield first, last, 0, height
            return
        for image in range(self.size):
            for top, bottom in _split(height, max(1, pixels // width)):
                yield image, image + 1, top, bottom

    def _compile(self, step: Step) -> None:
        if isinstance(step, ConvStep):
            self._conv(step)
        elif isinstance(step, LevelStep):
            self._level(step)
        elif isinstance(step, PoolStep):
            source, target = self.tensor(step.source), self.tensor(step.target)
            self._pool(step.op, source, target, source.shape[1], 0, 0)
        else:
            self._emit(self._evaluate, step)

    def _evaluate(self, step: EvalStep) -> None:
        arrays = [self.tensor(name).astype(np.int64) for name in step.node.inputs]
        self.tensor(step.node.name)[...] = step.node.op.eval(arrays)

    def _conv(self, step: ConvStep) -> None:
        height, width, channels = step.shape
        columns = max(len(product.weight) for product in step.products)
        pixel_bytes = step.dtype.itemsize * (columns + channels)
        target = self.tensor(step.target)
        sums = np.zeros((self.size, channels)) if step.shift is not None else None
        if sums is not None:
            self._emit(sums.fill, 0)
        if step.pool is not None:
            stride, window = step.pool.stride[0], step.pool.kernel[0]
            rows = max(1, (TILE_BYTES // pixel_bytes // width - window) // stride + 1)
            for image in range(self.size):
                for top, bottom in _split(target.shape[1], rows):
                    first = max(0, top * stride - step.pool.padding[0])
                    last = min(height, (bottom - 1) * stride - step.pool.padding[0] + window)
                    acc = self._accumulate(step, image, image + 1, first, last)
                    shape = (1, bottom - top, target.shape[2], channels)
                    pooled = self._temporary("pooled", shape, step.dtype)
                    self._pool(step.pool, acc, pooled, height, top, first)
                    self._finish(step, pooled, target[image : image + 1, top:bottom])
            return
        for first, last, top, bottom in self._tiles(height, width, pixel_bytes):
            acc = self._accumulate(step, first, last, top, bottom)
            if sums is not None:
                self._sum(step, acc, sums[first:last])
            else:
                self._finish(step, acc, target[first:last, top:bottom])
        if sums is not None:
            self._emit(np.add, sums, step.shift, out=sums)
            self._emit(np.copyto, target, sums, casting="unsafe")

    def _accumulate(self, step: ConvStep, first: int, last: int, top: int, bottom: int) -> Array:
        """Emits the products for a tile. Returns the accumulators, (images, rows, OW, OC)."""
        _, width, channels = step.shape
        pixels = (last - first) * (bottom - top) * width
        acc = self._temporary("acc", (pixels, channels), step.dtype)
        # Products with large windows first: those with a single pixel then find it already gathered.
        starts = np.cumsum([0] + [product.weight.shape[1] for product in step.products])
        order = sorted(range(len(step.products)), key=lambda at: -len(step.products[at].weight))
        gathered, window = acc, None
        for at in order:
            product = step.products[at]
            if window is None or product.window.column_of(window) is None:
                window = product.window
                gathered = self._gather(step, window, first, last, top, bottom)
            depth = self._planes[step.source].shape[3]
            begin = (product.window.column_of(window) or 0) * depth
            picked = gathered[:, begin : begin + len(product.weight)]
            self._emit(np.matmul, picked, product.weight, out=acc[:, starts[at] : starts[at + 1]])
        return acc.reshape(last - first, bottom - top, width, channels)

    def _gather(self, step: ConvStep, window: Window, first: int, last: int, top: int, bottom: int) -> Array:
        """Emits the copy of every output pixel's input pixels into a row of a matrix, (P, KH * KW * IC)."""
        plane = self._planes[step.source]
        border = self.plan.borders.get(step.source, (0, 0, 0, 0))
        kernel_h, kernel_w = window.kernel
        run = kernel_w * plane.shape[3]  # neighbours in a row lie together in memory
        shape = (last - first, bottom - top, step.shape[1], kernel_h, run)
        matrix = self._temporary("gathered", shape, step.dtype)
        strides = (plane.strides[0], plane.strides[1] * window.stride[0], plane.strides[2] * window.stride[1])
        row = border[0] - window.padding[0] + top * window.stride[0]
        column = border[1] - window.padding[1]
        for line in range(kernel_h):
            corner = plane[first:last, row + line :, column:]
            source = as_strided(corner, (*shape[:3], run), (*strides, plane.itemsize), writeable=False)
            self._emit(np.copyto, matrix[..., line, :], source)
        return matrix.reshape(-1, kernel_h * run)

    def _finish(self, step: ConvStep, acc: Array, target: Array) -> None:
        if step.levels is not None:
            self._count(step.levels, acc, target)
        else:
            self._emit(np.copyto, target, acc, casting="unsafe")

    def _sum(self, step: ConvStep, acc: Array, sums: Array) -> None:
        """Emits sums += sum over pixels of max(acc, floor)."""
        flat = acc.reshape(len(acc), -1, acc.shape[3])
        pixels = flat.shape[1]
        if step.floor is not None:
            run = _divisor(len(acc) * pixels, RUN // acc.shape[3])
            long = flat.reshape(-1, run * acc.shape[3])
            self._emit(np.maximum, long, np.tile(step.floor, run), out=long)
        dtype = exact_type(step.largest * pixels)
        assert dtype is not None, "the plan allows only sums that float64 holds"
        part = self._temporary("part", (len(acc), acc.shape[3]), dtype)
        self._emit(np.add.reduce, flat, axis=1, dtype=dtype, out=part)
        self._emit(np.add, sums, part, out=sums)

    def _level(self, step: LevelStep) -> None:
        sources, target = [self._image(name) for name in step.sources], self._image(step.target)
        _, height, width, channels = target.shape
        dtype = step.levels.slope.dtype
        for first, last, top, bottom in self._tiles(height, width, 2 * channels * dtype.itemsize):
            shape = (last - first, bottom - top, width, channels)
            acc, other = self._temporary("acc", shape, dtype), self._temporary("other", shape, dtype)
            self._emit(np.copyto, acc, sources[0][first:last, top:bottom])
            for source in sources[1:]:
                self._emit(np.copyto, other, source[first:last, top:bottom])
                self._emit(np.add, acc, other, out=acc)
            self._count(step.levels, acc, target[first:last, top:bottom])

    def _count(self, levels: Levels, acc: Array, target: Array) -> None:
        """Emits target = number of thresholds that acc reaches; both (images, rows, W, C), acc is used up."""
        channels = acc.shape[3]
        flat = acc.reshape(-1, channels)
        stored = self._temporary("stored", acc.shape, levels.stored)
        counts = self._compare(levels, flat) if levels.exact.size else None
        if levels.exact.size < channels:
            run = _divisor(len(flat), RUN // channels)
            long = flat.reshape(-1, run * channels)
            self._emit(np.multiply, long, np.tile(levels.slope, run), out=long)
            self._emit(np.add, long, np.tile(levels.offset, run), out=long)
            self._emit(np.copyto, stored, acc, casting="unsafe")
        zero, top = levels.stored.type(0), levels.stored.type(levels.top)
        if counts is None and target.itemsize == levels.stored.itemsize:
            self._emit(np.clip, stored, zero, top, out=target.view(levels.stored))
            return
        self._emit(np.clip, stored, zero, top, out=stored)
        if counts is not None:
            everything = (slice(None), levels.exact)
            self._emit(operator.setitem, stored.reshape(-1, channels), everything, counts)
        self._emit(np.copyto, target, stored, casting="unsafe")

    def _compare(self, levels: Levels, flat: Array) -> Array:
        """Emits the comparisons for the channels that need them. Returns the counts, (P, B)."""
        shape = (len(flat), levels.exact.size)
        picked = self._temporary("picked", shape, flat.dtype)
        reached = self._temporary("reached", shape, np.bool_)
        counts = self._temporary("counts", shape, levels.stored)
        self._emit(np.take, flat, levels.exact, axis=1, out=picked, mode="clip")
        self._emit(counts.fill, 0)
        for column in levels.thresholds.T:
            self._emit(np.greater_equal, picked, column, out=reached)
            self._emit(np.add, counts, reached, out=counts)
        return counts

    def _pool(self, op: MaxPool, source: Array, target: Array, height: int, top: int, first: int) -> None:
        """Emits a max pool, rows first, then columns.

        `source` begins at row `first` of a picture of `height` rows, `target` at row `top` of the result.
        """
        images, rows, _, channels = target.shape
        middle = self._temporary("rows", (images, rows, source.shape[2], channels), source.dtype)
        self._maximum(source, middle, 1, op, height, top, first)
        self._maximum(middle, target, 2, op, source.shape[2], 0, 0)

    def _maximum(
        self, source: Array, target: Array, axis: int, op: MaxPool, size: int, start: int, first: int
    ) -> None:
        stride, before = op.stride[axis - 1], op.padding[axis - 1]
        places = []
        for offset in range(op.kernel[axis - 1]):
            at = np.arange(start, start + target.shape[axis]) * stride + offset - before
            inside = np.flatnonzero((at >= 0) & (at < size))
            if len(inside):
                places.append((int(inside[0]), int(inside[-1]) + 1, int(at[inside[0]]) - first))
        # A place that is inside for every output row comes first: it gives all of them their first value.
        places.sort(key=lambda place: place[0] - place[1])
        filled = places[0][1] - places[0][0] == target.shape[axis]
        if not filled:
            info = np.finfo(target.dtype) if target.dtype.kind == "f" else np.iinfo(target.dtype)
            self._emit(target.fill, info.min)
        for begin, end, row in places:
            picked = source[(slice(None),) * axis + (slice(row, row + (end - begin - 1) * stride + 1, stride),)]
            part = target[(slice(None),) * axis + (slice(begin, end),)]
            if filled:
                self._emit(np.copyto, part, picked, casting="same_kind")
                filled = False
            else:
                self._emit(np.maximum, part, picked, out=part)


def _split(total: int, largest: int) -> Iterator[tuple[int, int]]:
    """0..total in pieces as equal as possible, none larger than `largest`."""
    pieces = -(-total // largest)
    for piece in range(pieces):
        yield total * piece // pieces, total * (piece + 1) // pieces


def _divisor(number: int, largest: int) -> int:
    """The largest divisor of `number` that is at most `largest`; 1 if none is."""
    return next((value for value in range(min(number, largest), 1, -1) if number % value == 0), 1)
