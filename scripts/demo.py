"""From a shipped 4-bit network to the classes of two photos, every step checked: `make demo`.

The photos come with scikit-image. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skimage.data import data_dir

import fireflow

MODEL = "squeezenet1_1-w4a4-imagenet"
PHOTOS = ("chelsea.png", "coffee.png")


@contextmanager
def step(text: str) -> Iterator[None]:
    """Says what is done, and then how long it took."""
    print(f"\n>>> fireflow.{text}", flush=True)
    started = time.perf_counter()
    yield
    print(f"({time.perf_counter() - started:.1f} s)", flush=True)


def main() -> int:
    """Returns 0 if no stage differs from another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="folder for what is written")
    parser.add_argument(
        "--model", default=MODEL, help="a .fireq file; by default the shipped 1000-class w4a4 network"
    )
    args = parser.parse_args()
    warnings.filterwarnings("ignore")  # Brevitas and FINN use interfaces that torch and onnx call old
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # CUDA is not needed here
    name = Path(args.model).name.removesuffix(".fireq")
    qonnx, folder = args.out / f"{name}.qonnx.onnx", args.out / f"{name}.fire"
    args.out.mkdir(parents=True, exist_ok=True)
    photos = [Path(shutil.copy(Path(data_dir) / photo, args.out)) for photo in PHOTOS]
    with step(f'export("{args.model}", "{qonnx}")'):
        exported = fireflow.export(args.model, qonnx, images=photos[0])
        print(f"{exported.golden}: {exported.images} images, {len(exported.tensors)} tensors")
    with step(f'lower("{qonnx}").save("{folder}")'):
        bundle = fireflow.lower(qonnx, images=photos[0])
        bundle.save(folder)
        print(f"{folder}: {len(bundle.graph.nodes)} operations, {bundle.graph.output_type.shape[-1]} classes")
    with step(f"simulate(bundle, {[str(photo) for photo in photos]})"):
        for one in fireflow.simulate(bundle, photos).pictures:
            print(one.picture)
            for guess in one.top:
                print(f"  {guess.index:4}  {guess.score:7.3f}  {guess.label}")
    with step(f'verify("{args.model}")'):
        found = fireflow.verify(args.model, images=photos[0], count=1)
        print(found.render())
    return 0 if found.passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
