"""Changes of how a Caffe SqueezeNet is connected, how it begins and ends, and how it is written down."""

from __future__ import annotations

import copy

from tests.quant.caffe_editing import (
    SIDE,
    Rng,
    apart,
    behind,
    of_kind,
    pick,
)
from tests.quant.caffe_executor import TEST, TRAIN, Described
from tests.quant.weight_files import field

# --- connections


def rewired(network: Described, rng: Rng) -> None:
    """An input reads another tensor, from further up."""
    layers = [la for la in network["layers"] if la["type"] not in ("Data", "ReLU", "Dropout")]
    layer = pick(rng, layers[2:])
    earlier = [la["top"][0] for la in layers[: layers.index(layer)]]
    layer["bottom"][int(rng.integers(len(layer["bottom"])))] = pick(rng, earlier[-6:])


def relu_elsewhere(network: Described, rng: Rng) -> None:
    """A ReLU in place on another tensor, or at another time."""
    relu = pick(rng, of_kind(network, "ReLU"))
    if rng.random() < 0.5:
        name = pick(rng, of_kind(network, "Convolution", "Pooling", "Concat"))["top"][0]
        relu["bottom"], relu["top"] = [name], [name]
    else:
        network["layers"].remove(relu)
        network["layers"].insert(int(rng.integers(2, len(network["layers"]))), relu)


def weights_swapped(network: Described, rng: Rng) -> None:
    kind = pick(rng, ["squeeze", "expand1x1", "expand3x3"])
    alike = [la for la in of_kind(network, "Convolution") if la["name"].endswith(kind)][1:]
    one, other = pick(rng, alike), pick(rng, alike)
    one["blobs"], other["blobs"] = other["blobs"], one["blobs"]


def order_changed(network: Described, rng: Rng) -> None:
    """Two layers next to each other, exchanged."""
    place = int(rng.integers(1, len(network["layers"]) - 1))
    layers = network["layers"]
    layers[place], layers[place + 1] = layers[place + 1], layers[place]


def two_networks(network: Described, rng: Rng) -> None:
    """A layer that nothing reads, or an output more."""
    tensor = pick(rng, of_kind(network, "Concat", "Convolution", "Pooling"))["top"][0]
    kind = pick(rng, ["ReLU", "Silence", "Sigmoid", "Dropout"])
    top = [] if kind == "Silence" else ["to nowhere"]
    network["layers"].append({"name": "more", "type": kind, "bottom": [tensor], "top": top})


def named_as_the_label(network: Described, rng: Rng) -> None:
    """A tensor of the picture called as the label is."""
    layer = pick(rng, of_kind(network, "Convolution", "Concat"))
    old = layer["top"][0]
    if rng.random() < 0.5:
        network["layers"][0]["top"] = ["data"]
    for other in network["layers"][1:]:
        for names in (other["bottom"], other["top"]):
            names[:] = ["label" if name == old else name for name in names]


# --- phases


def phase(network: Described, rng: Rng) -> None:
    """A layer that is there in one phase or stage only."""
    layer = pick(rng, network["layers"][1:])
    rule: Described = pick(
        rng, [{"phase": TRAIN}, {"phase": TEST}, {"stage": "deploy"}, {"min_level": 1}, {"max_level": 0}]
    )
    layer[pick(rng, ["include", "exclude"])] = [rule]


def two_data_layers(network: Described, rng: Rng) -> None:
    """For training and for tests, with other scales."""
    first = network["layers"][0]
    second = copy.deepcopy(first)
    second["transform"]["scale"] = 0.5
    first["include"], second["include"] = [{"phase": TRAIN}], [{"phase": TEST}]
    if rng.random() < 0.3:
        del second["include"]
    network["layers"].insert(int(rng.integers(2)), second)


# --- the ends


