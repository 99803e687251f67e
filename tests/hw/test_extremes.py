"""Numbers at the ends of int64: the interpreter and the simulator give what Python's integers give, or refuse."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fireflow.hw.dataflow.build import to_dataflow
from fireflow.hw.dataflow.cost import costs
from fireflow.hw.errors import InputError
from fireflow.hw.graph import MAX_TENSOR_BYTES, MAX_WORK, Graph, Node
from fireflow.hw.ops import Add, Bias, Concat, Conv, GlobalSum, MaxPool, Op, Relu, Threshold
from fireflow.hw.simulator import Simulator
from fireflow.hw.types import TensorType

LO, HI = -(1 << 63), (1 << 63) - 1
EXTREMES = (
    LO,
    LO + 1,
    HI,
    HI - 1,
    -(1 << 62),
    1 << 62,
    1 << 61,
    -(1 << 53),
    1 << 53,
    (1 << 24) - 1,
    -(1 << 31),
)
SMALL = (-3, -2, -1, 0, 0, 1, 1, 2, 5)
INPUTS = (
    (0, 255),
    (0, 1),
    (-1, 0),
    (-8, 7),
    (-(1 << 31), (1 << 31) - 1),
    (0, 1 << 52),
    (LO, HI),
    (LO, LO),
    (HI, HI),
)


def reference(op: Op, arrays: list[Any]) -> Any:
    """What an operation means, in Python's integers: arrays of objects, (N, H, W, C) or (N, C)."""
    x = arrays[0]
    if isinstance(op, Conv):
        top, left, bottom, right = op.padding
        x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=op.pad_value)
        _oc, rows, columns, _depth = op.weight.shape
        weight = op.weight.astype(object)
        places = [range(x.shape[axis] - size + 1) for axis, size in ((1, rows), (2, columns))]
        out = [
            [(x[:, None, i : i + rows, j : j + columns] * weight).sum(axis=(2, 3, 4)) for j in places[1]]
            for i in places[0]
        ]
        return np.moveaxis(np.array(out, dtype=object), 2, 0)
    if isinstance(op, MaxPool):
        return np.maximum(np.maximum(x[:, :-1, :-1], x[:, 1:, :-1]), np.maximum(x[:, :-1, 1:], x[:, 1:, 1:]))
    if isinstance(op, Threshold):
        return op.out_lo + (x[..., None] >= op.thresholds.astype(object)).astype(object).sum(axis=-1)
    if isinstance(op, Bias):
        return x + op.values.astype(object)
    if isinstance(op, Relu):
        return np.maximum(x, 0)
    if isinstance(op, GlobalSum):
        return x.sum(axis=(1, 2))
    return x + arrays[1] if isinstance(op, Add) else np.concatenate(arrays, axis=-1)


def numbers(rng: Any, shape: tuple[int, ...]) -> Any:
    """int64: small ones, and often one or more at the ends."""
    values = rng.choice(SMALL, shape)
    if rng.random() < 0.6:
        mask = rng.random(shape) < rng.choice((0.1, 0.5, 1.0))
        values = np.where(mask, rng.choice(np.array(EXTREMES, np.int64), shape), values)
    return values.astype(np.int64)


def an_operation(rng: Any, shape: tuple[int, ...]) -> tuple[Op, int]:
    """One that takes tensors of a shape, and how many it takes."""
    if len(shape) == 1:
        return (Bias(numbers(rng, shape)), Relu())[rng.integers(2)], 1
    kind = rng.integers(9)
    if kind <= 2 or min(shape[:2]) < 2:
        size = int(rng.integers(1, 1 + min(2, *shape[:2])))
        pad = int(rng.integers(2)) if size > 1 else 0
        value = int(rng.choice(SMALL)) if rng.random() < 0.7 else int(rng.choice((-(1 << 62), (1 << 62) - 1)))
        weight = numbers(rng, (int(rng.integers(1, 3)), size, size, shape[2]))
        return Conv(weight, padding=(pad,) * 4, pad_value=value), 1
    if kind == 3:
        return Threshold(np.sort(numbers(rng, (shape[2], int(rng.integers(1, 4)))), axis=1)), 1
    plain = (Relu(), MaxPool((2, 2), (1, 1)), Bias(numbers(rng, shape[2:])), Add(), Concat())
    op = plain[kind - 4]
    return op, 2 if isinstance(op, (Add, Concat)) else 1


