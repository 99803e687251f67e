"""A stream times a factor for each channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Mapping, Sequence

import numpy as np

from fireflow.hw import ops
from fireflow.hw.dataflow.kernel import Kernel, ports, two_inputs
from fireflow.hw.dataflow.layers.base import Layer, Words
from fireflow.hw.dataflow.layers.maker import Assembly, Maker, Source
from fireflow.hw.dataflow.memory import KINDS, RAM_STYLES
from fireflow.hw.dataflow.timing import StepModel, StreamModel
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.hw.dataflow.stream import Stream
    from fireflow.hw.graph import Node
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class Multiply(Layer):
    """(H, W, C) times a gate (1, 1, C), of which each word comes with the same word of the first pixel.

    memory: what keeps the gate for the other pixels.
    """

    memory: str = "lut"

    held = "factors"
    computes = True
    coefficients: ClassVar[Mapping[str, Mapping[str, Mapping[str, float]]]] = {
        "Multiply": {
            "lut": {
                "layer": 18.6372,
                "input_bits": 0.4662,
                "adder_bits": 1.2728,
                "ram_luts": 1.0372,
                "choice_luts": 1.0,
            },
            "ff": {
                "layer": 1.9847,
                "input_bits": 1.2564,
                "kept_bits": 0.9263,
                "adder_bits": 0.2352,
                "sum_bits": 0.726,
                "counter_bits": 0.9364,
            },
        }
    }
    """As `hw.dataflow.cost_fit` fits them to 34 layers that Yosys counted, 17 on each family."""

    def check(self) -> None:
        self._check_memory()
        if len(self.inputs) != 2 or self.gate.shape != (1, 1, self.input.channels):
            raise InputError(
                "inputs must be a tensor and a gate, a number for each channel; check the wiring"
            )
        if self.gate.lanes != self.lanes:
            raise InputError("inputs must agree in lanes; fold them alike")
        self._expect(self.input.shape, self.lanes)

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        return arrays[0] * arrays[1]

    @property
    def gate(self) -> Stream:
        return self.inputs[1]

    @property
    def levels(self) -> int:
        """Of its tree of adders."""
        return max(1, (self.gate.bits - 1).bit_length())

    def timing(self, family: str) -> StreamModel:
        each = np.arange(self.input.words, dtype=np.int64)
        return StepModel(len(each), (each, each[: self.input.groups]), each, 1 + self.levels)

    @property
    def storage(self) -> tuple[Words, ...]:
        groups = self.gate.groups
        return ((groups, self.gate.width),) if groups > 1 else ()

    def features(self, family: str) -> dict[str, float]:
        adders, sums = self._tree()
        return {
            "layer": 1,
            "input_bits": self.input.width + self.gate.width,
            "kept_bits": 0 if self.block_memories(family) else self.gate.width,
            "adder_bits": self.lanes * adders,
            "sum_bits": self.lanes * sums,
            "counter_bits": self.input.pixels.bit_length() + self.input.groups.bit_length(),
            "ram_luts": self._ram_luts(family),
            "choice_luts": self._choice_luts(self.storage),
        }

    def _tree(self) -> tuple[int, int]:
        """Bits of the adders and of the registers behind them, of a lane."""
        adders = sums = 0
        for level in range(self.levels):
            step = 1 << level  # bits of the gate in a number that is added
            for first in range(0, self.gate.bits, 2 * step):
                left = self.gate.bits - first
                adders += self.input.bits + min(step, left - step) if left > step else 0
                sums += self.input.bits + min(2 * step, left)
        return adders, sums

    def rtl(self, family: str) -> Kernel:
        source, gate = self.inputs
        parameters: dict[str, int | str] = {
            "GROUPS": source.groups,
            "PIXELS": source.pixels,
            **two_inputs(source, gate, self.output),
            "RAM_STYLE": RAM_STYLES[self.memory],
        }
        return Kernel("stream_multiply", parameters, ports("in", self.inputs), ports("out", (self.output,)))


class MultiplyMaker(Maker, op=ops.Multiply):
    """A Multiply of the graph."""

    fields = ("lanes", "memory")
    memories = KINDS

    def make(self, build: Assembly, node: Node, fold: Any, sources: Sequence[Source]) -> Source:
        names, streams = tuple(each.name for each in sources), tuple(each.stream for each in sources)
        return build.append(Multiply(node.name, names, streams, build.output(node, fold)), fold.memory)
