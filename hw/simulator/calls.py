"""A plan for a fixed number of images, compiled to a tape of NumPy calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from fireflow.hw.simulator.lanes import BIAS, IMAGES, LANES, MAGIC, UNUSED, levels_in_lanes, spread
from fireflow.hw.simulator.levels import Levels
from fireflow.hw.simulator.plan import (
    ConvStep,
    EvalStep,
    LevelStep,
    Patches,
    PlanStep,
    PoolStep,
    SimulationPlan,
    exact_type,
)
from fireflow.hw.simulator.tape import Tape, emit_by_channel, emit_count, emit_max_pool, matmul, split

if TYPE_CHECKING:
    from fireflow.hw.types import Array

# What a tile's pixels and accumulators may take together: around the size of an L2 cache and its share of
# the L3.
TILE_BYTES = 4096 * 1024


class Calls:
    """Computes `size` images at a time. Not for two threads at once: make one per thread.

    Args:
        plan: what to compute.
        size: number of images.
        packed: tensors kept with three images in the lanes of one number (see `lanes`); size is a multiple
            of 3.
    """

    def __init__(self, plan: SimulationPlan, size: int, packed: frozenset[str] = frozenset()) -> None:
        self.plan, self.size, self.packed = plan, size, packed
        self.tape = Tape()
        self._planes = {name: self._allocate(name, name in packed) for name in plan.names}
        self._copies: dict[str, Array] = {}  # packed planes of tensors that are not kept packed
        self._wide: dict[str, Array] = {}  # packed planes as float64
        for step in plan.steps:
            self._compile(step)

    @property
    def input(self) -> Array:
        """(size, H, W, C), to be filled in before `run`."""
        return self._inner(self.plan.graph.input_name)

    def run(self) -> None:
        self.tape.run()

    def tensor(self, name: str) -> Array:
        """A tensor that this program computes, without its border: (size, ...) in its narrow type."""
        array = self._inner(name)
        if name not in self.packed:
            return array
        apart = array.reshape(*array.shape[:-1], -1, LANES)[..., :IMAGES]
        return np.moveaxis(apart, -1, 1).reshape(self.size, *self.plan.graph.types[name].shape)

    # --- memory
    # ----------------------------------------------------------------------------------------------

    def _allocate(self, name: str, packed: bool) -> Array:
        shape = self.plan.graph.types[name].shape
        top, left, bottom, right = self.plan.borders.get(name, (0, 0, 0, 0))
        if len(shape) == 3:
            shape = (shape[0] + top + bottom, shape[1] + left + right, shape[2])
        dtype = self.plan.stored_type(name)
        fill = self.plan.pad_values.get(name, 0)
        if not packed:
            return np.full((self.size, *shape), fill, dtype)
        plane = np.zeros((self.size // IMAGES, *shape, LANES), dtype)
        plane[..., :IMAGES] = fill
        return plane.reshape(*plane.shape[:-2], -1)

    def _border(self, name: str) -> tuple[int, ...]:
        return self.plan.borders.get(name, (0, 0, 0, 0))

    def _inner(self, name: str, plane: Array | None = None) -> Array:
        """A tensor's plane without its border."""
        plane = self._planes[name] if plane is None else plane
        if len(self.plan.graph.types[name].shape) == 1:
            return plane
        top, left, _, _ = self._border(name)
        height, width, _ = self.plan.graph.types[name].shape
        return plane[:, top : top + height, left : left + width]

    def _image(self, name: str, packed: bool) -> Array:
        """A tensor as (images, H, W, C), the (C,) after a global sum as one pixel."""
        array = self._inner(name, self._packed_plane(name) if packed else None)
        return array if array.ndim == 4 else array[:, None, None, :]

    def _packed_plane(self, name: str) -> Array:
        """The plane of a packed tensor; emits the packing of one that is not."""
        if name in self.packed:
            return self._planes[name]
        if name not in self._copies:
            plane = self._copies[name] = self._allocate(name, True)
            apart = self._inner(name, plane.reshape(*plane.shape[:-1], -1, LANES))
            for image in range(IMAGES):
                self.tape.emit(np.copyto, apart[..., image], self._inner(name)[image::IMAGES])
        return self._copies[name]

    def _source(self, step: ConvStep) -> Array:
        """The plane that a convolution gathers from; for packed tensors, three images to a float64."""
        if step.target not in self.packed:
            return self._planes[step.source]
        if step.source not in self._wide:
            plane = self._packed_plane(step.source)
            lanes = self.tape.temporary("lanes", plane.shape, np.uint16)
            wide = np.zeros((*plane.shape[:-1], plane.shape[-1] // LANES))
            self.tape.emit(np.copyto, lanes, plane)
            self.tape.emit(np.copyto, wide, lanes.view(np.int64))
            self._wide[step.source] = wide
        return self._wide[step.source]

    # --- steps
    # -----------------------------------------------------------------------------------------------

    def _compile(self, step: PlanStep) -> None:
        if isinstance(step, ConvStep):
            self._conv(step)
        elif isinstance(step, LevelStep):
            self._level(step)
        elif isinstance(step, PoolStep):
            source = self._image(step.source, step.target in self.packed)
            target = self._inner(step.target)
            emit_max_pool(self.tape, step.op, source, target, source.shape[1])
        else:
            self.tape.emit(self._evaluate, step)

    def _evaluate(self, step: EvalStep) -> None:
        arrays = [self.tensor(name).astype(np.int64) for name in step.node.inputs]
        self._inner(step.node.name)[...] = step.node.op.eval(arrays)

    def _tiles(self, images: int, height: int, width: int, pixel_bytes: int) -> Iterator[tuple[int, ...]]:
        """First and last image and row of each tile: some whole images, or some rows of one image."""
        pixels = max(1, TILE_BYTES // pixel_bytes)
        if pixels >= height * width:
            for first, last in split(images, pixels // (height * width)):
                yield first, last, 0, height
            return
        for image in range(images):
            for top, bottom in split(height, pixels // width):
                yield image, image + 1, top, bottom

    def _conv(self, step: ConvStep) -> None:
        if step.pool is not None:
            self._conv_pool(step)
            return
        height, width, _channels = step.shape
        target = self._inner(step.target)
        images, packed = len(target), step.target in self.packed
        self._source(step)
        tiles = self._tiles(images, height, width, self._pixel_bytes(step))
        if step.shift is None:
            levels = levels_in_lanes(step.levels, BIAS) if packed and step.levels else step.levels
            for first, last, top, bottom in tiles:
                acc = self._accumulate(step, first, last, top, bottom)
                self._finish(levels, acc, target[first:last, top:bottom])
            return
        floor, shift = step.floor, step.shift
        if packed:
            # The lane without an image holds a constant; its sum is made zero.
            floor = None if floor is None else spread(floor + np.float32(BIAS), UNUSED)
            shift = spread(shift - height * width * BIAS, -height * width * UNUSED)
        sums = np.zeros((images, len(shift)))
        self.tape.emit(sums.fill, 0)
        for first, last, top, bottom in tiles:
            acc = self._accumulate(step, first, last, top, bottom)
            if floor is not None:
                emit_by_channel(self.tape, np.maximum, acc, floor)
            flat = acc.reshape(len(acc), -1, acc.shape[3])
            dtype = exact_type((step.largest + (BIAS if packed else 0)) * flat.shape[1])
            assert dtype is not None, "the plan allows only sums that float64 holds"
            part = self.tape.temporary("part", (len(acc), acc.shape[3]), dtype)
            self.tape.emit(np.add.reduce, flat, axis=1, dtype=dtype, out=part)
            self.tape.emit(np.add, sums[first:last], part, out=sums[first:last])
        self.tape.emit(np.add, sums, shift, out=sums)
        self.tape.emit(np.copyto, target, sums, casting="unsafe")

    def _conv_pool(self, step: ConvStep) -> None:
        """Some rows of the pool at a time; rows of the convolution that two tiles need are computed twice."""
        height, width, channels = step.shape
        op, target = step.pool, self._inner(step.target)
        assert op is not None
        stride, window, before = op.stride[0], op.kernel[0], op.padding[0]
        rows = (TILE_BYTES // self._pixel_bytes(step) // width - window) // stride + 1
        for image in range(len(target)):
            for top, bottom in split(target.shape[1], rows):
                first = max(0, top * stride - before)
                last = min(height, (bottom - 1) * stride - before + window)
                acc = self._accumulate(step, image, image + 1, first, last)
                shape = (1, bottom - top, target.shape[2], channels)
                pooled = self.tape.temporary("pooled", shape, step.dtype)
                emit_max_pool(self.tape, op, acc, pooled, height, top, first)
                self._finish(step.levels, pooled, target[image : image + 1, top:bottom])

    def _pixel_bytes(self, step: ConvStep) -> int:
        columns = max(len(product.weight) for product in step.products)
        if step.target in self.packed:
            return 8 * (columns + step.shape[2]) + 4 * LANES * step.shape[2]
        return step.dtype.itemsize * (columns + step.shape[2])

    def _accumulate(self, step: ConvStep, first: int, last: int, top: int, bottom: int) -> Array:
        """Emits the products for a tile. Returns the accumulators, (images, rows, OW, OC)."""
        _, width, channels = step.shape
        packed = step.target in self.packed
        shape = (last - first, bottom - top, width, channels)
        dtype = np.dtype(np.float64) if packed else step.dtype
        acc = self.tape.temporary("acc", shape, dtype)
        flat = acc.reshape(-1, channels)
        # Products with large windows first: those with a single pixel then find it already gathered.
        starts = np.cumsum([0] + [product.weight.shape[1] for product in step.products])
        order = sorted(range(len(step.products)), key=lambda at: -len(step.products[at].weight))
        gathered, window = flat, None
        for at in order:
            product = step.products[at]
            if window is None or product.window.column_of(window) is None:
                window = product.window
                gathered = self._gather(step, window, dtype, first, last, top, bottom)
            begin = (product.window.column_of(window) or 0) * self._source(step).shape[3]
            picked = gathered[:, begin : begin + len(product.weight)]
            weight = product.weight.astype(dtype, copy=False)
            self.tape.emit(matmul, picked, weight, out=flat[:, starts[at] : starts[at + 1]])
        if not packed:
            return acc
        self.tape.emit(np.add, acc, float(MAGIC), out=acc)
        apart = self.tape.temporary("apart", (*shape[:3], channels * LANES), np.float32)
        self.tape.emit(np.copyto, apart, acc.view(np.uint16))
        return apart

    def _gather(
        self,
        step: ConvStep,
        window: Patches,
        dtype: np.dtype[Any],
        first: int,
        last: int,
        top: int,
        bottom: int,
    ) -> Array:
        """Emits the copy of every output pixel's input pixels into a row of a matrix, (P, KH * KW * IC)."""
        plane, border = self._source(step), self._border(step.source)
        kernel_h, kernel_w = window.kernel
        run = kernel_w * plane.shape[3]  # neighbours in a row lie together in memory
        shape = (last - first, bottom - top, step.shape[1], kernel_h, run)
        strides = (plane.strides[0], plane.strides[1] * window.stride[0], plane.strides[2] * window.stride[1])
        row = border[0] - window.padding[0] + top * window.stride[0]
        column = border[1] - window.padding[1]
        corner = plane[first:last, row:, column:]
        view = as_strided(
            corner, shape, (*strides, plane.strides[1], plane.itemsize), writeable=False
        )  # every window, overlapping
        if window.kernel == (1, 1) and plane.dtype == dtype and view.flags.c_contiguous:
            return view.reshape(-1, run)
        matrix = self.tape.temporary("gathered", shape, dtype)
        for line in range(kernel_h):
            self.tape.emit(np.copyto, matrix[..., line, :], view[..., line, :])
        return matrix.reshape(-1, kernel_h * run)

    def _finish(self, levels: Levels | None, acc: Array, target: Array) -> None:
        if levels is not None:
            emit_count(self.tape, levels, acc, target)
        else:
            self.tape.emit(np.copyto, target, acc, casting="unsafe")

    def _level(self, step: LevelStep) -> None:
        packed = step.target in self.packed
        target = self._image(step.target, packed)
        sources = [self._image(name, packed) for name in step.sources]
        levels = levels_in_lanes(step.levels, 0) if packed else step.levels
        images, height, width, channels = target.shape
        dtype = levels.slope.dtype
        for first, last, top, bottom in self._tiles(images, height, width, 2 * channels * dtype.itemsize):
            shape = (last - first, bottom - top, width, channels)
            acc, other = (self.tape.temporary(use, shape, dtype) for use in ("acc", "other"))
            self.tape.emit(np.copyto, acc, sources[0][first:last, top:bottom])
            for source in sources[1:]:
                self.tape.emit(np.copyto, other, source[first:last, top:bottom])
                self.tape.emit(np.add, acc, other, out=acc)
            emit_count(self.tape, levels, acc, target[first:last, top:bottom])
