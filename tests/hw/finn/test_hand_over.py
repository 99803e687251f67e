"""A bundle in FINN's hands: its own classes take the folder, and give the layers our folding and FIFO depths."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from fireflow.hw.dataflow.build import to_dataflow
from fireflow.hw.dataflow.hardware import Hardware
from fireflow.hw.dataflow.layers import (
    Concat,
    Fifo,
    Fork,
    Head,
    MatMul,
    MaxPool,
    Pad,
    Threshold,
    WidthConverter,
    Window,
)
from fireflow.hw.errors import InputError
from fireflow.hw.finn.convert import to_graph
from fireflow.hw.finn.datatypes import smallest_type
from fireflow.hw.finn.environment import execution, finn
from fireflow.hw.finn.from_graph import to_model
from fireflow.hw.finn.hand_over import (
    CONFIG,
    FIFOS,
    FOLDING,
    MODEL,
    HandOver,
    hand_over,
    hardware_layers,
    layer_names,
)
from fireflow.hw.graph import Graph
from fireflow.hw.parts import BOARDS, FAMILIES, Board, Resources
from fireflow.hw.parts.boards import finn_board
from tests.hw.networks import pictures, squeezenet

FOLDED = {
    "conv1": {"pe": 4, "simd": 9, "lanes": 3, "kernel": "dsp"},
    "fire2.squeeze": {"pe": 2, "simd": 4, "kernel": "dsp"},
    "fire2.expand3x3": {"pe": 8, "simd": 18, "lanes": 2, "parallel": True, "kernel": "dsp", "memory": "bram"},
    "fire2.expand1x1": {"pe": 4, "simd": 2, "kernel": "lut"},
    "fire2.concat": {"lanes": 4},
}
DEPTHS = {"fire2.expand1x1.fifo0": 33, "fire2.concat.fifo0": 20, "conv1.window.fifo0": 7}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return squeezenet(size=16, classes=5, narrow=8, stages=(((16, 64),),))


@pytest.fixture(scope="module")
def hardware(graph: Graph) -> Hardware:
    labels = {edge.label for edge in to_dataflow(graph, FOLDED).edges}
    depths = {label: depth for label, depth in DEPTHS.items() if label in labels}
    assert len(depths) == len(DEPTHS), sorted(labels)
    resources = Resources()
    return Hardware(
        "PYNQ-Z2", "xc7z020clg400-1", 100.0, 0.8, FOLDED, depths, "conv1", (), 1000, 2000, resources
    )


@pytest.fixture(scope="module")
def given(
    graph: Graph, hardware: Hardware, tmp_path_factory: pytest.TempPathFactory
) -> tuple[HandOver, Path]:
    folder = tmp_path_factory.mktemp("finn")
    made = hand_over(graph, hardware)
    made.write(folder)
    return made, folder


def test_a_graph_and_back(graph: Graph) -> None:
    back = to_graph(to_model(graph), graph.name)
    (document, arrays), (again, others) = graph.to_json(), back.to_json()
    assert document == again
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        assert_array_equal(array, others[name])


def test_sums_keep_their_exact_types(graph: Graph) -> None:
    """FINN's inference calls every sum INT32, and the adders of a layer would be as wide."""
    found = [op for op in operators(hardware_layers(graph)).values() if op.onnx_node.op_type == "MVAU"]
    assert len(found) == 5
    for operator in found:
        kind = graph.types[operator.onnx_node.output[0]]
        assert operator.get_output_datatype() == smallest_type(kind.lo, kind.hi)


@pytest.mark.parametrize("bypass", [False, True])
def test_hardware_layers_compute_the_graph(bypass: bool) -> None:
    stages = (((16, 64),) * (1 + bypass),)
    graph = squeezenet(size=16, classes=5, narrow=8, bypass=bypass, stages=stages)
    images = pictures(1, graph.input_type.shape)
    model = hardware_layers(graph)
    with execution():
        from qonnx.core.onnx_exec import execute_onnx

        found = execute_onnx(model, {model.graph.input[0].name: images.astype(np.float32)})
    (scores,) = found.values()
    assert_array_equal(scores.reshape(1, -1), graph.run(images))


def operators(model: ModelWrapper) -> dict[str, Any]:
    return {node.name: getCustomOp(node) for node in model.graph.node}


def builder_steps() -> Any:
    """FINN's steps; importing them wants Vivado's simulator, which none of these needs."""
    import finn.xsi

    if "SimEngine" not in vars(finn.xsi):
        finn.xsi.SimEngine = types.SimpleNamespace
    import finn.builder.build_dataflow_steps

    return sys.modules["finn.builder.build_dataflow_steps"]


