"""A list of NumPy calls on buffers allocated once, and the parts that several steps emit to it."""

from __future__ import annotations

import math
import operator
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Iterator

import numpy as np

from fireflow.hw.ops import MaxPool
from fireflow.hw.simulator.levels import Levels

if TYPE_CHECKING:
    from fireflow.hw.types import Array

# Elements that per-channel constants are repeated to: long runs are fast, and this one fits in the L1 cache.
RUN = 4096


class Tape:
    """NumPy calls to be made in order, again and again, and their scratch memory."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []
        self._scratch: dict[tuple[str, np.dtype[Any]], Array] = {}

    def emit(self, function: Callable[..., object], *args: Any, **options: Any) -> None:
        self.calls.append(partial(function, *args, **options))

    def temporary(self, use: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """Scratch memory shared by all steps: what one leaves in it, the next one overwrites."""
        key, count = (use, np.dtype(dtype)), math.prod(shape)
        if key not in self._scratch or self._scratch[key].size < count:
            self._scratch[key] = np.zeros(count, dtype)
        return self._scratch[key][:count].reshape(shape)

    def run(self) -> None:
        for call in self.calls:
            call()


def matmul(a: Array, b: Array, out: Array) -> None:
    """out = a @ b, all of them finite and exact.

    Some BLAS multiply what lies in the padding of their own buffers as well, and NumPy then warns of it
    (numpy/numpy#24067 and #28967): that says nothing of these numbers.
    """
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        np.matmul(a, b, out=out)


def emit_by_channel(tape: Tape, function: Callable[..., object], array: Array, values: Array) -> None:
    """array = function(array, values), with values (C,) along the last axis of a contiguous array."""
    channels = array.shape[-1]
    run = _divisor(array.size // channels, RUN // channels)
    long = array.reshape(-1, run * channels)
    tape.emit(function, long, np.tile(values, run), out=long)


def emit_count(tape: Tape, levels: Levels, acc: Array, target: Array) -> None:
    """target = number of thresholds reached; both (images, rows, W, C); acc is contiguous and used up."""
    channels = acc.shape[3]
    stored = tape.temporary("stored", acc.shape, levels.stored)
    counts = _emit_compare(tape, levels, acc.reshape(-1, channels)) if levels.exact.size else None
    if levels.exact.size < channels:
        emit_by_channel(tape, np.multiply, acc, levels.slope)
        emit_by_channel(tape, np.add, acc, levels.offset)
        tape.emit(np.copyto, stored, acc, casting="unsafe")
    zero, top = levels.stored.type(0), levels.stored.type(levels.top)
    if counts is None and target.itemsize == levels.stored.itemsize:
        tape.emit(np.clip, stored, zero, top, out=target.view(levels.stored))
        return
    tape.emit(np.clip, stored, zero, top, out=stored)
    if counts is not None:
        tape.emit(operator.setitem, stored.reshape(-1, channels), (slice(None), levels.exact), counts)
    tape.emit(np.copyto, target, stored, casting="unsafe")


def _emit_compare(tape: Tape, levels: Levels, flat: Array) -> Array:
    """The comparisons for the channels that need them. Returns the counts, (P, B)."""
    shape = (len(flat), levels.exact.size)
    picked = tape.temporary("picked", shape, flat.dtype)
    reached = tape.temporary("reached", shape, np.bool_)
    counts = tape.temporary("counts", shape, levels.stored)
    tape.emit(np.take, flat, levels.exact, axis=1, out=picked, mode="clip")
    tape.emit(counts.fill, 0)
    for column in levels.thresholds.T:
        tape.emit(np.greater_equal, picked, column, out=reached)
        tape.emit(np.add, counts, reached, out=counts)
    return counts


def emit_max_pool(
    tape: Tape, op: MaxPool, source: Array, target: Array, height: int, top: int = 0, first: int = 0
) -> None:
    """A max pool, rows first, then columns.

    `source` begins at row `first` of a picture of `height` rows, `target` at row `top` of the result.
    """
    images, rows, _, channels = target.shape
    middle = tape.temporary("rows", (images, rows, source.shape[2], channels), source.dtype)
    _emit_maximum(tape, op, 1, source, middle, height, top, first)
    _emit_maximum(tape, op, 2, middle, target, source.shape[2], 0, 0)


def _emit_maximum(
    tape: Tape, op: MaxPool, axis: int, source: Array, target: Array, size: int, start: int, first: int
) -> None:
    stride, before = op.stride[axis - 1], op.padding[axis - 1]
    lead = (slice(None),) * axis
    places = []
    for offset in range(op.kernel[axis - 1]):
        at = np.arange(start, start + target.shape[axis]) * stride + offset - before
        inside = np.flatnonzero((at >= 0) & (at < size))
        if len(inside):
            places.append((int(inside[0]), int(inside[-1]) + 1, int(at[inside[0]]) - first))
    # A place that is inside for every result comes first: it gives all of them their first value.
    places.sort(key=lambda place: place[0] - place[1])
    filled = places[0][1] - places[0][0] == target.shape[axis]
    if not filled:
        info = np.finfo(target.dtype) if target.dtype.kind == "f" else np.iinfo(target.dtype)
        tape.emit(target.fill, info.min)
    for begin, end, place in places:
        picked = source[(*lead, slice(place, place + (end - begin - 1) * stride + 1, stride))]
        part = target[(*lead, slice(begin, end))]
        if filled:
            tape.emit(np.copyto, part, picked)
            filled = False
        else:
            tape.emit(np.maximum, part, picked, out=part)


def split(total: int, largest: int) -> Iterator[tuple[int, int]]:
    """0..total in pieces as equal as possible, none larger than `largest`."""
    pieces = -(-total // max(1, largest))
    for piece in range(pieces):
        yield total * piece // pieces, total * (piece + 1) // pieces


def _divisor(number: int, largest: int) -> int:
    """The largest divisor of `number` that is at most `largest`; 1 if there is none."""
    return next((value for value in range(min(number, largest), 1, -1) if number % value == 0), 1)
