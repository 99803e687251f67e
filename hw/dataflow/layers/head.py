"""The end of a classifier: sums over all pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from fireflow.hw import ops
from fireflow.hw.dataflow.kernel import Kernel, memory_image, ports
from fireflow.hw.dataflow.layers.base import Layer, Words
from fireflow.hw.dataflow.layers.maker import Assembly, Maker, Source
from fireflow.hw.dataflow.memory import KINDS, RAM_STYLES, rom_kind, rom_luts
from fireflow.hw.dataflow.timing import StepModel, StreamModel
from fireflow.hw.errors import InputError
from fireflow.hw.types import signed_bits

if TYPE_CHECKING:
    from fireflow.hw.graph import Graph, Node
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class Head(Layer):
    """out[c] = sum over all pixels of f(x + bias[c]), with f = max(0, .) if `relu`.

    (H, W, C) -> (C,) in words of the input's lanes, emitted while the last pixel passes. bias: int64 (C,).
    memory: what holds the sums.
    """

    bias: Int64Array
    relu: bool
    memory: str = "lut"

    held = "sums"
    computes = True
    gives_at_the_end = True

    def check(self) -> None:
        self._check_memory()
        if self.bias.shape != (self.input.channels,):
            raise InputError(
                f"bias must be {self.input.channels} numbers, not of shape {self.bias.shape}; check the wiring"
            )
        self._expect((self.input.channels,), self.input.lanes)

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        terms = arrays[0] + self.bias
        result: Int64Array = (np.maximum(terms, 0) if self.relu else terms).sum(axis=(1, 2))
        return result

    def timing(self, family: str) -> StreamModel:
        each = np.arange(self.input.words, dtype=np.int64)
        # The first bias comes from its memory in the first cycle after reset.
        return StepModel(len(each), (each,), each[-self.input.groups :], 2, start=int(self.bias.any()))

    @property
    def storage(self) -> tuple[Words, ...]:
        return ((self.input.groups, self.output.width),)

    def features(self, family: str) -> dict[str, float]:
        span = max(abs(int(self.bias.min())), abs(int(self.bias.max()))).bit_length() + 1
        return {
            "layer": 1,
            "input_bits": self.input.width,
            "sum_bits": self.output.width,
            "counter_bits": self.input.words.bit_length(),
            "rom_luts": rom_luts(self.input.groups, self.lanes * span),
            "ram_luts": self._ram_luts(family),
            "choice_luts": self._choice_luts(self.storage),
        }

    def rtl(self, family: str) -> Kernel:
        source, bias = self.input, self.bias
        lo, hi = source.lo + int(bias.min()), source.hi + int(bias.max())
        bias_bits = signed_bits(int(bias.min()), int(bias.max()))
        path = f"{self.name}.bias.hex" if bias.any() else ""
        parameters: dict[str, int | str] = {
            "CHANNELS": source.channels,
            "LANES": self.lanes,
            "PIXELS": source.pixels,
            "ELEM_BITS": source.bits,
            "SIGNED": int(source.signed),
            "BIAS_FILE": path,
            "BIAS_BITS": bias_bits,
            "VALUE_BITS": signed_bits(lo, hi),
            "RELU": int(self.relu),
            "SUM_BITS": self.output.bits,
            "RAM_STYLE": RAM_STYLES[self.memory],
            # Not "distributed", by which Yosys understands a RAM.
            "ROM_STYLE": "block" if rom_kind(source.groups, self.lanes * bias_bits) == "bram" else "auto",
        }
        images = {path: memory_image(bias.reshape(-1, self.lanes), bias_bits)} if path else {}
        streams = ports("in", self.inputs), ports("out", (self.output,))
        return Kernel("global_sum", parameters, *streams, images=images)


@dataclass(frozen=True)
class _Fused:
    """What a GlobalSum takes in: the tensor in front of its Bias and Relu, and these."""

    source: str
    bias: ops.Bias | None
    relu: bool


def _fuse(graph: Graph, node: Node) -> _Fused:
    by_name = {each.name: each for each in graph.nodes}
    source, bias, relu = node.inputs[0], None, False
    for kind in (ops.Relu, ops.Bias):
        before = by_name.get(source)
        if before is not None and isinstance(before.op, kind) and len(graph.consumers[source]) == 1:
            source = before.inputs[0]
            if isinstance(before.op, ops.Bias):
                bias = before.op
            else:
                relu = True
    return _Fused(source, bias, relu)


class GlobalSumMaker(Maker, op=ops.GlobalSum):
    """A GlobalSum of the graph, with a Bias and a Relu in front of it."""

    absorbs = (ops.Bias, ops.Relu)
    fields = ("lanes", "memory")
    memories = KINDS

    def inputs(self, graph: Graph, node: Node) -> tuple[str, ...]:
        return (_fuse(graph, node).source,)

    def make(self, build: Assembly, node: Node, fold: Any, sources: Sequence[Source]) -> Source:
        fused, stream = _fuse(build.graph, node), sources[0].stream
        bias = fused.bias.values if fused.bias else np.zeros(stream.channels, np.int64)
        output = build.output(node, fold)
        head = Head(node.name, (sources[0].name,), (stream,), output, bias, fused.relu)
        return build.append(head, fold.memory)
