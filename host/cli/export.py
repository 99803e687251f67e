"""`fireflow export`: QONNX for FINN and others, with what it must compute."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fireflow.host.cli import arguments
from fireflow.host.cli.arguments import MODEL_HELP
from fireflow.host.cli.output import aside, print_json
from fireflow.hw.card import MODEL_CARD, write_card
from fireflow.hw.errors import InputError
from fireflow.hw.files import atomic_file, check_suffix, stem_of
from fireflow.hw.types import narrowest_dtype
from fireflow.pipeline.exporting import check_export
from fireflow.pipeline.inputs import FIREQ, find_model, kind_of

if TYPE_CHECKING:
    from fireflow.hw.types import Array
    from fireflow.quant.networks import Network

_ENDING = ".qonnx.onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    arguments.output(parser, f"NAME{_ENDING}; NAME.golden.npz and {MODEL_CARD} go beside it")
    arguments.golden(parser, count=3)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the three files."""
    check_suffix(args.output, _ENDING)
    golden = args.output.with_name(stem_of(args.output) + ".golden.npz")
    card = args.output.with_name(MODEL_CARD)
    check_export(args.output, golden, card)
    source = find_model(args.model)
    if kind_of(source) != FIREQ:
        raise InputError(
            f"{source}: must be a quantized .fireq file, not {source.name}; run `fireflow quantize`"
        )
    from fireflow.pipeline.images import real_images, synthetic_images
    from fireflow.pipeline.qonnx_files import write_qonnx
    from fireflow.quant.model_file import load_model

    model = load_model(source)
    size = model.preprocessing.size
    images = synthetic_images(1, (size, size, 3))
    if args.images is not None:
        images = np.concatenate([images, real_images(args.images, model.preprocessing, args.golden, aside)])
    write_qonnx(model, args.output)
    tensors = _write_golden(model.network, images, golden)
    write_card(model.card, card)
    files = [str(args.output), str(golden), str(card)]
    if args.json:
        print_json({"files": files, "images": len(images), "tensors": tensors})
    else:
        print(f"{args.output}\n{golden}: {len(images)} images, {len(tensors)} tensors\n{card}")
    return 0


def _write_golden(network: Network, images: Array, path: Path) -> list[str]:
    """Writes images, quantized activations and scores as Brevitas computes them; gives the tensors' names."""
    from fireflow.quant.trace import brevitas_trace

    trace = brevitas_trace(network, images).tensors
    kept = {n: a for n, a in trace.items() if n.endswith(".act") or n == "scores"}
    narrow = {n: a.astype(narrowest_dtype(int(a.min()), int(a.max()))) for n, a in kept.items()}
    with atomic_file(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, image=images, **narrow)
    return list(narrow)
