"""The operations of an imported graph by what they read, and what may follow the convolution of a layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fireflow.quant.imported.operations import (
    Add,
    Average,
    Concat,
    Conv,
    Flatten,
    MaxPool,
    Operation,
    Relu,
    Same,
    Scaling,
    Softmax,
    Step,
    listed,
    shown,
    wrong,
)

PICTURE = 0
"""The node that the picture is."""


@dataclass(frozen=True, slots=True)
class Node:
    """An operation, the nodes that it reads, and what is known of its values."""

    operation: Operation | None
    name: str
    reads: tuple[int, ...] = ()
    rank: int = 4
    positive: bool = False  # no value is below 0
    tensor: str = ""  # of a softmax: what it reads


@dataclass
class Layer:
    """A convolution with what follows it up to where the graph forks or another layer begins."""

    step: str
    conv: Conv
    last: int
    relu: bool
    pool: tuple[str, MaxPool] | None


@dataclass
class StepGraph:
    """The nodes of a file in order of execution; node 0 is the picture."""

    path: Path
    nodes: list[Node] = field(default_factory=lambda: [Node(None, "the picture")])
    readers: list[list[int]] = field(default_factory=lambda: [[]])
    used: set[int] = field(default_factory=lambda: {PICTURE})

    def add(self, node: Node) -> int:
        self.nodes.append(node)
        self.readers.append([])
        for source in set(node.reads):
            self.readers[source].append(len(self.nodes) - 1)
        return len(self.nodes) - 1

    def reading(self, node: int, kind: type) -> list[int]:
        """The readers of a node that are operations of `kind`."""
        return [reader for reader in self.readers[node] if isinstance(self.nodes[reader].operation, kind)]

    def names(self, nodes: Iterable[int]) -> str:
        return listed(
            f"{self.nodes[node].name} ({type(self.nodes[node].operation).__name__})" for node in nodes
        )

    def sole_reader(self, node: int) -> int | None:
        return self.readers[node][0] if len(self.readers[node]) == 1 else None

    def tail(self, node: int) -> tuple[int, bool, tuple[str, MaxPool] | None]:
        """The last node behind `node` that only a ReLU and a pool lead to, in either order, and which there are.

        A maximum and a ReLU, which keeps order, may change places.
        """
        relu, pool = self.nodes[node].positive, None
        while (reader := self.sole_reader(node)) is not None:
            operation = self.nodes[reader].operation
            if isinstance(operation, Relu):
                relu = True
            elif isinstance(operation, MaxPool):
                if pool is not None:
                    raise wrong(
                        self.path, f"{shown(self.nodes[reader].name)}: one pool must follow a layer", "two"
                    )
                pool = (self.nodes[reader].name, operation)
            else:
                break
            self.used.add(reader)
            node = reader
        return node, relu, pool

    def layer(self, node: int, before: Sequence[Scaling] = ()) -> Layer:
        """The layer whose convolution is `node`, with scalings before and behind it folded in."""
        self.used.add(node)
        conv, name = self.nodes[node].operation, self.nodes[node].name
        assert isinstance(conv, Conv)
        for scaling in reversed(before):
            conv = conv.after(scaling)
        while (reader := self.sole_reader(node)) is not None:
            operation = self.nodes[reader].operation
            if not isinstance(operation, Scaling):
                break
            if {operation.scale.size, operation.shift.size} - {1, len(conv.weight)}:
                place = f"{shown(self.nodes[reader].name)}: must scale {len(conv.weight)} channels"
                raise wrong(self.path, place, operation.scale.size)
            conv, node = conv.then(operation), reader
            self.used.add(node)
        return Layer(name, conv, *self.tail(node))


def connect(graph: StepGraph, steps: Iterable[Step], picture: str) -> dict[str, int]:
    """Adds the steps to the graph; gives the node behind every tensor, as it is at the end."""
    tensors = {picture: PICTURE}
    for step in steps:
        unknown = [name for name in step.inputs if name not in tensors]
        if unknown:
            place = f"{shown(step.name)}: inputs must come from the picture"
            raise wrong(graph.path, place, listed(unknown))
        reads = tuple(tensors[name] for name in step.inputs)
        node = _node(graph, step, reads)
        tensors.update(dict.fromkeys(step.outputs, reads[0] if node is None else graph.add(node)))
    return tensors


def _node(graph: StepGraph, step: Step, reads: tuple[int, ...]) -> Node | None:
    """The node of a step; None for one that changes nothing."""
    operation, sources = step.operation, [graph.nodes[node] for node in reads]
    positive = all(source.positive for source in sources)
    rank = sources[0].rank
    if isinstance(operation, Same) or (isinstance(operation, Relu) and positive):
        return None
    place = f"{graph.path}: {shown(step.name)}"
    if isinstance(operation, Softmax):
        axis = operation.axis % rank if -rank <= operation.axis < rank else operation.axis
        if axis != 1:
            raise wrong(place, f"a softmax must be over the classes, axis 1 of {rank}", operation.axis)
        return Node(operation, step.name, reads, rank, tensor=step.inputs[0])
    if isinstance(operation, Flatten):
        return None if rank == 2 and operation.classes is None else Node(operation, step.name, reads, 2)
    if any(source.rank != 4 for source in sources):
        raise wrong(
            place, "an operation behind the average must be a softmax or flatten", type(operation).__name__
        )
    if isinstance(operation, Relu):
        positive = True
    elif not isinstance(operation, (MaxPool, Average, Concat, Add)):
        positive = False
    flat = isinstance(operation, Average) and operation.flat
    return Node(operation, step.name, reads, 2 if flat else 4, positive)
