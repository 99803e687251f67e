"""The ONNX SqueezeNets that mutations start from, and how to edit them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from fireflow.quant.networks.squeezenet import FireWidths, SqueezeNetSpec
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
def base(spec: SqueezeNetSpec) -> bytes:
    arrays = random_arrays(spec, 7)
    for name, array in arrays.items():
        if name.endswith(".weight"):
            array *= np.float32(2.2 / (0.3 * np.sqrt(array[0].size)))
    model = onnx_model(arrays, spec)
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = SIDE
    return bytes(model.SerializeToString())


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
    return model.graph.node[place]  # what was inserted is a copy


def drop(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    for reader in model.graph.node:
        for position, name in enumerate(reader.input):
            if name == node.output[0]:
                reader.input[position] = node.input[0]
    model.graph.node.remove(node)


def drop_tail(model: onnx.ModelProto, keep: onnx.NodeProto) -> None:
    nodes = list(model.graph.node)
    for node in nodes[nodes.index(keep) + 1 :]:
        model.graph.node.remove(node)