def test_finns_builder_folds_as_we_do(
    graph: Graph,
    hardware: Hardware,
    given: tuple[HandOver, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, folder = given
    flow = hardware.dataflow(graph)
    layers = {layer.name: layer for layer in flow.layers}
    monkeypatch.chdir(folder)  # as run.sh does: FINN looks for the FIFOs' file there
    with finn():
        from finn.builder.build_dataflow_config import DataflowBuildConfig

        config = DataflowBuildConfig.construct_from(folder / CONFIG)  # refuses unknown fields
        config.output_dir = str(tmp_path)
        steps = builder_steps()
        known = {name for name in dir(steps) if name.startswith("step_")}
        assert set(config.steps) <= known
        assert config._resolve_fpga_part() == hardware.part
        model = ModelWrapper(str(folder / MODEL))
        model = steps.step_apply_folding_config(model, config)
        model = steps.step_minimize_bit_width(model, config)
        names = layer_names(made.model, graph)
        seen = set()
        for name, operator in operators(model).items():
            layer, kind = layers[names[name]], operator.onnx_node.op_type.rpartition("_")[0]
            get = operator.get_nodeattr
            if isinstance(layer, MatMul):
                assert (get("PE"), get("SIMD")) == (layer.pe, layer.simd)
                assert operator.onnx_node.op_type == ("MVAU_hls" if layer.kernel == "lut" else "MVAU_rtl")
            elif isinstance(layer, Threshold):
                assert get("PE") == layer.pe
            elif isinstance(layer, Window):
                assert (get("SIMD"), get("parallel_window")) == (layer.input.lanes, int(layer.parallel))
            elif isinstance(layer, (Pad, Concat)):
                assert get("SIMD") == layer.input.lanes
            else:
                assert isinstance(layer, (Fork, MaxPool, Head))
                assert get("SIMD" if kind == "ConvolutionInputGenerator" else "PE") == layer.input.lanes
            seen.add(layer.name)
        assert seen == {
            name for name, layer in layers.items() if not isinstance(layer, (Fifo, WidthConverter))
        }


def test_finns_fifos_hold_what_ours_hold(
    graph: Graph, hardware: Hardware, given: tuple[HandOver, Path]
) -> None:
    made, folder = given
    with finn():
        from finn.transformation.fpgadataflow.insert_dwc import InsertDWC
        from finn.transformation.fpgadataflow.insert_fifo import InsertFIFO
        from finn.transformation.fpgadataflow.set_fifo_depths import ApplyFIFODepthsFromFile
        from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
        from finn.transformation.general import ApplyConfig
        from finn.transformation.qonnx.give_unique_node_names_recursive import GiveUniqueNodeNamesRecursive

        model = ModelWrapper(str(folder / MODEL)).transform(ApplyConfig(folder / FOLDING))
        for step in (
            InsertDWC(),
            InsertFIFO(True),
            SpecializeLayers(hardware.part),
            GiveUniqueNodeNamesRecursive(),
        ):
            model = model.transform(step)
        model = model.transform(ApplyFIFODepthsFromFile(folder / FIFOS))
        fifos = {node.name: getCustomOp(node) for node in model.get_nodes_by_op_type("StreamingFIFO_rtl")}
        room = sorted(
            fifo.get_nodeattr("depth") * fifo.get_folded_output_shape()[-1]
            for fifo in fifos.values()
            if fifo.get_nodeattr("depth") > 2
        )
    wanted = sorted(
        layer.depth * layer.input.lanes
        for layer in hardware.dataflow(graph).layers
        if isinstance(layer, Fifo)
    )
    assert len(room) == len(wanted) == len(DEPTHS)
    assert all(0 <= have - want < 18 for have, want in zip(room, wanted, strict=True))  # rounded up to words
    assert set(fifos) == set(made.fifos["fifo_depths"])


def test_what_finn_builds_in_hls(given: tuple[HandOver, Path]) -> None:
    kinds = {name.rpartition("_")[0] for name in given[0].hls}
    assert kinds == {
        "MVAU_hls",  # multiplied in LUTs
        "Pool_hls",
        "DuplicateStreams_hls",
        "StreamingConcat_hls",
        "ElementwiseAdd_hls",
        "ElementwiseMax_hls",
        "GlobalAccPool_hls",
    }
    assert set(json.loads((given[1] / FOLDING).read_text())) == {
        node.name for node in given[0].model.graph.node
    }


@pytest.mark.parametrize("known", BOARDS, ids=lambda known: known.name)
def test_finn_has_the_board_by_this_name_with_the_same_part(known: Board) -> None:
    """But for the range of temperatures: FINN's Ultra96-V2 is the industrial one."""
    with finn():
        from finn.util.basic import pynq_native_port_width, pynq_part_map

    if known.finn:
        assert pynq_part_map[known.finn].rpartition("-")[0] == known.part.rpartition("-")[0]
        assert pynq_native_port_width[known.finn] == 8 * FAMILIES[known.family].bus.bytes
    else:
        with pytest.raises(InputError, match=f"board: must be one of FINN's, not {known.name!r}"):
            finn_board(known.name)


def test_a_board_that_finn_does_not_know(graph: Graph, hardware: Hardware) -> None:
    with pytest.raises(InputError, match="board: must be one of FINN's, not 'ZedBoard'"):
        hand_over(graph, replace(hardware, board="ZedBoard"))
