"""From the integer graph and a folding to layers: padding, windows, forks and width converters put in.

The order of operations is the graph's: what computes a tensor there computes it here, under the same name. What an
operation becomes says its `Maker`, in `layers/`.
"""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

from fireflow.hw.dataflow.layers import Fork, Layer, Maker
from fireflow.hw.dataflow.layers.maker import Assembly, Choices, NodeFolding, Source
from fireflow.hw.dataflow.network import Dataflow
from fireflow.hw.dataflow.stream import Stream, divisor
from fireflow.hw.errors import InputError
from fireflow.hw.graph import Graph, Node

Folding = Mapping[str, Mapping[str, Any]]


def to_dataflow(graph: Graph, folding: Folding | None = None) -> Dataflow:
    """The layers that compute `graph`.

    Args:
        graph: of operations that a `Maker` in `layers/` makes hardware, and of those that one absorbs in front of it.
        folding: by node name the `fields` of its Maker, and of the input "lanes". What is missing is 1 for a Conv, as
            wide as what feeds it elsewhere, and the memory that costs less.

    Raises:
        InputError: an operation no layer computes; a folding that does not divide, naming the choices.
    """
    builder = _Builder(graph, folding or {})
    for node in builder.nodes:
        builder.add(node)
    return Dataflow(graph.name, graph.input_name, builder.image, tuple(builder.assembly.layers))


class Workbench:
    """The layers of one node at a time, for trying out foldings."""

    def __init__(self, graph: Graph) -> None:
        builder = _Builder(graph, {})  # refuses, by name, what cannot become hardware
        self.graph, self._inputs = graph, builder.inputs
        self.nodes: tuple[Node, ...] = tuple(builder.nodes)

    def inputs(self, node: Node) -> tuple[str, ...]:
        """The tensors a node reads as hardware: a GlobalSum, what its Bias and Relu read."""
        return self._inputs[node.name]

    def choices(self, node: Node, choices: Choices) -> Iterable[dict[str, Any]]:
        """Every folding of a node that is worth a look."""
        types = [self.graph.types[name] for name in self.inputs(node)]
        return _maker(node).choices(node, types, choices)

    def with_uram(self, node: Node, given: Mapping[str, Any], layers: Sequence[Layer]) -> dict[str, Any]:
        """The folding of a node with UltraRAM where one of its layers is better off with it."""
        return _maker(node).with_uram(given, layers)

    def layers(self, node: Node, given: Mapping[str, Any]) -> tuple[Layer, ...]:
        """What the node becomes, its inputs coming in words of the lanes it wants. Raises InputError."""
        maker, names, types = _maker(node), self.inputs(node), self.graph.types
        fold = maker.fold(node, given, [types[name] for name in names], [1] * len(names))
        assembly = Assembly(self.graph)
        sources = [Source(name, Stream.of(types[name], fold.lanes_in)) for name in names]
        maker.make(assembly, node, fold, sources)
        return tuple(assembly.layers)


class _Builder:
    def __init__(self, graph: Graph, folding: Folding) -> None:
        _check_folding(folding)
        self.graph, self.folding = graph, folding
        self.assembly = Assembly(graph)
        self.nodes = _needed(graph)
        self.inputs = {node.name: _maker(node).inputs(graph, node) for node in self.nodes}
        self.image = Stream.of(graph.input_type, self._input_lanes())
        self.folds = self._resolve()
        self.readers = dict.fromkeys(graph.types, 0)  # how often each tensor is read
        for names in self.inputs.values():
            for name in names:
                self.readers[name] += 1
        self.written: dict[str, Source] = {}
        self._provide(graph.input_name, Source(graph.input_name, self.image))

    # -- foldings -------------------------------------------------------------------------------------------

    def _input_lanes(self) -> int:
        name, channels = self.graph.input_name, self.graph.input_type.shape[-1]
        given = self.folding.get(name, {})
        return divisor(f"{name}: lanes", given.get("lanes", channels), "C", channels)

    def _resolve(self) -> dict[str, NodeFolding]:
        known = {node.name: node for node in self.nodes}
        for name, given in self.folding.items():
            allowed: tuple[str, ...] = ("lanes",) if name == self.graph.input_name else ()
            if name in known:
                allowed = _maker(known[name]).fields
            elif not allowed:
                raise InputError(
                    f"{name}: a folding must be for a layer of {self.graph.name}; correct the name"
                )
            unknown = set(given) - set(allowed)
            if unknown:
                raise InputError(
                    f"{name}: a folding must have {', '.join(allowed)}, not {min(unknown)}; correct it"
                )
        folds: dict[str, NodeFolding] = {}
        lanes = {self.graph.input_name: self.image.lanes}
        for node in self.nodes:
            names = self.inputs[node.name]
            types, given = [self.graph.types[name] for name in names], self.folding.get(node.name, {})
            try:
                fold = _maker(node).fold(node, given, types, [lanes[name] for name in names])
            except InputError as error:
                raise InputError(f"{node.name}: {error}") from None
            folds[node.name], lanes[node.name] = fold, fold.lanes_out
        return folds

    # -- layers ---------------------------------------------------------------------------------------------

    def add(self, node: Node) -> None:
        """Appends what computes the node, and a Fork where several read it."""
        fold = self.folds[node.name]
        sources = [self._read(name, node, port) for port, name in enumerate(self.inputs[node.name])]
        self._provide(node.name, _maker(node).make(self.assembly, node, fold, sources))

    def _wanted(self, tensor: str) -> set[int]:
        """The lanes in which its readers want a tensor."""
        return {self.folds[name].lanes_in for name, inputs in self.inputs.items() if tensor in inputs}

    def _provide(self, tensor: str, source: Source) -> None:
        copies = self.readers[tensor]
        if copies > 1:
            wanted = self._wanted(tensor)
            if len(wanted) == 1:  # one converter in front rather than one behind each port
                source = self.assembly.convert(source, wanted.pop(), f"{tensor}.fork")
            stream = source.stream
            source = self.assembly.append(Fork(f"{tensor}.fork", (source.name,), (stream,), stream, copies))
        self.written[tensor] = source

    def _read(self, tensor: str, node: Node, port: int) -> Source:
        suffix = str(port) if len(self.inputs[node.name]) > 1 else ""
        lanes = self.folds[node.name].lanes_in
        return self.assembly.convert(self.written[tensor], lanes, _maker(node).first(node), suffix)


def _check_folding(folding: Any) -> None:
    """Raises InputError unless it is a mapping of mappings: it may come from a file."""
    if not isinstance(folding, Mapping):
        raise InputError(
            f'folding must be an object of layers, {{"conv1": {{"pe": 2}}}}, not {folding!r}; correct it'
        )
    for name, given in folding.items():
        if not isinstance(given, Mapping):
            raise InputError(f'{name}: a folding must be an object, {{"pe": 2}}, not {given!r}; correct it')


def _maker(node: Node) -> Maker:
    return Maker.of[type(node.op)]


def _needed(graph: Graph) -> list[Node]:
    """The nodes that become layers: those the output depends on, without what others absorb."""
    by_name = {node.name: node for node in graph.nodes}
    needed: set[str] = set()
    todo = [graph.output_name]
    while todo:
        name = todo.pop()
        if name in needed or name not in by_name:
            continue
        node = by_name[name]
        if type(node.op) not in Maker.of:
            raise InputError(
                f"{name}: {type(node.op).__name__} must lead to a GlobalSum and nothing else to become hardware; "
                "absorb it into thresholds"
            )
        needed.add(name)
        todo += _maker(node).inputs(graph, node)
    return [node for node in graph.nodes if node.name in needed]
