"""The integer graph and its plain interpreter: what every other implementation is checked against."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fireflow.hw.errors import InputError
from fireflow.hw.names import check_name
from fireflow.hw.ops import Op
from fireflow.hw.types import TensorType

if TYPE_CHECKING:
    from fireflow.hw.types import Array, Int64Array

MAX_WORK = 1 << 38
"""Operations on numbers for a picture, beyond all networks of their kind: VGG-19 multiplies 2^34.2 times."""
MAX_TENSOR_BYTES = 1 << 29
"""All tensors together, each in its narrowest type; those of ResNet-152 at 224 pixels take 2^27."""
MAX_NODES = 10_000
_LARGEST = sys.float_info.max


@dataclass(frozen=True, eq=False)
class Node:
    """One operation; its only result is the tensor of the node's name."""

    name: str
    op: Op
    inputs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """A network of integer operations on NHWC tensors.

    Args:
        name: the network's name.
        input_name: of the picture, usually "image".
        input_type: of the picture, usually (H, W, 3), 0..255.
        nodes: in an order in which every node follows its inputs; the last one gives the scores.
        output_scale: real scores are the integers times this.

    Raises:
        InputError: a name that is none (`hw.names`), is used twice or not defined before its use, tensors that do not
            fit an operation, a value range that int64 cannot hold, or more work or memory than any network takes.
    """

    name: str
    input_name: str
    input_type: TensorType
    nodes: tuple[Node, ...]
    output_scale: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        check_name("graph", self.name)
        check_name(f"{self.name}: input", self.input_name)
        if not self.nodes:
            raise InputError(f"{self.name}: a graph must have at least one node, not none; add the layers")
        scale = self.output_scale
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 < scale <= _LARGEST:
            raise InputError(
                f"{self.name}: output_scale must be a finite number above 0, not {scale!r:.80}; correct it"
            )
        if len(self.nodes) > MAX_NODES:
            raise InputError(
                f"{self.name}: a graph must have at most {MAX_NODES} nodes, not {len(self.nodes)}; split it"
            )
        self.types  # noqa: B018  a graph that does not fit together is refused here, not at its first use

    def __repr__(self) -> str:
        return f"<Graph {self.name}: {self.summary}>"

    @property
    def summary(self) -> str:
        """Its size in a few words: input, nodes, output."""
        ends = ("x".join(map(str, kind.shape)) for kind in (self.input_type, self.output_type))
        return f"{next(ends)} -> {len(self.nodes)} nodes -> {next(ends)}"

    @cached_property
    def types(self) -> dict[str, TensorType]:
        """The type of every tensor, the input first, then in the order of the nodes."""
        types = {self.input_name: self.input_type}
        work, size_bytes = 0, self.input_type.size_bytes
        for number, node in enumerate(self.nodes):
            if check_name(f"{self.name}: node {number}", node.name) in types:
                raise InputError(
                    f"{self.name}: names must be unique and not empty, not {node.name!r} again; rename one"
                )
            missing = [name for name in node.inputs if name not in types]
            if missing:
                raise InputError(
                    f"{node.name}: inputs must be defined before, not {missing[0]!r}; order the nodes"
                )
            if not node.inputs or node.op.inputs not in (0, len(node.inputs)):
                raise InputError(
                    f"{node.name}: {type(node.op).__name__} must have {node.op.inputs or 'some'} inputs, "
                    f"not {len(node.inputs)}; check the wiring"
                )
            sources = [types[name] for name in node.inputs]
            try:
                result = types[node.name] = node.op.infer(sources)
            except InputError as error:
                raise InputError(f"{node.name}: {error}") from None
            work, size_bytes = work + node.op.work(sources, result), size_bytes + result.size_bytes
            if work > MAX_WORK or size_bytes > MAX_TENSOR_BYTES:
                raise InputError(
                    f"{node.name}: the network up to here must take at most {MAX_WORK} operations and "
                    f"{MAX_TENSOR_BYTES} bytes of tensors a picture, not {work} and {size_bytes}; make it smaller"
                )
        return types

    @cached_property
    def consumers(self) -> dict[str, tuple[Node, ...]]:
        """For every tensor, the nodes that read it."""
        readers: dict[str, list[Node]] = {name: [] for name in self.types}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers[name].append(node)
        return {name: tuple(nodes) for name, nodes in readers.items()}

    @property
    def output_name(self) -> str:
        return self.nodes[-1].name

    @property
    def output_type(self) -> TensorType:
        return self.types[self.output_name]

    def check_images(self, images: Array) -> Array:
        """The images, after a check: (N, H, W, C) of the input type's dtype, usually uint8, and of its range.

        Raises:
            InputError: they are of another shape, dtype or range.
        """
        expected = self.input_type
        good = (
            isinstance(images, np.ndarray)
            and images.dtype == expected.dtype
            and images.shape[1:] == expected.shape
        )
        if not good:
            given = type(images).__name__
            if isinstance(images, np.ndarray):
                given = f"{images.dtype} of shape {images.shape}"
            shape = ", ".join(map(str, ("N", *expected.shape)))
            raise InputError(
                f"{self.input_name}: images must be {expected.dtype} of shape ({shape}), not {given}; "
                "resize or convert them"
            )
        info = np.iinfo(expected.dtype)
        if images.size and (info.min, info.max) != (expected.lo, expected.hi):
            self._check_range(self.input_name, images)
        return images

    def _check_range(self, name: str, array: Array) -> None:
        kind = self.types[name]
        if array.size and (array.min() < kind.lo or array.max() > kind.hi):
            raise InputError(
                f"{name}: values must lie in {kind.lo}..{kind.hi}, not {array.min()}..{array.max()}; "
                "correct the type or the data"
            )

    def run(self, images: Array, keep: dict[str, Int64Array] | None = None) -> Int64Array:
        """Interprets the graph.

        Args:
            images: uint8 (N, H, W, C), or whatever the input type says.
            keep: a dictionary to fill with every tensor, the input included; without it, tensors go after
                their last use.

        Returns:
            int64 (N, classes); the real scores are these times `output_scale`.

        Raises:
            InputError: images of another shape or type; a value outside its inferred range.
        """
        tensors = {self.input_name: self.check_images(images).astype(np.int64)}
        last_use = {name: node.name for node in self.nodes for name in node.inputs}
        for node in self.nodes:
            tensors[node.name] = node.op.eval([tensors[name] for name in node.inputs])
            self._check_range(node.name, tensors[node.name])
            if keep is not None:
                keep.update({name: tensors[name] for name in (*node.inputs, node.name)})
            for name in set(node.inputs):
                if last_use[name] == node.name:
                    del tensors[name]
        return tensors[self.output_name]

    def trace(self, images: Array) -> dict[str, Int64Array]:
        """Every tensor by name, in topological order, the input first: int64 (N, H, W, C) or (N, C)."""
        tensors: dict[str, Int64Array] = {}
        self.run(images, keep=tensors)
        return {name: tensors[name] for name in self.types if name in tensors}

    def same(self, other: Graph) -> bool:
        """Whether the other computes the same by the same operations: names, wiring, numbers."""
        (own, numbers), (document, theirs) = self.to_json(), other.to_json()
        return own == document and all(np.array_equal(numbers[name], theirs[name]) for name in numbers)

    def to_json(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The graph as JSON without its arrays, and the arrays, int64 of any shape (...), as "node/field"."""
        nodes, arrays = [], {}
        for node in self.nodes:
            document, own = node.op.to_json()
            nodes.append({"name": node.name, "inputs": list(node.inputs), **document})
            arrays.update({f"{node.name}/{field}": array for field, array in own.items()})
        document = {
            "name": self.name,
            "input_name": self.input_name,
            "input_type": self.input_type.to_json(),
            "output_scale": self.output_scale,
            "nodes": nodes,
        }
        return document, arrays

    @classmethod
    def from_json(cls, document: Any, arrays: dict[str, Array]) -> Graph:
        """The graph that `to_json` described, with its arrays: integers of any shape (...).

        Raises:
            InputError: the document is not one.
        """
        own: dict[str, dict[str, Array]] = {}
        for key, array in arrays.items():
            name, _, field = key.rpartition("/")
            own.setdefault(name, {})[field] = array
        try:
            nodes = [_node(item, own) for item in document["nodes"]]
            if own:
                raise InputError(
                    f"graph: arrays must belong to nodes, and those of {min(own)!r:.80} do not; write it again"
                )
            return cls(
                document["name"],
                document["input_name"],
                TensorType.from_json(document["input_type"]),
                tuple(nodes),
                document["output_scale"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"graph: must have name, input and nodes ({error!r}); write it again") from None


def _node(item: dict[str, Any], arrays: dict[str, dict[str, Array]]) -> Node:
    """The node that a JSON object and its arrays, which it takes, describe."""
    name, inputs = check_name("graph: node", item["name"]), item["inputs"]
    if not isinstance(inputs, list) or not all(isinstance(source, str) for source in inputs):
        raise InputError(f"{name}: inputs must be a list of names, not {inputs!r:.80}; write it again")
    plain = {key: value for key, value in item.items() if key not in ("name", "inputs")}
    try:
        return Node(name, Op.from_json(plain, arrays.pop(name, {})), tuple(inputs))
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
