"""ONNX SqueezeNets with one thing changed each: an attribute, an operation, a connection, or how it is written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from quant.squeezenet import FireWidths, SqueezeNetSpec
from tests.quant.weight_files import onnx_model, random_arrays

SIDE = 40
Rng = np.random.Generator
Mutation = Callable[[onnx.ModelProto, Rng], None]
# All fires alike, both branches as wide as each other: wrong connections fit by their shapes.
_PLAIN = SqueezeNetSpec(
    "1.1", num_classes=5, stem_channels=6, fires=(FireWidths(3, 3, 3),) * 8, input_size=SIDE
)
BASES = tuple(
    replace(_PLAIN, version=version, head_padding=int(version == "1.0"), bypass=bypass, stem_channels=stem)
    for version in ("1.0", "1.1")
    for bypass, stem in (("none", 6), ("simple", 8), ("complex", 8))
)  # type: ignore[arg-type]


@cache
def _base(spec: SqueezeNetSpec) -> bytes:
    arrays = random_arrays(spec, 7)
    for name, array in arrays.items():
        if name.endswith(".weight"):
            array *= np.float32(2.2 / (0.3 * np.sqrt(array[0].size)))
    model = onnx_model(arrays, spec)
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = SIDE
    return bytes(model.SerializeToString())


def mutated(seed: int) -> tuple[str, onnx.ModelProto]:
    """A network with one change, and the name of that change."""
    rng = np.random.default_rng([18, seed])
    model = onnx.load_from_string(_base(BASES[seed % len(BASES)]))
    mutation = MUTATIONS[(seed // len(BASES)) % len(MUTATIONS)]
    mutation(model, rng)
    return mutation.__name__, model


# --- what mutations need


def of_kind(model: onnx.ModelProto, *kinds: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type in kinds]


def pick(rng: Rng, items: Any) -> Any:
    return items[int(rng.integers(len(items)))]


def set_attribute(node: onnx.NodeProto, name: str, value: Any) -> None:
    for old in [a for a in node.attribute if a.name == name]:
        node.attribute.remove(old)
    if value is not None:
        node.attribute.append(helper.make_attribute(name, value))


def constant(model: onnx.ModelProto, values: Any, dtype: Any = np.float32) -> str:
    name = f"constant {len(model.graph.initializer)}"
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype), name))
    return name


def on_the_way(model: onnx.ModelProto) -> list[str]:
    """Tensors that the picture passes through, from the picture to the average."""
    kinds = ("Conv", "Relu", "MaxPool", "Concat", "Add", "Dropout", "GlobalAveragePool")
    names = [node.output[0] for node in of_kind(model, *kinds)]
    return [model.graph.input[0].name, *(name for name in names if name != "wanted shape")]


def channels(model: onnx.ModelProto, tensor: str) -> int:
    shapes = {v.name: v for v in onnx.shape_inference.infer_shapes(model).graph.value_info}
    shapes[model.graph.input[0].name] = model.graph.input[0]
    return int(shapes[tensor].type.tensor_type.shape.dim[1].dim_value)


def insert_behind(
    model: onnx.ModelProto, tensor: str, kind: str, *others: str, first: int = 0, **attributes: Any
) -> onnx.NodeProto:
    """A new node that every reader of `tensor` reads instead."""
    inputs = [*others]
    inputs.insert(first, tensor)
    node = helper.make_node(kind, inputs, [f"{tensor} {kind}"], name=f"new {kind}", **attributes)
    for reader in model.graph.node:
        for position, name in enumerate(reader.input):
            if name == tensor:
                reader.input[position] = node.output[0]
    place = next((n + 1 for n, made in enumerate(model.graph.node) if tensor in made.output), 0)
    model.graph.node.insert(place, node)
    return node


def drop(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    for reader in model.graph.node:
        for position, name in enumerate(reader.input):
            if name == node.output[0]:
                reader.input[position] = node.input[0]
    model.graph.node.remove(node)


# --- activations


def no_relu(model: onnx.ModelProto, rng: Rng) -> None:
    drop(model, pick(rng, of_kind(model, "Relu")))


def no_relu_at_all(model: onnx.ModelProto, rng: Rng) -> None:
    wanted = pick(
        rng, ["squeeze.act", "expand1x1.act", "expand3x3.act", "conv1.act", "conv10.act", "bypass.act"]
    )
    for node in of_kind(model, "Relu"):
        if node.output[0].endswith(wanted):
            drop(model, node)


def other_activation(model: onnx.ModelProto, rng: Rng) -> None:
    node = pick(rng, of_kind(model, "Relu"))
    kinds = [
        "LeakyRelu",
        "Elu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Softplus",
        "Abs",
        "Neg",
        "Selu",
    ]
    kinds += ["Identity", "Clip", "PRelu", "ThresholdedRelu", "Softsign", "Floor"]
    node.op_type = pick(rng, kinds)
    if node.op_type == "Clip":
        node.input.extend([constant(model, 0.0), constant(model, pick(rng, [0.5, 6.0, 1e9]))])
    if node.op_type == "PRelu":
        node.input.append(constant(model, [pick(rng, [0.0, 0.25])]))


def relu_again(model: onnx.ModelProto, rng: Rng) -> None:
    insert_behind(model, pick(rng, on_the_way(model)), "Relu")


def relu_behind_concat(model: onnx.ModelProto, rng: Rng) -> None:
    """One ReLU behind the concat in place of those before it: the same function."""
    concat = pick(rng, [n for n in of_kind(model, "Concat") if n.output[0].endswith(".concat")])
    branches = list(concat.input)[: int(rng.integers(1, 3))]
    for node in [n for n in of_kind(model, "Relu") if n.output[0] in branches]:
        drop(model, node)
    insert_behind(model, concat.output[0], "Relu")


def relu_behind_pool(model: onnx.ModelProto, rng: Rng) -> None:
    """conv1, pool, ReLU: the same function."""
    relu = next(n for n in of_kind(model, "Relu") if n.output[0] == "conv1.act")
    drop(model, relu)
    insert_behind(model, "pool1", "Relu")


# --- pools and averages


def pool_attribute(model: onnx.ModelProto, rng: Rng) -> None:
    node = pick(rng, of_kind(model, "MaxPool"))
    choices: list[tuple[str, Any]] = [
        ("kernel_shape", [2, 2]), ("kernel_shape", [3, 2]), ("kernel_shape", [5, 5]), ("strides", [1, 1]),
        ("strides", [2, 1]), ("strides", [3, 3]), ("strides", None), ("dilations", [2, 2]), ("dilations", [1, 1]),
        ("auto_pad", "SAME_UPPER"), ("auto_pad", "SAME_LOWER"), ("auto_pad", "VALID"), ("storage_order", 1),
        ("ceil_mode", 0), ("ceil_mode", None), ("pads", [0, 0, 0, 0]),
    ]  # fmt: skip
    set_attribute(node, *pick(rng, choices))


def pool_border(model: onnx.ModelProto, rng: Rng) -> None:
    """Padding on every side from 0 to 2, both roundings, at one pool or all of them."""
    pools = of_kind(model, "MaxPool")
    pads = pick(
        rng, [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [int(n) for n in rng.integers(0, 3, 4)]]
    )
    for node in pools if rng.random() < 0.5 else [pick(rng, pools)]:
        set_attribute(node, "pads", pads)
        set_attribute(node, "ceil_mode", int(rng.integers(2)))


def other_pool(model: onnx.ModelProto, rng: Rng) -> None:
    node = pick(rng, of_kind(model, "MaxPool"))
    node.op_type = pick(rng, ["AveragePool", "LpPool"])
    set_attribute(node, "ceil_mode", 0)
    if node.op_type == "AveragePool":
        set_attribute(node, "count_include_pad", int(rng.integers(2)))


def no_pool(model: onnx.ModelProto, rng: Rng) -> None:
    drop(model, pick(rng, of_kind(model, "MaxPool")))


def pool_more(model: onnx.ModelProto, rng: Rng) -> None:
    tensor, stride = pick(rng, on_the_way(model)[1:-2]), pick(rng, [1, 2])
    attributes = {"kernel_shape": [3, 3], "strides": [stride] * 2, "pads": [1, 1, 1, 1]}
    insert_behind(model, tensor, pick(rng, ["MaxPool", "AveragePool"]), **attributes)


def average_otherwise(model: onnx.ModelProto, rng: Rng) -> None:
    (node,) = of_kind(model, "GlobalAveragePool")
    node.op_type = pick(rng, ["GlobalMaxPool", "GlobalLpPool", "ReduceSum", "ReduceMax", "ReduceL2"])
    if node.op_type == "ReduceSum":
        node.input.append(constant(model, [2, 3], np.int64))
    elif node.op_type.startswith("Reduce"):
        set_attribute(node, "axes", [2, 3])


def average_as_reduction(model: onnx.ModelProto, rng: Rng) -> None:
    (node,) = of_kind(model, "GlobalAveragePool")
    node.op_type = "ReduceMean"
    set_attribute(
        node, "axes", pick(rng, [[2, 3], [3, 2], [-1, -2], [2], [3], [1, 2], [1, 2, 3], [0, 2, 3], None])
    )
    set_attribute(node, "keepdims", pick(rng, [1, 1, None]))


def average_flat(model: onnx.ModelProto, rng: Rng) -> None:
    """The mean without kept dimensions gives the scores; over the right axes the same function."""
    (node,) = of_kind(model, "GlobalAveragePool")
    last = next(n for n in model.graph.node if n.output[0] == "scores")
    node.op_type = "ReduceMean"
    set_attribute(node, "axes", pick(rng, [[2, 3], [-2, -1], [1, 3]]))
    set_attribute(node, "keepdims", 0)
    drop_tail(model, keep=node)
    del last
    node.output[0] = "scores"


def drop_tail(model: onnx.ModelProto, keep: onnx.NodeProto) -> None:
    nodes = list(model.graph.node)
    for node in nodes[nodes.index(keep) + 1 :]:
        model.graph.node.remove(node)


def average_of_kernel(model: onnx.ModelProto, rng: Rng) -> None:
    (node,) = of_kind(model, "GlobalAveragePool")
    shapes = {v.name: v for v in onnx.shape_inference.infer_shapes(model).graph.value_info}
    side = shapes[node.input[0]].type.tensor_type.shape.dim[2].dim_value
    node.op_type = "AveragePool"
    kernel = pick(rng, [side, side, side, max(side - 1, 1), side + 1])
    set_attribute(node, "kernel_shape", [kernel, kernel])
    if rng.random() < 0.4:
        set_attribute(
            node, *pick(rng, [("pads", [1, 1, 1, 1]), ("ceil_mode", 1), ("strides", [kernel, kernel])])
        )


# --- joins and convolutions


def concat_otherwise(model: onnx.ModelProto, rng: Rng) -> None:
    node = pick(rng, [n for n in of_kind(model, "Concat") if n.output[0].endswith(".concat")])
    change = int(rng.integers(5))
    if change == 0:
        set_attribute(node, "axis", pick(rng, [0, 2, 3, -1, -2]))
    elif change == 1:
        node.input.reverse() if hasattr(node.input, "reverse") else None
    elif change == 2:
        node.input[1] = node.input[0]
    elif change == 3:
        node.input.append(node.input[0])
    else:
        set_attribute(node, "axis", -3)


def sum_otherwise(model: onnx.ModelProto, rng: Rng) -> None:
    sums = of_kind(model, "Add")
    if not sums:
        return concat_otherwise(model, rng)
    node = pick(rng, sums)
    change = int(rng.integers(4))
    if change == 0:
        node.op_type = pick(rng, ["Mul", "Sub", "Max", "Min", "Mean", "Div"])
    elif change == 1:
        node.op_type = "Sum"
    elif change == 2:
        node.input[1] = node.input[0]
    else:
        node.input.reverse()
    return None


def bypass_scaled(model: onnx.ModelProto, rng: Rng) -> None:
    """A coefficient in front of a sum."""
    sums = of_kind(model, "Add")
    if not sums:
        return
    node = pick(rng, sums)
    side = int(rng.integers(2))
    scaled = helper.make_node(
        "Mul", [node.input[side], constant(model, pick(rng, [0.5, 2.0, 1.0]))], ["scaled"]
    )
    model.graph.node.insert(list(model.graph.node).index(node), scaled)
    node.input[side] = "scaled"
    return


def conv_attribute(model: onnx.ModelProto, rng: Rng) -> None:
    node = pick(rng, of_kind(model, "Conv"))
    choices: list[tuple[str, Any]] = [
        ("group", 3), ("group", 1), ("dilations", [2, 2]), ("dilations", [1, 1]), ("pads", [1, 1, 1, 1]),
        ("pads", [0, 0, 0, 0]), ("pads", [1, 0, 1, 0]), ("pads", [2, 2, 2, 2]), ("pads", None), ("strides", [2, 2]),
        ("strides", [1, 2]), ("strides", [1, 1]), ("strides", None), ("auto_pad", "VALID"), ("auto_pad", "SAME_UPPER"),
        ("auto_pad", "SAME_LOWER"), ("auto_pad", "NOTSET"), ("kernel_shape", [3, 3]), ("kernel_shape", [1, 1]),
    ]  # fmt: skip
    set_attribute(node, *pick(rng, choices))


def no_bias(model: onnx.ModelProto, rng: Rng) -> None:
    """Taken away, or given by a sum behind the convolution."""
    node = pick(rng, of_kind(model, "Conv"))
    bias = next(t for t in model.graph.initializer if t.name == node.input[2])
    values = numpy_helper.to_array(bias)
    del node.input[2:]
    if rng.random() < 0.6:
        shape = pick(rng, [(1, -1, 1, 1), (-1, 1, 1)])
        insert_behind(
            model, node.output[0], "Add", constant(model, values.reshape(shape)), first=int(rng.integers(2))
        )


def grouped(model: onnx.ModelProto, rng: Rng) -> None:
    node = pick(rng, [n for n in of_kind(model, "Conv") if "expand" in n.output[0]])
    weight = next(t for t in model.graph.initializer if t.name == node.input[1])
    array = numpy_helper.to_array(weight)[:, :1]
    weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), weight.name))
    set_attribute(node, "group", 3)


def weights_changed(model: onnx.ModelProto, rng: Rng) -> None:
    """Other numbers, the same network."""
    tensor = pick(rng, list(model.graph.initializer))
    array = numpy_helper.to_array(tensor)
    changed = pick(rng, [array * 1.5, array + 0.1, np.flip(array, -1)])
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(changed, np.float32), tensor.name))


# --- operations in between


def scaling(model: onnx.ModelProto, rng: Rng) -> None:
    """Arithmetic with a constant: one number, one a channel, or one a column, which looks alike."""
    tensor = pick(rng, on_the_way(model))
    count = channels(model, tensor)
    shape = pick(rng, [(), (1,), (count, 1, 1), (1, count, 1, 1), (count,), (1, 1, 1, 1), (1, 1, 1, 1, 1)])
    value = rng.uniform(0.5, 1.5, shape)
    first = int(rng.integers(2))
    insert_behind(model, tensor, pick(rng, ["Mul", "Add", "Sub", "Div"]), constant(model, value), first=first)


def batch_norm(model: onnx.ModelProto, rng: Rng) -> None:
    convs = [node.output[0] for node in of_kind(model, "Conv")]
    tensor = pick(rng, convs if rng.random() < 0.7 else on_the_way(model))
    count = channels(model, tensor)
    parts = [constant(model, rng.uniform(0.5, 1.5, count)) for _ in range(4)]
    attributes: dict[str, Any] = pick(
        rng, [{}, {}, {"epsilon": 0.1}, {"training_mode": 1}, {"momentum": 0.5}]
    )
    node = insert_behind(model, tensor, "BatchNormalization", *parts, **attributes)
    if "training_mode" in attributes:
        node.output.extend(["running mean", "running variance"])


def harmless(model: onnx.ModelProto, rng: Rng) -> None:
    """Dropout, Identity, a Cast to what it is."""
    kind = pick(rng, ["Dropout", "Identity", "Cast"])
    node = insert_behind(model, pick(rng, on_the_way(model)), kind)
    if kind == "Cast":
        set_attribute(node, "to", TensorProto.FLOAT)
    if kind == "Dropout" and rng.random() < 0.5:
        node.input.extend([constant(model, 0.5), constant(model, pick(rng, [True, False]), np.bool_)])


def half_way(model: onnx.ModelProto, rng: Rng) -> None:
    """Through float16 and back."""
    node = insert_behind(model, pick(rng, on_the_way(model)), "Cast", to=TensorProto.FLOAT16)
    insert_behind(model, node.output[0], "Cast", to=TensorProto.FLOAT)


def anything_between(model: onnx.ModelProto, rng: Rng) -> None:
    tensor = pick(rng, on_the_way(model))
    kinds = [
        "Softmax",
        "LogSoftmax",
        "Neg",
        "Abs",
        "Sigmoid",
        "Tanh",
        "Exp",
        "Floor",
        "Ceil",
        "Round",
        "Sign",
        "LRN",
    ]
    kinds += [
        "LpNormalization",
        "MeanVarianceNormalization",
        "Hardmax",
        "Transpose",
        "Clip",
        "Reciprocal",
        "Sqrt",
    ]
    kind = pick(rng, kinds)
    attributes: dict[str, Any] = (
        {"perm": pick(rng, [[0, 1, 3, 2], [0, 1, 2, 3]])} if kind == "Transpose" else {}
    )
    attributes |= {"size": 3} if kind == "LRN" else {}
    insert_behind(model, tensor, kind, **attributes)


def padded(model: onnx.ModelProto, rng: Rng) -> None:
    amount = pick(rng, [[0] * 8, [0, 0, 1, 1, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0, 1, 1]])
    insert_behind(model, pick(rng, on_the_way(model)[:-1]), "Pad", constant(model, amount, np.int64))


def sliced(model: onnx.ModelProto, rng: Rng) -> None:
    start, axis, step = int(rng.integers(2)), int(rng.integers(1, 4)), pick(rng, [1, 1, 2])
    bounds = [constant(model, [n], np.int64) for n in (start, 1 << 30, axis, step)]
    insert_behind(model, pick(rng, on_the_way(model)), "Slice", *bounds)


def reshaped(model: onnx.ModelProto, rng: Rng) -> None:
    tensor = pick(rng, on_the_way(model)[:-1])
    shape = pick(rng, [[0, 0, 0, 0], [0, 0, 0, -1], [1, -1, 5, 5], [0, -1]])
    insert_behind(model, tensor, "Reshape", constant(model, shape, np.int64))


# --- connections


def rewired(model: onnx.ModelProto, rng: Rng) -> None:
    """An input reads another tensor, from further up."""
    nodes = [
        n for n in model.graph.node if n.op_type in ("Conv", "Relu", "Concat", "Add", "MaxPool", "Dropout")
    ]
    node = pick(rng, nodes[2:])
    earlier = [n.output[0] for n in nodes[: nodes.index(node)]]
    ways = [position for position, name in enumerate(node.input) if name in on_the_way(model)]
    node.input[pick(rng, ways)] = pick(rng, earlier[-6:])


def weights_swapped(model: onnx.ModelProto, rng: Rng) -> None:
    """Two convolutions of like shapes with each other's weights."""
    kind = pick(rng, ["squeeze", "expand1x1", "expand3x3"])
    one, other = (
        pick(rng, [n for n in of_kind(model, "Conv") if n.output[0].endswith(kind)][1:]) for _ in "ab"
    )
    one.input[1], other.input[1] = other.input[1], one.input[1]


