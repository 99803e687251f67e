"""The fast simulator gives the interpreter's integers, whatever the network and however it is run."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.testing import assert_array_equal

from fireflow.hw.errors import InputError
from fireflow.hw.graph import Graph, Node
from fireflow.hw.ops import Concat, Conv, GlobalSum, Threshold
from fireflow.hw.simulator import Simulator, calls, lanes
from fireflow.hw.simulator.lanes import packed_tensors
from fireflow.hw.simulator.plan import ConvStep, EvalStep, make_plan
from fireflow.hw.types import TensorType
from tests.hw.networks import squeezenet
from tests.hw.random_graphs import graphs, pictures

examples = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def assert_simulates(graph: Graph, images: Any, threads: int = 1) -> None:
    expected = graph.trace(images)
    simulator = Simulator(graph, threads=threads)
    assert_array_equal(simulator.run(images), expected[graph.output_name])
    traced = simulator.trace(images)
    assert graph.output_name in traced
    assert list(traced) == [name for name in graph.types if name in traced]
    for name, tensor in traced.items():
        assert tensor.dtype == np.int64
        assert_array_equal(tensor, expected[name], err_msg=name)


@examples
@given(graphs())
def test_random_graphs(graph: Graph) -> None:
    for count in (1, 4):
        assert_simulates(graph, pictures(graph, count))


@examples
@given(graphs())
def test_random_graphs_on_two_threads(graph: Graph) -> None:
    assert_simulates(graph, pictures(graph, 7), threads=2)


@examples
@given(graphs())
def test_random_graphs_in_small_tiles(graph: Graph) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls, "TILE_BYTES", 300)
        assert_simulates(graph, pictures(graph, 4))


@examples
@given(graphs(weights=(1, 7)))
def test_random_graphs_with_three_images_in_a_number(graph: Graph) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "_COST_PER_ACCUMULATOR", -1)
        patch.setattr(lanes, "_COST_PER_PACKED_VALUE", 0)
        assert_simulates(graph, pictures(graph, 7))
        patch.setattr(calls, "TILE_BYTES", 300)
        assert_simulates(graph, pictures(graph, 4))


@pytest.mark.parametrize("bypass", [False, True])
@pytest.mark.parametrize(("weight_bits", "bits"), [(6, 6), (4, 4), (3, 4), (2, 4), (4, 8), (4, 2)])
def test_squeezenet(bypass: bool, weight_bits: int, bits: int) -> None:
    graph = squeezenet(64, 10, weight_bits, bits, bypass)
    images = pictures(graph, 5)
    expected = graph.run(images)
    for threads in (1, 2):
        assert_array_equal(Simulator(graph, threads).run(images), expected)


def test_every_layer_of_squeezenet_takes_the_fast_path() -> None:
    plan = make_plan(squeezenet(224, 10, bypass=True))
    assert not [step for step in plan.steps if isinstance(step, EvalStep)]
    assert {"fire2.concat", "fire9.add.act", "scores"} <= packed_tensors(plan)


def test_batches_hold_one_batch() -> None:
    graph = squeezenet(32, 10)
    images = pictures(graph, 11)
    simulator = Simulator(graph, batch=4)
    scores = list(simulator.run_batches(iter(images)))
    assert [len(part) for part in scores] == [4, 4, 3]
    assert_array_equal(np.concatenate(scores), graph.run(images))


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    graph = squeezenet(64, 10)
    simulator = Simulator(graph, batch=3)
    picture = pictures(graph, 2)[1]
    peaks = []
    for _ in simulator.run_batches(itertools.repeat(picture, 3)):
        pass  # buffers are made now
    for count in (3, 60):
        tracemalloc.start()
        for _ in simulator.run_batches(itertools.repeat(picture, count)):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + picture.nbytes


def test_no_images() -> None:
    graph = squeezenet(32, 10)
    assert Simulator(graph).run(pictures(graph, 0)).shape == (0, 10)
    assert list(Simulator(graph).run_batches(iter(()))) == []


def test_images_may_be_a_view() -> None:
    graph = squeezenet(32, 10)
    images = pictures(graph, 3)[:, ::-1, :, ::-1]
    assert_array_equal(Simulator(graph).run(images), graph.run(np.ascontiguousarray(images)))


@pytest.mark.parametrize(
    ("limit", "dtype"),
    [((1 << 24) - 1, "float32"), (1 << 24, "float64"), ((1 << 53) - 1, "float64"), (1 << 53, None)],
)
def test_number_type_at_the_limit_of_exactness(limit: int, dtype: str | None) -> None:
    """Magnitudes just below and at 2^24 and 2^53: with inputs 0..1 and weights that sum up to the limit."""
    weight = np.array([limit - 1, 1]).reshape(1, 1, 1, 2)
    kind = TensorType((1, 1, 2), 0, 1)
    graph = Graph("limit", "image", kind, (Node("conv", Conv(weight), ("image",)),), 1.0)
    step = make_plan(graph).steps[0]
    assert (step.dtype.name if isinstance(step, ConvStep) else None) == dtype
    images = np.array([[1, 1], [1, 0], [0, 1]], np.uint8).reshape(3, 1, 1, 2)
    assert Simulator(graph).run(images).ravel().tolist() == [limit, limit - 1, 1]


def test_branches_of_a_fire_that_need_different_number_types() -> None:
    """float64 for one branch and Python's integers for the other; found by the random graphs."""
    nodes = (
        Node("small", Conv(np.full((1, 1, 1, 1), 1 << 40)), ("image",)),
        Node("small.act", Threshold(np.array([[1 << 41]])), ("small",)),
        Node("large", Conv(np.full((1, 1, 1, 1), (1 << 55) + 1)), ("image",)),
        Node("large.act", Threshold(np.array([[(1 << 56) + 3]])), ("large",)),
        Node("concat", Concat(), ("small.act", "large.act")),
    )
    graph = Graph("fire", "image", TensorType((1, 4, 1), 0, 3), nodes, 1.0)
    images = np.arange(4, dtype=np.uint8).reshape(1, 1, 4, 1)
    assert graph.run(images).ravel().tolist() == [0, 0, 0, 0, 1, 0, 1, 1]
    assert_simulates(graph, images)


