"""From an operation of the integer graph and its folding to layers: what all operations have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar, Iterable, Mapping, Sequence

from fireflow.hw.dataflow.layers.width_converter import WidthConverter, steps_between
from fireflow.hw.dataflow.stream import Stream, divisor, divisors

if TYPE_CHECKING:
    from fireflow.hw.dataflow.layers.base import Layer
    from fireflow.hw.graph import Graph, Node
    from fireflow.hw.ops import Op
    from fireflow.hw.types import TensorType


@dataclass(frozen=True)
class Source:
    """What a layer reads: the layer that writes it, or the accelerator's input, and the stream."""

    name: str
    stream: Stream


@dataclass(frozen=True)
class NodeFolding:
    """How a node is folded.

    Args:
        lanes_in: of the first layer that the node becomes (its padding, its window, itself).
        lanes_out: of its output.
        memory: what holds weights, thresholds, a pool's row or the sums; None: whatever costs less.
    """

    lanes_in: int
    lanes_out: int
    memory: str | None = None


@dataclass(frozen=True)
class Choices:
    """What may be chosen from.

    Args:
        kernels: matrix units; where ours cannot compute a convolution, FINN's does.
        uram: there is UltraRAM.
    """

    kernels: Sequence[str]
    uram: bool


class Assembly:
    """Layers in the making, each behind those it reads."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layers: list[Layer] = []

    def append(self, layer: Layer, memory: str | None = "lut") -> Source:
        """Puts a layer behind the others; memory None: whatever costs less."""
        if memory != "lut":
            layer = replace(layer, memory=memory or layer.default_memory)  # type: ignore[call-arg]
        self.layers.append(layer)
        return Source(layer.name, layer.output)

    def convert(self, source: Source, lanes: int, reader: str, suffix: str = "") -> Source:
        """The source in words of `lanes`; by way of a word that both divide where neither divides the other."""
        steps = steps_between(source.stream.lanes, lanes)[1:]
        names = ("width",) if len(steps) == 1 else ("widen", "narrow")
        for name, step in zip(names, steps):
            wanted = Stream.of(source.stream, step)
            source = self.append(
                WidthConverter(f"{reader}.{name}{suffix}", (source.name,), (source.stream,), wanted)
            )
        return source

    def output(self, node: Node, fold: NodeFolding) -> Stream:
        """The stream of a node's tensor."""
        return Stream.of(self.graph.types[node.name], fold.lanes_out)


class Maker:
    """How an operation becomes layers; a subclass names its operation and registers itself.

    What is here suits an operation that becomes one layer, which reads and writes words of as many lanes.
    """

    of: ClassVar[dict[type[Op], Maker]] = {}
    absorbs: ClassVar[tuple[type[Op], ...]] = ()
    """Operations that are no layers but part of this one where they are in front of it."""
    lanes_field: ClassVar[str] = "lanes"
    """What its folding calls the lanes."""
    fields: ClassVar[tuple[str, ...]] = ("lanes",)
    """The fields of its folding."""
    memories: ClassVar[tuple[str, ...]] = ()
    """Kinds of memory that are worth a look; none: it has no memory to choose."""

    def __init_subclass__(cls, op: type[Op]) -> None:
        cls.of[op] = cls()

    def inputs(self, graph: Graph, node: Node) -> tuple[str, ...]:
        """The tensors that its layers read."""
        return node.inputs

    def fold(
        self, node: Node, given: Mapping[str, Any], sources: Sequence[TensorType], lanes: Sequence[int]
    ) -> NodeFolding:
        """A node's folding where its inputs come in words of so many lanes. Raises InputError (without the name)."""
        common = reduce(math.gcd, (kind.shape[-1] for kind in sources))
        key = self.lanes_field
        number = given.get(key, math.gcd(common, max(lanes)))
        folded = divisor("PE" if key == "pe" else key, number, "C", common)
        return NodeFolding(folded, folded, given.get("memory"))

    def first(self, node: Node) -> str:
        """The name of the first layer that the node becomes."""
        return node.name

    def make(self, build: Assembly, node: Node, fold: Any, sources: Sequence[Source]) -> Source:
        """Appends what computes the node from its sources, which come in words of `fold.lanes_in`."""
        raise NotImplementedError

    def choices(
        self, node: Node, sources: Sequence[TensorType], choices: Choices
    ) -> Iterable[dict[str, Any]]:
        """Every folding of a node that is worth a look, the kind of memory left open where one is clearly better."""
        memories = [kind for kind in self.memories if choices.uram or kind != "uram"]
        for lanes in divisors(reduce(math.gcd, (kind.shape[-1] for kind in sources))):
            own = {self.lanes_field: lanes}
            yield from ({**own, "memory": kind} for kind in memories) if memories else (own,)

    def with_uram(self, given: Mapping[str, Any], layers: Sequence[Layer]) -> dict[str, Any]:
        """The folding with UltraRAM where a layer of the node is better off with it."""
        return dict(given)
