"""Builds the shipped networks for a board each and compares their RTL with the integers, on photos.

`make rtl` runs it. Every layer is simulated on its own under random stalls, and the whole accelerator with two photos
one behind the other, which gives its cycles per frame.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from skimage.data import data_dir

import fireflow

CASES = (
    ("squeezenet1_1-w4a4-imagenette", "PYNQ-Z2"),
    ("squeezenet1_1-w4a4-imagenet", "Ultra96-V2"),
    ("squeezenet1_1-w4a4s6-imagenet", "Ultra96-V2"),
)
PHOTOS = ("chelsea.png", "coffee.png")


def check(name: str, board: str, photos: Path, folder: Path) -> bool:
    """Builds a network into `folder`, verifies its RTL on the photos and writes the report; whether nothing differs."""
    bundle = fireflow.load_bundle(name)
    plan = fireflow.plan(bundle, board=board)
    print(f"{name} on {board}: {plan.fps:.1f} frames a second, {plan.interval} cycles a frame", flush=True)
    fireflow.build(bundle, plan, folder, force=True)
    found = fireflow.verify_rtl(fireflow.Bundle.load(folder), images=photos, count=len(PHOTOS))
    found.bundle.save_again()
    print(found.render(), fireflow.report(found.bundle), sep="\n", flush=True)
    return found.passed


def main() -> int:
    """Returns 0 if nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/rtl"), help="folder for bundles and reports")
    parser.add_argument("--only", choices=[name for name, _board in CASES], help="one of the networks")
    args = parser.parse_args()
    photos = args.out / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for name in PHOTOS:
        (photos / name).write_bytes((Path(data_dir) / name).read_bytes())
    good = True
    for name, board in CASES:
        if args.only not in (None, name):
            continue
        start = time.monotonic()
        good = check(name, board, photos, args.out / f"{name}.fire") and good
        print(f"{name} on {board}: {time.monotonic() - start:.0f} s", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
