"""From a QONNX file to a model of integers only, as one list of passes.

The result has a uint8 NHWC input, the nodes that the rules call `lowered`, with their `helpers`, and integer class
scores; one factor makes them real. FINN infers its hardware layers from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finn.transformation.qonnx.convert_qonnx_to_finn import ConvertQONNXtoFINN
from finn.transformation.streamline.absorb import AbsorbConsecutiveTransposes
from finn.transformation.streamline.reorder import MoveMulPastFork, MoveTransposePastFork
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.general import SortGraph
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.make_input_chanlast import MakeInputChannelsLast

from fireflow.hw.finn import environment, naming
from fireflow.hw.finn.agreement import check_agreement, describe, pictures
from fireflow.hw.finn.convert import to_graph
from fireflow.hw.finn.load import load
from fireflow.hw.finn.lowered import OUTPUT_SCALE, LoweredModel
from fireflow.hw.finn.ranges import annotate
from fireflow.hw.finn.rules import steps
from fireflow.hw.finn.rules.base import Stage, Step, apply
from fireflow.hw.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True)
class Pass:
    """Steps applied in order, once or until nothing changes."""

    name: str
    steps: tuple[Step, ...]
    repeat: bool = False


def declare_pixels(model: ModelWrapper) -> None:
    """The input holds uint8."""
    model.set_tensor_datatype(model.graph.input[0].name, DataType["UINT8"])


PASSES: tuple[Pass, ...] = (
    Pass("attributes that FINN reads", (declare_pixels, *steps(Stage.ATTRIBUTES))),
    Pass("weights to integers", steps(Stage.WEIGHTS)),
    Pass("kernels to what meets the picture", steps(Stage.WINDOWS)),
    Pass("activation scales to nodes of their own", steps(Stage.SCALES)),
    Pass("quantizers to thresholds", (ConvertQONNXtoFINN(),)),
    Pass(
        "scales forward, up to the next thresholds",
        (MoveMulPastFork(), *steps(Stage.SCALES_FORWARD)),
        repeat=True,
    ),
    Pass("scales and biases into thresholds", steps(Stage.THRESHOLDS)),
    Pass("class scores to integers", steps(Stage.HEAD)),
    Pass("input to NHWC", (MakeInputChannelsLast(),)),
    Pass("operations to NHWC", steps(Stage.NHWC)),
    Pass(
        "transposes against each other",
        (AbsorbConsecutiveTransposes(), MoveTransposePastFork(), *steps(Stage.TRANSPOSES)),
        repeat=True,
    ),
    Pass("shapes", (InferShapes(),)),
)
"""The lowering, in order. What is of one operation lies in its rule, and comes by the stage."""
_MAX_ROUNDS = 20


def lower(path: str | Path, record: Preprocessing | None = None, check: bool = True) -> LoweredModel:
    """Lowers a QONNX file.

    Args:
        path: a quantized network, as `quant.export` or Brevitas' `export_qonnx` writes it: float32 NCHW input that
            holds uint8 pixels, weights of 6 bits or fewer, unsigned activations, and what `hw.finn.checks` and the
            rules ask of single nodes.
        record: what the file's input expects of a pixel, folded into the first layer; without one, the pixel.
        check: run three pictures through the file's own engine and compare every layer.

    Raises:
        InputError: the file breaks one of these rules, or its own engine computes something else.
    """
    with environment.finn():
        described = describe(path, record)
        model = ModelWrapper(described.model.model, make_deepcopy=True)
        names = naming.qonnx_names(model)
        for item in PASSES:
            model = _apply(item, model)
        naming.give_names(model, names)
        lowered = LoweredModel(model, float(model.get_metadata_prop(OUTPUT_SCALE)))
        annotate(lowered)
        if check:
            graph = to_graph(lowered)
            check_agreement(load(path), described, graph, pictures(graph.input_type.shape))
    return lowered


def _apply(item: Pass, model: ModelWrapper) -> ModelWrapper:
    for _ in range(_MAX_ROUNDS if item.repeat else 1):
        before = _wiring(model)
        for step in item.steps:
            model = apply(step, model)
            # FINN's passes may leave nodes out of order, and the next one relies on it.
            model = model.transform(SortGraph(), make_deepcopy=False, cleanup=False)
        if not item.repeat or _wiring(model) == before:
            return model
    raise AssertionError(f"pass {item.name!r} did not settle in {_MAX_ROUNDS} rounds")


def _wiring(model: ModelWrapper) -> list[tuple[str, ...]]:
    return [(node.op_type, *node.input, "->", *node.output) for node in model.graph.node]
