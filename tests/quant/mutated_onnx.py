"""ONNX SqueezeNets with one thing changed each: an attribute, an operation, a connection, or how it is written down."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.quant.mutated_onnx_form import (
    branch,
    constants_as_nodes,
    constants_by_way,
    dead_code,
    flattened_otherwise,
    input_shape,
    layer_twice,
    local_function,
    metadata,
    names_changed,
    other_domain,
    other_opset,
    other_opset_with_softmax,
    output_elsewhere,
    picture_prepared,
    rewired,
    softmax_at_the_end,
    unknown_attribute,
    weights_swapped,
)
from tests.quant.onnx_editing import (
    BASES,
    Mutation,
    Rng,
    base,
    channels,
    constant,
    drop,
    drop_tail,
    insert_behind,
    of_kind,
    on_the_way,
    pick,
    set_attribute,
)


def mutated(seed: int) -> tuple[str, onnx.ModelProto]:
    """A network with one change, and the name of that change."""
    rng = np.random.default_rng([18, seed])
    model = onnx.load_from_string(base(BASES[seed % len(BASES)]))
    mutation = MUTATIONS[(seed // len(BASES)) % len(MUTATIONS)]
    mutation(model, rng)
    return mutation.__name__, model


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


MUTATIONS: tuple[Mutation, ...] = (
    no_relu, no_relu_at_all, other_activation, relu_again, relu_behind_concat, relu_behind_pool, pool_attribute,
    pool_border, pool_border, other_pool, no_pool, pool_more, average_otherwise, average_as_reduction, average_flat,
    average_of_kernel, concat_otherwise, sum_otherwise, bypass_scaled, conv_attribute, conv_attribute, no_bias, grouped,
    weights_changed, scaling, scaling, batch_norm, harmless, half_way, anything_between, padded, sliced, reshaped,
    rewired, rewired, weights_swapped, layer_twice, output_elsewhere, dead_code, picture_prepared, flattened_otherwise,
    softmax_at_the_end, input_shape, other_opset, other_opset_with_softmax, constants_as_nodes, constants_by_way,
    names_changed, local_function, branch, unknown_attribute, other_domain, metadata,
)  # fmt: skip
