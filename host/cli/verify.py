"""`fireflow verify`: every tensor of every stage on the same images, compared integer by integer."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from fireflow.host.cli import arguments, unsaid
from fireflow.host.cli.inputs import BUNDLE, FIREQ, QONNX, find_model, kind_of
from fireflow.host.cli.output import print_json
from fireflow.host.cli.overwrite import timed
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.hw.compare import Table
    from fireflow.hw.graph import Graph
    from fireflow.hw.types import Array

REFERENCE = "interpreter"
BREVITAS = "Brevitas"
_QONNX = "QONNX"
Stages = Mapping[str, Mapping[str, "Array"]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a .fireq or QONNX file, or a shipped model by name; with --rtl a bundle that was built",
    )
    parser.add_argument(
        "--rtl",
        action="store_true",
        help="compare the RTL of a built bundle: every layer on its own, under random stalls, and the whole",
    )
    parser.add_argument(
        "--stalls", type=float, default=0.2, metavar="P", help="with --rtl: how often ports pause (0.2)"
    )
    parser.add_argument(
        "--images", type=arguments.path, help="pictures (folder, zip, file); otherwise synthetic ones"
    )
    parser.add_argument("--count", type=arguments.positive, default=2, metavar="N", help="images to take (2)")
    unsaid.add_arguments(parser)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the table; 1 if a value differs that may not."""
    source = find_model(args.model)
    if args.rtl:
        return _verify_rtl(source, args)
    if kind_of(source) == FIREQ:
        from fireflow.host.cli.flow import write_qonnx
        from fireflow.quant.model_file import load_model

        model = load_model(source)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.qonnx.onnx"
            write_qonnx(model, path)
            return _verify(path, model.network, args)
    if kind_of(source) == QONNX:
        return _verify(source, None, args)
    raise InputError(
        f"{source}: must be a .fireq file or an ONNX file with quantizers (QONNX), not {source.name}; run "
        "`fireflow quantize`"
    )


def _verify(path: Path, network: Any, args: argparse.Namespace) -> int:
    from fireflow.host.cli.flow import real_images, said_of, synthetic_images
    from fireflow.hw.compare import compare
    from fireflow.hw.finn.agreement import agreement_of
    from fireflow.hw.finn.convert import to_graph
    from fireflow.hw.finn.execute import finn_trace, qonnx_trace, quantizer_scales
    from fireflow.hw.finn.lowering import lower
    from fireflow.hw.simulator import Simulator

    manifest, said = said_of(path, unsaid.Unsaid.of(args))
    record = said.record()
    lowered = lower(path, record, check=False)
    graph = to_graph(lowered, path.stem)
    if args.images is None:
        images = synthetic_images(args.count, graph.input_type.shape)
    else:
        images = graph.check_images(real_images(args.images, manifest.preprocessing, args.count))
    stages: dict[str, Mapping[str, Array]] = {}
    notes: list[str] = []
    if network is not None:
        stages[BREVITAS], note = _brevitas(network, images)
        notes.append(note)
    qonnx = qonnx_trace(path, images, record)
    stages[_QONNX] = integers_of(qonnx, quantizer_scales(path, record))
    stages["FINN"] = finn_trace(lowered, images)
    stages[REFERENCE] = graph.trace(images)
    simulator = Simulator(graph)
    stages["simulator"] = {**simulator.trace(images), graph.output_name: simulator.run(images)}
    notes.append('"-": the stage has no such tensor; the simulator fuses it into the next one')
    table = compare(stages, REFERENCE)
    passed = table.differing == 0
    if passed:
        far = _scores_off(graph, qonnx[graph.output_name], stages[REFERENCE][graph.output_name])
        notes.append(f"QONNX's float32 scores that differ by more than float32 rounding: {far}")
        passed = far == 0
    elif _only(table, _QONNX):
        # Raises where a layer differs by more than float32's own error.
        found = agreement_of(path, lowered, record, images)
        notes.append(
            f"QONNX in float32: {found.on_boundary} of {found.values} activations round otherwise, all of them on a "
            "rounding boundary within float error; the other differences follow from them"
        )
        passed = True
    if args.json:
        print_json(_document(table, notes, passed))
    else:
        print(table.render(), *notes, sep="\n")
    return 0 if passed else 1


def _only(table: Table, stage: str) -> bool:
    """Whether all differing values are of one stage."""
    others = [position for position, name in enumerate(table.stages) if name != stage]
    return not any(row.differing[position] for row in table.rows for position in others)


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


