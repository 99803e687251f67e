"""Writes two small networks as bundles, to be built into bitstreams in minutes: a Fire module, and a narrow SqueezeNet.

Their weights are random and their thresholds of a realistic size; their golden images are photos.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.data import data_dir

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the networks of the tests are

from fireflow import Bundle, Golden, Graph, Manifest, Preprocessing
from tests.hw.networks import squeezenet

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png")


def networks() -> dict[str, Graph]:
    """By name: conv1, one Fire module and a classifier; all of SqueezeNet 1.1, a quarter as wide."""
    return {
        "fire": squeezenet(size=32, classes=10, narrow=2, stages=(((32, 128),),), seed=6),
        "narrow": squeezenet(size=48, classes=16, narrow=4, seed=6),
    }


def photos(size: int) -> np.ndarray:
    """uint8 (3, size, size, 3)."""
    opened = (Image.open(Path(data_dir) / name).convert("RGB") for name in PHOTOS)
    return np.stack([np.asarray(photo.resize((size, size))) for photo in opened])


def bundle(graph: Graph) -> Bundle:
    """A network with photos as its golden images."""
    size = graph.input_type.shape[0]
    record = Preprocessing(size=size, resize=size)
    manifest = Manifest(record, card={"weights": "random"})
    return Bundle(graph, manifest, Golden.record(graph, photos(size)))


def main() -> int:
    """Returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/small"), help="folder for the bundles")
    args = parser.parse_args()
    for name, graph in networks().items():
        path = args.out / f"{name}.fire"
        bundle(graph).save(path)
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
