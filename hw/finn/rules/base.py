"""What the lowering knows of one operation of the integer graph: the base of the rules, one file for each operation.

A rule follows its operation all the way: the nodes of a file, their check, the steps that make FINN's nodes of them,
the operation that is read from these, and the way back. The passes over whole models ask the rules and know no
operation themselves, so that a new one is a new file here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from fireflow.hw.finn.datatypes import smallest_type
from fireflow.hw.graph import Graph, Node
from fireflow.hw.ops import Op

if TYPE_CHECKING:
    from fireflow.hw.finn.writer import Writer

Step: TypeAlias = Callable[[ModelWrapper], None] | Transformation
"""A change of a model, in place."""
Scales: TypeAlias = dict[str, float]
"""Scales of quantized tensors by name: real value = integer * scale."""

WINDOW = ("dilations", "kernel_shape", "pads", "strides")
"""ONNX's attributes of a window, all lists of integers."""


class Stage(Enum):
    """Where in the lowering a step of a rule runs."""

    SIMPLIFY = auto()
    """Other spellings of what it takes; see `hw.finn.simplify`."""
    ATTRIBUTES = auto()
    """What ONNX lets a node leave out but FINN reads."""
    WEIGHTS = auto()
    WINDOWS = auto()
    SCALES = auto()
    """Scales to nodes of their own, in front of FINN's making thresholds of quantizers."""
    SCALES_FORWARD = auto()
    """A scale's way past the operation; repeated until nothing changes."""
    THRESHOLDS = auto()
    HEAD = auto()
    NHWC = auto()
    """Nodes to channels last, between transposes."""
    TRANSPOSES = auto()
    """A transpose's way past the operation; repeated until nothing changes."""


def apply(step: Step, model: ModelWrapper) -> ModelWrapper:
    """The model after a step, which may or may not be the same object."""
    if isinstance(step, Transformation):
        return model.transform(step, make_deepcopy=False, cleanup=False)
    step(model)
    return model


class Form(NamedTuple):
    """Fewest and most inputs, and the attributes a node may have, by name and type (`onnx.AttributeProto`)."""

    fewest: int
    most: int
    attributes: Mapping[str, int]


Forms: TypeAlias = Mapping[str, Form]
Steps: TypeAlias = Mapping[Stage, tuple[Step, ...]]


class Rule:
    """Base of the rules. A subclass names its operation, `class AddRule(Rule, op=Add)`, and is registered by it."""

    op: ClassVar[type[Op]]
    registered: ClassVar[dict[type[Op], Rule]] = {}

    # --- in a file -------------------------------------------------------------------------------------------

    takes: ClassVar[tuple[str, ...]] = ()
    """ONNX operations, of a simplified file, that are its own."""
    respells: ClassVar[tuple[str, ...]] = ()
    """Further ones of a file, of which its steps of `Stage.SIMPLIFY` or the loader make those."""
    forms: ClassVar[Forms] = {}
    """The limit of either; checked before ONNX reads a node."""
    reads_sums: ClassVar[tuple[str, ...]] = ()
    """Those that may read what a convolution sums up, which is not quantized."""
    steps: ClassVar[Steps] = {}

    # --- in the lowered model --------------------------------------------------------------------------------

    lowered: ClassVar[str]
    """FINN's operation that it becomes."""
    helpers: ClassVar[Mapping[str, str]] = {}
    """Operations in front of that one that belong to it, and the endings of their names."""
    parameter: ClassVar[str] = ""
    """Ending of the name of the lowered node's second input, a constant; empty: it has none."""
    suffix: ClassVar[str] = ""
    """Ending of the name of one that the file has no tensor for, behind the name of what it reads."""
    bounded: ClassVar[bool] = True
    """Whether its range must stay where float32 holds every integer."""

    # --- among FINN's hardware layers ------------------------------------------------------------------------

    hardware_turn: ClassVar[int] = 2
    """When `hardware` runs: 0 for what FINN would else take into a product; 1 for products, whose sums are INT32 once
    a transformation of FINN's has inferred types anew; 2 for all others."""

    def __init_subclass__(cls, op: type[Op]) -> None:
        assert op not in Rule.registered, f"{op.__name__} has a rule: {Rule.registered[op]}"
        cls.op = op
        Rule.registered[op] = cls()

    @staticmethod
    def sum_readers() -> tuple[str, ...]:
        """Operations of a file that may read what a convolution sums up, of all rules."""
        return tuple(kind for rule in Rule.registered.values() for kind in rule.reads_sums)

    def complete(
        self, node: NodeProto, producers: Mapping[str, NodeProto], shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        """Checks and completes a node whose form is right, before ONNX infers shapes.

        Args:
            node: one of `forms`.
            producers: of the file's tensors.
            shapes: of the file's constants.

        Raises:
            InputError: it breaks a rule.
        """

    def takes_node(self, model: ModelWrapper, node: NodeProto) -> bool:
        """Whether a node of a simplified file is its own."""
        return node.op_type in self.takes

    def check(self, model: ModelWrapper, node: NodeProto, scales: Scales) -> None:
        """Checks a node that is its own, and notes the scale of a quantized result.

        Raises:
            InputError: it breaks a rule.
        """
        raise NotImplementedError

    def named(self, model: ModelWrapper, node: NodeProto) -> str | None:
        """The tensor of a file after which the operation is called, for a node that is its own; None: it adds none."""
        return str(node.output[0])

    def becomes(self, model: ModelWrapper, node: NodeProto) -> bool:
        """Whether a node of the lowered model is this operation."""
        return bool(node.op_type == self.lowered)

    def read(self, model: ModelWrapper, node: NodeProto) -> tuple[Op, list[str]]:
        """The operation of a node of the lowered model, and the tensors it reads."""
        raise NotImplementedError

    def write(self, writer: Writer, node: Node, op: Any) -> None:
        """The way back: adds the nodes that `read` would read so.

        Raises:
            InputError: an operation that FINN has no node for.
        """
        raise NotImplementedError

    def annotate(self, model: ModelWrapper, node: Node, graph: Graph) -> None:
        """Gives the result the smallest type of its exact range, and the constants theirs.

        By default the result only; a rule may leave it to QONNX, where that infers no more than the range.
        """
        kind = graph.types[node.name]
        model.set_tensor_datatype(node.name, smallest_type(kind.lo, kind.hi))

    def magnitude(
        self, node: Node, model: ModelWrapper, scales: Mapping[str, float], source: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], int] | None:
        """What bounds the error of float32 where the file's own engine adds up products; None where it adds none.

        Args:
            model: the file as the lowering reads it.
            scales: of its quantized tensors.
            source: the integers that the operation reads, (N, H, W, C).

        Returns:
            For every result the sum of absolute values, as reals, and how many they are.
        """
        return None

    def hardware(self) -> tuple[Step, ...]:
        """What makes FINN's hardware layers of its nodes; called, and run, inside `environment.finn`."""
        return ()
