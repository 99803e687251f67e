"""From the integer graph and a folding to layers: padding, windows, forks and width converters put in.

The order of operations is the graph's: what computes a tensor there computes it here, under the same name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Callable, Mapping

import numpy as np

from fireflow.hw.dataflow.layers import (
    Add,
    Concat,
    Fork,
    Head,
    Layer,
    MatMul,
    MaxPool,
    Pad,
    Threshold,
    WidthConverter,
    Window,
)
from fireflow.hw.dataflow.memory import buffer_kind, rom_kind
from fireflow.hw.dataflow.network import Dataflow
from fireflow.hw.dataflow.stream import Stream, divisor
from fireflow.hw.errors import InputError
from fireflow.hw.graph import Graph, Node
from fireflow.hw.ops import Add as AddOp
from fireflow.hw.ops import Bias, Conv, GlobalSum, Relu
from fireflow.hw.ops import Concat as ConcatOp
from fireflow.hw.ops import MaxPool as MaxPoolOp
from fireflow.hw.ops import Threshold as ThresholdOp
from fireflow.hw.types import TensorType

Folding = Mapping[str, Mapping[str, Any]]

_FIELDS: dict[type, tuple[str, ...]] = {
    Conv: ("pe", "simd", "lanes", "parallel", "memory", "window_memory", "kernel"),
    ThresholdOp: ("pe", "memory"),
    MaxPoolOp: ("lanes", "memory"),
    ConcatOp: ("lanes",),
    AddOp: ("lanes",),
    GlobalSum: ("lanes", "memory"),
}


@dataclass(frozen=True)
class NodeFolding:
    """How a node is folded: lanes of its inputs and its output, and what only a convolution has.

    Args:
        lanes_in: of the first layer that the node becomes (its padding, its window, itself).
        lanes_out: of its output.
        simd: what the matrix product reads.
        parallel: the window gives all its positions in one word.
        memory: what holds weights, thresholds, a pool's row or the sums; None: whatever costs less.
        window_memory: what holds the rows of a window.
        kernel: of a matrix product; None: ours, with DSPs, where it can be.
    """

    lanes_in: int
    lanes_out: int
    simd: int = 1
    parallel: bool = False
    memory: str | None = None
    window_memory: str | None = None
    kernel: str | None = None


def to_dataflow(graph: Graph, folding: Folding | None = None) -> Dataflow:
    """The layers that compute `graph`.

    Args:
        graph: of convolutions without groups, thresholds, pools, concats, adds, and Bias and Relu in front of
            a GlobalSum.
        folding: by node name: a Conv has "pe", "simd", "parallel" (its whole window in a word), "lanes" (of
            its window), "memory", "window_memory" and "kernel"; a Threshold "pe" and "memory"; MaxPool and GlobalSum
            "lanes" and "memory"; Concat, Add and the input "lanes". What is missing is 1 for a Conv, as wide
            as what feeds it elsewhere, and the memory that costs less.

    Raises:
        InputError: an operation no layer computes; a folding that does not divide, naming the choices.
    """
    builder = _Builder(graph, folding or {})
    for node in builder.nodes:
        builder.add(node)
    return Dataflow(graph.name, graph.input_name, builder.image, tuple(builder.layers))


class Workbench:
    """The layers of one node at a time, for trying out foldings."""

    def __init__(self, graph: Graph) -> None:
        self._builder = _Builder(graph, {})
        self.graph = graph
        self.nodes: tuple[Node, ...] = tuple(self._builder.nodes)

    def inputs(self, node: Node) -> tuple[str, ...]:
        """The tensors a node reads as hardware: a GlobalSum, what its Bias and Relu read."""
        return self._builder.inputs(node)

    def layers(self, node: Node, given: Mapping[str, Any]) -> tuple[Layer, ...]:
        """What the node becomes, its inputs coming in words of the lanes it wants. Raises InputError."""
        build = self._builder
        names = build.inputs(node)
        fold = build.fold(node, given, [1] * len(names))
        build.layers, build.folds[node.name] = [], fold
        sources = [(name, Stream.of(self.graph.types[name], fold.lanes_in)) for name in names]
        _MAKERS[type(node.op)](build, node, fold, sources)
        return tuple(build.layers)


class _Builder:
    def __init__(self, graph: Graph, folding: Folding) -> None:
        _check_folding(folding)
        self.graph, self.folding = graph, folding
        self.layers: list[Layer] = []
        self.nodes, self.heads = _needed(graph)
        self.image = Stream.of(graph.input_type, self._input_lanes())
        self.folds = self._resolve()
        self.readers = dict.fromkeys(graph.types, 0)  # how often each tensor is read
        for node in self.nodes:
            for name in self.inputs(node):
                self.readers[name] += 1
        self.written: dict[str, tuple[str, Stream]] = {}
        self._provide(graph.input_name, graph.input_name, self.image)

    # -- foldings -------------------------------------------------------------------------------------------

    def _input_lanes(self) -> int:
        name = self.graph.input_name
        given = self.folding.get(name, {})
        return divisor(f"{name}: lanes", given.get("lanes", self._channels(name)), "C", self._channels(name))

    def _channels(self, name: str) -> int:
        return self.graph.types[name].shape[-1]

    def inputs(self, node: Node) -> tuple[str, ...]:
        return (self.heads[node.name].source,) if node.name in self.heads else node.inputs

    def _resolve(self) -> dict[str, NodeFolding]:
        known = {node.name: node for node in self.nodes}
        for name, given in self.folding.items():
            allowed: tuple[str, ...] = ("lanes",) if name == self.graph.input_name else ()
            if name in known:
                allowed = _FIELDS[type(known[name].op)]
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
            try:
                fold = self.fold(
                    node, self.folding.get(node.name, {}), [lanes[name] for name in self.inputs(node)]
                )
            except InputError as error:
                raise InputError(f"{node.name}: {error}") from None
            folds[node.name], lanes[node.name] = fold, fold.lanes_out
        return folds

    def fold(self, node: Node, given: Mapping[str, Any], sources: list[int]) -> NodeFolding:
        """A node's folding where its inputs come in words of so many lanes."""
        if isinstance(node.op, Conv):
            return _fold_conv(node.op, given)
        channels = [self._channels(name) for name in self.inputs(node)]
        common = math.gcd(*channels) if len(channels) > 1 else channels[0]
        default = math.gcd(common, max(sources))
        key = "pe" if isinstance(node.op, ThresholdOp) else "lanes"
        lanes = divisor(key.upper() if key == "pe" else key, given.get(key, default), "C", common)
        return NodeFolding(lanes, lanes, memory=given.get("memory"))

    # -- layers ---------------------------------------------------------------------------------------------

    def add(self, node: Node) -> None:
        """Appends what computes the node, and a Fork where several read it."""
        fold = self.folds[node.name]
        sources = [self._read(name, node, port) for port, name in enumerate(self.inputs(node))]
        make = _MAKERS[type(node.op)]
        name, stream = make(self, node, fold, sources)
        self._provide(node.name, name, stream)

    def append(self, layer: Layer, memory: str | None = "lut") -> tuple[str, Stream]:
        if memory != "lut":
            layer = replace(layer, memory=memory or default_memory(layer))  # type: ignore[call-arg]
        self.layers.append(layer)
        return layer.name, layer.output

    def out(self, node: Node) -> Stream:
        return Stream.of(self.graph.types[node.name], self.folds[node.name].lanes_out)

    def _wanted(self, tensor: str) -> set[int]:
        """The lanes in which its readers want a tensor."""
        return {self.folds[node.name].lanes_in for node in self.nodes if tensor in self.inputs(node)}

    def _provide(self, tensor: str, name: str, stream: Stream) -> None:
        copies = self.readers[tensor]
        if copies > 1:
            wanted = self._wanted(tensor)
            if len(wanted) == 1:  # one converter in front rather than one behind each port
                name, stream = self.convert(name, stream, wanted.pop(), f"{tensor}.fork")
            name, stream = self.append(Fork(f"{tensor}.fork", (name,), (stream,), stream, copies))
        self.written[tensor] = name, stream

    def _read(self, tensor: str, node: Node, port: int) -> tuple[str, Stream]:
        name, stream = self.written[tensor]
        fold, op = self.folds[node.name], node.op
        reader = node.name
        if isinstance(op, Conv):
            reader += ".pad" if any(op.padding) else ".window" if _windowed(op) else ""
        suffix = str(port) if len(self.inputs(node)) > 1 else ""
        return self.convert(name, stream, fold.lanes_in, reader, suffix)

    def convert(
        self, name: str, stream: Stream, lanes: int, reader: str, suffix: str = ""
    ) -> tuple[str, Stream]:
        """The stream in words of `lanes`; by way of a word that both divide where neither divides the other."""
        if stream.lanes == lanes:
            return name, stream
        step = stream.lanes * lanes // math.gcd(stream.lanes, lanes)
        if step in (stream.lanes, lanes):
            wanted = Stream.of(stream, lanes)
            return self.append(WidthConverter(f"{reader}.width{suffix}", (name,), (stream,), wanted))
        wide = Stream.of(stream, step)
        first = self.append(WidthConverter(f"{reader}.widen{suffix}", (name,), (stream,), wide))
        narrow = Stream.of(stream, lanes)
        return self.append(WidthConverter(f"{reader}.narrow{suffix}", (first[0],), (wide,), narrow))


