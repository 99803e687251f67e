"""`fireflow resources`: what every layer of an accelerator takes of the FPGA, counted by Yosys."""

from __future__ import annotations

import argparse
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping

from fireflow.host.cli import arguments
from fireflow.host.cli.inputs import BUNDLE_HELP
from fireflow.host.cli.output import print_json, table
from fireflow.host.cli.overwrite import timed

if TYPE_CHECKING:
    from fireflow.hw.dataflow.counts import Counts
    from fireflow.hw.dataflow.network import Dataflow
    from fireflow.hw.parts import Board, Resources


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=f"{BUNDLE_HELP} that was built")
    parser.add_argument(
        "--jobs", type=arguments.positive, metavar="N", help="layers at once; by default one for each core"
    )
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the counts and puts them into the bundle; 1 if by them it does not fit its budget."""
    from fireflow.host.cli.simulate import built
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.dataflow.cost import costs, total
    from fireflow.hw.dataflow.counts import Counts
    from fireflow.hw.finn.estimate import finn_estimate
    from fireflow.hw.parts import board
    from fireflow.hw.rtl.count import count_layers
    from fireflow.hw.tools.yosys import wasm_version

    began = time.perf_counter()
    bundle = Bundle.load(args.bundle)
    hardware = built(bundle, args.bundle)
    chosen, flow = board(hardware.board), hardware.dataflow(bundle.graph)
    with _progress() as report:
        counted = count_layers(flow.layers, hardware.part, hardware.clock_ns, jobs=args.jobs, progress=report)
    finn = {layer.name: finn_estimate(layer, hardware.part) for layer in flow.layers}
    counts = Counts(f"Yosys {wasm_version()}", counted, finn)
    timed(bundle.with_counts(counts), "resources", time.perf_counter() - began).save_again(args.bundle)
    modelled = costs(flow, chosen.family)
    used = total(counted)
    fits = all(
        getattr(used, name) <= hardware.budget * whole for name, whole in chosen.resources.to_json().items()
    )
    if args.json:
        print_json(_document(counts, modelled, chosen, hardware.budget, fits))
    else:
        print(_layers(flow, counts, modelled))
        print()
        print(_totals(counts, modelled, chosen))
        print(f"{counts.tool}: {'fits' if fits else 'does not fit'} {hardware.budget:.0%} of {chosen.name}")
    return 0 if fits else 1


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Tells on stderr which layer was counted: on a terminal as a bar."""
    import sys

    if not sys.stderr.isatty():
        yield lambda name, done, number: print(
            f"{done} of {number} counted: {name}", file=sys.stderr, flush=True
        )
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("counting", total=None)
        yield lambda name, done, number: bar.update(
            task, completed=done, total=number, description=f"counted {name}"
        )


def _layers(flow: Dataflow, counts: Counts, modelled: Mapping[str, Resources]) -> str:
    """Layer by layer: of each resource the count, what the model expects, and what FINN does where it says."""
    from fireflow.hw.dataflow.counts import FINN_RESOURCES
    from fireflow.hw.parts import LABELS

    used = [name for name in LABELS if any(getattr(own, name) for own in counts.counted.values())]
    headings = ["layer", "kind"]
    for name in used:
        headings += [LABELS[name], "model", *(["FINN"] if name in FINN_RESOURCES else [])]
    rows = []
    for layer in flow.layers:
        finn = counts.finn[layer.name]
        row: list[object] = [layer.name, layer.kind]
        for name in used:
            row += [
                f"{getattr(counts.counted[layer.name], name):g}",
                f"{getattr(modelled[layer.name], name):.4g}",
            ]
            if name in FINN_RESOURCES:
                row.append("-" if finn is None else f"{finn[name]:g}")
        rows.append(row)
    return table(headings, rows)


def _totals(counts: Counts, modelled: Mapping[str, Resources], board: Board) -> str:
    from fireflow.hw.dataflow.counts import errors
    from fireflow.hw.parts import LABELS

    finn = counts.finn_total()
    rows = []
    for name, error in errors([(counts.counted[n], modelled[n]) for n in counts.counted]).items():
        whole = getattr(board.resources, name)
        if whole or error.counted:
            rows.append(
                (
                    LABELS[name],
                    f"{error.counted:g}",
                    f"{error.counted / whole:.1%}" if whole else "-",
                    f"{error.modelled:.0f}",
                    "-" if error.total is None else f"{error.total:+.1%}",
                    "-" if error.mean is None else f"{error.mean:.1%}",
                    f"{finn[name]:g}" if name in finn else "-",
                )
            )
    headings = (
        "total",
        "counted",
        f"of {board.name}",
        "model",
        "error",
        "error of a layer",
        "FINN, where it says",
    )
    return table(headings, rows)


def _document(
    counts: Counts, modelled: Mapping[str, Resources], board: Board, budget: float, fits: bool
) -> dict[str, Any]:
    from fireflow.hw.dataflow.counts import errors

    document = counts.to_json()
    for name, own in document["layers"].items():
        own["modelled"] = modelled[name].to_json()
    found = errors([(counts.counted[name], modelled[name]) for name in counts.counted])
    return {
        **document,
        "fits": fits,
        "budget": budget,
        "available": board.resources.to_json(),
        "total": {
            name: {
                "counted": error.counted,
                "modelled": error.modelled,
                "error": error.total,
                "error_of_a_layer": error.mean,
            }
            for name, error in found.items()
        },
        "finn_total": counts.finn_total(),
    }
