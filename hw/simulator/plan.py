"""Which nodes of a graph are computed together, and in which number type: the plan of the fast simulator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from fireflow.hw.graph import Graph, Node
from fireflow.hw.ops import Add, Bias, Concat, Conv, GlobalSum, MaxPool, Relu, Threshold
from fireflow.hw.simulator.levels import Levels, fit_levels
from fireflow.hw.types import narrowest_dtype

if TYPE_CHECKING:
    from fireflow.hw.types import Array, Int64Array


@dataclass(frozen=True)
class Patches:
    """Which input pixels a convolution reads."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, ...]
    pad_value: int

    def column_of(self, other: Patches) -> int | None:
        """Where this window's pixels begin among those of `other`, in pixels; None if not there."""
        if self == other:
            return 0
        if self.kernel != (1, 1) or self.stride != other.stride or any(self.padding):
            return None
        top, left = other.padding[0], other.padding[1]
        inside = top < other.kernel[0] and left < other.kernel[1]
        return top * other.kernel[1] + left if inside else None


@dataclass(frozen=True, eq=False)
class MatrixProduct:
    """One convolution as a matrix product: gathered pixels (P, K) times weights (K, OC)."""

    weight: Array
    window: Patches


@dataclass(frozen=True, eq=False)
class ConvStep:
    """Convolutions of one tensor side by side, then thresholds, a pool, or a sum over all pixels.

    Args:
        source, target: tensor names.
        shape: (OH, OW, OC) of the accumulators, OC over all products.
        products: one or more.
        limit: no partial sum has a larger magnitude, in whatever order it is summed.
        dtype: float type that holds such sums.
        levels: thresholds that follow.
        pool: a pool between convolution and thresholds; in the graph it follows them, but neither minds.
        floor: (OC,) and
        shift: (OC,): a sum over all pixels of max(acc, floor), plus shift, follows.
        largest: no value in that sum has a larger magnitude.
    """

    source: str
    target: str
    shape: tuple[int, int, int]
    products: tuple[MatrixProduct, ...]
    limit: int
    dtype: np.dtype[Any]
    levels: Levels | None = None
    pool: MaxPool | None = None
    floor: Array | None = None
    shift: Int64Array | None = None
    largest: int = 0


@dataclass(frozen=True, eq=False)
class LevelStep:
    """Thresholds of a tensor, or of the sum of several."""

    sources: tuple[str, ...]
    target: str
    levels: Levels


@dataclass(frozen=True, eq=False)
class PoolStep:
    source: str
    target: str
    op: MaxPool


@dataclass(frozen=True, eq=False)
class EvalStep:
    """Anything else: the interpreter's own code for one node."""

    node: Node


PlanStep = Union[ConvStep, LevelStep, PoolStep, EvalStep]


@dataclass(frozen=True, eq=False)
class SimulationPlan:
    """Steps in order, and the border that the convolutions want around each tensor.

    `borders` maps a tensor to (top, left, bottom, right), `pad_values` to what the border holds.
    """

    graph: Graph
    steps: list[PlanStep] = field(default_factory=list)
    borders: dict[str, tuple[int, ...]] = field(default_factory=dict)
    pad_values: dict[str, int] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The tensors that exist as a whole."""
        return [self.graph.input_name, *(target_of(step) for step in self.steps)]

    def stored_type(self, name: str) -> np.dtype[Any]:
        """The type a tensor is kept in: the narrowest that holds its values and its border."""
        kind = self.graph.types[name]
        pad = self.pad_values.get(name, kind.lo)
        return narrowest_dtype(min(kind.lo, pad), max(kind.hi, pad))


def target_of(step: PlanStep) -> str:
    return step.node.name if isinstance(step, EvalStep) else step.target


def make_plan(graph: Graph) -> SimulationPlan:
    """Joins what can be computed in one go. Every node is covered; results are the interpreter's."""
    plan = SimulationPlan(graph)
    done: set[str] = set()
    for node in graph.nodes:
        if node.name in done:
            continue
        step, covered = _conv_steps(plan, node) or _sum_then_threshold(graph, node) or _single(node)
        plan.steps.append(step)
        done.update(covered)
    return plan


def _single(node: Node) -> tuple[PlanStep, list[str]]:
    if isinstance(node.op, MaxPool):
        return PoolStep(node.inputs[0], node.name, node.op), [node.name]
    return EvalStep(node), [node.name]