def test_cancelling_sums_count_in_full() -> None:
    """The result is small, but a partial sum is not: the limit is the sum of magnitudes, not the range."""
    weight = np.tile([1 << 20, -(1 << 20)], 64).reshape(1, 1, 1, 128)
    node = Node("conv", Conv(weight), ("image",))
    graph = Graph("cancel", "image", TensorType((1, 1, 128), 0, 1), (node,), 1.0)
    step = make_plan(graph).steps[0]
    assert isinstance(step, ConvStep)
    assert step.dtype == np.float64


def test_global_sum_beyond_float32() -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-100, 100, (3, 1, 1, 4))
    nodes = (Node("conv", Conv(weight), ("image",)), Node("scores", GlobalSum(), ("conv",)))
    graph = Graph("sum", "image", TensorType((40, 40, 4), 0, 255), nodes, 1.0)
    assert_simulates(graph, pictures(graph, 3))


def test_thresholds_that_do_not_start_at_zero() -> None:
    nodes = (
        Node("conv", Conv(np.arange(-4, 4).reshape(2, 1, 1, 4)), ("image",)),
        Node("act", Threshold(np.array([[-50, 3, 900]]), out_lo=-2), ("conv",)),
    )
    graph = Graph("lo", "image", TensorType((3, 3, 4), 0, 255), nodes, 1.0)
    assert_simulates(graph, pictures(graph, 3))


@pytest.mark.parametrize("options", [{"threads": 0}, {"batch": 0}])
def test_refuses_less_than_one(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match=r"simulator: (threads|batch) must be at least 1, not 0; use 1"):
        Simulator(squeezenet(32, 10), **options)


def test_refuses_wrong_images() -> None:
    simulator = Simulator(squeezenet(32, 10))
    message = (
        r"image: images must be uint8 of shape \(N, 32, 32, 3\), not float32 of shape \(1, 32, 32, 3\); .*"
    )
    for run in (simulator.run, simulator.trace):
        with pytest.raises(InputError, match=message):
            run(np.zeros((1, 32, 32, 3), np.float32))
    with pytest.raises(InputError, match=r"not uint8 of shape \(1, 31, 32, 3\)"):
        list(simulator.run_batches([np.zeros((31, 32, 3), np.uint8)]))
