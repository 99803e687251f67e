"""Layers for the kernels' tests: the corners that matter, and random ones."""

from __future__ import annotations

import numpy as np

from fireflow.hw import ops
from fireflow.hw.dataflow.layers import Add, Concat, Fifo, Fork, Head, Layer, MaxPool, WidthConverter
from fireflow.hw.dataflow.layers.multiply import Multiply
from fireflow.hw.dataflow.stream import Stream
from fireflow.hw.errors import InputError


def pool(
    name: str,
    source: Stream,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...] = (0, 0, 0, 0),
    memory: str = "lut",
) -> MaxPool:
    kind = ops.MaxPool(kernel, stride, padding).infer([source])
    return MaxPool(
        name, ("image",), (source,), Stream.of(kind, source.lanes), kernel, stride, padding, memory
    )


def fork(name: str, source: Stream, copies: int) -> Fork:
    return Fork(name, ("image",), (source,), source, copies)


def concat(name: str, first: Stream, second: Stream) -> Concat:
    shape = (*first.shape[:2], first.channels + second.channels)
    output = Stream(shape, min(first.lo, second.lo), max(first.hi, second.hi), first.lanes)
    return Concat(name, ("a", "b"), (first, second), output)


def add(name: str, first: Stream, second: Stream) -> Add:
    output = Stream(first.shape, first.lo + second.lo, first.hi + second.hi, first.lanes)
    return Add(name, ("a", "b"), (first, second), output)


def multiply(name: str, source: Stream, gate: tuple[int, int], memory: str = "lut") -> Multiply:
    """gate: lo and hi of the factors."""
    factors = Stream((1, 1, source.channels), *gate, source.lanes)
    kind = ops.Multiply().infer([source, factors])
    streams = (source, factors), Stream.of(kind, source.lanes)
    return Multiply(name, ("a", "b"), *streams, memory)


def width(name: str, source: Stream, lanes: int) -> WidthConverter:
    return WidthConverter(name, ("image",), (source,), Stream.of(source, lanes))


def fifo(name: str, source: Stream, depth: int, memory: str = "lut") -> Fifo:
    return Fifo(name, ("image",), (source,), source, depth, memory)


def head(name: str, source: Stream, bias: np.ndarray, relu: bool, memory: str = "lut") -> Head:
    lo, hi = source.lo + int(bias.min()), source.hi + int(bias.max())
    lo, hi = (max(0, lo), max(0, hi)) if relu else (lo, hi)
    output = Stream((source.channels,), source.pixels * lo, source.pixels * hi, source.lanes)
    return Head(name, ("image",), (source,), output, bias, relu, memory)


def random_stream(rng: np.random.Generator, largest: int = 9) -> Stream:
    """Any shape, few or many bits, signed or not."""
    lanes, groups = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    hi = int(rng.choice([1, 7, 15, 255, 70000]))
    lo = int(rng.choice([0, 0, -1, -hi - 1]))
    height, columns = (int(size) for size in rng.integers(1, largest, 2))
    return Stream((height, columns, lanes * groups), lo, hi, lanes)


def random_memory(rng: np.random.Generator) -> str:
    return str(rng.choice(["lut", "bram"]))


def random_pool(rng: np.random.Generator, name: str) -> MaxPool:
    while True:
        window = tuple(int(size) for size in rng.integers(1, 4, 2))
        stride = tuple(int(size) for size in rng.integers(1, 4, 2))
        padding = (
            *(int(rng.integers(0, size)) for size in window),
            *(int(pad) for pad in rng.integers(0, 2, 2)),
        )
        try:
            layer = pool(name, random_stream(rng), window, stride, padding, random_memory(rng))
            layer.rtl("xc7")
            return layer
        except InputError:  # a window misses the picture, or two end at one place
            continue


def random_multiply(rng: np.random.Generator, name: str) -> Multiply:
    hi = int(rng.choice([0, 1, 2, 7, 15, 31, 255, 999]))
    lo = int(rng.choice([0, 0, -1, -hi - 1]))
    return multiply(name, random_stream(rng, 5), (lo, hi), random_memory(rng))


def random_head(rng: np.random.Generator, name: str) -> Head:
    source = random_stream(rng, 5)
    bias = rng.integers(-300, 300, source.channels) * int(rng.integers(0, 5) > 0)
    return head(name, source, bias, bool(rng.integers(2)), random_memory(rng))


