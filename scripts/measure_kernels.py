"""Counts what layers of many sizes take, by Yosys, fits the cost model to them, and says how far off it is.

    python scripts/measure_kernels.py --bundle z2.fire --bundle kv260.fire --fit
    python scripts/measure_kernels.py --errors

Writes hw/dataflow/kernel_measurements.json, a line per layer; --fit then makes hw/dataflow/costs.json of it. Counts are
cached: interrupted, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from fireflow.hw import ops, parts  # noqa: E402
from fireflow.hw.bundle import Bundle  # noqa: E402
from fireflow.hw.dataflow import cost, cost_fit  # noqa: E402
from fireflow.hw.dataflow.counts import errors  # noqa: E402
from fireflow.hw.dataflow.layers import (  # noqa: E402
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
from fireflow.hw.dataflow.stream import Stream  # noqa: E402
from fireflow.hw.files import atomic_file  # noqa: E402
from fireflow.hw.rtl.count import count_layers  # noqa: E402

TABLE = ROOT / "hw" / "dataflow" / "kernel_measurements.json"
PARTS = {"xc7": "xc7z020clg400-1", "xcup": "xczu7ev-ffvc1156-2-e"}
SUMS = (-3000, 3000)

# MH, MW, PE, SIMD, bits of weights and activations, memory of the weights
COMPARED = ((64, 64, 8, 8, 3, 4, "lut"), (64, 64, 8, 8, 2, 4, "lut"))
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
    *COMPARED,
    (64, 64, 4, 4, 6, 6, "bram"),
    (40, 64, 1, 1, 4, 4, "lut"),
)
FINN_MATRICES = (
    (16, 64, 4, 8, 4, 4, "lut"),
    (64, 16, 2, 4, 4, 4, "lut"),
    (64, 64, 4, 4, 2, 4, "lut"),
    *COMPARED,
)


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


def describe(layer: Layer) -> dict[str, Any]:
    streams = {"in": layer.input, "out": layer.output}
    flat = {
        f"{side}_{key}": getattr(s, key) for side, s in streams.items() for key in ("shape", "bits", "lanes")
    }
    own = {"MH": layer.mh, "MW": layer.mw} if isinstance(layer, MatMul) else {}
    steps = {"steps": int(layer.thresholds.shape[1])} if isinstance(layer, Threshold) else {}
    return {**flat, **own, **steps, **layer.parameters()}


def bundle_layers(path: Path) -> tuple[str, list[Layer]]:
    """The family and the layers of a bundle that was built."""
    bundle = Bundle.load(path)
    if bundle.hardware is None:
        raise SystemExit(f"{path}: must be built for a board; run `fireflow build` first")
    return parts.board(bundle.hardware.board).family, list(bundle.hardware.dataflow(bundle.graph).layers)


def measure(family: str, chosen: list[Layer], where: str, jobs: int | None) -> Iterator[dict[str, Any]]:
    """Rows of the table, one for every different layer."""
    named = [replace(layer, name=f"{number}") for number, layer in enumerate(chosen)]
    counts = count_layers(named, PARTS[family], 4.0, jobs=jobs, progress=tell)
    seen = set()
    for layer in named:
        sample = cost_fit.Sample.of(layer, family, counts[layer.name])
        row = {
            "from": where,
            "kernel": sample.variant,
            "family": family,
            "parameters": describe(layer),
            "features": dict(sample.features),
            "blocks": sample.blocks.to_json(),
            "counted": sample.counted.to_json(),
        }
        text = json.dumps(row)
        if text not in seen:
            seen.add(text)
            yield row


def tell(name: str, done: int, number: int) -> None:
    print(f"{done} of {number} counted", end="\n" if done == number else "\r", file=sys.stderr, flush=True)


def sample_of(row: dict[str, Any]) -> cost_fit.Sample:
    blocks, counted = parts.Resources(**row["blocks"]), parts.Resources(**row["counted"])
    return cost_fit.Sample(row["kernel"], row["family"], row["features"], blocks, counted)


def show(samples: list[cost_fit.Sample]) -> None:
    """For each kind, and for all: layers, LUTs and FFs counted, the mean error of a layer and that of the sum."""
    kinds = {kind: [s for s in samples if s.variant == kind] for kind in sorted({s.variant for s in samples})}
    print(f"{'kind':16}{'layers':>7}" + "".join(f"{name:>9}{'mean':>7}{'sum':>7}" for name in ("LUT", "FF")))
    for kind, own in {**kinds, "all": samples}.items():
        found = errors([(sample.counted, sample.modelled) for sample in own])
        told = "".join(
            f"{found[name].counted:9.0f}{found[name].mean or 0:7.1%}{found[name].total or 0:+7.1%}"
            for name in cost.FITTED
        )
        print(f"{kind:16}{len(own):7}{told}")
    for name in ("bram36", "uram", "dsp"):
        found = errors([(sample.counted, sample.modelled) for sample in samples])
        print(f"{name}: counted {found[name].counted:g}, modelled {found[name].modelled:g}")


def compare(rows: list[dict[str, Any]]) -> None:
    """FINN's matrix unit and ours, with and without DSPs, where all of them were counted."""
    print(f"{'family':8}{'weights':>8}{'kernel':>8}{'LUT':>8}{'FF':>8}{'DSP':>6}{'LUT a product':>15}")
    for mh, mw, pe, simd, bits, _, _ in COMPARED:
        shape = {"MH": mh, "MW": mw, "pe": pe, "simd": simd, "weight_bits": bits, "memory": "lut"}
        for row in rows:
            own, counted = row["parameters"], row["counted"]
            if row["from"] == "grid" and all(own.get(key) == value for key, value in shape.items()):
                figures = f"{counted['lut']:8g}{counted['ff']:8g}{counted['dsp']:6g}"
                share = counted["lut"] / (pe * simd)
                print(f"{row['family']:8}{bits:8}{own['kernel']:>8}{figures}{share:15.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", choices=[*PARTS, "both"], default="both", help="of the grid of layers")
    parser.add_argument(
        "--bundle", type=Path, action="append", default=[], help="count its layers too; again for more"
    )
    parser.add_argument(
        "--compare", action="store_true", help="show what matrix units of 2 and 3 bits take, of the table"
    )
    parser.add_argument("--jobs", type=int, help="layers counted at once; by default one for each core")
    parser.add_argument("--fit", action="store_true", help="fit hw/dataflow/costs.json to the table")
    parser.add_argument(
        "--errors", action="store_true", help="count nothing, show how far the model is from the table"
    )
    options = parser.parse_args()
    if not (options.errors or options.compare):
        grid = layers()
        rows = [
            row
            for family in PARTS
            if options.family in (family, "both")
            for row in measure(family, grid, "grid", options.jobs)
        ]
        for path in options.bundle:
            family, own = bundle_layers(path)
            rows += measure(family, own, path.stem, options.jobs)
        with atomic_file(TABLE) as temporary:
            temporary.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    rows = json.loads(TABLE.read_text())
    samples = [sample_of(row) for row in rows]
    if options.fit:
        document = json.loads(cost.TABLE.read_text())
        document["coefficients"].update(cost_fit.fit(samples))
        document["source"] = f"fitted by scripts/measure_kernels.py to {len(samples)} layers counted by Yosys"
        with atomic_file(cost.TABLE) as temporary:
            temporary.write_text(json.dumps(document, indent=1) + "\n")
        cost.fitted.cache_clear()
    if options.compare:
        compare(rows)
    else:
        show(samples)


if __name__ == "__main__":
    main()
