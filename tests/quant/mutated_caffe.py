"""Caffe SqueezeNets with one thing changed each: a parameter, a layer, a connection, or how it is written down."""

from __future__ import annotations

import copy

import numpy as np

from tests.quant.caffe_editing import (
    BASES,
    Mutation,
    Rng,
    apart,
    base,
    behind,
    channels,
    of_kind,
    pick,
)
from tests.quant.caffe_executor import Described
from tests.quant.mutated_caffe_form import (
    as_it_is,
    measured,
    named_as_the_label,
    old_transform,
    order_changed,
    other_input,
    phase,
    relu_elsewhere,
    rewired,
    softmax_at_the_end,
    transform,
    two_data_layers,
    two_networks,
    weights_swapped,
    written_otherwise,
)


def mutated(seed: int) -> tuple[str, Described]:
    """A network with one change, and the name of that change."""
    rng = np.random.default_rng([19, seed])
    network = copy.deepcopy(base(BASES[seed % len(BASES)]))
    mutation = MUTATIONS[(seed // len(BASES)) % len(MUTATIONS)]
    mutation(network, rng)
    return mutation.__name__, network


# --- activations


def no_relu(network: Described, rng: Rng) -> None:
    network["layers"].remove(pick(rng, of_kind(network, "ReLU")))


def no_relu_at_all(network: Described, rng: Rng) -> None:
    ending = pick(
        rng, ["squeeze/relu", "expand1x1/relu", "expand3x3/relu", "conv1/relu", "conv10/relu", "bypass/relu"]
    )
    network["layers"] = [la for la in network["layers"] if not la["name"].endswith(ending)]


def relu_parameter(network: Described, rng: Rng) -> None:
    choices = [
        ("negative_slope", 0.1),
        ("negative_slope", 0.0),
        ("negative_slope", 1.0),
        ("engine", 2),
        ("unknown", 6),
    ]
    name, value = pick(rng, choices)
    pick(rng, of_kind(network, "ReLU"))["relu"] = {name: value}


def other_activation(network: Described, rng: Rng) -> None:
    kinds = [
        "Sigmoid",
        "TanH",
        "AbsVal",
        "BNLL",
        "ELU",
        "PReLU",
        "ReLU6",
        "Power",
        "Dropout",
        "Exp",
        "Swish",
        "Clip",
    ]
    pick(rng, of_kind(network, "ReLU"))["type"] = pick(rng, kinds)


def relu_again(network: Described, rng: Rng) -> None:
    behind(network, rng, "ReLU")


def relu_apart(network: Described, rng: Rng) -> None:
    """Not in place: the same function."""
    apart(network, pick(rng, of_kind(network, "ReLU", "Dropout")))


def relu_behind_concat(network: Described, rng: Rng) -> None:
    """One ReLU behind a concat in place of those before it: the same function."""
    concat = pick(rng, of_kind(network, "Concat"))
    for name in concat["bottom"][: int(rng.integers(1, 3))]:
        network["layers"] = [la for la in network["layers"] if la["name"] != f"{name}/relu"]
    behind(network, rng, "ReLU", [concat["name"]])


def relu_behind_pool(network: Described, rng: Rng) -> None:
    network["layers"] = [la for la in network["layers"] if la["name"] != "conv1/relu"]
    behind(network, rng, "ReLU", ["pool1"])


# --- pools and averages


def pool_parameter(network: Described, rng: Rng) -> None:
    pool = pick(rng, of_kind(network, "Pooling")[:-1])["pooling"]
    changes: list[Described] = [
        {"pool": 1}, {"pool": 2}, {"kernel_size": 2}, {"kernel_size": 5}, {"stride": 1}, {"stride": 3},
        {"engine": 1}, {"unknown": 1}, {"global_pooling": 1}, {"pad_h": 1}, {"pad_h": 1, "pad_w": 1},
        {"pad_h": 0, "pad_w": 1}, {"stride_h": 2, "stride_w": 2}, {"round_mode": 2}, {"kernel_h": 3, "kernel_w": 3},
    ]  # fmt: skip
    pool.update(pick(rng, changes))


def pool_sides(network: Described, rng: Rng) -> None:
    """Kernel and stride by axis."""
    pool = pick(rng, of_kind(network, "Pooling")[:-1])["pooling"]
    del pool["kernel_size"], pool["stride"]
    pool.update(
        {"kernel_h": 3, "kernel_w": pick(rng, [3, 3, 2]), "stride_h": 2, "stride_w": pick(rng, [2, 2, 1])}
    )


def pool_border(network: Described, rng: Rng) -> None:
    """Padding from 0 to 2 and both roundings, at one pool or all of them."""
    pools = of_kind(network, "Pooling")[:-1]
    pad, rounding = int(rng.integers(3)), int(rng.integers(2))
    for layer in pools if rng.random() < 0.5 else [pick(rng, pools)]:
        layer["pooling"] |= {"pad": pad, "round_mode": rounding}


def no_pool(network: Described, rng: Rng) -> None:
    layer = pick(rng, of_kind(network, "Pooling")[:-1])
    network["layers"].remove(layer)
    for reader in network["layers"]:
        reader["bottom"] = [
            layer["bottom"][0] if name == layer["top"][0] else name for name in reader["bottom"]
        ]


def pool_more(network: Described, rng: Rng) -> None:
    stride = pick(rng, [1, 2])
    facts = {"pooling": {"pool": pick(rng, [0, 1]), "kernel_size": 3, "stride": stride, "pad": 1}}
    apart(network, behind(network, rng, "Pooling", **facts))


def average_otherwise(network: Described, rng: Rng) -> None:
    changes: list[Described] = [
        {"pool": 0, "global_pooling": 1}, {"pool": 2, "global_pooling": 1}, {"pool": 1, "kernel_size": 1},
        {"pool": 1, "kernel_size": 2}, {"pool": 1, "kernel_size": 4}, {"pool": 1, "kernel_size": 2, "pad": 1},
        {"pool": 1, "global_pooling": 1, "kernel_size": 2}, {"pool": 1, "global_pooling": 1, "stride": 2},
        {"pool": 1, "global_pooling": 0}, {"pool": 1, "kernel_size": 4, "stride": 2}, {"pool": 0, "kernel_size": 2},
        {"pool": 1, "global_pooling": 1, "round_mode": 1}, {"pool": 1, "kernel_h": 2, "kernel_w": 2},
    ]  # fmt: skip
    of_kind(network, "Pooling")[-1]["pooling"] = pick(rng, changes)


# --- joins and convolutions


def concat_otherwise(network: Described, rng: Rng) -> None:
    layer, change = pick(rng, of_kind(network, "Concat")), int(rng.integers(6))
    if change < 2:
        layer["concat"] = {pick(rng, ["axis", "concat_dim"]): pick(rng, [0, 1, 1, 2, 3])}
    elif change == 2:
        layer["bottom"].reverse()
    elif change == 3:
        layer["bottom"][1] = layer["bottom"][0]
    elif change == 4:
        layer["bottom"].append(layer["bottom"][0])
    else:
        layer["concat"] = {"axis": pick(rng, [-3, -1]), **pick(rng, [{}, {"concat_dim": 1}])}


def sum_otherwise(network: Described, rng: Rng) -> None:
    sums = of_kind(network, "Eltwise")
    if not sums:
        return concat_otherwise(network, rng)
    changes: list[Described] = [
        {"operation": 0}, {"operation": 1}, {"operation": 2}, {"coeff": [1.0, -1.0]}, {"coeff": [1.0, 1.0]},
        {"coeff": [0.5, 0.5]}, {"stable_prod_grad": 0}, {"operation": 3}, {"coeff": [1.0]},
    ]  # fmt: skip
    layer = pick(rng, sums)
    layer["eltwise"] = pick(rng, changes)
    if rng.random() < 0.2:
        layer["bottom"].reverse()
    return None


def conv_parameter(network: Described, rng: Rng) -> None:
    param = pick(rng, of_kind(network, "Convolution"))["convolution"]
    changes: list[Described] = [
        {"pad": 1}, {"pad": 0}, {"pad": [1, 0]}, {"pad": [0, 0]}, {"pad": 2}, {"stride": 2}, {"stride": 1},
        {"stride": [2, 1]}, {"dilation": 2}, {"dilation": 1}, {"dilation": [1, 2]}, {"group": 3}, {"group": 1},
        {"axis": 1}, {"axis": 2}, {"num_output": 4}, {"kernel_size": 3}, {"kernel_size": [1, 1]}, {"engine": 2},
        {"force_nd_im2col": 1}, {"bias_term": 0}, {"bias_term": 1}, {"unknown": 1}, {"pad_h": 1, "pad_w": 1},
    ]  # fmt: skip
    param.update(pick(rng, changes))


def conv_sides(network: Described, rng: Rng) -> None:
    """Padding and stride by axis, often as they were."""
    param = pick(rng, of_kind(network, "Convolution"))["convolution"]
    pad, stride, kernel = param.pop("pad"), param.pop("stride"), param.pop("kernel_size")
    param.update({"pad_h": pad, "pad_w": pad, "stride_h": stride, "stride_w": stride})
    param.update({"kernel_h": kernel, "kernel_w": kernel})
    if rng.random() < 0.5:
        param[pick(rng, ["pad_h", "pad_w", "stride_h", "stride_w", "kernel_w"])] += 1


def no_bias(network: Described, rng: Rng) -> None:
    layer = pick(rng, of_kind(network, "Convolution"))
    bias = layer["blobs"].pop()
    if rng.random() < 0.8:
        layer["convolution"]["bias_term"] = 0
    if rng.random() < 0.4:
        behind(network, rng, "Bias", [layer["name"]], blobs=[bias])


def grouped(network: Described, rng: Rng) -> None:
    layer = pick(rng, [la for la in of_kind(network, "Convolution") if "expand" in la["name"]])
    layer["blobs"][0] = layer["blobs"][0][:, :1]
    layer["convolution"]["group"] = 3


def weights_changed(network: Described, rng: Rng) -> None:
    layer, which = pick(rng, of_kind(network, "Convolution")), int(rng.integers(2))
    layer["blobs"][which] = pick(
        rng, [layer["blobs"][which] * np.float32(1.5), np.flip(layer["blobs"][which], -1)]
    )


def blob_shape(network: Described, rng: Rng) -> None:
    layer, change = pick(rng, of_kind(network, "Convolution")), int(rng.integers(3))
    weight, bias = layer["blobs"]
    if change == 0:
        layer["blobs"] = [weight.reshape(weight.shape[1], weight.shape[0], *weight.shape[2:]), bias]
    elif change == 1:
        layer["blobs"] = [weight, bias, bias]
    else:
        layer["blobs"] = [weight[:-1], bias]


# --- layers in between


def batch_norm(network: Described, rng: Rng) -> None:
    """BatchNorm, or with a Scale as trained, mostly between a convolution and its ReLU."""
    convs = [la["name"] for la in of_kind(network, "Convolution")]
    on = convs if rng.random() < 0.8 else None
    place = behind(network, rng, "BatchNorm", on)
    count = channels(network, place["bottom"][0])
    factor = pick(rng, [1.0, 999.98, 0.0])
    place["blobs"] = [rng.normal(0, 1, count) * factor, rng.uniform(0.5, 2, count) * max(factor, 1), [factor]]
    place["blobs"] = [np.asarray(blob, np.float32) for blob in place["blobs"]]
    if rng.random() < 0.5:
        place["batch_norm"] = pick(rng, [{"use_global_stats": 1}, {"use_global_stats": 0}, {"eps": 0.1}])
    if rng.random() < 0.6:
        scale = {**place, "name": "new scale", "type": "Scale", "scale": {"bias_term": 1}}
        scale["blobs"] = [rng.uniform(0.5, 1.5, count).astype(np.float32) for _ in range(2)]
        scale.pop("batch_norm", None)
        network["layers"].insert(network["layers"].index(place) + 1, scale)


def scaling(network: Described, rng: Rng) -> None:
    kind = pick(rng, ["Scale", "Bias", "Power"])
    convs = [la["name"] for la in of_kind(network, "Convolution")]
    layer = behind(network, rng, kind, convs if rng.random() < 0.7 else None)
    count = channels(network, layer["bottom"][0])
    if kind == "Power":
        layer["power"] = {pick(rng, ["power", "scale", "shift"]): pick(rng, [1.0, 0.5, 2.0])}
        return
    layer["blobs"] = [rng.uniform(0.5, 1.5, count).astype(np.float32)]
    if rng.random() < 0.3:
        layer[kind.lower()] = pick(rng, [{"axis": 2}, {"axis": 1}, {"num_axes": 2}, {"axis": -3}])


def harmless(network: Described, rng: Rng) -> None:
    kind = pick(rng, ["Dropout", "Split"])
    layer = behind(network, rng, kind, **({"dropout": {"dropout_ratio": 0.9}} if kind == "Dropout" else {}))
    if kind == "Split" or rng.random() < 0.5:
        apart(network, layer)


def splits(network: Described, rng: Rng) -> None:
    """As Caffe's own snapshots have them: each reader of a tensor gets a name of its own."""
    for name in {la["top"][0] for la in of_kind(network, "ReLU", "Concat", "Pooling")}:
        readers = [la for la in network["layers"] if name in la["bottom"] and name not in la["top"]]
        if len(readers) < 2 or rng.random() < 0.3:
            continue
        last = max(n for n, la in enumerate(network["layers"]) if name in la["top"])
        names = [f"{name}_split_{n}" for n in range(len(readers))]
        for new, reader in zip(names, readers, strict=True):
            reader["bottom"] = [new if old == name else old for old in reader["bottom"]]
        split = {"name": f"{name}_split", "type": "Split", "bottom": [name], "top": names}
        network["layers"].insert(last + 1, split)


def anything_between(network: Described, rng: Rng) -> None:
    kinds = [
        "LRN",
        "MVN",
        "Softmax",
        "Exp",
        "Log",
        "Tile",
        "Slice",
        "Deconvolution",
        "InnerProduct",
        "Sigmoid",
        "TanH",
    ]
    layer = behind(network, rng, pick(rng, kinds))
    if rng.random() < 0.5:
        apart(network, layer)


def reshaped(network: Described, rng: Rng) -> None:
    """Flatten or Reshape, mostly behind the average."""
    on = ["pool10"] if rng.random() < 0.8 else None
    if rng.random() < 0.4:
        fields = pick(
            rng, [{}, {"axis": 1}, {"axis": 0}, {"axis": 2}, {"end_axis": 2}, {"axis": -3, "end_axis": 3}]
        )
        layer = behind(network, rng, "Flatten", on, flatten=fields)
    else:
        shape = pick(
            rng, [[0, -1], [-1, 5], [0, 5], [-1, 1], [5, -1], [0, 0], [0, -1, 1, 1], [-1, 0], [1, 5], [5]]
        )
        layer = behind(
            network, rng, "Reshape", on, reshape={"shape": shape, **pick(rng, [{}, {}, {"axis": 1}])}
        )
    apart(network, layer)


MUTATIONS: tuple[Mutation, ...] = (
    no_relu, no_relu_at_all, relu_parameter, other_activation, relu_again, relu_apart, relu_behind_concat,
    relu_behind_pool, pool_parameter, pool_sides, pool_border, pool_border, no_pool, pool_more, average_otherwise,
    concat_otherwise, sum_otherwise, conv_parameter, conv_parameter, conv_sides, no_bias, grouped, weights_changed,
    blob_shape, batch_norm, scaling, harmless, splits, anything_between, reshaped, rewired, rewired, relu_elsewhere,
    weights_swapped, order_changed, two_networks, named_as_the_label, phase, two_data_layers, transform, old_transform,
    other_input, measured, softmax_at_the_end, written_otherwise, as_it_is,
)  # fmt: skip