def _check_folding(folding: Any) -> None:
    """Raises InputError unless it is a mapping of mappings: it may come from a file."""
    if not isinstance(folding, Mapping):
        raise InputError(
            f'folding must be an object of layers, {{"conv1": {{"pe": 2}}}}, not {folding!r}; correct it'
        )
    for name, given in folding.items():
        if not isinstance(given, Mapping):
            raise InputError(f'{name}: a folding must be an object, {{"pe": 2}}, not {given!r}; correct it')


def ours_can(op: Conv, source: TensorType) -> bool:
    """Whether our matrix unit can compute a convolution: of unsigned numbers that fit its multipliers."""
    return not source.signed and source.bits <= 17 and (op.weight_bits or 0) <= 18


def default_memory(layer: Layer) -> str:
    """Where a layer keeps its words if nobody says: in LUTs, or in block RAM where that saves many."""
    if isinstance(layer, Threshold):  # a memory for each of its lanes: only the deep ones could be worth it
        deep = [words for words in layer.storage if words[0] >= Threshold.BRAM_DEPTH]
        return rom_kind(*deep[-1]) if deep else "lut"
    kind = rom_kind if isinstance(layer, MatMul) else buffer_kind
    return kind(*layer.storage[0]) if layer.storage else "lut"


@dataclass(frozen=True)
class _Fused:
    """What a GlobalSum takes in: the tensor in front of its Bias and Relu, and these."""

    source: str
    bias: Bias | None
    relu: bool


