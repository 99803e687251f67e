"""`fireflow lower`: through FINN to a bundle."""

from __future__ import annotations

import argparse
import time

from fireflow.host.cli import arguments
from fireflow.host.cli.arguments import BUNDLE_HELP
from fireflow.host.cli.output import print_json, remark
from fireflow.hw.bundle import Manifest
from fireflow.hw.errors import InputError
from fireflow.hw.files import check_suffix, stem_of
from fireflow.hw.overwrite import check_bundle
from fireflow.pipeline.inputs import FIREQ, QONNX, find_model, kind_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("model", metavar="MODEL", help="a .fireq or QONNX file, or a shipped model by name")
    arguments.output(parser, f"the bundle, {BUNDLE_HELP}")
    arguments.golden(parser, count=1)
    arguments.force(parser)
    arguments.unsaid(parser)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Lowers and writes the bundle."""
    check_bundle(check_suffix(args.output, ".fire"), args.force, hardware_too=False, say=remark)
    source = find_model(args.model)
    kind = kind_of(source)
    if kind not in (FIREQ, QONNX):
        raise InputError(
            f"{source}: must be a .fireq file or an ONNX file with quantizers (QONNX), not {source.name}; run "
            "`fireflow quantize`"
        )
    from dataclasses import replace

    from fireflow.host.cli.flow import bundle_manifest, lower_file, lower_model, real_images

    started, said = time.perf_counter(), arguments.said(args)
    if kind == FIREQ:
        from fireflow.quant.model_file import load_model

        model = load_model(source)
        said.refuse_said(source, Manifest(model.preprocessing, model.labels))
        images = None if args.images is None else real_images(args.images, model.preprocessing, args.golden)
        bundle = said.labelled(lower_model(model, images, stem_of(source)))
    else:
        bundle = lower_file(source, said, args.images, args.golden)
    bundle = replace(bundle, manifest=bundle_manifest(bundle.manifest, source))
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
