"""Weight files that are wrong: each gets an error that names the place, the rule, the value and the fix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from fireflow.hw.errors import InputError
from fireflow.quant.networks.squeezenet import SqueezeNet
from fireflow.quant.networks.squeezenet.files import infer_spec, layer_names
from fireflow.quant.pretrained import load_weights
from tests.quant.weight_files import (
    NARROW,
    Arrays,
    caffemodel,
    field,
    new_blob,
    npz_of,
    old_blob,
    onnx_model,
    random_arrays,
    torchvision_names,
)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(tmp_path: Path, bad: float) -> None:
    arrays = random_arrays(NARROW)
    arrays["fire5.expand3x3.weight"][3, 1, 2, 0] = bad
    with pytest.raises(
        InputError, match=r"fire5.expand3x3.weight\[3, 1, 2, 0\]: weights must be finite, not"
    ):
        load_weights(npz_of(tmp_path, arrays), "caffe")


def without_fire9(arrays: Arrays) -> None:
    for name in [name for name in arrays if name.startswith("fire9")]:
        del arrays[name]


def five_by_five(arrays: Arrays) -> None:
    arrays["conv1.weight"] = np.ones((4, 3, 5, 5), np.float32)


def wide_squeeze(arrays: Arrays) -> None:
    arrays["fire3.squeeze.weight"] = np.ones((2, 9, 1, 1), np.float32)


def short_bias(arrays: Arrays) -> None:
    arrays["conv10.bias"] = arrays["conv10.bias"][:-1]


def integers(arrays: Arrays) -> None:
    arrays["conv10.bias"] = np.arange(5)


def one_more(arrays: Arrays) -> None:
    arrays["fc.weight"] = np.ones((2, 2), np.float32)


def lone_bypass(arrays: Arrays) -> None:
    arrays |= {
        "fire3.bypass.weight": np.ones((7, 7, 1, 1), np.float32),
        "fire3.bypass.bias": np.zeros(7, np.float32),
    }


def untrained(arrays: Arrays) -> None:
    arrays["fire2.squeeze.weight"][:] = 0


def flat_weight(arrays: Arrays) -> None:
    arrays["conv1.weight"] = np.array(1, np.float32)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_fire9, r"must have fire9.squeeze.weight, not 46 of its 52 tensors"),
        (five_by_five, r"conv1.weight: must be \(channels, 3, 7, 7\) for 1.0.*, not \(4, 3, 5, 5\)"),
        (wide_squeeze, r"fire3.squeeze.weight: must be \(channels, 7, 1, 1\).*, not \(2, 9, 1, 1\)"),
        (short_bias, r"conv10.bias: must be \(5,\) as its weight has it, not \(4,\)"),
        (integers, r"conv10.bias: weights must be floats, not int64"),
        (one_more, r"must not have fc.weight"),
        (lone_bypass, r"complex bypass must have a convolution in fires \[2\], not in \[3\]"),
        (untrained, r"fire2.squeeze.weight: weights must not all be zero"),
        (flat_weight, r"conv1.weight: must be .*, not \(\)"),
    ],
)
def test_wrong_architecture(tmp_path: Path, spoil: Callable[[Arrays], None], message: str) -> None:
    arrays = random_arrays(NARROW)
    spoil(arrays)
    with pytest.raises(InputError, match=message):
        load_weights(npz_of(tmp_path, arrays), "caffe")


def test_layer_names_are_those_of_the_network() -> None:
    names = [f"{layer}.{kind}" for layer in layer_names() for kind in ("weight", "bias")]
    assert names == list(SqueezeNet(NARROW).state_dict())
    assert infer_spec("here", {name: a.shape for name, a in random_arrays(NARROW).items()}) == NARROW


def alexnet_like() -> onnx.ModelProto:
    weights = {"w": (4, 3, 11, 11), "b": (4,), "fc": (10, 4)}
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["c"], strides=[4, 4]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "fc"], ["scores"], name="fc6", transB=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 11, 11])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 10])
    initializers = [numpy_helper.from_array(np.ones(s, np.float32), name) for name, s in weights.items()]
    return helper.make_model(helper.make_graph(nodes, "net", [image], [scores], initializers))


def edited(edit: Callable[[onnx.GraphProto], None], drop: tuple[str, ...] = ()) -> onnx.ModelProto:
    model = onnx_model(random_arrays(NARROW), NARROW, drop=drop)
    edit(model.graph)
    return model


def node(graph: onnx.GraphProto, output: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(n for n in graph.node if n.output[0] == output)
    return found


def swap_branches(graph: onnx.GraphProto) -> None:
    node(graph, "fire4.concat").input.reverse()


def stride_three(graph: onnx.GraphProto) -> None:
    node(graph, "conv1").attribute[1].ints[:] = [3, 3]


def pad_stem(graph: onnx.GraphProto) -> None:
    node(graph, "conv1").attribute[0].ints[:] = [1, 1, 1, 1]


def computed_weight(graph: onnx.GraphProto) -> None:
    graph.node.insert(0, helper.make_node("Relu", ["conv1.weight"], ["w"]))
    node(graph, "conv1").input[1] = "w"


def two_inputs(graph: onnx.GraphProto) -> None:
    graph.input.add(name="second")


def leaky(graph: onnx.GraphProto) -> None:
    node(graph, "fire2.squeeze.act").op_type = "LeakyRelu"


def nothing(graph: onnx.GraphProto) -> None:
    pass


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (alexnet_like, r"fc6: operations must be those of a SqueezeNet, not Gemm"),
        (lambda: edited(leaky), r"node 4: operations must be those of a SqueezeNet, not LeakyRelu"),
        (
            lambda: edited(nothing, drop=("fire9.concat",)),
            r"fire9: expand1x1 and expand3x3 must be concatenated",
        ),
        (lambda: edited(swap_branches), r"fire4: expand1x1 and expand3x3 must be concatenated in this order"),
        (
            lambda: edited(nothing, drop=("pool3",)),
            r"max pools must follow conv1, fire3, fire5 in SqueezeNet 1.1, not",
        ),
        (lambda: edited(stride_three), r"conv1 \(node 0\): stride must be \(2, 2\), not \(3, 3\)"),
        (lambda: edited(pad_stem), r"conv1 \(node 0\): padding must be \(0, 0, 0, 0\), not \(1, 1, 1, 1\)"),
        (lambda: edited(computed_weight), r"weights must be constants, not computed \(w\)"),
        (lambda: edited(two_inputs), r"the graph must have one input, not image, second"),
        (
            lambda: helper.make_model(helper.make_graph([], "net", [], [])),
            r"the graph must have one input, not none",
        ),
    ],
)
def test_wrong_onnx(tmp_path: Path, model: Callable[[], onnx.ModelProto], message: str) -> None:
    (tmp_path / "net.onnx").write_bytes(model().SerializeToString())
    with pytest.raises(InputError, match=message):
        load_weights(tmp_path / "net.onnx", "torchvision")


def test_wrong_caffemodel(tmp_path: Path) -> None:
    arrays, path = random_arrays(NARROW), tmp_path / "net.caffemodel"
    for content, message in [
        (b"", "must hold layers, not none"),
        (field(1, "only a name"), "must hold layers, not none"),
        (b"<html>not found</html>", "must be a whole .caffemodel file"),
        (caffemodel(arrays, NARROW)[:-9], "must be a whole .caffemodel file"),
        (caffemodel(arrays, NARROW, blob=lambda a: new_blob(a)[:-4]), "must be a whole .caffemodel file"),
        (
            caffemodel(arrays, NARROW, blob=lambda a: old_blob(a) + field(1, 9)),
            r"conv1.weight: must hold as many",
        ),
        (
            caffemodel(
                arrays,
                NARROW,
                extra=field(100, field(1, "fc") + field(2, "InnerProduct") + field(3, "a") + field(4, "b")),
            ),
            "fc: operations must be those of a SqueezeNet, not InnerProduct",
        ),
    ]:
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            load_weights(path)


def test_wrong_state_dicts(tmp_path: Path) -> None:
    names = torchvision_names(random_arrays(NARROW), NARROW)
    mixed = {name.replace("features.6.", "features.5."): tensor for name, tensor in names.items()}
    huge = names | {"features.0.weight": torch.zeros(1).expand(1 << 40)}
    for content, message in [
        ([1, 2], "must hold a state dict, not list"),
        ({}, "must hold a state dict, not dict"),
        ({"epoch": 3}, "epoch: must be a tensor, not int"),
        (
            {k: v for k, v in names.items() if "features.12" not in k},
            "features must have 8 Fire modules, not 7",
        ),
        (mixed, r"Fire modules must be features \[3, 4, 6, 7, 9, 10, 11, 12\], not \[3, 4, 5,"),
        (huge, r"features.0.weight: must be stored whole"),
    ]:
        torch.save(content, tmp_path / "net.pth")
        with pytest.raises(InputError, match=message):
            load_weights(tmp_path / "net.pth")


def test_wrong_path(tmp_path: Path) -> None:
    (tmp_path / "net.h5").write_bytes(b"")
    (tmp_path / "folder.npz").mkdir()
    for name, message in [
        ("net.h5", r"must end in .caffemodel, .onnx, .pth, .pt, .safetensors, .npz, not '.h5'"),
        ("none.onnx", "must be readable, not No such file or directory"),
        ("folder.npz", "must be a file, not a folder"),
    ]:
        with pytest.raises(InputError, match=message):
            load_weights(tmp_path / name)


def test_npz_that_claims_too_much(tmp_path: Path) -> None:
    """A header may not make us reserve more memory than the file holds."""
    path = tmp_path / "net.npz"
    arrays = random_arrays(NARROW)
    npz_of(tmp_path, arrays)
    content = path.read_bytes()
    claimed = content.replace(b"'shape': (4, 3, 3, 3), ", b"'shape': (4, 3, 3, 3000000,)"[:23], 1)
    assert claimed != content
    path.write_bytes(claimed)
    with pytest.raises(InputError, match=r"must be a whole \.npz file"):
        load_weights(path, "caffe")


def sample_files() -> Iterator[tuple[str, Callable[[Path], object]]]:
    arrays = random_arrays(NARROW)
    yield "caffemodel", lambda path: path.write_bytes(caffemodel(arrays, NARROW))
    yield "onnx", lambda path: onnx.save(onnx_model(arrays, NARROW), path)
    yield "pth", lambda path: torch.save(torchvision_names(arrays, NARROW), path)
    yield "safetensors", lambda path: safetensors.torch.save_file(torchvision_names(arrays, NARROW), path)
    yield "npz", lambda path: np.savez(path, **arrays)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("suffix", "write"), list(sample_files()), ids=lambda value: value if isinstance(value, str) else ""
)
@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(share=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
def test_damage_is_always_an_input_error(
    tmp_path: Path, suffix: str, write: Callable[[Path], object], share: float, byte: int, cut: bool
) -> None:
    """A file cut anywhere is refused; a changed byte is too, unless it leaves a network."""
    path = tmp_path / f"net.{suffix}"
    if not path.exists():
        write(path)
    content = bytearray(path.read_bytes())
    position = int(share * len(content))
    damaged = tmp_path / f"damaged.{suffix}"
    damaged.write_bytes(
        content[:position] if cut else content[:position] + bytes([byte]) + content[position + 1 :]
    )
    try:
        weights = load_weights(damaged, "caffe")
    except InputError:
        return
    assert set(weights.arrays) == set(random_arrays(NARROW))
