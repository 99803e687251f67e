"""QONNX files with one thing changed: an attribute, a constant, the wiring, an operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tests.hw.finn.qonnx_builder import Builder, fire

Random = np.random.Generator
ROUNDINGS = ("FLOOR", "CEIL", "UP", "DOWN", "HALF_UP", "HALF_DOWN", "HALF_EVEN", "round", "ROUND_TO_ZERO")


def base(seed: int) -> Builder:
    """A network with every operation, whose scales are powers of two: float32 computes it exactly."""
    random = np.random.default_rng(seed)
    builder = Builder(seed, (3, int(random.integers(8, 12)), int(random.integers(8, 12))))
    first = builder.act(
        builder.conv("conv1", "image", 4, kernel=3, pad=int(random.integers(0, 2)), bits=6), scale=4.0
    )
    pooled = builder.pool("pool1", first, 3, 2, int(random.integers(0, 2)), int(random.integers(0, 2)))
    inside = fire(builder, "fire2", pooled, scale=2.0)
    around = builder.act(builder.conv("fire2.bypass", pooled, 6, per_channel=False), scale=2.0)
    joined = builder.act(builder.join("Add", "fire2.add", inside, around), scale=1.0)
    gated = builder.act(builder.gate("gate", joined, swapped=bool(random.integers(0, 2))))
    last = builder.act(builder.conv("conv3", gated, 5, kernel=3, pad=1, bits=3), bits=3)
    builder.head(last, relu=bool(random.integers(0, 2)))
    return builder


def mutate(model: onnx.ModelProto, random: Random) -> str:
    """Changes one thing in place; says what."""
    changes = tuple(CHANGES.items())
    while True:
        name, change = changes[int(random.integers(len(changes)))]
        told = change(model, random)
        if told is not None:
            return f"{name}: {told}"


def pick(model: onnx.ModelProto, random: Random, *kinds: str) -> NodeProto | None:
    found = [node for node in model.graph.node if not kinds or node.op_type in kinds]
    return found[int(random.integers(len(found)))] if found else None


def set_attribute(node: NodeProto, name: str, value: Any) -> None:
    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend(kept if value is None else [*kept, helper.make_attribute(name, value)])


def constant(model: onnx.ModelProto, name: str, value: Any) -> str:
    """A new initializer."""
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def array(model: onnx.ModelProto, name: str) -> np.ndarray:
    return numpy_helper.to_array(next(tensor for tensor in model.graph.initializer if tensor.name == name))


def _attribute(kinds: tuple[str, ...], values: dict[str, tuple[Any, ...]]) -> Callable[..., str | None]:
    def change(model: onnx.ModelProto, random: Random) -> str | None:
        node = pick(model, random, *kinds)
        if node is None:
            return None
        name = tuple(values)[int(random.integers(len(values)))]
        value = values[name][int(random.integers(len(values[name])))]
        set_attribute(node, name, value)
        return f"{node.name}.{name} = {value}"

    return change


def _parameter(index: int, values: Callable[[Random, int], list[Any]]) -> Callable[..., str | None]:
    """Gives a Quant another scale, zero point or width."""

    def change(model: onnx.ModelProto, random: Random) -> str | None:
        node = pick(model, random, "Quant")
        if node is None:
            return None
        channels = 4 if node.input[0] not in {t.name for t in model.graph.initializer} else 0
        channels = channels or array(model, node.input[0]).shape[0]
        options = values(random, channels)
        value = options[int(random.integers(len(options)))]
        if index == 1 and random.integers(2):
            value = np.asarray(value) * array(model, node.input[1]).flat[0]
        node.input[index] = constant(model, "changed", np.asarray(value, np.float32))
        return f"{node.name}.input[{index}] = {np.asarray(value).shape} {np.asarray(value).flat[0]}"

    return change


def _shapes(one: float, other: float) -> Callable[[Random, int], list[Any]]:
    def values(random: Random, channels: int) -> list[Any]:
        mixed = np.where(np.arange(channels) % 2, one, other)
        shapes = ((channels, 1, 1, 1), (1, channels, 1, 1), (channels,), (1, channels), (channels, 1, 1))
        return [
            *(mixed.reshape(shape) for shape in shapes),
            *(np.full((1,) * rank, one) for rank in (0, 1, 4, 5)),
            one,
            other,
        ]

    return values


def _rewire(model: onnx.ModelProto, random: Random) -> str | None:
    node = pick(model, random)
    assert node is not None
    index = int(random.integers(len(node.input)))
    names = [*(n.output[0] for n in model.graph.node), *(t.name for t in model.graph.initializer)]
    before, node.input[index] = node.input[index], names[int(random.integers(len(names)))]
    return f"{node.name}.input[{index}]: {before} -> {node.input[index]}"


def _remove(model: onnx.ModelProto, random: Random) -> str | None:
    node = pick(model, random, "Relu", "MaxPool", "Quant", "Flatten", "Concat")
    if node is None:
        return None
    for reader in model.graph.node:
        for index, name in enumerate(reader.input):
            if name == node.output[0]:
                reader.input[index] = node.input[0]
    if model.graph.output[0].name == node.output[0]:
        model.graph.output[0].name = node.input[0]
    model.graph.node.remove(node)
    return f"{node.name} is gone"


def _replace(model: onnx.ModelProto, random: Random) -> str | None:
    others = {
        "Relu": ("LeakyRelu", "Elu", "Sigmoid", "HardSwish", "Neg", "Abs", "Softplus", "Identity"),
        "MaxPool": ("AveragePool", "LpPool"),
        "Add": ("Sub", "Mul", "Max", "Min"),
        "Mul": ("Sub", "Add", "Div", "Max"),
        "GlobalAveragePool": ("GlobalMaxPool", "Relu"),
        "Quant": ("BipolarQuant", "FloatQuant", "Trunc", "IntQuant"),
        "Concat": ("Sum", "Max"),
    }
    node = pick(model, random, *others)
    if node is None:
        return None
    choices = others[node.op_type]
    before, node.op_type = node.op_type, choices[int(random.integers(len(choices)))]
    if node.op_type in ("AveragePool", "Sum", "Max"):
        for name in ("ceil_mode", "axis"):
            set_attribute(node, name, None)
    return f"{node.name}: {before} -> {node.op_type}"


def _insert(model: onnx.ModelProto, random: Random) -> str | None:
    node = pick(model, random)
    assert node is not None
    index = int(random.integers(len(node.input)))
    kinds: tuple[tuple[str, list[str], dict[str, Any]], ...] = (
        *(
            (kind, [], {})
            for kind in ("Relu", "Neg", "Abs", "Identity", "Dropout", "Sigmoid", "Floor", "Exp")
        ),
        ("Mul", [constant(model, "two", np.float32(2))], {}),
        ("Add", [constant(model, "one", np.float32(1))], {}),
        ("Transpose", [], {"perm": [0, 1, 3, 2]}),
        ("Softmax", [], {"axis": 1}),
        ("MaxPool", [], {"kernel_shape": [2, 2]}),
        ("Concat", [node.input[index]], {"axis": 1}),
        ("Clip", [constant(model, "lo", np.float32(-1)), constant(model, "hi", np.float32(3))], {}),
        ("Reshape", [constant(model, "flat", np.array([1, -1]))], {}),
        ("Unsqueeze", [constant(model, "axes", np.array([0]))], {}),
    )
    kind, more, attributes = kinds[int(random.integers(len(kinds)))]
    made = helper.make_node(kind, [node.input[index], *more], ["made"], name="made", **attributes)
    node.input[index] = "made"
    model.graph.node.insert(list(model.graph.node).index(node), made)
    return f"{kind} in front of {node.name}.input[{index}]"


def _swap(model: onnx.ModelProto, random: Random) -> str | None:
    node = pick(model, random, "Concat", "Add", "Mul")
    if node is None:
        return None
    inputs = list(node.input)
    del node.input[:]
    node.input.extend(reversed(inputs))
    return f"{node.name}: inputs swapped"


def _weights(model: onnx.ModelProto, random: Random) -> str | None:
    tensors = model.graph.initializer
    tensor = tensors[int(random.integers(len(tensors)))]
    value = numpy_helper.to_array(tensor).copy()
    kind = int(random.integers(7))
    if kind == 0:
        value = value.astype((np.float64, np.float16, np.int64, np.int8)[int(random.integers(4))])
    elif kind == 1:
        value = np.moveaxis(value, 0, -1) if value.ndim > 1 else value[None]
    elif kind == 2 and value.size:
        value.flat[-1] = (np.nan, np.inf, 1e38, -1e-38)[int(random.integers(4))]
    elif kind == 3:
        value = value[..., None]
    elif kind == 4:
        value = value * np.float32(1.25)
    elif kind == 5:
        value = np.zeros_like(value)
    else:
        value = value.reshape(-1)[:1].reshape((1,) * value.ndim)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), tensor.name))
    return f"{tensor.name}: kind {kind}, {value.dtype} {value.shape}"


def _ends(model: onnx.ModelProto, random: Random) -> str | None:
    graph, kind = model.graph, int(random.integers(6))
    if kind == 0:
        graph.output[0].name = graph.node[int(random.integers(len(graph.node)))].output[0]
        return f"output is {graph.output[0].name}"
    if kind == 1:
        graph.output.append(helper.make_tensor_value_info("conv1", TensorProto.FLOAT, None))
        return "two outputs"
    if kind == 2:
        shape = [(2, 3, 9, 9), (1, 3, 0, 9), (3, 9, 9), (1, 3, 9, 9, 1), (1, 3, 2, 2), (1, 4, 9, 9)]
        chosen = shape[int(random.integers(len(shape)))]
        graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.FLOAT, chosen))
        return f"input is {chosen}"
    if kind == 3:
        elem = (TensorProto.UINT8, TensorProto.FLOAT16, TensorProto.DOUBLE)[int(random.integers(3))]
        graph.input[0].type.tensor_type.elem_type = elem
        return f"input type {elem}"
    if kind == 4:
        model.opset_import[0].version = int(random.integers(1, 24))
        return f"opset {model.opset_import[0].version}"
    node = graph.node[int(random.integers(len(graph.node)))]
    node.domain = ("onnx.brevitas", "finn", "com.microsoft", "os.path")[int(random.integers(4))]
    return f"{node.name} of domain {node.domain}"


def _mean(model: onnx.ModelProto, random: Random) -> str | None:
    node = pick(model, random, "GlobalAveragePool")
    if node is None:
        return None
    axes = ([2], [3], [1], [1, 2], [2, 3], [-1, -2], [0, 2, 3], [1, 2, 3])[int(random.integers(8))]
    node.op_type = "ReduceMean"
    node.attribute.extend([helper.make_attribute("axes", axes)])
    if random.integers(2):
        node.attribute.extend([helper.make_attribute("keepdims", int(random.integers(2)))])
    return f"{node.name} over {axes}"


_PADS = (
    [1, 1, 1, 1],
    [0, 1, 0, 1],
    [1, 0, 0, 0],
    [0, 0, 1, 1],
    [2, 2, 2, 2],
    [-1, 0, 0, 0],
    [1, 1],
    [0, 0, 0, 0],
)
_PAIRS = ([1, 1], [2, 2], [1, 2], [3, 3], [2], [0, 1])
_WINDOW = {
    "pads": _PADS,
    "strides": _PAIRS,
    "dilations": _PAIRS,
    "auto_pad": ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET", "ELSE"),
    "kernel_shape": ([1, 1], [3, 3], [2, 2], [3, 2], [3]),
}
CHANGES: dict[str, Callable[[onnx.ModelProto, Random], str | None]] = {
    "quantizer": _attribute(
        ("Quant",),
        {"rounding_mode": ROUNDINGS, "narrow": (0, 1, None, 2), "signed": (0, 1, None), "else": (1,)},
    ),
    "scale": _parameter(1, _shapes(0.5, 1.25)),
    "zero point": _parameter(2, _shapes(0.0, 3.0)),
    "bits": _parameter(
        3, lambda random, channels: [1, 2, 3, 5, 6, 7, 8, 9, 3.5, 0, -1, [4], [[4]], [4, 4], 1e9]
    ),
    "convolution": _attribute(("Conv",), {**_WINDOW, "group": (2, 3, 1, 0), "unknown": (1,)}),
    "pool": _attribute(("MaxPool",), {**_WINDOW, "ceil_mode": (0, 1, 2), "storage_order": (0, 1)}),
    "concat": _attribute(("Concat",), {"axis": (0, 1, 2, 3, -1, -2, -3, -4, 4, None)}),
    "flatten": _attribute(("Flatten",), {"axis": (0, 1, 2, 3, -1, -3, 4, None)}),
    "average": _mean,
    "wiring": _rewire,
    "removed": _remove,
    "replaced": _replace,
    "inserted": _insert,
    "swapped": _swap,
    "constants": _weights,
    "ends": _ends,
}