def _needed(graph: Graph) -> tuple[list[Node], dict[str, _Fused]]:
    """The nodes that become layers: those the output depends on, a head's Bias and Relu taken into it."""
    by_name = {node.name: node for node in graph.nodes}
    heads: dict[str, _Fused] = {}
    needed: set[str] = set()
    todo = [graph.output_name]
    while todo:
        name = todo.pop()
        if name in needed or name not in by_name:
            continue
        node = by_name[name]
        if isinstance(node.op, GlobalSum):
            heads[name] = _fuse(graph, by_name, node)
        elif type(node.op) not in _FIELDS:
            raise InputError(
                f"{name}: {type(node.op).__name__} must lead to a GlobalSum and nothing else to become hardware; "
                "absorb it into thresholds"
            )
        needed.add(name)
        todo += [heads[name].source] if name in heads else node.inputs
    return [node for node in graph.nodes if node.name in needed], heads


def _fuse(graph: Graph, by_name: dict[str, Node], node: Node) -> _Fused:
    source, bias, relu = node.inputs[0], None, False
    for kind in (Relu, Bias):
        before = by_name.get(source)
        if before is not None and isinstance(before.op, kind) and len(graph.consumers[source]) == 1:
            source = before.inputs[0]
            if isinstance(before.op, Bias):
                bias = before.op
            else:
                relu = True
    return _Fused(source, bias, relu)


def _windowed(op: Conv) -> bool:
    return op.weight.shape[1:3] != (1, 1) or op.stride != (1, 1)


