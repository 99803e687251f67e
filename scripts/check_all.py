"""Every architecture at every preset: interpreter, fast simulator and FINN must agree on every integer.

    python scripts/check_all.py --images 3

Prints a table and exits with 1 if any integer differs. Weights are the pretrained ones of the data folder;
the bypass networks take those of 1.0, with random 1x1 bypass convolutions. The pictures are real ones.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import fireflow
from fireflow.quant.data import find_data_folder
from fireflow.quant.networks.squeezenet import SqueezeNet, SqueezeNetSpec
from fireflow.quant.networks.squeezenet.spec import ARCHITECTURES
from fireflow.quant.precision import PRESETS

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

    @property
    def differs(self) -> int:
        """Integers that differ, of all stages."""
        return self.finn_differs + self.fast_differs + self.qonnx_differs

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


def float_model(name: str, data: Path) -> fireflow.Model:
    """The float network of an architecture, with pretrained weights as far as there are any."""
    wanted = ARCHITECTURES[name]
    model = fireflow.load_network(data / WEIGHTS[wanted.version], preprocessing="caffe")
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
    found = fireflow.verify(path, images=images, count=len(images))
    table, seconds = found.table, found.seconds
    if table.first is not None:
        print(f"{path.name}: {table.first}", file=sys.stderr)
    both = [table.stages.index(stage) for stage in ("interpreter", "FINN")]
    missing = [row.tensor for row in table.rows if None in (row.differing[stage] for stage in both)]
    assert not missing, f"tensors of one side only: {missing}"
    return Result(
        seconds["lowering"],
        len(table.rows),
        table.integers,
        table.differing_of("FINN"),
        table.differing_of("simulator"),
        table.differing_of("QONNX"),
        seconds["interpreter"] / found.images,
        seconds["FINN"] / found.images,
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
        raise fireflow.InputError(
            "data: must be a folder with weights and images, and there is none; set FIREFLOW_DATA"
        )
    pictures = fireflow.open_images(data / IMAGES)

    def row(cells: list[str]) -> None:
        widths = (28, 6, *(max(10, len(title)) for title in COLUMNS[2:]))
        print("  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)), flush=True)

    row(list(COLUMNS))
    differs = 0
    for name in args.architectures:
        model = float_model(name, data)
        images = np.stack([model.preprocessing.prepare(pictures[7 * n]) for n in range(args.images)])
        for policy in args.policies:
            quantized = fireflow.quantize(
                model, pictures, policy=policy, calibration_images=args.calibration_images
            )
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch) / f"{name}_{policy}.qonnx.onnx"
                fireflow.export(quantized, path)
                result = check(path, images)
            differs += result.differs
            row([name, policy, *result.cells()])
    print(f"integers that differ: {differs}")
    return int(differs > 0)


if __name__ == "__main__":
    sys.exit(main())