def _sum_then_threshold(graph: Graph, node: Node) -> tuple[PlanStep, list[str]] | None:
    """A threshold, or an addition that only a threshold reads."""
    last = node
    if isinstance(node.op, Add):
        following = _only_reader(graph, node, Threshold)
        if following is None:
            return None
        last = following
    if not isinstance(last.op, Threshold):
        return None
    total = graph.types[last.inputs[0]]
    dtype = exact_type(sum(graph.types[name].magnitude for name in node.inputs))
    if dtype is None:
        return None
    channels = total.shape[-1]
    levels = _levels(last.op, np.full(channels, total.lo), np.full(channels, total.hi), dtype)
    if levels is None:
        return None
    return LevelStep(node.inputs, last.name, levels), [node.name, last.name]


def _conv_steps(plan: SimulationPlan, node: Node) -> tuple[PlanStep, list[str]] | None:
    """The convolution with what follows it, and with its neighbours where their results are concatenated."""
    graph = plan.graph
    dtype = _conv_type(graph, node)
    if dtype is None or not _want_border(plan, node):
        return None
    threshold = _only_reader(graph, node, Threshold)
    if threshold is None:
        return _summed(graph, node, dtype) or (_conv_step(graph, [node], node.name, dtype), [node.name])
    together = _concatenated(plan, node, threshold, dtype)
    if together is not None:
        return together
    levels = _levels(threshold.op, *_ranges(graph, [node]), dtype)
    if levels is None:
        return _conv_step(graph, [node], node.name, dtype), [node.name]
    covered = [node.name, threshold.name]
    pool = _only_reader(graph, threshold, MaxPool)
    if pool is not None and isinstance(pool.op, MaxPool) and _shrinks(graph, threshold, pool):
        step = _conv_step(graph, [node], pool.name, dtype, levels=levels, pool=pool.op)
        return step, [*covered, pool.name]
    return _conv_step(graph, [node], threshold.name, dtype, levels=levels), covered


def _concatenated(
    plan: SimulationPlan, node: Node, threshold: Node, dtype: np.dtype[Any]
) -> tuple[PlanStep, list[str]] | None:
    """All branches of a concatenation, if each is a convolution of one tensor with its own thresholds."""
    graph = plan.graph
    concat = _only_reader(graph, threshold, Concat)
    if concat is None or len(set(concat.inputs)) != len(concat.inputs):
        return None
    by_name = {each.name: each for each in graph.nodes}
    thresholds = [by_name.get(name) for name in concat.inputs]
    convs: list[Node] = []
    rows: list[Array] = []
    for each in thresholds:
        if each is None or not isinstance(each.op, Threshold) or len(graph.consumers[each.name]) != 1:
            return None
        conv = by_name.get(each.inputs[0])
        if conv is None or conv.inputs != node.inputs or _only_reader(graph, conv, Threshold) is not each:
            return None
        # NumPy takes None for float64 when it compares types: ask for None by itself.
        other = _conv_type(graph, conv)
        if other is None or other != dtype or not _want_border(plan, conv):
            return None
        table = each.op.thresholds
        if each.op.out_lo or (rows and table.shape[1] != rows[0].shape[1]):
            return None
        rows.append(np.broadcast_to(table, (graph.types[conv.name].shape[2], table.shape[1])))
        convs.append(conv)
    levels = _levels(Threshold(np.concatenate(rows)), *_ranges(graph, convs), dtype)
    if levels is None:
        return None
    covered = [concat.name, *concat.inputs, *(conv.name for conv in convs)]
    return _conv_step(graph, convs, concat.name, dtype, levels=levels), covered


def _summed(graph: Graph, node: Node, dtype: np.dtype[Any]) -> tuple[PlanStep, list[str]] | None:
    """The end of the network: convolution, bias if any, ReLU if any, sum over all pixels.

    max(acc + bias, 0) is max(acc, -bias) + bias, so that the bias is added once to the sum of all pixels.
    """
    covered, last = [node.name], node
    height, width, channels = graph.types[node.name].shape
    shift = np.zeros(channels, np.int64)
    floor = None
    bias = _only_reader(graph, last, Bias)
    if bias is not None and isinstance(bias.op, Bias):
        covered, last, shift = [*covered, bias.name], bias, bias.op.values
    relu = _only_reader(graph, last, Relu)
    if relu is not None:
        covered, last, floor = [*covered, relu.name], relu, (-shift).astype(dtype)
    total = _only_reader(graph, last, GlobalSum)
    limit = graph.types[node.name].magnitude + _largest(shift)
    if total is None or exact_type(limit) is None or (floor is not None and exact_type(limit) != dtype):
        return None
    # Partial sums over the pixels have to be exact too.
    if limit * height * width >= 1 << 53:
        return None
    step = _conv_step(
        graph, [node], total.name, dtype, floor=floor, shift=shift * (height * width), largest=limit
    )
    return step, [*covered, total.name]


