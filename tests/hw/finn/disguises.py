"""The same network written in the ways of other exporters: nothing of it changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.hw.finn.mutants import Random, array, constant, set_attribute
from tests.hw.finn.qonnx_builder import plain_shapes

DOMAINS = ("onnx.brevitas", "finn.custom_op.general", "finn")


def initializers_as_inputs(model: onnx.ModelProto, random: Random) -> None:
    for tensor in model.graph.initializer:
        value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.insert(int(random.integers(len(model.graph.input) + 1)), value)


def constants_as_nodes(model: onnx.ModelProto, random: Random) -> None:
    nodes = [
        helper.make_node("Constant", [], [tensor.name], name=f"constant {index}", value=tensor)
        for index, tensor in enumerate(model.graph.initializer)
    ]
    del model.graph.initializer[:]
    for node in nodes:
        model.graph.node.insert(0, node)


def former_domain(model: onnx.ModelProto, random: Random) -> None:
    domain = DOMAINS[int(random.integers(len(DOMAINS)))]
    for node in model.graph.node:
        if node.op_type == "Quant":
            node.domain = domain
    del model.opset_import[1:]
    if random.integers(2):
        model.opset_import.append(helper.make_opsetid(domain, 1))


def names(model: onnx.ModelProto, random: Random) -> None:
    for node in model.graph.node:
        node.name = ("", "same", node.output[0])[int(random.integers(3))]


def idle_nodes(model: onnx.ModelProto, random: Random) -> None:
    for index in range(4):
        at = int(random.integers(len(model.graph.node)))
        reader = model.graph.node[at]
        slot = int(random.integers(len(reader.input)))
        outputs = [f"idle {index}", f"mask {index}"]
        kind, given = "Identity", [reader.input[slot]]
        if random.integers(2):
            kind = "Dropout"
            if random.integers(2):
                given += [constant(model, f"ratio {index}", np.float32(0.5))]
                given += [constant(model, f"training {index}", np.bool_(False))]
        else:
            del outputs[1:]
        node = helper.make_node(kind, given, outputs, name=f"idle node {index}")
        reader.input[slot] = outputs[0]
        model.graph.node.insert(at, node)


def opset(model: onnx.ModelProto, random: Random) -> None:
    model.opset_import[0].version = int(random.integers(10, 22))  # 10: the first whose pools have ceil_mode


def open_batch(model: onnx.ModelProto, random: Random) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("n", 5)))


def tail(model: onnx.ModelProto, random: Random) -> None:
    """Another way to average, and to drop the last two axes."""
    nodes, version = model.graph.node, model.opset_import[0].version
    del nodes[-2:]
    source = nodes[-1].output[0]
    average = ("ReduceMean", "GlobalAveragePool")[int(random.integers(2))]
    attributes = {"axes": [2, 3], "keepdims": 1} if average == "ReduceMean" else {}
    nodes.append(helper.make_node(average, [source], ["average"], name="average", **attributes))
    kind = ("Reshape", "Squeeze", "Flatten", "Shape")[int(random.integers(4))]
    if kind == "Reshape":
        shape = constant(model, "shape", np.array([(1, -1), (-1, 5)][int(random.integers(2))]))
        nodes.append(helper.make_node("Reshape", ["average", shape], ["scores"], name="scores"))
    elif kind == "Squeeze" and version >= 13:
        axes = constant(model, "axes", np.array([2, 3]))
        nodes.append(helper.make_node("Squeeze", ["average", axes], ["scores"], name="scores"))
    elif kind == "Shape":  # as x.view(x.shape[0], -1) with an open batch
        zero, minus = constant(model, "zero", np.array([0])), constant(model, "minus", np.array([-1]))
        nodes.extend(
            [
                helper.make_node("Shape", ["average"], ["size"], name="size"),
                helper.make_node("Gather", ["size", zero], ["batch"], name="batch"),
                helper.make_node("Concat", ["batch", minus], ["shape"], name="shape", axis=0),
                helper.make_node("Reshape", ["average", "shape"], ["scores"], name="scores"),
            ]
        )
    else:
        nodes.append(helper.make_node("Flatten", ["average"], ["scores"], name="scores"))


def window_average(model: onnx.ModelProto, random: Random) -> None:
    """nn.AvgPool2d over the whole map."""
    node = next(node for node in model.graph.node if node.op_type == "GlobalAveragePool")
    size = plain_shapes(model)[node.input[0]][2:]
    node.op_type = "AveragePool"
    set_attribute(node, "kernel_shape", size)


def computed_parameters(model: onnx.ModelProto, random: Random) -> None:
    """Scales as products, and widths that come from integers: what an exporter writes that folds nothing."""
    made = []
    for node in [node for node in model.graph.node if node.op_type == "Quant"]:
        name, scale = node.output[0], array(model, node.input[1])
        half = constant(model, f"{name} half", (scale / 2).reshape(-1))
        two = constant(model, f"{name} two", np.float32(2))
        shape = constant(model, f"{name} shape", np.array(scale.shape, np.int64))
        made += [
            helper.make_node("Mul", [half, two], [f"{name} product"], name=f"{name} product"),
            helper.make_node(
                "Reshape", [f"{name} product", shape], [f"{name} scaled"], name=f"{name} scaled"
            ),
        ]
        bits = constant(model, f"{name} whole", array(model, node.input[3]).astype(np.int64))
        made.append(
            helper.make_node("Cast", [bits], [f"{name} float"], name=f"{name} float", to=TensorProto.FLOAT)
        )
        node.input[1], node.input[3] = f"{name} scaled", f"{name} float"
    for node in made:
        model.graph.node.insert(0, node) if random.integers(2) else model.graph.node.append(node)


def functions(model: onnx.ModelProto, random: Random) -> None:
    """Every Relu as a function of the file's own."""
    body = helper.make_node("Relu", ["x"], ["y"])
    opsets = [helper.make_opsetid("", model.opset_import[0].version)]
    model.functions.append(helper.make_function("own", "activation", ["x"], ["y"], [body], opsets))
    model.opset_import.append(helper.make_opsetid("own", 1))
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type, node.domain = "activation", "own"


