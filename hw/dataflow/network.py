"""The whole accelerator as layers, and how their ports are connected."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Mapping

import numpy as np

from fireflow.hw.dataflow.layers.base import Layer
from fireflow.hw.dataflow.layers.fifo import Fifo, fifos
from fireflow.hw.dataflow.memory import buffer_kind
from fireflow.hw.dataflow.stream import Stream
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.hw.types import Array, Int64Array


@dataclass(frozen=True)
class Edge:
    """One stream between two ports; `source` is a layer or the accelerator's input (port 0)."""

    source: str
    source_port: int
    target: str
    target_port: int

    @property
    def label(self) -> str:
        """`target`, with the port where the target has several: unique, and the name of a FIFO on the edge."""
        return f"{self.target}.fifo{self.target_port}"


@dataclass(frozen=True, eq=False)
class Dataflow:
    """Layers in an order in which each follows what it reads; the last one writes the accelerator's output.

    A layer that names a Fork as its source reads the Fork's next free port, in the order of the layers.

    Args:
        name: the network's.
        input_name, input: the accelerator's input, usually "image".
        layers: in topological order.

    Raises:
        InputError: a name used twice, a source that is not there or of another stream, an output that is
            read by none or by several layers.
    """

    name: str
    input_name: str
    input: Stream
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        self.edges  # noqa: B018  what does not fit together is refused here, not at its first use

    @cached_property
    def by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    def __getitem__(self, name: str) -> Layer:
        return self.by_name[name]

    @property
    def output(self) -> Stream:
        return self.layers[-1].output

    @property
    def output_name(self) -> str:
        return self.layers[-1].name

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """Every stream between two ports, in the order of the targets."""
        ports = {self.input_name: 1}
        streams, used, result = {self.input_name: self.input}, {self.input_name: 0}, []
        for layer in self.layers:
            if layer.name in ports:
                raise InputError(f"{self.name}: layers must have different names, not {layer.name!r} again")
            for port, source in enumerate(layer.sources):
                if source not in ports or streams[source] != layer.inputs[port]:
                    known = "another stream" if source in ports else "unknown before it"
                    raise InputError(
                        f"{layer.name}: input {port} must be what {source} writes, not {known}; check the wiring"
                    )
                result.append(Edge(source, used[source], layer.name, port))
                used[source] += 1
            ports[layer.name], streams[layer.name], used[layer.name] = layer.outputs, layer.output, 0
        used[self.layers[-1].name] += 1  # by whoever reads the scores
        for name, count in ports.items():
            if used[name] != count:
                raise InputError(
                    f"{name}: its {count} outputs must each have one reader, not {used[name]} readers in all; "
                    "put a Fork behind it"
                )
        return tuple(result)

    @cached_property
    def inward(self) -> dict[str, tuple[Edge, ...]]:
        """For every layer the edges it reads, by port."""
        result: dict[str, list[Edge]] = {layer.name: [] for layer in self.layers}
        for edge in self.edges:
            result[edge.target].append(edge)
        return {name: tuple(edges) for name, edges in result.items()}

    @cached_property
    def outward(self) -> dict[str, tuple[Edge, ...]]:
        """For every layer and the input, the edges it writes, by port; none for the accelerator's output."""
        result: dict[str, list[Edge]] = {name: [] for name in (self.input_name, *self.by_name)}
        for edge in self.edges:
            result[edge.source].append(edge)
        return {name: tuple(edges) for name, edges in result.items()}

    def stream(self, edge: Edge) -> Stream:
        return self.by_name[edge.target].inputs[edge.target_port]

    @property
    def fifos(self) -> tuple[Fifo, ...]:
        return fifos(self.layers)

    @property
    def fifo_depths(self) -> dict[str, int]:
        """The depth of each FIFO by its name, which is its edge's label."""
        return {fifo.name: fifo.depth for fifo in self.fifos}

    def run(self, images: Array) -> dict[str, Int64Array]:
        """What every layer writes, int64 (N, H, W, C) or (N, C), the input included: the reference for RTL."""
        tensors: dict[str, Int64Array] = {self.input_name: images.astype(np.int64)}
        for layer in self.layers:
            tensors[layer.name] = layer.eval([tensors[source] for source in layer.sources])
        return tensors

    def with_fifos(self, depths: Mapping[str, int], uram: bool = False) -> Dataflow:
        """A copy with a Fifo on every edge whose label has a depth of at least 1; uram: there is UltraRAM to use.

        Raises InputError where a label is no edge's.
        """
        unknown = set(depths) - {edge.label for edge in self.edges}
        if unknown:
            raise InputError(f"{min(unknown)}: depths must be for a stream of {self.name}; correct the name")
        layers: list[Layer] = []
        for layer in self.layers:
            sources = list(layer.sources)
            for edge in self.inward[layer.name]:
                depth = depths.get(edge.label, 0)
                if depth:
                    stream = self.stream(edge)
                    kind = buffer_kind(depth - 1, stream.width, uram)
                    layers.append(Fifo(edge.label, (edge.source,), (stream,), stream, depth, kind))
                    sources[edge.target_port] = edge.label
            layers.append(replace(layer, sources=tuple(sources)))
        return replace(self, layers=tuple(layers))