def a_graph(rng: Any) -> Graph:
    """A chain of a few operations, often with the end that the simulator joins. Raises InputError."""
    side, channels = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    kind = TensorType((side, side, channels), *INPUTS[rng.integers(len(INPUTS))])
    nodes: list[Node] = []
    name, shape = "image", kind.shape
    for number in range(int(rng.integers(1, 4))):
        op, inputs = an_operation(rng, shape)
        nodes.append(Node(f"n{number}", op, (name,) * inputs))
        name = nodes[-1].name
        shape = Graph("g", "image", kind, tuple(nodes), 1.0).types[name].shape
    if len(shape) == 3 and rng.random() < 0.7:
        end: list[Op] = [Conv(numbers(rng, (2, 1, 1, shape[2])))]
        end += [Bias(numbers(rng, (2,)))] if rng.random() < 0.7 else []
        end += [Relu()] if rng.random() < 0.7 else []
        for op in (*end, GlobalSum()):
            nodes.append(Node(f"e{len(nodes)}", op, (name,)))
            name = nodes[-1].name
    return Graph("g", "image", kind, tuple(nodes), 1.0)


def pictures(rng: Any, kind: TensorType) -> Any:
    """Four of them: all lowest, all highest, and two with both ends and what lies between."""
    between = [kind.lo, kind.hi, (kind.lo + kind.hi) // 2]
    images = rng.choice(np.array(between, kind.dtype), (4, *kind.shape))
    images[0], images[1] = kind.lo, kind.hi
    return images


@pytest.mark.parametrize("part", range(10))
def test_python_integers_are_met_or_the_graph_is_refused(part: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(150):
        rng = np.random.default_rng((part, seed))
        try:
            graph = a_graph(rng)
        except InputError as error:
            seen["range" if "range must fit in int64" in str(error) else str(error)] += 1
            continue
        seen["accepted"] += 1
        images = pictures(rng, graph.input_type)
        tensors = {"image": images.astype(object)}
        for node in graph.nodes:
            tensors[node.name] = reference(node.op, [tensors[name] for name in node.inputs])
            found = tensors[node.name]
            kind = graph.types[node.name]
            assert kind.lo <= found.min(), f"{part} {seed}: {node.name}"
            assert found.max() <= kind.hi, f"{part} {seed}: {node.name}"
        simulator = Simulator(graph)
        runs = {
            "interpreter": graph.trace(images),
            "simulator": {graph.output_name: simulator.run(images), **simulator.trace(images)},
            "single": {
                graph.output_name: np.concatenate([simulator.run(images[i : i + 1]) for i in range(4)])
            },
        }
        for stage, given in runs.items():
            for name, tensor in given.items():
                assert_array_equal(tensor.astype(object), tensors[name], f"{part} {seed}: {stage} {name}")
    assert set(seen) == {"range", "accepted"}, seen
    assert min(seen.values()) > 30, seen


def net(kind: TensorType, *ops: Op) -> Graph:
    names = ["image", *(f"n{number}" for number in range(len(ops)))]
    nodes = tuple(Node(names[i + 1], op, (names[i],)) for i, op in enumerate(ops))
    return Graph("g", "image", kind, nodes, 1.0)


@pytest.mark.parametrize("weight", [LO, HI, 1 << 62, -(1 << 62)])
def test_a_product_that_int64_cannot_hold_is_refused(weight: int) -> None:
    with pytest.raises(InputError, match=r"n[01]: range must fit in int64, not "):
        net(TensorType((2, 2, 1), 0, 4), Conv(np.full((1, 1, 1, 1), weight)))
    with pytest.raises(InputError, match=r"n[01]: range must fit in int64, not "):
        net(TensorType((2, 2, 1), 0, 4), Bias(np.array([weight])), Conv(np.full((1, 1, 1, 1), 8)))


def test_the_smallest_bias_in_front_of_a_sum() -> None:
    graph = net(
        TensorType((2, 2, 1), 0, 2),
        Conv(np.ones((1, 1, 1, 1), np.int64)),
        Bias(np.array([LO])),
        Relu(),
        GlobalSum(),
    )
    images = np.full((3, 2, 2, 1), 2, np.uint8)
    assert_array_equal(graph.run(images), np.zeros((3, 1), np.int64))
    assert_array_equal(Simulator(graph).run(images), np.zeros((3, 1), np.int64))


def test_the_range_is_the_one_that_pictures_reach() -> None:
    kind = TensorType((2, 2, 2), -1, 1)
    weight = np.array([LO >> 3, (1 << 60) - 1]).reshape(1, 1, 1, 2)
    low, high = Conv(weight).channel_ranges(kind)
    assert (low, high) == ([-(1 << 60) - ((1 << 60) - 1)], [(1 << 60) + ((1 << 60) - 1)])


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (
            Conv(np.ones((1, 1, 1, 1), np.int64), padding=(10**7,) * 4),
            "padding must leave at most 65536 rows",
        ),
        (Conv(np.ones((1, 1, 1, 1), np.int64), padding=(0, 0, 10**7, 0)), "padding must leave at most"),
        (Conv(np.ones((1, 1, 1, 1), np.int64), padding=(60000, 0, 0, 6000)), "padding must leave at most"),
        (MaxPool((10**7, 10**7), (1, 1), (0, 0, 10**7, 10**7)), "padding must leave at most"),
        (MaxPool((1 << 60, 1), (1, 1), (0, 0, 1 << 61, 0)), "padding must leave at most"),
        (Conv(np.ones((1, 1, 1, 1), np.int64), padding=(2000,) * 4), None),
    ],
)
def test_small_numbers_that_mean_much_work(op: Op, message: str | None) -> None:
    if message is None:
        assert net(TensorType((8, 8, 1), 0, 1), op).types["n0"].shape == (4008, 4008, 1)
        return
    with pytest.raises(InputError, match=f"n0: {message}"):
        net(TensorType((8, 8, 1), 0, 1), op)


