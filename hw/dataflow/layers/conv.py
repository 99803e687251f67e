"""A convolution of the graph as padding, windows and a matrix product."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterable, Mapping, Sequence

from fireflow.hw import ops
from fireflow.hw.dataflow.layers.maker import Assembly, Choices, Maker, NodeFolding, Source
from fireflow.hw.dataflow.layers.matmul import MatMul
from fireflow.hw.dataflow.layers.pad import Pad
from fireflow.hw.dataflow.layers.window import Window
from fireflow.hw.dataflow.memory import buffer_kind
from fireflow.hw.dataflow.stream import Stream, divisor, divisors
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.hw.dataflow.layers.base import Layer
    from fireflow.hw.graph import Node
    from fireflow.hw.types import TensorType

KERNELS = ("dsp", "lut")
"""Matrix units that may be chosen; where ours cannot compute a convolution, FINN's does."""
MOST_PARALLEL_CHANNELS = 8
"""With more channels a whole window in a word is not worth a look."""


@dataclass(frozen=True)
class ConvFolding(NodeFolding):
    """How a convolution is folded.

    Args:
        simd: what the matrix product reads.
        parallel: the window gives all its positions in one word.
        window_memory: what holds the rows of a window.
        kernel: of the matrix product; None: ours, with DSPs, where it can be.
    """

    simd: int = 1
    parallel: bool = False
    window_memory: str | None = None
    kernel: str | None = None


class ConvMaker(Maker, op=ops.Conv):
    """A Conv of the graph."""

    fields = ("pe", "simd", "lanes", "parallel", "memory", "window_memory", "kernel")

    def fold(
        self, node: Node, given: Mapping[str, Any], sources: Sequence[TensorType], lanes: Sequence[int]
    ) -> ConvFolding:
        op = _conv(node)
        mh, channels, mw = op.weight.shape[0], op.weight.shape[3], op.weight[0].size
        if op.groups != 1:
            raise InputError(f"groups must be 1 to become hardware, not {op.groups}; split the convolution")
        if any(op.padding) and op.pad_value:
            raise InputError(f"padding must hold 0 to become hardware, not {op.pad_value}; pad with zeros")
        pe = divisor("PE", given.get("pe", 1), "MH", mh)
        simd = divisor("SIMD", given.get("simd", 1), "MW", mw)
        parallel = given.get("parallel", False)
        if not isinstance(parallel, bool):
            raise InputError(f"parallel must be true or false, not {parallel!r}; change it")
        memory, rows, kernel = given.get("memory"), given.get("window_memory"), given.get("kernel")
        if not op.windowed:
            return ConvFolding(simd, pe, memory, simd, False, rows, kernel)
        wide = given.get("lanes", channels if parallel else math.gcd(simd, channels))
        return ConvFolding(divisor("lanes", wide, "C", channels), pe, memory, simd, parallel, rows, kernel)

    def first(self, node: Node) -> str:
        op = _conv(node)
        return node.name + (".pad" if any(op.padding) else ".window" if op.windowed else "")

    def make(self, build: Assembly, node: Node, fold: Any, sources: Sequence[Source]) -> Source:
        op, source = _conv(node), sources[0]
        if any(op.padding):
            source = _pad(build, node, source)
        if op.windowed:
            source = _window(build, node, fold, source)
        source = build.convert(source, fold.simd, node.name)
        weight = op.weight.reshape(op.weight.shape[0], -1)  # (MH, KH * KW * C)
        assert op.weight_bits is not None
        matmul = MatMul(
            node.name, (source.name,), (source.stream,), build.output(node, fold), weight, op.weight_bits,
            fold.lanes_out, fold.simd, kernel=fold.kernel or ("dsp" if ours_can(op, source.stream) else "finn"),
        )  # fmt: skip
        return build.append(matmul, fold.memory)

    def choices(
        self, node: Node, sources: Sequence[TensorType], choices: Choices
    ) -> Iterable[dict[str, Any]]:
        op = _conv(node)
        mh, mw, channels = op.weight.shape[0], op.weight[0].size, op.weight.shape[3]
        kernels = choices.kernels if ours_can(op, sources[0]) else ("finn",)
        for pe, simd, kind, kernel in itertools.product(divisors(mh), divisors(mw), ("lut", "bram"), kernels):
            # A window gives whole pixels or parts of one that SIMD takes as they are, or several for a word of SIMD:
            # anything else would wait for its converter at every pixel, the product's buffer being a pixel deep.
            if op.windowed and channels % simd and simd % channels:
                continue
            given = {"pe": pe, "simd": simd, "memory": kind, "kernel": kernel}
            yield given
            if op.windowed and simd > channels and channels <= MOST_PARALLEL_CHANNELS:
                yield {**given, "parallel": True}

    def with_uram(self, given: Mapping[str, Any], layers: Sequence[Layer]) -> dict[str, Any]:
        # Of the layers in front of the product only a window has a memory.
        rows = next((layer.storage for layer in layers[:-1] if layer.storage), None)
        if rows is not None and buffer_kind(*rows[0], uram=True) == "uram":
            return {**given, "window_memory": "uram"}
        return dict(given)


def ours_can(op: ops.Conv, source: TensorType) -> bool:
    """Whether our matrix unit can compute a convolution: of unsigned numbers that fit its multipliers."""
    return not source.signed and source.bits <= 17 and (op.weight_bits or 0) <= 18


def _conv(node: Node) -> ops.Conv:
    assert isinstance(node.op, ops.Conv)
    return node.op


def _pad(build: Assembly, node: Node, source: Source) -> Source:
    top, left, bottom, right = _conv(node).padding
    stream = source.stream
    height, width, channels = stream.shape
    shape = (height + top + bottom, width + left + right, channels)
    padded = Stream(shape, min(0, stream.lo), max(0, stream.hi), stream.lanes)
    return build.append(
        Pad(f"{node.name}.pad", (source.name,), (stream,), padded, (top, left, bottom, right))
    )


def _window(build: Assembly, node: Node, fold: ConvFolding, source: Source) -> Source:
    op, stream = _conv(node), source.stream
    kernel, stride = (op.weight.shape[1], op.weight.shape[2]), (op.stride[0], op.stride[1])
    area, out = kernel[0] * kernel[1], build.graph.types[node.name]
    lanes = area * fold.lanes_in if fold.parallel else fold.lanes_in
    windows = Stream((*out.shape[:2], area * stream.channels), stream.lo, stream.hi, lanes)
    window = Window(f"{node.name}.window", (source.name,), (stream,), windows, kernel, stride, fold.parallel)
    return build.append(window, fold.window_memory)