def layer_twice(model: onnx.ModelProto, rng: Rng) -> None:
    """One convolution's weights used by two: shared weights, the same function of what the file holds."""
    kind = pick(rng, ["squeeze", "expand1x1", "expand3x3"])
    one, other = (
        pick(rng, [n for n in of_kind(model, "Conv") if n.output[0].endswith(kind)][1:]) for _ in "ab"
    )
    del one.input[1:], other
    source = pick(
        rng, [n for n in of_kind(model, "Conv") if n.output[0].endswith(kind) and len(n.input) > 1][1:]
    )
    one.input.extend(source.input[1:])


def output_elsewhere(model: onnx.ModelProto, rng: Rng) -> None:
    change = int(rng.integers(3))
    tensors = [*on_the_way(model)[1:], "pool10"]
    value = helper.make_tensor_value_info(pick(rng, tensors), TensorProto.FLOAT, None)
    if change == 0:
        model.graph.output.append(value)
    else:
        del model.graph.output[:]
        model.graph.output.append(
            value if change == 1 else helper.make_tensor_value_info("pool10", TensorProto.FLOAT, None)
        )
        if change == 2:
            nodes = list(model.graph.node)
            for node in nodes[[n.output[0] for n in nodes].index("pool10") + 1 :]:
                model.graph.node.remove(node)


