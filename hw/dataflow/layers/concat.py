"""Channels of two streams side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from fireflow.hw import ops
from fireflow.hw.dataflow.kernel import Kernel, ports, two_inputs
from fireflow.hw.dataflow.layers.base import Layer
from fireflow.hw.dataflow.layers.maker import Assembly, Maker, Source
from fireflow.hw.dataflow.timing import StepModel, StreamModel
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.hw.graph import Node
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class Concat(Layer):
    """Channels side by side: for each pixel the words of the first input, then of the next.

    An input may be narrower than the output: its elements are extended.
    """

    def check(self) -> None:
        channels = sum(stream.channels for stream in self.inputs)
        if len(self.inputs) != 2:
            raise InputError(f"inputs must be two, not {len(self.inputs)}; concatenate them two by two")
        if len({(stream.shape[:2], stream.lanes) for stream in self.inputs}) != 1:
            raise InputError("inputs must agree in pixels and lanes; fold them alike")
        self._expect((*self.input.shape[:2], channels), self.input.lanes)

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        return np.concatenate(list(arrays), axis=-1)

    def timing(self, family: str) -> StreamModel:
        groups = [stream.groups for stream in self.inputs]
        total, pixels = sum(groups), self.output.pixels
        take, first = [], 0
        for count in groups:
            own = np.arange(pixels, dtype=np.int64)[:, None] * total + first + np.arange(count)
            take.append(own.ravel())
            first += count
        return StepModel(total * pixels, tuple(take), np.arange(total * pixels, dtype=np.int64), 1)

    def features(self, family: str) -> dict[str, float]:
        return self._plain_features(self.output.groups.bit_length())

    def rtl(self, family: str) -> Kernel:
        first, second = self.inputs
        parameters: dict[str, int | str] = {
            "WORDS0": first.groups,
            "WORDS1": second.groups,
            **two_inputs(first, second, self.output),
        }
        return Kernel("stream_concat", parameters, ports("in", self.inputs), ports("out", (self.output,)))


class ConcatMaker(Maker, op=ops.Concat):
    """A Concat of the graph."""

    def make(self, build: Assembly, node: Node, fold: Any, sources: Sequence[Source]) -> Source:
        names, streams = tuple(each.name for each in sources), tuple(each.stream for each in sources)
        return build.append(Concat(node.name, names, streams, build.output(node, fold)))
