"""A tiny SqueezeNet and pictures for it: 48x48 pixels, 4 classes, random weights."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fireflow.hw.preprocessing import Preprocessing
from fireflow.quant.networks.squeezenet import FireWidths, SqueezeNet, SqueezeNetSpec
from fireflow.quant.pretrained import FloatWeights
from tests.quant.weight_files import save_npz

SPEC = SqueezeNetSpec("1.1", num_classes=4, input_size=48, stem_channels=8, fires=(FireWidths(4, 4, 4),) * 8)
RECORD = Preprocessing(size=48, resize=54, mean=(120.0, 110.0, 100.0), std=(60.0, 60.0, 60.0))


def write_weights(path: Path, **changes: Any) -> Path:
    """A float weight file; `changes` are functions of an array, by tensor name with "_" for "."."""
    random = np.random.default_rng(0)
    arrays = {}
    for name, tensor in SqueezeNet(SPEC).state_dict().items():
        fan_in = max(1, int(np.prod(tensor.shape[1:])))
        values = random.normal(0.05, 1.4 / fan_in**0.5, tuple(tensor.shape)).astype(np.float32)
        change: Callable[[Any], Any] = changes.get(name.replace(".", "_"), lambda array: array)
        arrays[name] = change(values)
    save_npz(FloatWeights(arrays, "npz", RECORD, SPEC), path)
    return path


def write_pictures(folder: Path, count: int, seed: int = 0, labelled: bool = True) -> Path:
    """A folder of PNG files with blocks of colour, in four classes."""
    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(count):
        blocks = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(blocks.repeat(10, axis=0).repeat(10, axis=1)).save(folder / f"images/{number}.png")
        rows.append((f"{number}.png", number % 4, f"n{number % 4:08d}", f"class {number % 4}"))
    if labelled:
        with open(folder / "labels.csv", "w", newline="") as file:
            csv.writer(file).writerows([("filename", "class_index", "wnid", "class_name"), *rows])
    return folder