def dead_code(model: onnx.ModelProto, rng: Rng) -> None:
    tensor = pick(rng, on_the_way(model))
    kind = pick(rng, ["Relu", "Sigmoid", "Identity", "Dropout", "Shape"])
    model.graph.node.append(helper.make_node(kind, [tensor], ["to nowhere"], name="dead"))


# --- the ends


def picture_prepared(model: onnx.ModelProto, rng: Rng) -> None:
    """Nodes in front of conv1 that normalise or rearrange the picture."""
    image = model.graph.input[0].name
    mean, std = (constant(model, rng.uniform(0.2, 0.6, (1, 3, 1, 1))) for _ in "ab")
    change = int(rng.integers(5))
    if change == 0:
        node = insert_behind(model, image, "Sub", mean)
        insert_behind(model, node.output[0], "Div", std)
    elif change == 1:
        node = insert_behind(model, image, "Mul", constant(model, 1 / 255))
        insert_behind(model, node.output[0], "Add", mean)
    elif change == 2:
        insert_behind(model, image, "Gather", constant(model, [2, 1, 0], np.int64), axis=1)
    elif change == 3:
        insert_behind(model, image, "Transpose", perm=[0, 3, 1, 2])
        dims = model.graph.input[0].type.tensor_type.shape.dim
        dims[1].dim_value, dims[3].dim_value = SIDE, 3
    else:
        parts = [constant(model, rng.uniform(0.5, 1.5, 3)) for _ in range(4)]
        insert_behind(model, image, "BatchNormalization", *parts)