def test_a_graph_of_much_work_or_memory_is_refused() -> None:
    wide = Conv(np.ones((1, 1, 1, 1), np.int64), padding=(2000,) * 4)  # 2^24 elements, of one byte each
    kind = TensorType((8, 8, 1), 0, 1)
    with pytest.raises(InputError, match=r"n4: the network up to here must take at most \d+ operations"):
        net(kind, wide, *[Threshold(np.zeros((1, 5000), np.int64))] * 4)
    with pytest.raises(
        InputError, match=r"n\d+: the network up to here .* not \d+ and 5\d{8}; make it smaller"
    ):
        net(kind, wide, *[Relu()] * 40)
    with pytest.raises(InputError, match="n4: the network up to here must take at most"):
        net(TensorType((8, 8, 1), LO, HI), wide, *[Relu()] * 5)


def test_vgg_19_is_no_more_than_a_tenth_of_the_limits() -> None:
    """Five blocks of 3x3 convolutions of 224 pixels; weights of one bit are as much work as any."""
    ops: list[Op] = []
    channels = 3
    for width, depth in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _layer in range(depth):
            weight = np.zeros((width, 3, 3, channels), np.int64)
            ops += [Conv(weight, padding=(1,) * 4), Threshold(np.arange(15)[None])]
            channels = width
        ops.append(MaxPool((2, 2), (2, 2)))
    graph = net(TensorType((224, 224, 3), 0, 255), *ops)
    work = sum(node.op.work([graph.types[node.inputs[0]]], graph.types[node.name]) for node in graph.nodes)
    assert 19e9 < work < MAX_WORK / 10
    assert sum(kind.size_bytes for kind in graph.types.values()) < MAX_TENSOR_BYTES / 10


@pytest.mark.parametrize("weight", [1 << 27, -(1 << 40), (1 << 50) - 1])
def test_operands_that_no_multiplier_takes_are_no_hardware(weight: int) -> None:
    graph = net(TensorType((2, 2, 1), -128, 127), Conv(np.full((1, 1, 1, 1), weight)))
    with pytest.raises(InputError, match="n0: operands must fit a DSP, not have"):
        costs(to_dataflow(graph), "xc7")
