"""The graph's rules, and the interpreter on a network small enough to follow by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.testing import assert_array_equal

from fireflow.hw.errors import InputError
from fireflow.hw.graph import Graph, Node
from fireflow.hw.ops import Add, Bias, Conv, GlobalSum, Op, Relu, Threshold
from fireflow.hw.types import TensorType
from tests.hw.random_graphs import graphs, pictures

KIND = TensorType((2, 2, 1), 0, 255)
DOUBLE = Node("double", Conv(np.full((1, 1, 1, 1), 2)), ("image",))


def graph(*nodes: Node, kind: TensorType = KIND) -> Graph:
    return Graph("net", "image", kind, nodes, 0.5)


def test_a_network_by_hand() -> None:
    net = graph(
        DOUBLE,
        Node("act", Threshold(np.array([[2, 10, 100]])), ("double",)),
        Node("both", Add(), ("act", "act")),
        Node("scores", GlobalSum(), ("both",)),
    )
    images = np.array([[[[0], [1]], [[5], [200]]]], np.uint8)
    trace = net.trace(images)
    assert list(trace) == ["image", "double", "act", "both", "scores"]
    assert trace["double"].ravel().tolist() == [0, 2, 10, 400]
    assert trace["act"].ravel().tolist() == [0, 1, 2, 3]
    assert net.run(images).tolist() == [[12]]
    assert net.types["scores"] == TensorType((1,), 0, 24)
    assert net.output_name == "scores"
    assert [node.name for node in net.consumers["act"]] == ["both"]


@settings(deadline=None, max_examples=40)
@given(graphs())
def test_json_round_trip(net: Graph) -> None:
    document, arrays = net.to_json()
    again = Graph.from_json(json.loads(json.dumps(document)), arrays)
    assert again.types == net.types
    assert_array_equal(again.run(pictures(net, 2)), net.run(pictures(net, 2)))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((), "net: a graph must have at least one node"),
        ((DOUBLE, DOUBLE), "net: names must be unique and not empty, not 'double' again"),
        ((Node("image", Relu(), ("image",)),), "names must be unique and not empty, not 'image' again"),
        ((Node("a", Relu(), ("b",)),), "a: inputs must be defined before, not 'b'; order the nodes"),
        ((Node("a", Add(), ("image",)),), "a: Add must have 2 inputs, not 1"),
        ((Node("a", Relu(), ()),), "a: Relu must have 1 inputs, not 0"),
        ((Node("a", Bias(np.ones(3, int)), ("image",)),), "a: values must be 1, one per channel, not 3"),
        ((Node("a", Conv(np.full((1, 1, 1, 1), 1 << 60)), ("image",)),), "a: range must fit in int64"),
    ],
)
def test_rules(nodes: tuple[Node, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        graph(*nodes)


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf"), True, "1"])
def test_output_scale(scale: float) -> None:
    with pytest.raises(InputError, match="net: output_scale must be a finite number above 0"):
        Graph("net", "image", KIND, (DOUBLE,), scale)


@pytest.mark.parametrize(
    ("images", "given"),
    [
        (np.zeros((2, 2, 1), np.uint8), r"uint8 of shape \(2, 2, 1\)"),
        (np.zeros((1, 1, 2, 2), np.uint8), r"uint8 of shape \(1, 1, 2, 2\)"),
        (np.zeros((1, 2, 2, 1), np.int64), r"int64 of shape \(1, 2, 2, 1\)"),
        ([[[[0]]]], "list"),
    ],
)
def test_wrong_images(images: np.ndarray, given: str) -> None:
    with pytest.raises(
        InputError, match=rf"image: images must be uint8 of shape \(N, 2, 2, 1\), not {given}; "
    ):
        graph(DOUBLE).run(images)


def test_images_outside_the_range() -> None:
    net = graph(DOUBLE, kind=TensorType((2, 2, 1), 0, 15))
    with pytest.raises(InputError, match=r"image: values must lie in 0\.\.15, not 16\.\.16"):
        net.run(np.full((1, 2, 2, 1), 16, np.uint8))


def test_a_result_outside_its_inferred_range_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    net = graph(DOUBLE)
    monkeypatch.setattr(Conv, "eval", lambda op, arrays: arrays[0] * 3)
    with pytest.raises(InputError, match=r"double: values must lie in 0\.\.510, not 600\.\.600"):
        net.run(np.full((1, 2, 2, 1), 200, np.uint8))


def test_damaged_document() -> None:
    document, arrays = graph(DOUBLE).to_json()
    for key in document:
        with pytest.raises(InputError):
            Graph.from_json({name: value for name, value in document.items() if name != key}, arrays)
    with pytest.raises(InputError, match=r"double: Conv must have the fields .*'weight'.*, not "):
        Graph.from_json(document, {})
    for wrong in (None, [], {"nodes": 3}, {**document, "nodes": [{}]}, {**document, "input_type": 3}):
        with pytest.raises(InputError):
            Graph.from_json(wrong, arrays)


def test_every_operation_is_registered() -> None:
    assert set(Op.kinds) >= {"Add", "Bias", "Concat", "Conv", "GlobalSum", "MaxPool", "Relu", "Threshold"}