def flattened_otherwise(model: onnx.ModelProto, rng: Rng) -> None:
    last = next(n for n in model.graph.node if n.output[0] == "scores")
    kind = pick(rng, ["Flatten", "Reshape", "Squeeze"])
    node = helper.make_node(kind, ["pool10"], ["scores"])
    if kind == "Flatten":
        set_attribute(node, "axis", pick(rng, [1, -3, 0, 2, 3, None]))
    elif kind == "Reshape":
        shapes = [
            [1, -1],
            [0, -1],
            [-1, 5],
            [1, 5],
            [-1, 0],
            [0, 0],
            [-1, 1],
            [5, 1],
            [1, 5, 1],
            [5],
            [0, -1, 1, 1],
        ]
        node.input.append(constant(model, pick(rng, shapes), np.int64))
    else:
        node.input.append(constant(model, pick(rng, [[2, 3], [-1, -2], [2], [0, 2, 3], [3, 2]]), np.int64))
    model.graph.node.remove(last)
    model.graph.node.append(node)


def softmax_at_the_end(model: onnx.ModelProto, rng: Rng) -> None:
    """Behind the scores or the average, along this axis or that."""
    tensor = pick(rng, ["scores", "pool10", "conv10.act"])
    axis = pick(rng, [1, -1, 0, 2, None, -3])
    kind = pick(rng, ["Softmax", "LogSoftmax"])
    attributes = {} if axis is None else {"axis": axis}
    if tensor != "scores":
        insert_behind(model, tensor, kind, **attributes)
        return
    last = next(n for n in model.graph.node if n.output[0] == "scores")
    last.output[0] = "before"
    model.graph.node.append(helper.make_node(kind, ["before"], ["scores"], **attributes))