def transform(network: Described, rng: Rng) -> None:
    changes: list[Described] = [
        {"scale": 0.00390625, "crop_size": SIDE}, {"mean_value": [120.0], "crop_size": SIDE}, {"crop_size": SIDE},
        {"mean_value": [1.0, 2.0, 3.0], "crop_size": SIDE + 8}, {"mean_value": [1.0, 2.0], "crop_size": SIDE}, {},
        {"mirror": 1}, {"force_gray": 1, "crop_size": SIDE}, {"force_color": 1, "crop_size": SIDE}, {"unknown": 3},
        {"mean_file": "mean.binaryproto", "crop_size": SIDE}, {"scale": -1.0, "crop_size": SIDE}, {"scale": 0.017},
    ]  # fmt: skip
    network["layers"][0]["transform"] = pick(rng, changes)


def old_transform(network: Described, rng: Rng) -> None:
    """As V1 had it, in the parameters of the data layer."""
    del network["layers"][0]["transform"]
    network["layers"][0]["data"] |= pick(
        rng, [{"scale": 0.02}, {"mean_file": "mean"}, {"scale": 0.5, "mirror": 1}]
    )
    network["layers"][0]["data"]["crop_size"] = SIDE


def other_input(network: Described, rng: Rng) -> None:
    shape = [
        int(n)
        for n in pick(rng, [[10, 3, SIDE, SIDE], [1, 3, SIDE, SIDE], [1, 3, SIDE, 48], [1, 1, SIDE, SIDE]])
    ]
    change = int(rng.integers(4))
    if change == 0:
        network["layers"][0] = {
            "name": "data",
            "type": "Input",
            "bottom": [],
            "top": ["data"],
            "input": {"shape": shape},
        }
    elif change == 3:
        memory = dict(zip(("batch_size", "channels", "height", "width"), shape, strict=True))
        network["layers"][0] = {**network["layers"][0], "type": "MemoryData", "memory_data": memory}
        del network["layers"][0]["transform"], network["layers"][0]["data"]
    else:
        del network["layers"][0]
        network["input"] = ["data"]
        network["input_dim" if change == 1 else "input_shape"] = shape if change == 1 else [shape]


def measured(network: Described, rng: Rng) -> None:
    """Loss and accuracy behind the scores, through splits as in a snapshot."""
    change = int(rng.integers(3))
    network["layers"].insert(
        1, {"name": "label split", "type": "Split", "bottom": ["label"], "top": ["label 0", "label 1"]}
    )
    if change:
        split = {"name": "split", "type": "Split", "bottom": ["pool10"], "top": ["scores 0", "scores 1"]}
        network["layers"].append(split)
    bottoms = ["scores 0", "scores 1"] if change else ["pool10", "pool10"]
    if change == 2:
        network["layers"].append({"name": "prob", "type": "Softmax", "bottom": [bottoms[0]], "top": ["prob"]})
        bottoms[0] = "prob"
    network["layers"] += [
        {"name": "accuracy", "type": "Accuracy", "bottom": [bottoms[0], "label 0"], "top": ["accuracy"]},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": [bottoms[1], "label 1"], "top": ["loss"]},
    ]


def softmax_at_the_end(network: Described, rng: Rng) -> None:
    layer = behind(network, rng, "Softmax", pick(rng, [["pool10"], ["pool10"], ["conv10"], ["conv10/relu"]]))
    if rng.random() < 0.5:
        layer["softmax"] = {"axis": pick(rng, [1, -1, 2, 0, -3])}
    if rng.random() < 0.5:
        apart(network, layer)


# --- how it is written down


def written_otherwise(network: Described, rng: Rng) -> None:
    """Names, fields and versions; see the test for V1 and old blobs."""
    change = int(rng.integers(5))
    if change == 0:
        pick(rng, network["layers"][1:])["unknown"] = 1
    elif change == 1:
        network["extra"] = field(2, field(4, "another") + field(5, 18))
    elif change == 2:
        for layer in network["layers"]:
            layer["name"] = "alike"
    elif change == 3:
        for layer in network["layers"]:
            layer["name"] = f"\x1b[31m{layer['name']}\n"
    else:
        for layer in network["layers"]:
            layer["phase"] = TRAIN


def as_it_is(network: Described, rng: Rng) -> None:
    """Nothing changed."""
