"""Layers around convolutions, of any shape, with random weights and thresholds."""

from __future__ import annotations

import numpy as np

from fireflow.hw.dataflow.layers import MatMul, Pad, Threshold, Window
from fireflow.hw.dataflow.stream import Stream


def matmul(
    name: str,
    pixels: tuple[int, int],
    weight_shape: tuple[int, int],
    weight_bits: int,
    inputs: tuple[int, int],
    folding: tuple[int, int],
    *,
    narrow: bool = True,
    memory: str = "lut",
    kernel: str = "finn",
) -> MatMul:
    """weight_shape (MH, MW), inputs (lo, hi), folding (PE, SIMD)."""
    random = np.random.default_rng([*weight_shape, weight_bits])
    top = 1 << (weight_bits - 1)
    weight = random.integers(-top + narrow, top, weight_shape)
    weight.flat[:2] = -top + narrow, top - 1
    ends = weight[..., None] * np.array(inputs)
    lo, hi = int(ends.min(2).sum(1).min()), int(ends.max(2).sum(1).max())
    source = Stream((*pixels, weight_shape[1]), *inputs, folding[1])
    sink = Stream((*pixels, weight_shape[0]), lo, hi, folding[0])
    return MatMul(name, ("image",), (source,), sink, weight, weight_bits, *folding, memory, kernel)


def threshold(
    name: str, source: Stream, steps: int, out_lo: int = 0, memory: str = "lut", seed: int = 0
) -> Threshold:
    """Thresholds inside and outside the range of the input, some of them equal."""
    random = np.random.default_rng(seed)
    values = np.sort(random.integers(source.lo - 2, source.hi + 4, (source.channels, steps)), axis=1)
    sink = Stream(source.shape, out_lo, out_lo + steps, source.lanes)
    return Threshold(name, ("image",), (source,), sink, values, out_lo, memory)


def window(
    name: str, source: Stream, kernel: int, stride: int, parallel: bool = False, memory: str = "lut"
) -> Window:
    rows, columns = ((size - kernel) // stride + 1 for size in source.shape[:2])
    channels = kernel * kernel * source.channels
    sink = Stream((rows, columns, channels), source.lo, source.hi, channels if parallel else source.lanes)
    return Window(name, ("image",), (source,), sink, (kernel, kernel), (stride, stride), parallel, memory)


def pad(name: str, source: Stream, pads: tuple[int, int, int, int]) -> Pad:
    top, left, bottom, right = pads
    height, width, channels = source.shape
    shape = (height + top + bottom, width + left + right, channels)
    return Pad(
        name,
        ("image",),
        (source,),
        Stream(shape, min(0, source.lo), max(0, source.hi), source.lanes),
        pads,
    )


def leading_words(layer: Pad) -> int:
    """Words of the next frame that FINN's padding gives before it has seen any of it."""
    top, left, _, _ = layer.pads
    return (top * layer.output.shape[1] + left) * layer.output.groups
