"""Changes of how an ONNX SqueezeNet is connected, how it begins and ends, and how it is written down."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.quant.onnx_editing import (
    SIDE,
    Rng,
    constant,
    insert_behind,
    of_kind,
    on_the_way,
    pick,
    set_attribute,
)

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