def input_shape(model: onnx.ModelProto, rng: Rng) -> None:
    dims = model.graph.input[0].type.tensor_type.shape.dim
    change = int(rng.integers(5))
    if change == 0:
        for dim in dims[2:]:
            dim.dim_param = "side"
    elif change == 1:
        dims[0].dim_param = "N"
    elif change == 2:
        dims[2].dim_value = SIDE + 8
    elif change == 3:
        dims[0].dim_value = 2
    else:
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16


# --- how it is written down


def other_opset(model: onnx.ModelProto, rng: Rng) -> None:
    model.opset_import[0].version = int(rng.integers(5, 23))


def other_opset_with_softmax(model: onnx.ModelProto, rng: Rng) -> None:
    """Softmax has another meaning before opset 13."""
    softmax_at_the_end(model, rng)
    model.opset_import[0].version = int(rng.integers(7, 14))


def constants_as_nodes(model: onnx.ModelProto, rng: Rng) -> None:
    for tensor in list(model.graph.initializer)[:: int(rng.integers(1, 4))]:
        model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
        model.graph.initializer.remove(tensor)


def constants_by_way(model: onnx.ModelProto, rng: Rng) -> None:
    """A weight through Identity, from float16, or as integers with a scale."""
    tensor = pick(rng, list(model.graph.initializer))
    array, name, kind = numpy_helper.to_array(tensor), tensor.name, int(rng.integers(4))
    tensor.name = f"{name} stored"
    node = helper.make_node("Identity", [tensor.name], [name])
    if kind:
        dtype = (np.float32, np.float16, np.float64, np.int8)[kind]
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array.astype(dtype)), tensor.name))
        node = helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT)
    if kind == 3:
        node = helper.make_node("DequantizeLinear", [tensor.name, constant(model, 0.1)], [name])
    model.graph.node.insert(0, node)