def _verify_rtl(folder: Path, args: argparse.Namespace) -> int:
    """The RTL of a built bundle: each layer from the integers that it should read, then all of them stitched."""
    from fireflow.host.cli.flow import real_images, synthetic_images
    from fireflow.host.cli.output import cycles_bar
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.compare import compare
    from fireflow.hw.rtl.regenerate import regenerate
    from fireflow.hw.rtl.simulate import check_layers, layer_bench, simulate

    if kind_of(folder) != BUNDLE:
        raise InputError(
            f"{folder}: must be a bundle for --rtl, not {folder.name}; run `fireflow build` first"
        )
    if not 0 <= args.stalls < 1:
        raise InputError(f"stalls: must be 0 to below 1, not {args.stalls}; give 0.2")
    began = time.perf_counter()
    bundle = Bundle.load(folder)
    preprocessing = unsaid.completed(bundle, folder, unsaid.Unsaid.of(args)).manifest.preprocessing
    hardware = bundle.require_hardware()
    graph, dataflow = bundle.graph, hardware.dataflow(bundle.graph)
    if args.images is None:
        images = synthetic_images(args.count, graph.input_type.shape)
    else:
        images = graph.check_images(real_images(args.images, preprocessing, args.count))
    with tempfile.TemporaryDirectory() as scratch:
        design = regenerate(bundle, Path(scratch) / "whole")
        bench = layer_bench(dataflow.layers, hardware.part, hardware.clock_ns, Path(scratch) / "layers")
        with cycles_bar("simulating every layer") as report:
            layers = check_layers(dataflow, bench, images, stalls=args.stalls, progress=report)
        with cycles_bar("simulating the accelerator") as report:
            whole = simulate(dataflow, design, images, progress=report)
    stages = {
        REFERENCE: graph.trace(images),
        "dataflow": dataflow.run(images),
        "RTL layer": layers,
        "RTL whole": {dataflow.output_name: whole.scores},
    }
    table = compare(stages, REFERENCE)
    cycles = {
        "interval_cycles": whole.interval_cycles,
        "latency_cycles": whole.latency_cycles,
        "expected_interval_cycles": hardware.interval_cycles,
        "expected_latency_cycles": hardware.latency_cycles,
    }
    verified = bundle.with_verification(
        {"images": len(images), "stalls": args.stalls, "differing": table.differing, **cycles}
    )
    timed(verified, "verify", time.perf_counter() - began).save_again()
    notes = [
        '"-": the stage has no such tensor; dataflow: the layers and FIFOs of the accelerator, in NumPy',
        f"layers paused with probability {args.stalls} at every port; the whole ran freely",
        *(f"{name.replace('_', ' ')}: {value}" for name, value in cycles.items() if value is not None),
    ]
    if args.json:
        print_json({**_document(table, notes, table.differing == 0), **cycles})
    else:
        print(table.render(), *notes, sep="\n")
    return 0 if table.differing == 0 else 1


def integers_of(tensors: Mapping[str, Array], scales: Mapping[str, float]) -> dict[str, Array]:
    """The integers that quantized float tensors stand for.

    Raises:
        InputError: a value that is no multiple of its scale.
    """
    integers = {}
    for name, scale in scales.items():
        if name not in tensors:
            continue
        steps = np.asarray(tensors[name], dtype=np.float64) / scale
        integers[name] = np.rint(steps).astype(np.int64)
        error = float(np.abs(steps - integers[name]).max())
        if error > 1e-3:
            raise InputError(
                f"{name}: values must be multiples of their scale {scale}, not {error} of a step off; export again"
            )
    return integers


def _scores_off(graph: Graph, scores: Array, integers: Array) -> int:
    """How many float32 scores are further from the integers than adding up that many positive floats allows."""
    head = next(node for node in reversed(graph.nodes) if len(graph.types[node.inputs[0]].shape) == 3)
    terms = int(np.prod(graph.types[head.inputs[0]].shape[:2])) + graph.types[head.inputs[0]].shape[2]
    expected = integers * graph.output_scale
    bound = terms * np.finfo(np.float32).eps * max(float(np.abs(expected).max()), graph.output_scale)
    return int((np.abs(np.asarray(scores, np.float64) - expected) > bound).sum())


def _document(table: Table, notes: list[str], passed: bool) -> dict[str, Any]:
    return {
        "passed": passed,
        "reference": table.reference,
        "differing": table.differing,
        "first_difference": None if table.first is None else str(table.first),
        "rows": [
            {
                "tensor": row.tensor,
                "shape": list(row.shape),
                "differing": dict(zip(table.stages, row.differing)),
            }
            for row in table.rows
        ],
        "notes": notes,
    }