def slashes(model: onnx.ModelProto, random: Random) -> None:
    """Tensors named as torch names them, by paths and numbers."""
    numbers: dict[str, str] = {}
    for item in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        for field in ("input", "output"):
            for index, name in enumerate(getattr(item, field, [])):
                getattr(item, field)[index] = numbers.setdefault(name, f"/{len(numbers)}/Conv_output_0")
        if not isinstance(item, onnx.NodeProto):
            item.name = numbers.setdefault(item.name, str(len(numbers)))


def shuffled(model: onnx.ModelProto, random: Random) -> None:
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes[int(index)] for index in random.permutation(len(nodes)))


def spellings(model: onnx.ModelProto, random: Random) -> None:
    for node in model.graph.node:
        if node.op_type == "Quant":
            node.op_type = ("Quant", "IntQuant")[int(random.integers(2))]
            set_attribute(node, "rounding_mode", ("HALF_EVEN", "round", None)[int(random.integers(3))])
            node.input[3] = constant(model, f"{node.output[0]} n", array(model, node.input[3]).reshape(1))
        elif node.op_type == "Relu":
            node.domain = "ai.onnx"
        elif node.op_type == "Concat":
            set_attribute(node, "axis", -3)


def quantized_biases(model: onnx.ModelProto, random: Random) -> None:
    """Int32Bias."""
    made = []
    for node in [node for node in model.graph.node if node.op_type == "Conv"]:
        name = f"{node.output[0]} bias"
        given = (np.float32(1 / 64), np.float32(0), np.float32(32))
        parameters = [constant(model, f"{name} {index}", value) for index, value in enumerate(given)]
        made.append(
            helper.make_node(
                *("Quant", [node.input[2], *parameters], [name]),
                name=name,
                domain="qonnx.custom_op.general",
                signed=1,
                narrow=0,
                rounding_mode="ROUND",
            )
        )
        node.input[2] = name
    for node in made:
        model.graph.node.insert(0, node)


def notes(model: onnx.ModelProto, random: Random) -> None:
    """What other tools leave behind: types, shapes, constants nobody reads, another file's description."""
    note = onnx.TensorAnnotation(tensor_name="image")
    note.quant_parameter_tensor_names.append(onnx.StringStringEntryProto(key="finn_datatype", value="UINT8"))
    model.graph.quantization_annotation.append(note)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "nobody"))
    model.graph.value_info.append(
        helper.make_tensor_value_info("conv1", TensorProto.FLOAT, ("n", 4, "h", "w"))
    )
    model.producer_name, model.doc_string = "somebody", "a\nb"


DISGUISES: dict[str, Callable[[onnx.ModelProto, Random], None]] = {
    function.__name__: function
    for function in (
        *(
            initializers_as_inputs,
            constants_as_nodes,
            former_domain,
            names,
            idle_nodes,
            opset,
            open_batch,
            tail,
        ),
        *(
            window_average,
            computed_parameters,
            functions,
            slashes,
            shuffled,
            spellings,
            quantized_biases,
            notes,
        ),
    )
}
