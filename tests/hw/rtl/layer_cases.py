"""Layers around convolutions, of any shape, with random weights and thresholds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fireflow.hw.dataflow.layers import Layer, MatMul, Pad, Threshold, Window
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


U4, U8 = (0, 15), (0, 255)
FINN_LAYERS: dict[str, Layer] = {
    layer.name: layer
    for layer in (
        matmul("fc.w4a4", (2, 3), (8, 12), 4, U4, (4, 3)),
        matmul("fc.w3a4", (2, 3), (6, 8), 3, U4, (6, 2)),
        matmul("fc.w2a4", (2, 3), (6, 4), 2, U4, (3, 4), narrow=False),
        matmul("fc.w6a8", (2, 3), (8, 9), 6, U8, (2, 3), memory="bram"),
        matmul("fc.w6a6", (2, 3), (4, 6), 6, (0, 63), (2, 6), narrow=False),
        matmul("fc.signed", (2, 3), (4, 4), 4, (-8, 7), (2, 2)),
        matmul("fc.binary", (2, 3), (4, 4), 4, (0, 1), (2, 2)),
        threshold("act.t15", Stream((3, 3, 12), -100, 120, 4), 15),
        threshold("act.t7", Stream((3, 3, 6), 0, 90, 2), 7, out_lo=1),
        threshold("act.t10", Stream((2, 3, 4), -20, 30, 4), 10, out_lo=-3),
        threshold("act.t1", Stream((2, 3, 6), -20, 30, 3), 1),
        threshold("act.far", Stream((2, 3, 64), -9, 9, 1), 3, memory="bram"),
        window("win.k3", Stream((6, 7, 4), 0, 15, 2), 3, 1),
        window("win.k3s2", Stream((8, 9, 4), 0, 15, 4), 3, 2),
        window("win.k7s2", Stream((13, 13, 3), 0, 255, 3), 7, 2),
        window("win.parallel", Stream((8, 8, 3), 0, 255, 3), 3, 2, parallel=True),
        window("win.line", Stream((7, 7, 3), 0, 255, 3), 3, 1, parallel=True, memory="bram"),
        window("win.k1s2", Stream((5, 5, 4), 0, 15, 2), 1, 2),
        pad("pad.all", Stream((4, 5, 6), 0, 15, 2), (1, 1, 1, 1)),
        pad("pad.one", Stream((4, 3, 2), -8, 7, 2), (0, 2, 1, 0)),
    )
}
MATRIX_SHAPES = (
    matmul("w4a4", (2, 3), (16, 16), 4, U4, (4, 4)),
    matmul("w4a4.wide", (2, 3), (16, 12), 4, U4, (16, 12)),  # SF 1, NF 1: several chains, no replay
    matmul("w4a4.deep", (2, 3), (4, 40), 4, U4, (2, 1), memory="bram"),
    matmul("w4a4.full", (2, 3), (8, 24), 4, U4, (4, 2), narrow=False),
    matmul("w3a4", (2, 3), (6, 16), 3, U4, (3, 8)),
    matmul("w2a4", (2, 3), (12, 16), 2, U4, (6, 8)),
    matmul("w6a8", (2, 3), (8, 27), 6, U8, (2, 9)),
    matmul("w5a3", (2, 3), (5, 6), 5, (0, 7), (5, 2)),
    matmul("w4a1", (2, 3), (4, 6), 4, (0, 1), (1, 3)),
    matmul("w4a4.one", (1, 1), (4, 4), 4, U4, (4, 4)),
)
MATRICES = tuple(
    replace(shape, name=f"{shape.name}.{kernel}", kernel=kernel)
    for shape in MATRIX_SHAPES
    for kernel in ("dsp", "lut")
)
"""Our matrix unit, with DSPs and without."""