def all_layers() -> dict[str, Layer]:
    """By name, which is an identifier."""
    rng = np.random.default_rng(0)
    unsigned, signed = Stream((5, 7, 6), 0, 15, 2), Stream((5, 7, 6), -8, 7, 2)
    three, two = (3, 3), (2, 2)
    layers = [
        # SqueezeNet's pools, floor and ceil; one channel group; rows of a single word and of two
        pool("pool_floor", Stream((11, 11, 8), 0, 15, 2), three, two),
        pool("pool_ceil", Stream((10, 12, 8), 0, 15, 2), three, two, (0, 0, 1, 1), "bram"),
        pool("pool_one_group", Stream((8, 9, 4), -8, 7, 4), three, two, (0, 0, 1, 0)),
        pool("pool_one_word", Stream((3, 3, 2), -8, 7, 2), three, two, memory="bram"),
        pool("pool_two_words", Stream((3, 5, 2), -8, 7, 2), three, two, memory="bram"),
        pool("pool_overlap", Stream((6, 7, 6), 0, 15, 2), three, (1, 1), (2, 1, 0, 0), "bram"),
        pool("pool_cut", Stream((5, 5, 4), -8, 7, 2), two, two, (0, 0, 1, 1)),
        *(random_pool(rng, f"pool_{number}") for number in range(8)),
        fork("fork_2", unsigned, 2),
        fork("fork_3", Stream((4, 4, 16), 0, 15, 16), 3),
        concat("concat_alike", unsigned, unsigned),
        concat("concat_ranges", unsigned, Stream((5, 7, 10), -2, 1, 2)),
        concat("concat_signed", Stream((5, 7, 4), -2, 1, 2), Stream((5, 7, 2), -8, 15, 2)),
        concat("concat_one_word", Stream((5, 7, 3), 0, 3, 3), Stream((5, 7, 3), 0, 12, 3)),
        add("add_alike", unsigned, unsigned),
        add("add_ranges", signed, Stream((5, 7, 6), 0, 200, 2)),
        add("add_wide", Stream((3, 3, 4), -70000, 70000, 4), Stream((3, 3, 4), -1, 0, 4)),
        multiply("multiply_alike", unsigned, (0, 15)),
        multiply("multiply_signed", signed, (-8, 7), "bram"),
        multiply("multiply_one_group", Stream((4, 3, 5), 0, 15, 5), (0, 255)),
        multiply("multiply_two_groups", Stream((4, 3, 6), -128, 127, 3), (0, 15), "bram"),
        multiply("multiply_one_pixel", Stream((1, 1, 6), 0, 255, 2), (-16, 15)),
        multiply("multiply_one_word", Stream((1, 1, 2), -8, 7, 2), (0, 63)),
        multiply("multiply_bits", Stream((3, 3, 4), 0, 1, 2), (-1, 0)),
        *(random_multiply(np.random.default_rng(number), f"multiply_{number}") for number in range(8)),
        *(
            width(f"width_{a}_{b}", Stream.of(signed, a), b)
            for a, b in ((1, 6), (2, 6), (6, 1), (6, 2), (3, 3))
        ),
        *(fifo(f"fifo_lut_{depth}", unsigned, depth) for depth in (2, 3, 17, 33, 34, 65)),
        *(fifo(f"fifo_bram_{depth}", unsigned, depth, "bram") for depth in (3, 4, 64)),
        fifo("fifo_uram", Stream((5, 7, 32), 0, 15, 16), 5, "uram"),
        head("head_conv10", Stream((3, 3, 10), -60000, 60000, 1), rng.integers(-900, 900, 10), True),
        head("head_one_group", Stream((4, 4, 4), -100, 90, 4), rng.integers(-99, 99, 4), False),
        head("head_two_groups", Stream((4, 4, 4), -100, 90, 2), rng.integers(-99, 99, 4), True, "bram"),
        head("head_one_pixel", Stream((1, 1, 6), 0, 15, 2), rng.integers(-9, 9, 6), True),
        *(random_head(rng, f"head_{number}") for number in range(5)),
    ]
    return {layer.name: layer for layer in layers}
