"""What stands in the way of somebody else's network: the node, the rule, and what to change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fireflow.hw.errors import InputError
from fireflow.hw.finn.lowering import lower
from tests.hw.finn.qonnx_builder import valid


def save(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, str(path))
    return path


def before_the_average(kind: str, **attributes: Any) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        average = next(node for node in model.graph.node if node.op_type == "GlobalAveragePool")
        node = helper.make_node(kind, [average.input[0]], ["made"], name="made", **attributes)
        average.input[0] = "made"
        model.graph.node.insert(len(model.graph.node) - 2, node)

    return change


def behind_everything(kind: str, *shape: int, **attributes: Any) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = "inner"
        given = ["inner"]
        if shape:
            model.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), "matrix"))
            given.append("matrix")
        model.graph.node.append(helper.make_node(kind, given, ["scores"], name="made", **attributes))

    return change


def batch_norm(model: onnx.ModelProto) -> None:
    relu = next(node for node in model.graph.node if node.name == "conv1.relu")
    names = []
    for name in ("gain", "shift", "mean", "var"):
        model.graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), name))
        names.append(name)
    model.graph.node.insert(
        0, helper.make_node("BatchNormalization", ["conv1", *names], ["normal"], name="bn1")
    )
    relu.input[0] = "normal"


def depthwise(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.name == "fire2.squeeze")
    node.attribute.append(helper.make_attribute("group", 2))


def signed_shared(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.name == "fire2.bypass.act")
    node.input[0] = "fire2.bypass"
    for item in node.attribute:
        if item.name == "signed":
            item.i = 1


def qdq(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.name == "conv1.act":
            node.op_type, node.domain = "QuantizeLinear", ""
            del node.input[2:], node.attribute[:]
    relu = next(node for node in model.graph.node if node.name == "conv1.relu")
    relu.op_type = "Clip"


def nhwc(model: onnx.ModelProto) -> None:
    conv = next(node for node in model.graph.node if node.name == "conv1")
    model.graph.node.insert(
        0, helper.make_node("Transpose", ["image"], ["nchw"], name="turn", perm=[0, 3, 1, 2])
    )
    conv.input[0] = "nchw"
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 9, 9, 3)))


def rough_bias(model: onnx.ModelProto) -> None:
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "head.bias")
    bias.CopyFrom(numpy_helper.from_array(np.linspace(0, 0.37, 5, dtype=np.float32), "head.bias"))


STOPS: dict[str, tuple[Callable[[onnx.ModelProto], None], str, str]] = {
    "batch normalization": (batch_norm, "bn1: batch normalization must be folded", "merge_bn"),
    "bipolar": (
        lambda model: setattr(model.graph.node[0], "op_type", "BipolarQuant"),
        "conv1.weight.quant: weights must have 2 to 6 bits",
        "weight_bit_width=2",
    ),
    "depthwise": (depthwise, "fire2.squeeze: group must be 1, not 2", "not supported"),
    "signed shared": (
        signed_shared,
        "fire2.bypass: the result must go into one Relu",
        "one QuantReLU shared",
    ),
    "average pool": (
        before_the_average("AveragePool", kernel_shape=[2, 2], strides=[2, 2]),
        "made: an average must be that of all pixels, at the end",
        "nn.AdaptiveAvgPool2d(1)",
    ),
    "linear layer": (
        behind_everything("Gemm", 5, 5),
        "made: a fully connected layer must be a 1x1",
        "QuantConv2d",
    ),
    "matrix": (
        behind_everything("MatMul", 5, 5),
        "made: a fully connected layer must be a 1x1",
        "QuantConv2d",
    ),
    "softmax": (behind_everything("Softmax"), "made: the output must be the class scores", "leave it out"),
    "float bias": (
        rough_bias,
        "head: the bias must be an integer times the accumulator's scale",
        "Int32Bias",
    ),
    "clip": (
        lambda model: setattr(
            next(node for node in model.graph.node if node.name == "conv1.relu"), "op_type", "Clip"
        ),
        "conv1.relu: an activation must be a Relu with a quantizer",
        "QuantReLU(max_val=6)",
    ),
    "QCDQ": (qdq, "conv1.act: quantizers must be Quant nodes of QONNX", "export_qonnx"),
    "NHWC": (nhwc, "turn: the file must be channels first (NCHW) throughout", "--inputs-as-nchw"),
    "unknown domain": (
        lambda model: setattr(model.graph.node[0], "domain", "com.somebody"),
        "conv1.weight.quant: the operation must be one of",
        "not com.somebody.Quant",
    ),
}


@pytest.mark.parametrize("name", STOPS)
def test_what_stands_in_the_way_is_named(name: str, tmp_path: Path) -> None:
    change, rule, fix = STOPS[name]
    model = valid().model()
    change(model)
    with pytest.raises(InputError) as caught:
        lower(save(model, tmp_path / "net.onnx"))
    assert str(caught.value).startswith(rule)
    assert fix in str(caught.value)


def test_windows_that_onnx_does_not_survive(tmp_path: Path) -> None:
    """ONNX's own shape inference ends the process for some of these."""
    for name, value in (
        ("strides", [0, 0]),
        ("dilations", [0, 1]),
        ("pads", [-9] * 4),
        ("strides", [1 << 40] * 2),
    ):
        model = valid().model()
        pool = next(node for node in model.graph.node if node.op_type == "MaxPool")
        kept = [item for item in pool.attribute if item.name != name]
        del pool.attribute[:]
        pool.attribute.extend([*kept, helper.make_attribute(name, value)])
        with pytest.raises(InputError, match=rf"^pool1: {name} must be [01] to 4096, not "):
            lower(save(model, tmp_path / "net.onnx"))
    model = valid().model()
    node = next(node for node in model.graph.node if node.name == "conv1.weight.quant")
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[0])
    weights.dims.extend([1])
    with pytest.raises(InputError, match=r"^conv1: weights must be \(channels, depth, height, width\), not"):
        lower(save(model, tmp_path / "net.onnx"))


def test_small_files_that_ask_for_much(tmp_path: Path) -> None:
    model = valid().model()
    model.graph.input[0].CopyFrom(
        helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 1 << 30, 1 << 30))
    )
    with pytest.raises(InputError, match=r"^image: a tensor must have at most 67108864 values"):
        lower(save(model, tmp_path / "net.onnx"))
    model = valid().model()
    shape = numpy_helper.from_array(np.array([1 << 20, 1 << 20], np.int64), "shape")
    model.graph.initializer.append(shape)
    quant = next(node for node in model.graph.node if node.name == "conv1.act")
    model.graph.node.insert(0, helper.make_node("Expand", [quant.input[1], "shape"], ["large"], name="grow"))
    quant.input[1] = "large"
    with pytest.raises(InputError, match=r"^grow: a computed constant must have at most 16777216 values"):
        lower(save(model, tmp_path / "net.onnx"))