def _fold_conv(op: Conv, given: Mapping[str, Any]) -> NodeFolding:
    mh, channels = op.weight.shape[0], op.weight.shape[3]
    mw = op.weight[0].size
    if op.groups != 1:
        raise InputError(f"groups must be 1 to become hardware, not {op.groups}; split the convolution")
    if any(op.padding) and op.pad_value:
        raise InputError(f"padding must hold 0 to become hardware, not {op.pad_value}; pad with zeros")
    pe = divisor("PE", given.get("pe", 1), "MH", mh)
    simd = divisor("SIMD", given.get("simd", 1), "MW", mw)
    parallel, memory, rows = given.get("parallel", False), given.get("memory"), given.get("window_memory")
    kernel = given.get("kernel")
    if not isinstance(parallel, bool):
        raise InputError(f"parallel must be true or false, not {parallel!r}; change it")
    if not _windowed(op):
        return NodeFolding(simd, pe, simd, False, memory, rows, kernel)
    lanes = given.get("lanes", channels if parallel else math.gcd(simd, channels))
    return NodeFolding(divisor("lanes", lanes, "C", channels), pe, simd, parallel, memory, rows, kernel)


def _conv(build: _Builder, node: Node, fold: NodeFolding, sources: list[Any]) -> tuple[str, Stream]:
    op, (name, stream) = node.op, sources[0]
    assert isinstance(op, Conv)
    kernel, lanes = op.weight.shape[1:3], fold.lanes_in
    if any(op.padding):
        top, left, bottom, right = op.padding
        height, width, channels = stream.shape
        shape = (height + top + bottom, width + left + right, channels)
        padded = Stream(shape, min(0, stream.lo), max(0, stream.hi), lanes)
        pads = (top, left, bottom, right)
        name, stream = build.append(Pad(f"{node.name}.pad", (name,), (stream,), padded, pads))
    if _windowed(op):
        area, out = kernel[0] * kernel[1], build.graph.types[node.name]
        wide = area * lanes if fold.parallel else lanes
        windows = Stream((*out.shape[:2], area * stream.channels), stream.lo, stream.hi, wide)
        stride = (op.stride[0], op.stride[1])
        window = Window(
            f"{node.name}.window", (name,), (stream,), windows, (kernel[0], kernel[1]), stride, fold.parallel
        )
        name, stream = build.append(window, fold.window_memory)
    name, stream = build.convert(name, stream, fold.simd, node.name)
    weight = op.weight.reshape(op.weight.shape[0], -1)  # (MH, KH * KW * C)
    assert op.weight_bits is not None
    matmul = MatMul(
        node.name, (name,), (stream,), build.out(node), weight, op.weight_bits, fold.lanes_out, fold.simd,
        kernel=fold.kernel or ("dsp" if ours_can(op, stream) else "finn"),
    )  # fmt: skip
    return build.append(matmul, fold.memory)


def _threshold(build: _Builder, node: Node, fold: NodeFolding, sources: list[Any]) -> tuple[str, Stream]:
    op, (name, stream) = node.op, sources[0]
    assert isinstance(op, ThresholdOp)
    table = np.broadcast_to(op.thresholds, (stream.channels, op.thresholds.shape[1]))
    return build.append(
        Threshold(node.name, (name,), (stream,), build.out(node), table, op.out_lo), fold.memory
    )


def _max_pool(build: _Builder, node: Node, fold: NodeFolding, sources: list[Any]) -> tuple[str, Stream]:
    op, (name, stream) = node.op, sources[0]
    assert isinstance(op, MaxPoolOp)
    kernel, stride = (op.kernel[0], op.kernel[1]), (op.stride[0], op.stride[1])
    top, left, bottom, right = op.padding
    return build.append(
        MaxPool(node.name, (name,), (stream,), build.out(node), kernel, stride, (top, left, bottom, right)),
        fold.memory,
    )


def _join(build: _Builder, node: Node, fold: NodeFolding, sources: list[Any]) -> tuple[str, Stream]:
    kind = Concat if isinstance(node.op, ConcatOp) else Add
    names, streams = tuple(name for name, _ in sources), tuple(stream for _, stream in sources)
    return build.append(kind(node.name, names, streams, build.out(node)))


def _head(build: _Builder, node: Node, fold: NodeFolding, sources: list[Any]) -> tuple[str, Stream]:
    fused, (name, stream) = build.heads[node.name], sources[0]
    bias = fused.bias.values if fused.bias else np.zeros(stream.channels, np.int64)
    return build.append(Head(node.name, (name,), (stream,), build.out(node), bias, fused.relu), fold.memory)


_MAKERS: dict[type, Callable[[_Builder, Node, NodeFolding, list[Any]], tuple[str, Stream]]] = {
    Conv: _conv,
    ThresholdOp: _threshold,
    MaxPoolOp: _max_pool,
    ConcatOp: _join,
    AddOp: _join,
    GlobalSum: _head,
}
