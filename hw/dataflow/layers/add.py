"""The sum of two streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

from fireflow.hw import ops
from fireflow.hw.dataflow.kernel import Kernel, ports, two_inputs
from fireflow.hw.dataflow.layers.base import Layer
from fireflow.hw.dataflow.layers.maker import Assembly, Maker, Source
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.hw.graph import Node
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class Add(Layer):
    """The sum of two streams, element by element."""

    computes = True

    def check(self) -> None:
        if len({(stream.shape, stream.lanes) for stream in self.inputs}) != 1 or len(self.inputs) != 2:
            raise InputError("inputs must be two of one shape and number of lanes; fold them alike")
        self._expect(self.input.shape, self.input.lanes)

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        return arrays[0] + arrays[1]

    def features(self, family: str) -> dict[str, float]:
        return self._plain_features(self.output.groups.bit_length())

    def rtl(self, family: str) -> Kernel:
        first, second = self.inputs
        parameters = two_inputs(first, second, self.output)
        return Kernel("stream_add", parameters, ports("in", self.inputs), ports("out", (self.output,)))


class AddMaker(Maker, op=ops.Add):
    """An Add of the graph."""

    def make(self, build: Assembly, node: Node, fold: Any, sources: Sequence[Source]) -> Source:
        names, streams = tuple(each.name for each in sources), tuple(each.stream for each in sources)
        return build.append(Add(node.name, names, streams, build.output(node, fold)))
