"""Every QONNX file that cannot be lowered, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fireflow.hw.errors import InputError
from fireflow.hw.finn.execute import finn_trace, qonnx_trace, quantizer_scales
from fireflow.hw.finn.lowering import lower
from tests.hw.finn.qonnx_builder import Builder, fire, valid


def node_of(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def set_constant(name: str, value: object) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(value, np.float32), name))

    return change


def poison(name: str, value: float) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
        array = numpy_helper.to_array(tensor).copy()
        array.flat[-1] = value
        set_constant(name, array)(model)

    return change


def set_attribute(node: str, name: str, value: object) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        attributes = node_of(model, node).attribute
        kept = [item for item in attributes if item.name != name]
        del attributes[:]
        attributes.extend([*kept, helper.make_attribute(name, value)])

    return change


def insert(
    kind: str, before: str, domain: str = "", **attributes: object
) -> Callable[[onnx.ModelProto], None]:
    """Put a node of one input between `before` and what it reads."""

    def change(model: onnx.ModelProto) -> None:
        reader = node_of(model, before)
        made = helper.make_node(kind, [reader.input[0]], ["made"], name="made", domain=domain, **attributes)
        reader.input[0] = "made"
        model.graph.node.insert(list(model.graph.node).index(reader), made)

    return change


def rewire(node: str, index: int, tensor: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        node_of(model, node).input[index] = tensor

    return change


def remove_last(count: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        del model.graph.node[-count:]
        model.graph.output[0].name = model.graph.node[-1].output[0]

    return change


def set_input(shape: tuple[int, ...], kind: int = TensorProto.FLOAT) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", kind, shape))

    return change


def scale_map(quantized: bool) -> Callable[[onnx.ModelProto], None]:
    """A factor that does not depend on the picture, in front of the pool."""

    def change(model: onnx.ModelProto) -> None:
        reader, factor = node_of(model, "pool1"), "conv1.act.scale"
        at = list(model.graph.node).index(reader)
        if quantized:
            quant = node_of(model, "conv1.act")
            made = helper.make_node("Quant", [factor, *quant.input[1:]], ["factor"], domain=quant.domain)
            made.attribute.extend(quant.attribute)
            model.graph.node.insert(at, made)
            factor = "factor"
        model.graph.node.insert(at + quantized, helper.make_node("Mul", [reader.input[0], factor], ["made"]))
        reader.input[0] = "made"

    return change


def square_the_gate(model: onnx.ModelProto) -> None:
    """A map of one pixel, by itself."""
    node_of(model, "gate.scaled").input[0] = "gate.excite.act"


FAULTS: dict[str, tuple[Callable[[onnx.ModelProto], None], str]] = {
    "7-bit weights": (
        set_constant("fire2.squeeze.weight.quant.bits", 7),
        "fire2.squeeze: weights must have 2 to 6 bits, not 7; choose another policy",
    ),
    "9-bit activations": (
        set_constant("conv1.act.bits", 9),
        "conv1.act: activations must have at most 8 bits, not 9; choose a policy of fewer",
    ),
    "NaN": (
        poison("conv1.weight", np.nan),
        "conv1.weight: numbers must be finite, not nan; train or export it again",
    ),
    "Inf": (
        poison("head.bias", -np.inf),
        "head.bias: numbers must be finite, not -inf; train or export it again",
    ),
    "concat scales": (
        set_constant("fire2.expand3x3.act.scale", 0.75),
        "fire2.concat: unequal concat scales: fire2.expand3x3.act must have that of fire2.expand1x1.act, "
        "0.5, not 0.75; share one quantizer between them",
    ),
    "add scales": (
        set_constant("fire2.bypass.act.scale", 0.25),
        "fire2.add: unequal add scales: fire2.bypass.act must have that of fire2.concat, 0.5, not 0.25; "
        "share one quantizer between them",
    ),
    "unsupported node": (
        insert("Sigmoid", "pool1"),
        "made: the operation must be one of Add, Concat, Conv, Flatten, GlobalAveragePool, MaxPool, Mul, Quant, "
        "ReduceMean, Relu, not Sigmoid; change that part of the network",
    ),
    "foreign domain": (
        insert("Relu", "pool1", domain="somebody.else"),
        "made: the operation must be one of Add, Concat, Conv, Flatten, GlobalAveragePool, MaxPool, Mul, Quant, "
        "ReduceMean, Relu, not somebody.else.Relu; change that part of the network",
    ),
    "batch of two": (
        set_input((2, 3, 9, 9)),
        "image: the input must be one picture (1, channels, height, width), not (2, 3, 9, 9); export it with "
        "batch size 1, channels first",
    ),
    "channels last": (
        set_input((1, 9, 9, 3)),
        "image: the input must be one picture (1, channels, height, width), not (1, 9, 9, 3); export it with "
        "batch size 1, channels first",
    ),
    "flat input": (
        set_input((1, 243)),
        "image: the input must be one picture (1, channels, height, width), not (1, 243); export it with "
        "batch size 1, channels first",
    ),
    "float64 input": (
        set_input((1, 3, 9, 9), TensorProto.DOUBLE),
        "image: the input must be float32 that holds uint8 pixels, not DOUBLE; export it again",
    ),
    "scaled input": (
        insert("Relu", "conv1"),
        "image: the uint8 pixels must be read by one Conv, not by Relu; fold mean and scale into the first "
        "layer and do not quantize its input",
    ),
    "zero point": (
        set_constant("conv1.act.zero", 3),
        "conv1.act: the zero point must be 0, not 3.0; use a symmetric quantizer",
    ),
    "negative scale": (
        set_constant("conv1.act.scale", -0.5),
        "conv1.act: scales must be above 0, not -0.5; calibrate the network again",
    ),
    "no scale": (
        set_constant("conv1.act.scale", 0),
        "conv1.act: scales must be above 0, not 0.0; calibrate the network again",
    ),
    "fractional bits": (
        set_constant("conv1.act.bits", 3.5),
        "conv1.act: bits must be one whole number above 0, not 3.5; check the policy",
    ),
    "rounding down": (
        set_attribute("conv1.act", "rounding_mode", "FLOOR"),
        "conv1.act: rounding must be ROUND (halves to even), not FLOOR; change the quantizer",
    ),
    "signed activation": (
        set_attribute("conv1.act", "signed", 1),
        "conv1.act: an activation must follow a Relu, unsigned and not narrow, not follow Relu with "
        "signed=1, narrow=0; use QuantReLU",
    ),
    "no relu": (
        rewire("conv1.act", 0, "conv1"),
        "conv1: the result must go into one Relu, not into Relu, Quant; add QuantReLU",
    ),
    "activation scale per channel": (
        set_constant("conv1.act.scale", np.full((1, 4, 1, 1), 0.5)),
        "conv1.act: an activation must have one scale, not 4; use a per-tensor one",
    ),
    "unsigned weights": (
        set_attribute("conv1.weight.quant", "signed", 0),
        "conv1: weights must be signed with one scale or one for each output channel, not unsigned with "
        "scales (4, 1, 1, 1); change the weight quantizer",
    ),
    "weight scale per input channel": (
        set_constant("fire2.squeeze.weight.quant.scale", np.ones((1, 4, 1, 1))),
        "fire2.squeeze: weights must be signed with one scale or one for each output channel, not signed "
        "with scales (1, 4, 1, 1); change the weight quantizer",
    ),
    "float weights": (
        rewire("conv1", 1, "conv1.weight"),
        "conv1: weights must be quantized constants, not floats; quantize this layer",
    ),
    "shared weights": (
        rewire("fire2.bypass", 1, "fire2.squeeze.weight.quant"),
        "fire2.squeeze: weights must belong to one layer, not be shared; copy them",
    ),
    "float input of a layer": (
        rewire("fire2.squeeze", 0, "conv1"),
        "conv1: the result must go into one Relu, not into Relu, Conv; add QuantReLU",
    ),
    "relu into a layer": (
        rewire("pool1", 0, "conv1.relu"),
        "conv1.relu: a Relu must feed one quantizer, or the average at the end, not Quant, MaxPool; "
        "quantize its output",
    ),
    "groups": (
        set_attribute("conv1", "group", 3),
        "conv1: group must be 1, not 3; use a plain convolution",
    ),
    "dilation": (
        set_attribute("conv1", "dilations", [2, 2]),
        "conv1: dilations must be [1, 1], not [2, 2]; use a plain convolution",
    ),
    "one-sided pool": (
        set_attribute("pool1", "pads", [0, 0, 1, 1]),
        "pool1: a pool must have two axes, the same padding on both sides and a stride up to the kernel "
        "[3, 3], not padding [0, 0, 1, 1] and stride [2, 2]; change it",
    ),
    "gaps in a pool": (
        set_attribute("pool1", "strides", [4, 4]),
        "pool1: a pool must have two axes, the same padding on both sides and a stride up to the kernel "
        "[3, 3], not padding [0, 0, 0, 0] and stride [4, 4]; change it",
    ),
    "attribute of another length": (
        set_attribute("pool1", "pads", [0, 0, 0]),
        "pool1: shapes and attributes must fit, not inputs [[1, 4, 7, 7]]; check them",
    ),
    "missing attribute": (
        lambda model: node_of(model, "fire2.concat").ClearField("attribute"),
        "fire2.concat: shapes and attributes must fit, not inputs [[1, 3, 3, 3], [1, 3, 3, 3]]; check them",
    ),
    "no opset": (
        lambda model: model.ClearField("opset_import"),
        "bad.onnx: shapes must fit together (",
    ),
    "concat of rows": (
        set_attribute("fire2.concat", "axis", 2),
        "fire2.concat: Concat must join channels, axis 1, not axis 2; change it",
    ),
    "concat with itself": (
        rewire("fire2.concat", 1, "fire2.expand1x1.act"),
        "fire2.concat: inputs must be different tensors, not fire2.expand1x1.act twice; change it",
    ),
    "constant factor": (
        scale_map(quantized=False),
        "made: the only arithmetic between layers must be the sum of two quantized activations, not Mul; if it "
        "scales the pixels, leave it out",
    ),
    "quantized constant factor": (
        scale_map(quantized=True),
        "made: the only arithmetic between layers must be the sum of two quantized activations, not Mul; if it "
        "scales the pixels, leave it out",
    ),
    "product of maps": (
        rewire("gate.scaled", 1, "fire2.concat"),
        "gate.scaled: a product must be of maps and a gate (1, C, 1, 1), not of shapes [(1, 6, 3, 3), (1, 6, 3, 3)]; "
        "change it",
    ),
    "square of a gate": (
        square_the_gate,
        "gate.scaled: inputs must be different tensors, not gate.excite.act twice; change it",
    ),
    "head scale per channel": (
        set_constant("head.weight.quant.scale", np.full((5, 1, 1, 1), 0.5)),
        "head: the last layer must have one weight scale, not 5; class scores of different scales cannot be "
        "compared as integers",
    ),
    "no average": (
        remove_last(2),
        "head.relu: a Relu must feed one quantizer, or the average at the end, not nothing; "
        "quantize its output",
    ),
    "rough bias": (
        set_constant("head.bias", [0, 0, 0.3, 0, 0]),
        "head: the bias must be an integer times the accumulator's scale",
    ),
    "missing tensor": (
        rewire("pool1", 0, "nowhere"),
        ": every tensor must be computed somewhere, not nowhere; export",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(fault: str, tmp_path: Path) -> None:
    change, message = FAULTS[fault]
    model = valid().model()
    change(model)
    path = tmp_path / "bad.onnx"
    onnx.save(model, str(path))
    with pytest.raises(InputError) as caught:
        lower(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_shapes_that_do_not_fit(tmp_path: Path) -> None:
    builder = Builder()
    builder.conv("conv1", "image", 4)
    builder.channels["conv1"] = 7
    builder.head(builder.act("conv1"))
    with pytest.raises(InputError, match=r"^head: weights must be \(channels, 4, height, width\) and a bias"):
        lower(builder.save(tmp_path / "bad.onnx"))


def test_concat_of_different_sizes(tmp_path: Path) -> None:
    builder = Builder()
    left = builder.act(builder.conv("left", builder.act(builder.conv("conv1", "image", 4)), 3))
    right = builder.act(builder.conv("right", "conv1.act", 3, kernel=3))
    builder.head(builder.join("Concat", "joined", left, right))
    message = r"^joined: shapes and attributes must fit, not inputs \[\[1, 3, 9, 9\], \[1, 3, 7, 7\]\]; check"
    with pytest.raises(InputError, match=message):
        lower(builder.save(tmp_path / "bad.onnx"))


def test_pictures_that_are_too_small(tmp_path: Path) -> None:
    builder = Builder(0, (3, 5, 5))
    builder.head(builder.pool("pool", builder.act(builder.conv("conv1", "image", 4, kernel=5)), 3, 2, 0, 0))
    with pytest.raises(InputError, match=r"^pool: the result must have at least one pixel, not shape \["):
        lower(builder.save(tmp_path / "bad.onnx"))


def test_sums_that_broadcast(tmp_path: Path) -> None:
    builder = Builder()
    left = builder.act(builder.conv("left", builder.act(builder.conv("conv1", "image", 4)), 3))
    right = builder.act(builder.conv("right", "conv1.act", 1))
    builder.head(builder.join("Add", "sum", left, right))
    with pytest.raises(
        InputError, match=r"^sum: both sides must have one shape, not \[\(1, 3, 9, 9\), \(1, 1, 9, 9\)\]"
    ):
        lower(builder.save(tmp_path / "bad.onnx"))


def test_accumulators_beyond_24_bits(tmp_path: Path) -> None:
    builder = Builder(0, (3, 5, 5))
    wide = builder.act(builder.conv("conv1", "image", 300, bits=6), bits=8)
    for name in ("conv2", "conv3"):
        wide = builder.act(builder.conv(name, wide, 300, kernel=3, pad=1, bits=6), bits=8)
    builder.constant("conv3.weight", np.full((300, 300, 3, 3), 31.0))
    builder.constant("conv3.weight.quant.scale", np.ones((300, 1, 1, 1)))
    builder.head(wide)
    with pytest.raises(
        InputError, match=r"^conv3: values must stay below 2\^24, not reach 21343500; use fewer bits"
    ):
        lower(builder.save(tmp_path / "bad.onnx"))


@pytest.mark.parametrize("content", [b"", b"not an ONNX file", None])
def test_files_that_are_not_models(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    if content is None:  # cut off
        content = valid().model().SerializeToString()
        content = content[: len(content) // 2]
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.onnx: the (model|file) must (have|hold)"):
        lower(path)


@pytest.mark.parametrize("function", [lower, quantizer_scales])
def test_missing_file_and_folder(function: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"none\.onnx: the model must be readable, not No such file or directory"
    ):
        function(tmp_path / "none.onnx")
    with pytest.raises(InputError, match=r"the model must be readable, not Is a directory"):
        function(tmp_path)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 3, 9, 9), np.uint8),
        np.zeros((1, 9, 9, 3), np.float32),
        np.zeros((9, 9, 3), np.uint8),
        np.zeros((0, 9, 9, 3), np.uint8),
        "image.png",
    ],
)
def test_wrong_images(images: object, tmp_path: Path) -> None:
    path = valid().save(tmp_path / "valid.onnx")
    message = r"^image: images must be uint8 of shape \(N, 9, 9, 3\), not .*; resize or convert them$"
    with pytest.raises(InputError, match=message):
        qonnx_trace(path, images)  # type: ignore[arg-type]
    if isinstance(images, str):
        with pytest.raises(InputError, match=message):
            finn_trace(lower(path), images)  # type: ignore[arg-type]


def test_average_over_one_axis(tmp_path: Path) -> None:
    builder = Builder()
    builder.head(builder.act(builder.conv("conv1", "image", 4)))
    del builder.nodes[-2:]
    builder.node("ReduceMean", ["head.relu"], "scores", axes=[3], keepdims=0)
    with pytest.raises(
        InputError, match=r"^scores: the average must be over axes \[2, 3\], not \[3\]; average all"
    ):
        lower(builder.save(tmp_path / "bad.onnx"))


def test_network_without_a_head(tmp_path: Path) -> None:
    builder = Builder()
    builder.head(builder.pool("pool", builder.act(builder.conv("conv1", "image", 4))))
    del builder.nodes[-5:]
    builder.node("GlobalAveragePool", ["pool"], "scores")
    message = (
        "^scores: the network must end in Conv, Relu and an average of all pixels, not in .*; change its head"
    )
    with pytest.raises(InputError, match=message):
        lower(builder.save(tmp_path / "bad.onnx"))


@pytest.mark.parametrize(("scale", "bits"), [(0.5, 8), (1.0, 7), (1.5, 8)])
def test_an_input_quantizer_that_changes_pixels(scale: float, bits: int, tmp_path: Path) -> None:
    builder = Builder()
    pixels = builder.quant("image", "pixels", scale, bits)
    builder.channels[pixels] = 3
    builder.head(fire(builder, "fire2", builder.act(builder.conv("conv1", pixels, 4))))
    with pytest.raises(
        InputError, match=r"^pixels: a quantizer of the input must leave the pixels 0\.\.255 as"
    ):
        lower(builder.save(tmp_path / "bad.onnx"))


def test_fractions_are_seen_not_mended(tmp_path: Path) -> None:
    lowered = lower(valid().save(tmp_path / "valid.onnx"))
    lowered.model.set_initializer("head.bias.values", np.full(5, 0.25, np.float32))
    with pytest.raises(
        ArithmeticError, match=r"^head\.bias: FINN's execution gives .*\.[27]5, which is not an integer$"
    ):
        finn_trace(lowered, np.zeros((1, 9, 9, 3), np.uint8))
