"""`fireflow resources`: what every layer of an accelerator takes of the FPGA, counted by Yosys."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fireflow.host.cli import arguments
from fireflow.host.cli.output import counting_layers, print_json
from fireflow.hw.dataflow.counts import FINN_RESOURCES
from fireflow.hw.parts import LABELS
from fireflow.hw.table import table

if TYPE_CHECKING:
    from fireflow.pipeline.counting import Counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=f"{arguments.BUNDLE_HELP} that was built")
    parser.add_argument(
        "--jobs", type=arguments.positive, metavar="N", help="layers at once; by default one for each core"
    )
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the counts and puts them into the bundle; 1 if by them it does not fit its budget."""
    from fireflow import Bundle, count_resources

    with counting_layers() as progress:
        found = count_resources(Bundle.load(args.bundle), jobs=args.jobs, progress=progress)
    found.bundle.save_again()
    if args.json:
        print_json(_document(found))
    else:
        verdict = "fits" if found.fits else "does not fit"
        print(_layers(found), _totals(found), sep="\n\n")
        print(f"{found.counts.tool}: {verdict} {found.budget:.0%} of {found.board.name}")
    return 0 if found.fits else 1


def _layers(found: Counted) -> str:
    """Layer by layer: of each resource the count, what the model expects, and what FINN does where it says."""
    counts, modelled = found.counts, found.modelled
    used = [name for name in LABELS if any(getattr(own, name) for own in counts.counted.values())]
    headings = ["layer", "kind"]
    for name in used:
        headings += [LABELS[name], "model", *(["FINN"] if name in FINN_RESOURCES else [])]
    rows = []
    for layer in found.flow.layers:
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


def _totals(found: Counted) -> str:
    counts, board = found.counts, found.board
    finn = counts.finn_total()
    rows = []
    for name, error in found.errors.items():
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


def _document(found: Counted) -> dict[str, Any]:
    document = found.counts.to_json()
    for name, own in document["layers"].items():
        own["modelled"] = found.modelled[name].to_json()
    return {
        **document,
        "fits": found.fits,
        "budget": found.budget,
        "available": found.board.resources.to_json(),
        "total": {
            name: {
                "counted": error.counted,
                "modelled": error.modelled,
                "error": error.total,
                "error_of_a_layer": error.mean,
            }
            for name, error in found.errors.items()
        },
        "finn_total": found.counts.finn_total(),
    }
