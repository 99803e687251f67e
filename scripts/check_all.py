"""Every architecture at every preset: interpreter, fast simulator and FINN must agree on every integer.

    python scripts/check_all.py --images 3

Prints a table and exits with 1 if any integer differs. Weights are the pretrained ones of the data folder;
the bypass networks take those of 1.0, with random 1x1 bypass convolutions. The pictures are real ones.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fireflow.hw.compare import compare
from fireflow.hw.errors import InputError
from fireflow.hw.finn.convert import to_graph
from fireflow.hw.finn.execute import finn_trace, qonnx_trace, quantizer_scales
from fireflow.hw.finn.lowering import lower
from fireflow.hw.simulator import Simulator
from fireflow.quant.build import calibration_batches, float_network, to_quantized
from fireflow.quant.data import find_data_folder, open_images
from fireflow.quant.export import export
from fireflow.quant.finalize import finalize
from fireflow.quant.model_file import Model
from fireflow.quant.networks.squeezenet import SqueezeNet, SqueezeNetSpec
from fireflow.quant.networks.squeezenet.spec import ARCHITECTURES
from fireflow.quant.precision import PRESETS
from fireflow.quant.pretrained import load_weights

WEIGHTS = {"1.0": "squeezenet_v1_0.npz", "1.1": "squeezenet_v1_1.npz"}
IMAGES = "imagenet_sample1000_sq256q95.zip"
COLUMNS = (
    "architecture", "policy", "lowering s", "tensors", "integers", "FINN differs", "fast differs",
    "QONNX differs", "interpreter s", "FINN s",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table; what differs is counted in integers, times are in seconds."""

    lowering_s: float
    tensors: int
    integers: int
    finn_differs: int
    fast_differs: int
    qonnx_differs: int
    interpreter_s: float
    finn_s: float

    def cells(self) -> list[str]:
        """The row as text."""
        return [
            f"{self.lowering_s:.1f}",
            str(self.tensors),
            str(self.integers),
            str(self.finn_differs),
            str(self.fast_differs),
            str(self.qonnx_differs),
            f"{self.interpreter_s:.2f}",
            f"{self.finn_s:.2f}",
        ]


def float_model(name: str, data: Path) -> Model:
    """The float network of an architecture, with pretrained weights as far as there are any."""
    wanted = ARCHITECTURES[name]
    model = float_network(load_weights(data / WEIGHTS[wanted.version], "caffe"))
    if wanted.bypass == "none":
        return model
    torch.manual_seed(0)
    spec = model.network.spec
    assert isinstance(spec, SqueezeNetSpec)
    network = SqueezeNet(replace(spec, bypass=wanted.bypass))
    network.load_state_dict(model.network.state_dict(), strict=False)
    network.pixel_offset = model.network.pixel_offset
    return replace(model, network=network.eval())


def check(path: Path, images: NDArray[np.uint8]) -> Result:
    """Lowers a QONNX file and runs it in every way.

    Args:
        images: uint8 (N, H, W, 3).
    """
    started = time.perf_counter()
    lowered = lower(path)
    lowering_s = time.perf_counter() - started
    graph = to_graph(lowered)
    started = time.perf_counter()
    expected = graph.trace(images)
    interpreter_s = (time.perf_counter() - started) / len(images)
    started = time.perf_counter()
    by_finn = finn_trace(lowered, images)
    finn_s = (time.perf_counter() - started) / len(images)
    finn_table = compare({"interpreter": expected, "FINN": by_finn}, "interpreter")
    simulator = Simulator(graph)
    fast = {**simulator.trace(images), graph.output_name: simulator.run(images)}
    fast_table = compare(
        {"interpreter": {name: expected[name] for name in fast}, "fast": fast}, "interpreter"
    )
    for table in (finn_table, fast_table):
        if table.first is not None:
            print(f"{path.name}: {table.first}", file=sys.stderr)
    missing = set(expected) ^ set(by_finn)
    assert not missing, f"tensors of one side only: {missing}"
    floats = qonnx_trace(path, images)
    scales = quantizer_scales(path)
    rounded = {name: np.round(floats[name].astype(np.float64) / scale) for name, scale in scales.items()}
    qonnx_differs = sum(int(np.count_nonzero(rounded[name] != expected[name])) for name in rounded)
    return Result(
        lowering_s,
        len(expected),
        sum(tensor.size for tensor in expected.values()),
        finn_table.differing,
        fast_table.differing,
        qonnx_differs,
        interpreter_s,
        finn_s,
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of weights and images (default: as in the tests)")
    parser.add_argument("--images", type=int, default=2, metavar="N", help="real images for each network")
    parser.add_argument("--calibration-images", type=int, default=32, metavar="N")
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES))
    parser.add_argument("--policies", nargs="+", choices=PRESETS, default=list(PRESETS))
    args = parser.parse_args()
    data = args.data or find_data_folder()
    if data is None:
        raise InputError(
            "data: must be a folder with weights and images, and there is none; set FIREFLOW_DATA"
        )
    pictures = open_images(data / IMAGES)

    def row(cells: list[str]) -> None:
        widths = (28, 6, *(max(10, len(title)) for title in COLUMNS[2:]))
        print("  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)), flush=True)

    row(list(COLUMNS))
    differs = 0
    for name in args.architectures:
        model = float_model(name, data)
        batches = calibration_batches(pictures, model.preprocessing, args.calibration_images)
        images = np.stack([model.preprocessing.prepare(pictures[7 * n]) for n in range(args.images)])
        for policy in args.policies:
            network = finalize(to_quantized(model, PRESETS[policy], batches))
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch) / f"{name}_{policy}.qonnx.onnx"
                export(network, path)
                result = check(path, images)
            differs += result.finn_differs + result.fast_differs
            row([name, policy, *result.cells()])
    print(f"integers that differ: {differs}")
    return int(differs > 0)


if __name__ == "__main__":
    sys.exit(main())