def _conv_step(graph: Graph, convs: list[Node], target: str, dtype: np.dtype[Any], **more: Any) -> ConvStep:
    products = []
    for node in convs:
        assert isinstance(node.op, Conv)
        weight = node.op.weight.reshape(len(node.op.weight), -1).T.astype(dtype)  # (KH * KW * IC, OC)
        products.append(MatrixProduct(np.ascontiguousarray(weight), _window(node.op)))
    height, width, _ = graph.types[convs[0].name].shape
    channels = sum(graph.types[node.name].shape[2] for node in convs)
    limit = max(_limit(graph, node) for node in convs)
    assert limit < 1 << np.finfo(dtype).nmant + 1, f"{target}: sums up to {limit} are not exact in {dtype}"
    return ConvStep(
        convs[0].inputs[0], target, (height, width, channels), tuple(products), limit, dtype, **more
    )


def _window(op: Conv) -> Patches:
    kernel_h, kernel_w = op.weight.shape[1:3]
    return Patches((kernel_h, kernel_w), (op.stride[0], op.stride[1]), op.padding, op.pad_value)


def _conv_type(graph: Graph, node: Node) -> np.dtype[Any] | None:
    """The float type in which this convolution is exact in whatever order it is summed, if any."""
    if not isinstance(node.op, Conv) or node.op.groups != 1:
        return None
    return exact_type(_limit(graph, node))


def _limit(graph: Graph, node: Node) -> int:
    """Largest sum of |weight| times the largest |input|: no partial sum of any order can exceed it."""
    assert isinstance(node.op, Conv)
    # In floats, which cannot overflow; exact below 2^53, and beyond nothing depends on it.
    weight = np.abs(node.op.weight.reshape(len(node.op.weight), -1).astype(np.float64)).sum(axis=1)
    return int(weight.max()) * max(graph.types[node.inputs[0]].magnitude, abs(node.op.pad_value))


def _largest(values: Int64Array) -> int:
    """The largest magnitude; that of int64's smallest number is none of int64's."""
    return max(abs(int(values.min())), abs(int(values.max())))


def exact_type(magnitude: int) -> np.dtype[Any] | None:
    """The float type that holds all integers up to this magnitude."""
    if magnitude < 1 << 24:
        return np.dtype(np.float32)
    return np.dtype(np.float64) if magnitude < 1 << 53 else None


def _ranges(graph: Graph, convs: list[Node]) -> tuple[Array, Array]:
    lows, highs = [], []
    for node in convs:
        assert isinstance(node.op, Conv)
        low, high = node.op.channel_ranges(graph.types[node.inputs[0]])
        lows += low
        highs += high
    return np.array(lows), np.array(highs)


def _levels(op: Any, lows: Array, highs: Array, dtype: np.dtype[Any]) -> Levels | None:
    """None where the result does not start at 0, which no network of ours needs."""
    if op.out_lo != 0:
        return None
    return fit_levels(np.broadcast_to(op.thresholds, (len(lows), op.thresholds.shape[1])), lows, highs, dtype)


def _only_reader(graph: Graph, node: Node, kind: type) -> Node | None:
    readers = graph.consumers[node.name]
    single = len(readers) == 1 and readers[0].inputs.count(node.name) == 1
    return readers[0] if single and isinstance(readers[0].op, kind) else None


def _shrinks(graph: Graph, before: Node, after: Node) -> bool:
    return graph.types[after.name].shape[0] * 2 <= graph.types[before.name].shape[0] + 1


def _want_border(plan: SimulationPlan, node: Node) -> bool:
    """Asks for the border this convolution reads; False if another one wants other values there."""
    op, name = node.op, node.inputs[0]
    assert isinstance(op, Conv)
    if not any(op.padding):
        return True
    if plan.pad_values.setdefault(name, op.pad_value) != op.pad_value:
        return False
    border = plan.borders.get(name, (0, 0, 0, 0))
    plan.borders[name] = tuple(map(max, border, op.padding))
    return True