def names_changed(model: onnx.ModelProto, rng: Rng) -> None:
    change = int(rng.integers(4))
    for number, node in enumerate(model.graph.node):
        node.name = ("", f"n{number}", "alike", "\x1b[31m\nred")[change]
    if change == 3:
        for node in model.graph.node:
            for names in (node.input, node.output):
                for position, name in enumerate(names):
                    if name not in ("image", "scores") and name not in {
                        t.name for t in model.graph.initializer
                    }:
                        names[position] = f"{name}\n\x07"


def local_function(model: onnx.ModelProto, rng: Rng) -> None:
    """Relu as a function of the file's own, which may be another; also under ONNX's own name."""
    own = pick(rng, ["local", ""])
    body = [helper.make_node(pick(rng, ["Relu", "Sigmoid"]), ["x"], ["y"])]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function(own, "Relu", ["x"], ["y"], body, opsets))
    if own:
        model.opset_import.append(helper.make_opsetid(own, 1))
        for node in of_kind(model, "Relu"):
            node.domain = own


def branch(model: onnx.ModelProto, rng: Rng) -> None:
    """A ReLU inside of an If."""
    node = pick(rng, of_kind(model, "Relu"))
    source, condition = node.input[0], constant(model, bool(rng.integers(2)), np.bool_)
    parts = []
    for kind in ("Relu", "Identity"):
        result = helper.make_tensor_value_info("r", TensorProto.FLOAT, None)
        parts.append(helper.make_graph([helper.make_node(kind, [source], ["r"])], kind, [], [result]))
    made = helper.make_node("If", [condition], [node.output[0]], then_branch=parts[0], else_branch=parts[1])
    place = list(model.graph.node).index(node)
    model.graph.node.remove(node)
    model.graph.node.insert(place, made)


