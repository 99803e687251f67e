"""Timing, FIFO depths and deadlocks. That the RTL keeps this timing is tested with the RTL."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fireflow.hw.dataflow.build import Workbench, to_dataflow
from fireflow.hw.dataflow.deadlock import deadlock
from fireflow.hw.dataflow.fifo import fifo_depths, round_depth
from fireflow.hw.dataflow.layers import MatMul, Pad, Threshold, Window
from fireflow.hw.dataflow.maxplus import earliest, latest, occupancy
from fireflow.hw.dataflow.network import Dataflow
from fireflow.hw.dataflow.schedule import Timing, estimated_interval
from fireflow.hw.dataflow.stream import Stream
from fireflow.hw.dataflow.timing import StepModel
from fireflow.hw.errors import InputError
from tests.hw.networks import squeezenet

FOLDING: dict[str, dict[str, Any]] = {
    "conv1": {"pe": 8, "simd": 9},
    **{f"fire{n}.squeeze": {"pe": 4, "simd": 8} for n in range(2, 10)},
    **{f"fire{n}.expand1x1": {"pe": 4, "simd": 8} for n in range(2, 10)},
    **{f"fire{n}.expand3x3": {"pe": 8, "simd": 16} for n in range(2, 10)},
    "conv10": {"pe": 2, "simd": 16},
}


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "bypass"])
def flow(request: pytest.FixtureRequest) -> Dataflow:
    return to_dataflow(squeezenet(47, classes=6, bypass=request.param), FOLDING)


def window(size: int, channels: int, kernel: int, stride: int, lanes: int, parallel: bool = False) -> Window:
    out = (size - kernel) // stride + 1
    area = kernel * kernel
    wide = Stream((out, out, area * channels), 0, 15, area * lanes if parallel else lanes)
    streams = (Stream((size, size, channels), 0, 15, lanes),)
    return Window("w", ("i",), streams, wide, (kernel, kernel), (stride, stride), parallel)


# Measured on FINN's RTL with Verilator, nothing stalling.
INTERVALS = [
    (window(8, 4, 3, 1, 2), 670),
    (window(8, 16, 3, 1, 4), 1338),
    (window(9, 6, 3, 2, 3), 314),
    (window(10, 3, 3, 2, 3), 161),
    (window(24, 3, 3, 2, 3), 1134),
    (window(25, 3, 7, 2, 3), 5010),
    (window(9, 4, 3, 2, 4, True), 82),
    (window(10, 4, 3, 1, 4, True), 101),
]


@pytest.mark.parametrize(("layer", "cycles"), INTERVALS)
def test_a_window_takes_the_cycles_of_the_rtl(layer: Window, cycles: int) -> None:
    assert layer.timing("xcup").interval == layer.timing("xc7").interval == cycles


def test_a_matrix_product_takes_the_cycles_of_the_rtl() -> None:
    weight = np.ones((16, 36), np.int64)
    streams = (Stream((1, 20, 36), 0, 15, 9),), Stream((1, 20, 16), 0, 540, 1)
    layer = MatMul("m", ("i",), *streams, weight, 4, 1, 9)
    times = layer.timing("xcup").early([np.full(80, 10, np.int64)])
    assert layer.timing("xcup").interval == 20 * 4 * 16
    # Through the replay buffer (2), 4 words, DSP and adder tree (8), queue and register (2).
    assert times.visible[0] == 10 + 2 + 3 + 8 + 2
    assert times.visible[-1] - times.visible[0] == 20 * 64 - 4
    # Right after reset the weights are not there yet.
    assert layer.timing("xcup").early([np.zeros(80, np.int64)]).visible[0] == 5 + 3 + 8 + 2
    table = np.tile(np.arange(15), (16, 1))
    threshold = Threshold("t", ("m",), (streams[1],), Stream((1, 20, 16), 0, 15, 1), table)
    assert threshold.timing("xcup").early([np.zeros(320, np.int64)]).visible[0] == 10


def test_padding_takes_a_step_per_word_it_writes() -> None:
    pad = Pad("p", ("i",), (Stream((2, 2, 2), 0, 3, 1),), Stream((4, 4, 2), 0, 3, 1), (1, 1, 1, 1))
    timing = pad.timing("xcup")
    assert isinstance(timing, StepModel)
    assert timing.take[0].tolist() == [10, 11, 12, 13, 18, 19, 20, 21]
    assert timing.interval == 32


def test_scans_find_the_first_and_last_times() -> None:
    rng = np.random.default_rng(0)
    bound = rng.integers(0, 50, 20)
    first, last = earliest(bound, 3), latest(bound, 3)
    assert (first >= bound).all()
    assert (np.diff(first) >= 3).all()
    assert (last <= bound).all()
    assert (np.diff(last) >= 3).all()
    for k in range(20):
        assert first[k] == bound[k] or first[k] == first[k - 1] + 3
        assert last[k] == bound[k] or last[k] == last[k + 1] - 3


@pytest.mark.parametrize("spread", [3, 100])
def test_occupancy_counts_what_is_there(spread: int) -> None:
    rng = np.random.default_rng(spread)
    for _ in range(50):
        words = int(rng.integers(1, 12))
        period = int(rng.integers(words, words * spread))
        enter = np.sort(rng.choice(period, words, replace=False)).astype(np.int64)
        leave = enter + int(rng.integers(1, 3 * period))
        come = np.concatenate([enter + frame * period for frame in range(12)])
        go = np.concatenate([leave + frame * period for frame in range(12)])
        moments = np.arange(5 * period, 6 * period)[:, None]
        there = ((come <= moments) & (go > moments)).sum(axis=1).max()
        stored = ((come <= moments) & (go >= moments)).sum(axis=1).max()
        assert occupancy(enter, leave, period) == (there, stored)


def test_the_slowest_stage_sets_the_interval(flow: Dataflow) -> None:
    timing = Timing(flow, "xc7")
    assert timing.interval == timing.intervals[timing.bottleneck] == max(timing.intervals.values())
    assert timing.interval >= max(
        layer.timing("xc7").interval for layer in flow.layers if layer.kind != "Window"
    )


def test_the_quick_estimate_is_close_to_the_interval() -> None:
    bench = Workbench(squeezenet(63, classes=6))
    for name, given in FOLDING.items():
        node = next(node for node in bench.nodes if node.name == name)
        layers = bench.layers(node, given)
        graph_flow = Timing(Dataflow("one", layers[0].sources[0], layers[0].input, layers), "xc7")
        estimate = estimated_interval([layer.timing("xc7") for layer in layers])
        assert abs(estimate / graph_flow.interval - 1) < 0.01


def test_depths_keep_the_interval_and_do_not_deadlock(flow: Dataflow) -> None:
    depths = fifo_depths(Timing(flow, "xc7"))
    deep = flow.with_fifos(depths.depths)
    assert depths.interval == Timing(deep, "xc7").interval == Timing(flow, "xc7").interval
    assert deadlock(deep) is None
    assert all(depth == round_depth(depth) >= depths.needed[label] for label, depth in depths.depths.items())
    # The backlog of the earlier branch waits where words are squeezed, in front of its product.
    assert "fire2.expand1x1.width.fifo0" in depths.depths
    assert "fire2.expand1x1.act.fifo0" not in depths.depths


def test_more_time_needs_no_deeper_fifos_in_all(flow: Dataflow) -> None:
    fast = fifo_depths(Timing(flow, "xc7"))
    slow = fifo_depths(Timing(flow, "xc7"), 2 * fast.interval)
    assert sum(slow.needed.values()) <= sum(fast.needed.values())
    with pytest.raises(InputError, match="the interval must be at least the"):
        fifo_depths(Timing(flow, "xc7"), fast.interval - 1)


def test_a_fifo_too_small_deadlocks_and_the_report_says_what_frees_it(flow: Dataflow) -> None:
    depths: dict[str, int] = {}
    found = deadlock(flow)
    assert found is not None
    assert found.cycle[0] == "fire2.squeeze.act.fork"
    assert "fire2.concat" in found.cycle
    assert found.label == "fire2.expand1x1.width.fifo0"
    assert str(found).endswith(f"fire2.expand1x1.width.fifo0 of depth {found.depth} frees it")
    while found is not None:
        assert found.label not in depths, "the depth it named did not free it"
        depths[found.label] = found.depth
        found = deadlock(flow.with_fifos(depths))
    enough = fifo_depths(Timing(flow, "xc7")).depths
    assert set(depths) <= set(enough)
    # A word fewer than it said does not free it.
    label = next(iter(depths))
    again = deadlock(flow.with_fifos({**depths, label: depths[label] - 1}))
    assert again is not None
    assert again.label == label
    assert again.depth == depths[label]


def test_latency_grows_with_fifos_by_their_registers_alone(flow: Dataflow) -> None:
    bare = Timing(flow, "xc7")
    depths = fifo_depths(bare).depths
    deep = Timing(flow.with_fifos(depths), "xc7")
    assert bare.latency <= deep.latency <= bare.latency + 2 * len(depths) + 40
