"""From the integer graph to layers: the same integers under any folding, and what cannot become hardware."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireflow.hw.dataflow.build import to_dataflow
from fireflow.hw.dataflow.layers import Concat, Fifo, Fork, Head, MatMul, Pad, WidthConverter, Window
from fireflow.hw.dataflow.network import Dataflow
from fireflow.hw.dataflow.stream import Stream, divisors
from fireflow.hw.errors import InputError
from fireflow.hw.graph import Graph, Node
from fireflow.hw.ops import Add, Bias, Conv, GlobalSum, MaxPool, Relu, Threshold
from fireflow.hw.ops import Concat as ConcatOp
from fireflow.hw.types import TensorType
from tests.hw.networks import pictures, squeezenet


def check(graph: Graph, flow: Dataflow, images: np.ndarray) -> None:
    """Every tensor that both have is the same, and every stream is of the shape and range it says."""
    expected, given_ = graph.trace(images), flow.run(images)
    for layer in flow.layers:
        array, stream = given_[layer.name], layer.output
        assert array.shape[1:] == stream.shape
        assert stream.lo <= array.min()
        assert array.max() <= stream.hi
        if layer.name in expected:
            np.testing.assert_array_equal(array, expected[layer.name])
    assert flow.output_name == graph.output_name


def random_folding(graph: Graph, rng: np.random.Generator) -> dict[str, dict[str, Any]]:
    folding: dict[str, dict[str, Any]] = {}
    for node in graph.nodes:
        channels = graph.types[node.name].shape[-1]
        if isinstance(node.op, Conv):
            simd = int(rng.choice(divisors(node.op.weight[0].size)))
            folding[node.name] = {"pe": int(rng.choice(divisors(channels))), "simd": simd}
            if node.op.weight.shape[1] > 1 and rng.integers(2):
                folding[node.name]["parallel"] = True
        elif isinstance(node.op, Threshold):
            folding[node.name] = {"pe": int(rng.choice(divisors(channels)))}
        elif isinstance(node.op, (MaxPool, GlobalSum)):
            folding[node.name] = {"lanes": int(rng.choice(divisors(channels))), "memory": "bram"}
    return folding


@pytest.mark.parametrize("bypass", [False, True])
def test_a_squeezenet_keeps_its_integers_under_random_foldings(bypass: bool) -> None:
    graph, rng = squeezenet(47, classes=6, bypass=bypass), np.random.default_rng(0)
    images = pictures(1, (47, 47, 3))
    for folding in ({}, random_folding(graph, rng), random_folding(graph, rng)):
        check(graph, to_dataflow(graph, folding), images)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_small_networks_keep_their_integers_under_random_foldings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = TensorType((int(rng.integers(4, 9)), int(rng.integers(4, 9)), int(rng.integers(1, 5))), 0, 15)
    stride = int(rng.integers(1, 3))
    width = int(rng.integers(1, 5)) * 2
    weight = rng.integers(-7, 8, (width, 3, 3, kind.shape[2]))
    other = rng.integers(-7, 8, (width, 1, 1, kind.shape[2]))
    table = np.sort(rng.integers(-200, 200, (width, 15)), axis=1)
    nodes = [
        Node("a", Conv(weight, (stride, stride), (1, 1, 1, 1)), ("image",)),
        Node("a.act", Threshold(table), ("a",)),
        Node("b", Conv(other, (stride, stride)), ("image",)),
        Node("b.act", Threshold(table[:1]), ("b",)),
    ]
    shapes = [Graph("g", "image", kind, tuple(nodes[k : k + 2]), 1.0).output_type.shape for k in (0, 2)]
    if shapes[0] == shapes[1]:
        nodes.append(Node("join", ConcatOp() if rng.integers(2) else Add(), ("a.act", "b.act")))
    graph = Graph("g", "image", kind, tuple(nodes), 1.0)
    images = rng.integers(0, 16, (2, *kind.shape)).astype(np.uint8)
    check(graph, to_dataflow(graph, random_folding(graph, rng)), images)


def test_helper_layers_stand_where_they_are_needed_and_nowhere_else() -> None:
    graph = squeezenet(47, classes=10)
    folding = {"conv1": {"pe": 4, "simd": 9, "parallel": True}, "fire2.squeeze": {"pe": 2, "simd": 8}}
    flow = to_dataflow(graph, folding)
    names = [layer.name for layer in flow.layers]
    assert names[:7] == [
        "conv1.window", "conv1.width", "conv1", "conv1.act", "pool1", "fire2.squeeze.width", "fire2.squeeze",
    ]  # fmt: skip
    assert isinstance(flow["fire2.squeeze.act.fork"], Fork)
    assert [edge.target for edge in flow.outward["fire2.squeeze.act.fork"]] == [
        "fire2.expand1x1", "fire2.expand3x3.pad",
    ]  # fmt: skip
    assert isinstance(flow["fire2.expand3x3.pad"], Pad)
    assert isinstance(flow["fire2.expand3x3.window"], Window)
    assert "fire2.expand1x1.window" not in names
    head = flow["scores"]
    assert isinstance(head, Head)
    assert head.relu
    assert head.sources == ("conv10",)


def test_words_that_do_not_divide_go_through_their_least_common_multiple() -> None:
    graph = small(weight=np.ones((4, 1, 1, 6), np.int64), shape=(2, 2, 6))
    flow = to_dataflow(graph, {"image": {"lanes": 2}, "conv": {"simd": 3}})
    lanes = [layer.output.lanes for layer in flow.layers if isinstance(layer, WidthConverter)]
    assert lanes == [6, 3]


def test_one_converter_serves_all_readers_that_want_the_same() -> None:
    graph = squeezenet(47, classes=10)
    folding = {"fire2.expand1x1": {"simd": 4}, "fire2.expand3x3": {"simd": 4}, "fire2.squeeze": {"pe": 2}}
    flow = to_dataflow(graph, folding)
    assert flow["fire2.squeeze.act.fork"].sources == ("fire2.squeeze.act.fork.width",)


def small(op: Any = None, weight: Any = None, shape: tuple[int, int, int] = (4, 4, 3)) -> Graph:
    conv = op or Conv(weight if weight is not None else np.ones((4, 3, 3, shape[2]), np.int64))
    return Graph("small", "image", TensorType(shape, 0, 15), (Node("conv", conv, ("image",)),), 1.0)


BAD = [
    ({"conv": {"simd": 4}}, "conv: SIMD must divide MW=27, not 4; choose 1, 3, 9 or 27"),
    ({"conv": {"pe": 3}}, "conv: PE must divide MH=4, not 3; choose 1, 2 or 4"),
    ({"conv1": {}}, "conv1: a folding must be for a layer of small; correct the name"),
    ({"image": {"lanes": 2}}, "image: lanes must divide C=3, not 2; choose 1 or 3"),
    (
        {"conv": {"memory": "uram"}},
        "conv: memory of weights must be lut or bram, not 'uram', which starts empty",
    ),
    ({"conv": {"kernel": "gpu"}}, "conv: kernel must be one of finn, dsp, lut, not 'gpu'; change it"),
    ({"conv": {"parallel": 1}}, "conv: parallel must be true or false, not 1; change it"),
]


@pytest.mark.parametrize(("folding", "message"), BAD)
def test_a_folding_that_cannot_be_is_refused_with_the_choices(folding: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        to_dataflow(small(), folding)
    assert str(caught.value).startswith(message)


def test_operations_without_a_layer_are_refused() -> None:
    grouped = Conv(np.ones((4, 1, 1, 1), np.int64), groups=2)
    with pytest.raises(InputError, match="conv: groups must be 1"):
        to_dataflow(small(grouped, shape=(2, 2, 2)))
    padded = Conv(np.ones((4, 3, 3, 3), np.int64), padding=(1, 1, 1, 1), pad_value=3)
    with pytest.raises(InputError, match="conv: padding must hold 0"):
        to_dataflow(small(padded))
    kind = TensorType((2, 2, 3), 0, 15)
    lone = Graph("lone", "image", kind, (Node("relu", Relu(), ("image",)),), 1.0)
    with pytest.raises(InputError, match="relu: Relu must lead to a GlobalSum"):
        to_dataflow(lone)


def test_a_head_takes_in_its_bias_and_relu_or_neither() -> None:
    kind = TensorType((2, 2, 3), -5, 15)
    bias = Bias(np.array([1, -7, 3]))
    images = np.random.default_rng(0).integers(-5, 16, (2, 2, 2, 3)).astype(np.int8)
    for nodes in (
        [Node("sum", GlobalSum(), ("image",))],
        [Node("relu", Relu(), ("image",)), Node("sum", GlobalSum(), ("relu",))],
        [Node("b", bias, ("image",)), Node("relu", Relu(), ("b",)), Node("sum", GlobalSum(), ("relu",))],
    ):
        graph = Graph("head", "image", kind, tuple(nodes), 1.0)
        flow = to_dataflow(graph)
        assert [layer.name for layer in flow.layers] == ["sum"]
        check(graph, flow, images)


def test_streams_know_their_words() -> None:
    stream = Stream((5, 4, 6), -3, 4, 2)
    assert (stream.words, stream.groups, stream.bits, stream.width, stream.tdata_bits) == (60, 3, 4, 8, 8)
    with pytest.raises(InputError, match="lanes must divide C=6, not 4; choose 1, 2, 3 or 6"):
        Stream((5, 4, 6), 0, 1, 4)


def test_fifos_stand_on_the_edges_they_are_named_by() -> None:
    flow = to_dataflow(squeezenet(47, classes=10))
    depths = {"fire2.concat.fifo1": 5, "fire2.expand1x1.fifo0": 33}
    deeper = flow.with_fifos(depths)
    assert [(layer.name, layer.depth) for layer in deeper.layers if isinstance(layer, Fifo)] == [
        ("fire2.expand1x1.fifo0", 33),
        ("fire2.concat.fifo1", 5),
    ]
    assert isinstance(deeper["fire2.concat"], Concat)
    assert deeper["fire2.concat"].sources == ("fire2.expand1x1.act", "fire2.concat.fifo1")
    with pytest.raises(InputError, match=r"nowhere: depths must be for a stream of squeezenet"):
        flow.with_fifos({"nowhere": 4})


def test_a_stream_that_nobody_or_everybody_reads_is_refused() -> None:
    flow = to_dataflow(small())
    with pytest.raises(InputError, match="1 outputs must each have one reader, not 2"):
        Dataflow(flow.name, "image", flow.input, (*flow.layers, _copy(flow["conv"])))


def _copy(layer: Any) -> MatMul:
    assert isinstance(layer, MatMul)
    return MatMul("again", layer.sources, layer.inputs, layer.output, layer.weight, layer.weight_bits, 1, 1)
