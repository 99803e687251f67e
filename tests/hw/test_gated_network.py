"""A network with a gate, as of squeeze and excitation: the same integers in every stage, from QONNX to Verilog."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from qonnx.core.modelwrapper import ModelWrapper

import fireflow
from fireflow.hw.dataflow.build import to_dataflow
from fireflow.hw.dataflow.cost import cost
from fireflow.hw.dataflow.deadlock import deadlock
from fireflow.hw.dataflow.fifo import fifo_depths
from fireflow.hw.dataflow.hardware import Hardware
from fireflow.hw.dataflow.network import Dataflow
from fireflow.hw.dataflow.schedule import Timing
from fireflow.hw.finn.agreement import pictures
from fireflow.hw.finn.convert import to_graph
from fireflow.hw.finn.environment import execution
from fireflow.hw.finn.from_graph import to_model
from fireflow.hw.finn.hand_over import hand_over, hardware_layers
from fireflow.hw.finn.lowering import lower
from fireflow.hw.graph import Graph
from fireflow.hw.ops import Multiply
from fireflow.hw.parts import Resources
from fireflow.hw.rtl.count import count_layers
from fireflow.hw.rtl.simulate import simulate
from fireflow.hw.rtl.stitch import Design, stitch
from tests.hw.finn.qonnx_builder import Builder
from tests.hw.rtl.kernel_cases import all_layers

PARTS = {"xc7": "xc7z020clg400-1", "xcup": "xczu7ev-ffvc1156-2-e"}
CLOCK_NS, SIZE = 10.0, 12
FOLDING = {
    "conv1": {"pe": 4, "simd": 9},
    "se.scaled": {"lanes": 4},
    "conv2": {"pe": 3, "simd": 8},
    "head": {"pe": 1, "simd": 6},
}
IN_LAYERS = 8
"""Words of a map that may wait in the layers' registers."""


def network(unit: float = 1.0, bits: int = 4, swapped: bool = False) -> Builder:
    """Scales are powers of two times `unit` or its square; `bits`: of the map and the gate."""
    builder = Builder(1, (3, SIZE, SIZE))
    step = 2.0 ** (10 - bits) * unit
    source = builder.act(builder.conv("conv1", "image", 8, kernel=3), step, bits)
    gated = builder.gate("se", source, 4 * step, bits, swapped)
    scale = float(np.float32(2.0**14 * unit**2))
    scaled = builder.act(gated, scale)
    builder.head(builder.act(builder.conv("conv2", scaled, 6, kernel=3), 4 * scale, bits=3), scale=4 * scale)
    return builder


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return network().save(tmp_path_factory.mktemp("qonnx") / "net.onnx")


@pytest.fixture(scope="module")
def graph(path: Path) -> Graph:
    return to_graph(lower(path), "gated")


@pytest.fixture(scope="module")
def images(graph: Graph) -> np.ndarray:
    return pictures(graph.input_type.shape)


def test_the_gate_tells_channels_apart(graph: Graph, images: np.ndarray) -> None:
    tensors = graph.trace(images)
    assert len(np.unique(tensors["se.excite.act"])) > 3
    assert len(np.unique(tensors["se.scaled"])) > 10
    assert len(np.unique(tensors["scores"], axis=0)) == len(images)


def test_all_stages_are_equal(path: Path, images: np.ndarray) -> None:
    found = fireflow.verify(path, images=images)
    assert found.passed
    assert found.table.stages == ("QONNX", "FINN", "interpreter", "simulator")
    (row,) = (row for row in found.table.rows if row.tensor == "se.scaled")
    assert row.differing == (0, 0, 0, 0)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(("unit", "bits"), [(0.685, 4), (0.685, 8)])
def test_scales_multiply(unit: float, bits: int, swapped: bool, tmp_path: Path) -> None:
    """Whatever they are; the lowering compares with the file's own engine."""
    found = to_graph(lower(network(unit, bits, swapped).save(tmp_path / "net.onnx")))
    (node,) = (node for node in found.nodes if isinstance(node.op, Multiply))
    assert node.inputs == ("conv1.act", "se.excite.act")
    assert found.types["se.scaled"].hi == (2**bits - 1) ** 2


def test_and_back(graph: Graph) -> None:
    (document, arrays), (again, others) = graph.to_json(), to_graph(to_model(graph), graph.name).to_json()
    assert document == again
    for name, array in arrays.items():
        assert_array_equal(array, others[name])