def unknown_attribute(model: onnx.ModelProto, rng: Rng) -> None:
    node = pick(rng, of_kind(model, "Conv", "Relu", "MaxPool", "Concat", "GlobalAveragePool"))
    set_attribute(node, pick(rng, ["alpha", "axis", "activation", "scale"]), pick(rng, [1, 0.5]))


def other_domain(model: onnx.ModelProto, rng: Rng) -> None:
    node = pick(rng, of_kind(model, "Conv", "Relu", "MaxPool"))
    node.domain = pick(rng, ["com.microsoft", "ai.onnx", "ai.onnx.ml"])
    if node.domain != "ai.onnx":
        model.opset_import.append(helper.make_opsetid(node.domain, 1))


def metadata(model: onnx.ModelProto, rng: Rng) -> None:
    model.doc_string, model.producer_name = "\x1b[31m", "someone"
    helper.set_model_props(model, {pick(rng, ["author", "mean", "std"]): "0.5 0.5 0.5"})


MUTATIONS: tuple[Mutation, ...] = (
    no_relu, no_relu_at_all, other_activation, relu_again, relu_behind_concat, relu_behind_pool, pool_attribute,
    pool_border, pool_border, other_pool, no_pool, pool_more, average_otherwise, average_as_reduction, average_flat,
    average_of_kernel, concat_otherwise, sum_otherwise, bypass_scaled, conv_attribute, conv_attribute, no_bias, grouped,
    weights_changed, scaling, scaling, batch_norm, harmless, half_way, anything_between, padded, sliced, reshaped,
    rewired, rewired, weights_swapped, layer_twice, output_elsewhere, dead_code, picture_prepared, flattened_otherwise,
    softmax_at_the_end, input_shape, other_opset, other_opset_with_softmax, constants_as_nodes, constants_by_way,
    names_changed, local_function, branch, unknown_attribute, other_domain, metadata,
)  # fmt: skip
