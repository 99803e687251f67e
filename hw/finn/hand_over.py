"""A bundle for FINN's own builder: its hardware layers with the bundle's folding and FIFO depths.

The model is handed over as FINN's `step_specialize_layers` leaves it, with FINN's operators alone, so that the names in
the folding are the builder's. It does not know our kernels: what FINN has no RTL for, it takes in HLS, and lists here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from fireflow.hw.dataflow.hardware import Hardware
from fireflow.hw.dataflow.layers import Maker
from fireflow.hw.dataflow.network import Dataflow
from fireflow.hw.errors import InputError
from fireflow.hw.files import PathLike
from fireflow.hw.finn.environment import finn
from fireflow.hw.finn.from_graph import to_model
from fireflow.hw.finn.lowered import FINN
from fireflow.hw.finn.operators import Operator
from fireflow.hw.finn.rules import RULES
from fireflow.hw.finn.rules.base import Step, apply
from fireflow.hw.graph import Graph
from fireflow.hw.parts.boards import finn_board

MODEL, CONFIG, FOLDING, FIFOS = "model.onnx", "build.json", "folding.json", "fifos.json"
OUTPUT = "output"
"""Where FINN's builder writes, below the folder that is handed over."""
_FIRST_STEP = "step_apply_folding_config"
# Simulations that FINN offers, and that neither the bitstream nor its driver needs.
_LEFT_OUT = ("step_measure_rtlsim_performance", "step_out_of_context_synthesis")


@dataclass(frozen=True)
class HandOver:
    """What FINN's builder gets.

    Args:
        model: of FINN's hardware layers.
        folding: attributes by node, for its `ApplyConfig`.
        fifos: for its `ApplyFIFODepthsFromFile`.
        config: for its `DataflowBuildConfig`.
        hls: the nodes that it builds with Vitis HLS.
    """

    model: ModelWrapper
    folding: Mapping[str, Mapping[str, Any]]
    fifos: Mapping[str, Mapping[str, Any]]
    config: Mapping[str, Any]
    hls: tuple[str, ...]

    def write(self, folder: PathLike) -> None:
        """Writes the folder that `finn build` takes."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        self.model.save(str(target / MODEL))
        for name, document in ((FOLDING, self.folding), (FIFOS, self.fifos), (CONFIG, self.config)):
            (target / name).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def hand_over(graph: Graph, hardware: Hardware) -> HandOver:
    """What FINN's builder needs to make the accelerator of a bundle.

    Raises:
        InputError: an operation that FINN has no hardware layer for, or a board that it does not know.
    """
    finn_board(hardware.board)
    flow = hardware.dataflow(graph)
    model = _specialize(hardware_layers(graph), flow, hardware.part)
    layers = layer_names(model, graph)
    with finn():
        folding = {node.name: _attributes(node, flow, layers[node.name]) for node in model.graph.node}
    hls = tuple(node.name for node in model.graph.node if node.op_type.endswith("_hls"))
    return HandOver(
        model, folding, _fifo_depths(model, flow, layers, folding, hardware.part), _config(hardware), hls
    )


def layer_names(model: ModelWrapper, graph: Graph) -> dict[str, str]:
    """The layer of ours that does the work of each of FINN's nodes."""
    fused = _fused(graph)
    names: dict[str, str] = {}
    for node in reversed(model.graph.node):  # consumers first: padding and windows are called after them
        kind, output = _kind(node), node.output[0]
        if kind == "DuplicateStreams":
            name = f"{node.input[0]}.fork"
        elif kind == "ConvolutionInputGenerator":
            reader = model.find_consumer(output)
            name = names[reader.name] if _kind(reader) == "Pool" else output
        elif kind == "FMPadding":
            below = names[model.find_consumer(output).name]
            name = below.removesuffix(".window") + ".pad" if below.endswith(".window") else below
        else:
            name = fused.get(output, output)
        names[node.name] = name
    return names


def _fused(graph: Graph) -> dict[str, str]:
    """Operations that our layer of another, behind them, computes too: by their names that layer's."""
    nodes, found = {node.name: node for node in graph.nodes}, {}
    for node in graph.nodes:
        maker = Maker.of.get(type(node.op))
        if maker is not None and maker.absorbs:
            ends, source = maker.inputs(graph, node), node.inputs[0]
            while source not in ends:
                found[source] = node.name
                source = nodes[source].inputs[0]
    return found


def hardware_layers(graph: Graph) -> ModelWrapper:
    """FINN's hardware layers, before the choice between RTL and HLS; these run in Python.

    Raises:
        InputError: an operation that FINN has no hardware layer for.
    """
    model = to_model(graph).model
    with finn():
        from finn.transformation.fpgadataflow.convert_to_hw.conv_inp_gen import InferConvInpGen
        from finn.transformation.fpgadataflow.convert_to_hw.duplicate_streams import (
            InferDuplicateStreamsLayer,
        )
        from qonnx.transformation.general import GiveUniqueNodeNames, SortGraph
        from qonnx.transformation.infer_datatypes import InferDataTypes

        ordered = sorted(RULES, key=lambda rule: rule.hardware_turn)
        own: list[Step] = [step for rule in ordered for step in rule.hardware()]
        # FINN makes a generator of windows, shared by products and pools, of what these leave, and forks last.
        for step in (
            *own,
            InferConvInpGen(),
            InferDuplicateStreamsLayer(),
            SortGraph(),
            GiveUniqueNodeNames(),
            InferDataTypes(),
        ):
            model = apply(step, model)
    software = [node.name for node in model.graph.node if not node.domain.startswith(FINN)]
    if software:
        raise InputError(
            f"{software[0]}: FINN must have a hardware layer for it, and has none; use another toolchain"
        )
    return model


