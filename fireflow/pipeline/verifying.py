"""Every tensor of every stage on the same images, compared integer by integer."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fireflow.host.unsaid import Unsaid, completed
from fireflow.hw import given
from fireflow.hw.bundle import Bundle
from fireflow.hw.compare import Table, compare, integers_of
from fireflow.hw.errors import InputError
from fireflow.hw.overwrite import timed
from fireflow.hw.remarks import Say, unheard
from fireflow.hw.simulator import Simulator
from fireflow.pipeline.images import Images, images_for
from fireflow.pipeline.inputs import FIREQ, QONNX, find_model, kind_of
from fireflow.pipeline.lowering import said_of, unquantized
from fireflow.pipeline.qonnx_files import write_qonnx

if TYPE_CHECKING:
    from fireflow.hw.graph import Graph
    from fireflow.hw.preprocessing import Preprocessing
    from fireflow.hw.types import Array
    from fireflow.quant.model_file import Model

T = TypeVar("T")
INTERPRETER, LOWERING = "interpreter", "lowering"
BREVITAS, QONNX_FLOATS, FINN, SIMULATOR = "Brevitas", "QONNX", "FINN", "simulator"


@dataclass(frozen=True, eq=False)
class Verification:
    """What `verify` found.

    Args:
        table: the tensors of every stage beside the interpreter's.
        notes: what the table does not say.
        passed: whether nothing differs that may not: QONNX's float32 may round to a neighbour on a boundary.
        images: how many were compared.
        seconds: that each stage took for all images; and `lowering`.
    """

    table: Table
    notes: tuple[str, ...]
    passed: bool
    images: int
    seconds: Mapping[str, float]

    def render(self) -> str:
        """The table and the notes as plain text."""
        return "\n".join([self.table.render(), *self.notes])

    def to_json(self) -> dict[str, Any]:
        """The same for scripts."""
        table = self.table
        return {
            "passed": self.passed,
            "reference": table.reference,
            "differing": table.differing,
            "first_difference": None if table.first is None else str(table.first),
            "rows": [
                {
                    "tensor": row.tensor,
                    "shape": list(row.shape),
                    "differing": dict(zip(table.stages, row.differing, strict=True)),
                }
                for row in table.rows
            ],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False)
class RtlVerification(Verification):
    """What `verify_rtl` found.

    Args:
        bundle: with the result in it; `save_again` writes it.
        cycles: of the whole accelerator and those expected: `interval_cycles` (None for a single image),
            `latency_cycles`, `expected_interval_cycles`, `expected_latency_cycles`.
    """

    bundle: Bundle
    cycles: Mapping[str, int | None]

    def to_json(self) -> dict[str, Any]:
        """The same for scripts."""
        return {**super().to_json(), **self.cycles}


def verify(
    model: str | Path | Model,
    *,
    images: Images | None = None,
    count: int = 2,
    preprocessing: str | Path | Preprocessing | None = None,
    labels: str | Path | None = None,
    say: Say = unheard,
) -> Verification:
    """Compares every tensor of Brevitas, QONNX, FINN and the simulator with the interpreter's.

    Args:
        model: a model, a .fireq or QONNX file, or a shipped model by name.
        images: a folder, zip or file of pictures, or uint8 (N, H, W, C); synthetic ones by default.
        count: how many to take.
        preprocessing, labels, say: as for `lower`.

    Raises:
        InputError: another kind of file, one that breaks a rule of the lowering, images that do not fit; or QONNX's
            floats are further from the integers than their rounding explains.
    """
    said = Unsaid(preprocessing, labels)
    if isinstance(model, (str, Path)):
        source = find_model(model)
        kind = kind_of(source)
        if kind == QONNX:
            return _verify(source, None, images, count, said, say)
        if kind != FIREQ:
            raise unquantized(source)
        from fireflow.quant.model_file import load_model

        model = load_model(source)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.qonnx.onnx"
        write_qonnx(model, path)
        return _verify(path, model.network, images, count, said, say)


def _verify(
    path: Path, network: Any, images: Images | None, count: int, said: Unsaid, say: Say
) -> Verification:
    from fireflow.hw.finn.agreement import agreement_of
    from fireflow.hw.finn.convert import to_graph
    from fireflow.hw.finn.execute import finn_trace, qonnx_trace, quantizer_scales
    from fireflow.hw.finn.lowering import lower

    seconds: dict[str, float] = {}

    def timing(stage: str, work: Callable[[], T]) -> T:
        began = time.perf_counter()
        result = work()
        seconds[stage] = time.perf_counter() - began
        return result

    manifest, said = said_of(path, said, say)
    record = said.record()
    lowered = timing(LOWERING, lambda: lower(path, record, check=False))
    graph = to_graph(lowered, path.stem)
    pictures = images_for(graph, images, count, manifest.preprocessing, say)
    stages: dict[str, Mapping[str, Array]] = {}
    notes: list[str] = []
    if network is not None:
        stages[BREVITAS], note = timing(BREVITAS, lambda: _brevitas(network, pictures))
        notes.append(note)
    qonnx = timing(QONNX_FLOATS, lambda: qonnx_trace(path, pictures, record))
    stages[QONNX_FLOATS] = integers_of(qonnx, quantizer_scales(path, record))
    stages[FINN] = timing(FINN, lambda: finn_trace(lowered, pictures))
    stages[INTERPRETER] = timing(INTERPRETER, lambda: graph.trace(pictures))
    stages[SIMULATOR] = timing(SIMULATOR, lambda: _simulator(graph, pictures))
    notes.append('"-": the stage has no such tensor; the simulator fuses it into the next one')
    table = compare(stages, INTERPRETER)
    passed = table.differing == 0
    if passed:
        far = _scores_off(graph, qonnx[graph.output_name], stages[INTERPRETER][graph.output_name])
        notes.append(f"QONNX's float32 scores that differ by more than float32 rounding: {far}")
        passed = far == 0
    elif table.differing == table.differing_of(QONNX_FLOATS):
        # Raises where a layer differs by more than float32's own error.
        found = agreement_of(path, lowered, record, pictures)
        notes.append(
            f"QONNX in float32: {found.on_boundary} of {found.values} activations round otherwise, all of them on a "
            "rounding boundary within float error; the other differences follow from them"
        )
        passed = True
    return Verification(table, tuple(notes), passed, len(pictures), seconds)


def _simulator(graph: Graph, images: Array) -> dict[str, Array]:
    simulator = Simulator(graph)
    return {**simulator.trace(images), graph.output_name: simulator.run(images)}


def _brevitas(network: Any, images: Array) -> tuple[Mapping[str, Array], str]:
    """Integers of the float32 network; of the scores, whose sums float32 cannot hold, in float64."""
    import torch

    from fireflow.quant.trace import brevitas_trace, rounding_differences

    single = brevitas_trace(network, images)
    double = brevitas_trace(network, images, torch.float64)
    found = rounding_differences(network, single, double)
    note = (
        f"Brevitas in float32: {found.differing} of {found.activations} activations round otherwise than in float64"
        f"; {found.on_boundary} of them lie on a rounding boundary within float error"
    )
    return {**single.tensors, "scores": double.tensors["scores"]}, note


def _scores_off(graph: Graph, scores: Array, integers: Array) -> int:
    """How many float32 scores are further from the integers than adding up that many positive floats allows."""
    head = next(node for node in reversed(graph.nodes) if len(graph.types[node.inputs[0]].shape) == 3)
    terms = int(np.prod(graph.types[head.inputs[0]].shape[:2])) + graph.types[head.inputs[0]].shape[2]
    expected = integers * graph.output_scale
    bound = terms * np.finfo(np.float32).eps * max(float(np.abs(expected).max()), graph.output_scale)
    return int((np.abs(np.asarray(scores, np.float64) - expected) > bound).sum())


def verify_rtl(
    bundle: Bundle,
    *,
    images: Images | None = None,
    count: int = 2,
    stalls: float = 0.2,
    preprocessing: str | Path | Preprocessing | None = None,
    labels: str | Path | None = None,
    say: Say = unheard,
    progress: Callable[[str, int, float], None] | None = None,
) -> RtlVerification:
    """Compares the RTL of a built bundle: each layer on its own from the integers that it should read, and the whole.

    Args:
        bundle: built for a board, and loaded from its folder.
        images: a folder, zip or file of pictures, or uint8 (N, H, W, C); synthetic ones by default.
        count: how many to take, one behind the other.
        stalls: the probability with which each port of a layer pauses in a cycle; the whole runs freely.
        preprocessing, labels, say: as for `lower`.
        progress: called now and then with what is simulated ("every layer", "the accelerator"), the cycles and the
            done part of it.

    Raises:
        InputError: it was not built, its RTL is not what this version generates, a probability outside 0 to below 1,
            images that do not fit, no Verilator or C++ compiler.
        SimulationError: the RTL stands still, or breaks the rules of AXI-stream.
    """
    from fireflow.hw.rtl.regenerate import regenerate
    from fireflow.hw.rtl.simulate import check_layers, layer_bench, simulate

    if not 0 <= given.number("stalls", stalls) < 1:
        raise InputError(f"stalls: must be 0 to below 1, not {stalls}; give 0.2")
    began = time.perf_counter()
    record = completed(bundle, Unsaid(preprocessing, labels)).manifest.preprocessing
    hardware, graph = bundle.require_hardware(), bundle.graph
    dataflow = hardware.dataflow(graph)
    pictures = images_for(graph, images, count, record, say)

    def part(what: str) -> Callable[[int, float], None] | None:
        return None if progress is None else lambda cycles, done: progress(what, cycles, done)

    with tempfile.TemporaryDirectory() as scratch:
        design = regenerate(bundle, Path(scratch) / "whole")
        bench = layer_bench(dataflow.layers, hardware.part, hardware.clock_ns, Path(scratch) / "layers")
        layers = check_layers(dataflow, bench, pictures, stalls=stalls, progress=part("every layer"))
        middle = time.perf_counter()
        whole = simulate(dataflow, design, pictures, progress=part("the accelerator"))
    stages = {
        INTERPRETER: graph.trace(pictures),
        "dataflow": dataflow.run(pictures),
        "RTL layer": layers,
        "RTL whole": {dataflow.output_name: whole.scores},
    }
    table = compare(stages, INTERPRETER)
    cycles = {
        "interval_cycles": whole.interval_cycles,
        "latency_cycles": whole.latency_cycles,
        "expected_interval_cycles": hardware.interval_cycles,
        "expected_latency_cycles": hardware.latency_cycles,
    }
    verified = bundle.with_verification(
        {"images": len(pictures), "stalls": stalls, "differing": table.differing, **cycles}
    )
    notes = (
        '"-": the stage has no such tensor; dataflow: the layers and FIFOs of the accelerator, in NumPy',
        f"layers paused with probability {stalls} at every port; the whole ran freely",
        *(f"{name.replace('_', ' ')}: {value}" for name, value in cycles.items() if value is not None),
    )
    now = time.perf_counter()
    seconds = {"RTL layer": middle - began, "RTL whole": now - middle}
    verified = timed(verified, "verify", now - began)
    return RtlVerification(
        table, notes, table.differing == 0, len(pictures), seconds, bundle=verified, cycles=cycles
    )
