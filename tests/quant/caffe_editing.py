"""The Caffe SqueezeNets that mutations start from, and how to edit them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from fireflow.quant.networks.squeezenet import FireWidths, SqueezeNetSpec
from tests.quant.caffe_executor import Described
from tests.quant.weight_files import random_arrays

SIDE = 40
Rng = np.random.Generator
Mutation = Callable[[Described, Rng], None]
_PLAIN = SqueezeNetSpec(
    "1.1", num_classes=5, stem_channels=6, fires=(FireWidths(3, 3, 3),) * 8, input_size=SIDE
)
BASES = tuple(
    replace(_PLAIN, version=version, head_padding=int(version == "1.0"), bypass=bypass, stem_channels=stem)
    for version in ("1.0", "1.1")
    for bypass, stem in (("none", 6), ("simple", 8), ("complex", 8))
)  # type: ignore[arg-type]


@cache
def base(spec: SqueezeNetSpec) -> Described:
    """A network as Caffe's users have it: a data layer that says how pictures are scaled, ReLUs in place."""
    arrays = random_arrays(spec, 7)
    layers: list[Described] = [
        {
            "name": "data",
            "type": "Data",
            "bottom": [],
            "top": ["data", "label"],
            "transform": {
                "scale": 0.017,
                "mirror": 1,
                "crop_size": SIDE,
                "mean_value": [103.94, 116.78, 123.68],
            },
            "data": {"source": "train_lmdb", "batch_size": 32, "backend": 1},
        }
    ]

    def add(name: str, kind: str, bottom: list[str], **facts: Any) -> str:
        layers.append({"name": name, "type": kind, "bottom": bottom, "top": [name], **facts})
        return name

    def conv(ours: str, bottom: str, stride: int = 1, pad: int = 0) -> str:
        weight, bias = arrays[f"{ours}.weight"], arrays[f"{ours}.bias"]
        weight = weight * np.float32(2.2 / (0.3 * np.sqrt(weight[0].size)))
        geometry = {"num_output": len(weight), "pad": pad, "kernel_size": weight.shape[2], "stride": stride}
        name = add(
            ours.replace(".", "/"), "Convolution", [bottom], convolution=geometry, blobs=[weight, bias]
        )
        layers.append({"name": f"{name}/relu", "type": "ReLU", "bottom": [name], "top": [name]})
        return name

    pool = {"pool": 0, "kernel_size": 3, "stride": 2}
    current = conv("conv1", "data", stride=2)
    for number in range(2, 10):
        fire = f"fire{number}"
        if name := spec.pool_before(number):
            current = add(name, "Pooling", [current], pooling=dict(pool))
        squeeze = conv(f"{fire}.squeeze", current)
        branches = [conv(f"{fire}.expand1x1", squeeze), conv(f"{fire}.expand3x3", squeeze, pad=1)]
        out = add(f"{fire}/concat", "Concat", branches)
        if around := spec.bypass_of(number):
            out = add(
                f"{fire}/sum",
                "Eltwise",
                [out, conv(f"{fire}.bypass", current) if around == "conv" else current],
            )
        current = out
    layers.append({"name": "drop9", "type": "Dropout", "bottom": [current], "top": [current]})
    head = conv("conv10", current, pad=spec.head_padding)
    add("pool10", "Pooling", [head], pooling={"pool": 1, "global_pooling": 1})
    return {"layers": layers}


# --- what mutations need


def of_kind(network: Described, *kinds: str) -> list[Described]:
    return [layer for layer in network["layers"] if layer["type"] in kinds]


def pick(rng: Rng, items: Any) -> Any:
    return items[int(rng.integers(len(items)))]


def channels(network: Described, tensor: str) -> int:
    """How many channels a tensor of the unchanged network has."""
    if tensor == "data":
        return 3
    layer = next(la for la in network["layers"] if la["top"][:1] == [tensor])
    if layer["type"] == "Convolution":
        return len(layer["blobs"][0])
    return sum(channels(network, name) for name in layer["bottom"][: 2 if layer["type"] == "Concat" else 1])


def behind(network: Described, rng: Rng, kind: str, on: list[str] | None = None, **facts: Any) -> Described:
    """A new layer in place, behind a random layer."""
    places = [
        n
        for n, la in enumerate(network["layers"])
        if la["type"] != "Data" and (on is None or la["name"] in on)
    ]
    place = pick(rng, places)
    name = network["layers"][place]["top"][0]
    layer = {"name": f"new {kind}", "type": kind, "bottom": [name], "top": [name], **facts}
    network["layers"].insert(place + 1, layer)
    return layer


def apart(network: Described, layer: Described) -> None:
    """The layer out of place: readers after it read its own output."""
    old, new = layer["top"][0], f"{layer['top'][0]} after {layer['name']}"
    layer["top"] = [new]
    for reader in network["layers"][network["layers"].index(layer) + 1 :]:
        for names in (reader["bottom"], reader["top"]):
            names[:] = [new if name == old else name for name in names]
