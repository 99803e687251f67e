"""From a shipped 4-bit network to the classes of two photos, each step as its command: `make demo`.

The photos come with scikit-image. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from skimage.data import data_dir

from fireflow.hw.files import stem_of
from fireflow.pipeline.inputs import default_model

PHOTOS = ("chelsea.png", "coffee.png")


def main() -> int:
    """Runs the commands; stops at the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="folder for what is written")
    parser.add_argument(
        "--model", type=Path, help="a .fireq file; by default the shipped 1000-class w4a4 network"
    )
    args = parser.parse_args()
    model = args.model or default_model()
    name = stem_of(model)
    qonnx, bundle = args.out / f"{name}.qonnx.onnx", args.out / f"{name}.fire"
    args.out.mkdir(parents=True, exist_ok=True)
    photos = [str(shutil.copy(Path(data_dir) / photo, args.out)) for photo in PHOTOS]
    steps = [
        ["export", str(model), "-o", str(qonnx), "--images", photos[0]],
        ["lower", str(qonnx), "-o", str(bundle), "--images", photos[0]],
        ["simulate", str(bundle), *photos],
        ["verify", str(model), "--images", photos[0], "--count", "1"],
    ]
    for step in steps:
        print(f"\n$ fireflow {' '.join(step)}", flush=True)
        started = time.perf_counter()
        status = subprocess.run([sys.executable, "-m", "fireflow", *step], check=False).returncode
        if status != 0:
            return status
        if step[0] in ("export", "lower"):
            print(f"({time.perf_counter() - started:.1f} s)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