# --- hardware -------------------------------------------------------------------------------------------------


def test_finns_hardware_layers_compute_it(graph: Graph, images: np.ndarray) -> None:
    model = hardware_layers(graph)
    assert scores(model, images) == graph.run(images[:1]).tolist()


def scores(model: ModelWrapper, images: np.ndarray) -> list[list[int]]:
    with execution():
        from qonnx.core.onnx_exec import execute_onnx

        (found,) = execute_onnx(model, {model.graph.input[0].name: images[:1].astype(np.float32)}).values()
    result: list[list[int]] = found.reshape(1, -1).tolist()
    return result


def test_finns_builder_gets_its_folding(graph: Graph) -> None:
    hardware = Hardware(
        "PYNQ-Z2", PARTS["xc7"], 100.0, 0.8, FOLDING, {}, "conv1", (), 1000, 2000, Resources()
    )
    made = hand_over(graph, hardware)
    (name,) = (node.name for node in made.model.graph.node if node.output[0] == "se.scaled")
    assert name in made.hls
    assert made.folding[name] == {"PE": 4}


def test_the_map_waits_for_the_gate(graph: Graph) -> None:
    flow = to_dataflow(graph, FOLDING)
    found = deadlock(flow)
    assert found is not None
    assert found.cycle[0] == "conv1.act.fork"
    assert {"se.scaled", "se.pool"} <= set(found.cycle)
    depths: dict[str, int] = {}
    while found is not None:
        assert found.label not in depths, "the depth it named did not free it"
        depths[found.label] = found.depth
        found = deadlock(flow.with_fifos(depths))
    enough = fifo_depths(Timing(flow, "xc7")).depths
    assert deadlock(flow.with_fifos(enough)) is None
    assert enough["se.scaled.fifo0"] >= depths["se.scaled.fifo0"] > flow["se.scaled"].input.words - IN_LAYERS


def test_it_is_folded_for_a_board(graph: Graph) -> None:
    plan = fireflow.plan(graph, board="PYNQ-Z2", target_fps=100_000)
    lanes = plan.folding["se.scaled"]["lanes"]
    assert plan.interval >= plan.flow["se.scaled"].input.words
    assert plan.flow["se.scaled"].input.lanes == lanes


@pytest.mark.parametrize("family", PARTS)
def test_its_cost_is_what_yosys_counts(family: str) -> None:
    chosen = [all_layers()[name] for name in ("multiply_alike", "multiply_one_group")]
    counted = count_layers(chosen, PARTS[family], CLOCK_NS)
    for layer in chosen:
        modelled, own = cost(layer, family), counted[layer.name]
        assert (own.bram36, own.dsp) == (modelled.bram36, modelled.dsp) == (0, 0)
        assert modelled.lut == pytest.approx(own.lut, rel=0.15)
        assert modelled.ff == pytest.approx(own.ff, rel=0.15)


@dataclass
class Case:
    dataflow: Dataflow
    design: Design
    family: str


@pytest.fixture(scope="module", params=PARTS)
def case(request: pytest.FixtureRequest, graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Case:
    family = request.param
    plain = to_dataflow(graph, FOLDING)
    dataflow = plain.with_fifos(fifo_depths(Timing(plain, family)).depths)
    return Case(dataflow, stitch(dataflow, PARTS[family], CLOCK_NS, tmp_path_factory.mktemp("rtl")), family)


@pytest.mark.timeout(900)  # the first build of each takes minutes
def test_rtl_in_the_cycles_that_the_schedule_says(case: Case, graph: Graph, images: np.ndarray) -> None:
    run = simulate(case.dataflow, case.design, images, optimize=False)
    assert_array_equal(run.scores, graph.run(images))
    timing = Timing(case.dataflow, case.family)
    assert (run.interval_cycles, run.latency_cycles) == (timing.interval, timing.latency)
    depths = case.dataflow.fifo_depths
    assert all(level <= depths[name] for name, level in run.fifo_levels.items())


@pytest.mark.parametrize("stalls", [0.1, 0.7])
def test_rtl_under_stalls(stalls: float, case: Case, graph: Graph, images: np.ndarray) -> None:
    run = simulate(case.dataflow, case.design, images, stalls=stalls, seed=3, optimize=False)
    assert_array_equal(run.scores, graph.run(images))