def _specialize(model: ModelWrapper, flow: Dataflow, part: str) -> ModelWrapper:
    """Each layer as RTL or HLS, with the names that FINN's builder gives."""
    with finn():
        from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
        from finn.transformation.qonnx.give_unique_node_names_recursive import GiveUniqueNodeNamesRecursive
        from qonnx.transformation.infer_data_layouts import InferDataLayouts
        from qonnx.transformation.infer_datatypes import InferDataTypes

        by_name = {layer.name: layer for layer in flow.layers}
        for node in model.graph.node:
            layer = by_name.get(node.output[0])
            if layer is not None and type(layer) in Operator.of:
                for name, value in Operator.of[type(layer)].choice(layer).items():
                    getCustomOp(node).set_nodeattr(name, value)
        for step in (
            SpecializeLayers(part),
            GiveUniqueNodeNamesRecursive(),
            InferDataLayouts(),
            InferDataTypes(),
        ):
            model = model.transform(step)
    return model


def _kind(node: NodeProto) -> str:
    kind: str = node.op_type
    return kind.removesuffix("_rtl").removesuffix("_hls")


def _attributes(node: NodeProto, flow: Dataflow, name: str) -> dict[str, Any]:
    """The folding of a node, as that of our layer."""
    layer = next(layer for layer in flow.layers if layer.name == name)
    own = Operator.of.get(type(layer))
    folding = own.folding(layer) if own is not None else {}
    lanes = "SIMD" if "SIMD" in getCustomOp(node).get_nodeattr_types() else "PE"
    return dict(folding) or {lanes: layer.input.lanes}


def _fifo_depths(
    model: ModelWrapper, flow: Dataflow, layers: Mapping[str, str], folding: Mapping[str, Any], part: str
) -> dict[str, dict[str, Any]]:
    """Depths for the FIFOs that FINN's builder will put in, by the names that it will give them.

    Ours hold as many elements between the same layers. They are exact for our kernels; FINN's have other latencies,
    and its builder can measure instead (`auto_fifo_depths`).
    """
    with finn():
        from finn.transformation.fpgadataflow.insert_dwc import InsertDWC
        from finn.transformation.fpgadataflow.insert_fifo import InsertFIFO
        from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
        from finn.transformation.general import ApplyConfig
        from finn.transformation.qonnx.give_unique_node_names_recursive import GiveUniqueNodeNamesRecursive

        for step in (
            ApplyConfig(dict(folding)),
            InsertDWC(),
            InsertFIFO(create_shallow_fifos=True),
            SpecializeLayers(part),
            GiveUniqueNodeNamesRecursive(),
        ):
            model = model.transform(step)
        wanted = _elements(flow)
        found: dict[str, dict[str, Any]] = {"fifo_depths": {}, "impl_style": {}, "ram_style": {}}
        for node in model.get_nodes_by_op_type("StreamingFIFO_rtl"):
            ends = (_real(model, node, layers, forward=False), _real(model, node, layers, forward=True))
            elements, memory = wanted.pop(ends, (0, "lut"))  # once, where a width converter makes two of one
            lanes = int(getCustomOp(node).get_folded_output_shape()[-1])
            found["fifo_depths"][node.name] = max(2, -(-elements // lanes))
            found["impl_style"][node.name] = "rtl"
            found["ram_style"][node.name] = "block" if memory == "bram" else "auto"
    return found


def _elements(flow: Dataflow) -> dict[tuple[str, str], tuple[int, str]]:
    """Elements that our FIFO between two layers holds, and its memory; width converters are none."""
    layers = {layer.name: layer for layer in flow.layers}
    readers = {source: layer.name for layer in flow.layers for source in layer.sources}
    depths = flow.fifo_depths

    def end(name: str, forward: bool) -> str:
        while name in depths or (name in layers and layers[name].passes_on):
            name = readers.get(name, "") if forward else layers[name].sources[0]
        return "" if name == flow.input_name else name

    found = {}
    for fifo in flow.fifos:
        ends = (end(fifo.sources[0], False), end(readers.get(fifo.name, ""), True))
        found[ends] = (fifo.depth * fifo.input.lanes, fifo.memory)
    return found


def _real(model: ModelWrapper, node: NodeProto, layers: Mapping[str, str], forward: bool) -> str:
    """The layer on one side of a FIFO, behind width converters and further FIFOs; "" at the border."""
    while node is not None and _kind(node) in ("StreamingFIFO", "StreamingDataWidthConverter"):
        node = model.find_consumer(node.output[0]) if forward else model.find_producer(node.input[0])
    return "" if node is None else layers[node.name]


def _config(hardware: Hardware) -> dict[str, Any]:
    with finn():
        from finn.builder.build_dataflow_config import default_build_dataflow_steps as steps

        first = steps.index(_FIRST_STEP)
        chosen = [step for step in steps[first:] if step not in _LEFT_OUT]
    return {
        "output_dir": OUTPUT,
        "board": finn_board(hardware.board),
        "shell_flow_type": "vivado_zynq",
        "synth_clk_period_ns": round(hardware.clock_ns, 6),
        "folding_config_file": FOLDING,
        "auto_fifo_depths": False,
        "fifo_config_file": FIFOS,
        "standalone_thresholds": True,
        "generate_outputs": [
            "estimate_reports",
            "stitched_ip",
            "bitfile",
            "pynq_driver",
            "deployment_package",
        ],
        "steps": chosen,
    }
