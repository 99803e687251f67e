"""`fireflow lower`: through FINN to a bundle."""

from __future__ import annotations

import argparse
import time

from fireflow.host.cli import arguments
from fireflow.host.cli.output import aside, print_json, remark
from fireflow.hw.files import check_suffix
from fireflow.hw.overwrite import check_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("model", metavar="MODEL", help="a .fireq or QONNX file, or a shipped model by name")
    arguments.output(parser, f"the bundle, {arguments.BUNDLE_HELP}")
    arguments.golden(parser, count=1)
    arguments.force(parser)
    arguments.unsaid(parser)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Lowers and writes the bundle."""
    from fireflow import lower

    check_bundle(check_suffix(args.output, ".fire"), args.force, hardware_too=False, say=remark)
    started = time.perf_counter()
    bundle = lower(
        args.model,
        images=args.images,
        golden=args.golden,
        preprocessing=args.preprocessing,
        labels=args.labels,
        say=aside,
    )
    bundle.save(args.output)
    facts = {
        "output": str(args.output),
        "nodes": len(bundle.graph.nodes),
        "classes": bundle.graph.output_type.shape[-1],
        "golden_images": len(bundle.golden.images),
        "size_bytes": sum(file.stat().st_size for file in args.output.iterdir()),
        "weight_bytes": (args.output / "graph.arrays").stat().st_size,
        "seconds": round(time.perf_counter() - started, 1),
    }
    if args.json:
        print_json(facts)
    else:
        print(
            f"{args.output}: {facts['nodes']} operations, {facts['classes']} classes, "
            f"{facts['weight_bytes']} bytes of weights and thresholds, {facts['seconds']} s"
        )
    return 0
