"""Counts what layers of many sizes take, by Yosys, and fits the cost model to them.

    python scripts/measure_kernels.py [--family both] [--only MatMul.dsp,Window] [--fit]

Writes hw/dataflow/kernel_measurements.json, a line per layer, beside what the cost model says of it; --fit then makes
hw/dataflow/costs.json of them. Counts are cached: interrupted, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hw import boards, ops  # noqa: E402
from hw.dataflow import cost  # noqa: E402
from hw.dataflow.layers import (  # noqa: E402
    Add,
    Concat,
    Fifo,
    Fork,
    Head,
    Layer,
    MatMul,
    MaxPool,
    Pad,
    Threshold,
    WidthConverter,
    Window,
)
from hw.dataflow.stream import Stream  # noqa: E402
from hw.files import atomic_file  # noqa: E402
from hw.rtl.stitch import write_layer  # noqa: E402
from hw.tools.yosys import resources  # noqa: E402

TABLE = ROOT / "hw" / "dataflow" / "kernel_measurements.json"
PARTS = {"xc7": "xc7z020clg400-1", "xcup": "xczu7ev-ffvc1156-2-e"}
SUMS = (-3000, 3000)

# MH, MW, PE, SIMD, bits of weights and activations, memory of the weights
MATRICES = (
    (64, 27, 4, 27, 6, 8, "lut"),
    (64, 27, 8, 9, 6, 8, "lut"),
    (16, 64, 4, 8, 4, 4, "lut"),
    (64, 16, 2, 16, 4, 4, "lut"),
    (64, 144, 4, 24, 4, 4, "lut"),
    (64, 144, 2, 48, 4, 4, "lut"),
    (32, 256, 2, 16, 4, 4, "lut"),
    (192, 48, 6, 6, 4, 4, "lut"),
    (48, 384, 8, 8, 4, 4, "bram"),
    (192, 432, 4, 16, 4, 4, "bram"),
    (256, 64, 2, 16, 4, 4, "bram"),
    (256, 576, 8, 16, 4, 4, "bram"),
    (64, 64, 8, 8, 3, 4, "lut"),
    (64, 64, 8, 8, 2, 4, "lut"),
    (64, 64, 4, 4, 6, 6, "bram"),
    (40, 64, 1, 1, 4, 4, "lut"),
)
FINN_MATRICES = ((16, 64, 4, 8, 4, 4, "lut"), (64, 16, 2, 4, 4, 4, "lut"), (64, 64, 4, 4, 2, 4, "lut"))


def matrices() -> Iterator[Layer]:
    shapes = [("dsp", shape) for shape in MATRICES] + [("lut", shape) for shape in MATRICES if shape[4] < 6]
    for kernel, shape in [*shapes, *(("finn", shape) for shape in FINN_MATRICES)]:
        mh, mw, pe, simd, weight_bits, bits, memory = shape
        top = (1 << (weight_bits - 1)) - 1
        weight = np.random.default_rng(0).integers(-top, top + 1, (mh, mw))
        most = int(np.abs(weight).sum(1).max()) * ((1 << bits) - 1) // 2  # about what a trained layer has
        source = Stream((8, 8, mw), 0, (1 << bits) - 1, simd)
        sink = Stream((8, 8, mh), -most, most, pe)
        yield MatMul("layer", ("x",), (source,), sink, weight, weight_bits, pe, simd, memory, kernel)


def thresholds() -> Iterator[Layer]:
    for channels, lanes, steps, memory in (
        *((64, 1, 15, "lut"), (64, 4, 15, "lut"), (16, 4, 15, "lut"), (256, 1, 15, "lut")),
        *((192, 2, 15, "bram"), (64, 8, 15, "lut"), (64, 2, 7, "lut"), (128, 2, 63, "lut")),
    ):
        values = np.sort(np.random.default_rng(0).integers(*SUMS, (channels, steps)), axis=1)
        source, sink = Stream((8, 8, channels), *SUMS, lanes), Stream((8, 8, channels), 0, steps, lanes)
        yield Threshold("layer", ("x",), (source,), sink, values, 0, memory)


def windows() -> Iterator[Layer]:
    for size, channels, lanes, kernel, stride, bits, parallel, memory in (
        (224, 3, 3, 3, 2, 8, True, "bram"),
        (224, 3, 3, 3, 2, 8, True, "lut"),
        (224, 3, 3, 3, 2, 8, False, "bram"),
        (58, 16, 1, 3, 1, 4, False, "lut"),
        (58, 16, 4, 3, 1, 4, False, "lut"),
        (58, 16, 16, 3, 1, 4, True, "lut"),
        (30, 32, 8, 3, 1, 4, False, "lut"),
        (30, 32, 32, 3, 1, 4, False, "bram"),
        (16, 48, 2, 3, 1, 4, False, "lut"),
        (16, 64, 16, 3, 1, 4, False, "lut"),
        (16, 64, 64, 3, 1, 4, True, "lut"),
        (109, 3, 3, 7, 2, 8, False, "bram"),
    ):
        source = Stream((size, size, channels), 0, (1 << bits) - 1, lanes)
        out = (size - kernel) // stride + 1
        words = kernel * kernel * channels
        sink = Stream((out, out, words), 0, source.hi, words if parallel else lanes)
        square = (kernel, kernel), (stride, stride)
        yield Window("layer", ("x",), (source,), sink, *square, parallel, memory)


def others() -> Iterator[Layer]:
    for size, channels, lanes in ((56, 16, 1), (56, 16, 16), (28, 32, 4), (14, 64, 16), (14, 48, 2)):
        source = Stream((size, size, channels), 0, 15, lanes)
        sink = Stream((size + 2, size + 2, channels), 0, 15, lanes)
        yield Pad("layer", ("x",), (source,), sink, (1, 1, 1, 1))
    for size, channels, lanes, memory in ((111, 64, 4, "bram"), (55, 128, 1, "bram"), (27, 256, 4, "lut")):
        source = Stream((size, size, channels), 0, 15, lanes)
        kind = ops.MaxPool((3, 3), (2, 2), (0, 0, 0, 0)).infer([source])
        pool = (3, 3), (2, 2), (0, 0, 0, 0)
        yield MaxPool("layer", ("x",), (source,), Stream.of(kind, lanes), *pool, memory)
    for lanes in (1, 4, 16):
        source = Stream((14, 14, 64), 0, 15, lanes)
        yield Fork("layer", ("x",), (source,), source, 2)
        wide = Stream((14, 14, 128), 0, 15, lanes)
        yield Concat("layer", ("x", "y"), (source, source), wide)
        yield Add("layer", ("x", "y"), (source, source), Stream((14, 14, 64), 0, 30, lanes))
    for before, after in ((1, 4), (2, 16), (4, 1), (16, 4), (8, 48)):
        source = Stream((14, 14, 48), 0, 15, before)
        yield WidthConverter("layer", ("x",), (source,), Stream.of(source, after))
    for lanes, depth, memory in (
        (4, 2, "lut"),
        (4, 33, "lut"),
        (8, 257, "lut"),
        (16, 513, "bram"),
        (1, 1025, "bram"),
    ):
        source = Stream((14, 14, 64), 0, 15, lanes)
        yield Fifo("layer", ("x",), (source,), source, depth, memory)
    for channels, lanes, memory in ((1000, 1, "bram"), (10, 2, "lut"), (1000, 4, "bram")):
        source = Stream((13, 13, channels), *SUMS, lanes)
        bias = np.random.default_rng(0).integers(-500, 500, channels)
        sink = Stream((channels,), 0, 169 * (SUMS[1] + 500), lanes)
        yield Head("layer", ("x",), (source,), sink, bias, True, memory)


def layers() -> list[Layer]:
    """The small ones first: a large matrix takes Yosys minutes."""
    products = sorted(matrices(), key=lambda layer: layer.input.lanes * layer.output.lanes)
    return [*others(), *windows(), *thresholds(), *products]


def count(layer: Layer, family: str) -> boards.Resources:
    with tempfile.TemporaryDirectory() as name:
        folder, sources = Path(name), dict[str, None]()
        used = write_layer(layer, PARTS[family], 4.0, folder, sources)
        images = sorted(
            p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix in (".dat", ".hex")
        )
        counted = resources(
            used.module, list(sources), family, folder=folder, images=images, parameters=used.parameters
        )
    return boards.Resources(counted.lut, counted.ff, counted.bram36, counted.uram, counted.dsp)


def describe(layer: Layer) -> dict[str, Any]:
    streams = {"in": layer.input, "out": layer.output}
    flat = {
        f"{side}_{key}": getattr(s, key) for side, s in streams.items() for key in ("shape", "bits", "lanes")
    }
    own = {"MH": layer.mh, "MW": layer.mw} if isinstance(layer, MatMul) else {}
    steps = {"steps": int(layer.thresholds.shape[1])} if isinstance(layer, Threshold) else {}
    return {**flat, **own, **steps, **layer.parameters()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", choices=[*PARTS, "both"], default="xcup")
    parser.add_argument("--only", default="", help="kinds of layers, by commas")
    parser.add_argument("--fit", action="store_true", help="fit hw/dataflow/costs.json to the counts")
    options = parser.parse_args()
    wanted = set(filter(None, options.only.split(",")))
    rows, samples = [], []
    for layer in layers():
        kind = cost.variant(layer)
        if wanted and kind not in wanted:
            continue
        for family in PARTS if options.family == "both" else [options.family]:
            counted, guess = count(layer, family), cost.cost(layer, family)
            samples.append(cost.Sample(layer, family, counted))
            names = ("lut", "ff", "bram36", "uram", "dsp")
            figures = {name: getattr(counted, name) for name in names}
            rows.append({"kernel": kind, "family": family, "parameters": describe(layer), **figures})
            told = ", ".join(f"{name} {figures[name]} ({getattr(guess, name):.0f})" for name in names)
            print(f"{kind} {family} {layer.input.words}>{layer.output.words}: {told}", flush=True)
    if not wanted:
        with atomic_file(TABLE) as temporary:
            temporary.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    if options.fit:
        document = json.loads(cost.TABLE.read_text())
        document["coefficients"].update(cost.fit(samples))
        document["source"] = f"fitted by scripts/measure_kernels.py to {len(samples)} counts of Yosys"
        with atomic_file(cost.TABLE) as temporary:
            temporary.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
