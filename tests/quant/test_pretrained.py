"""Weights from every kind of file, the float network they give, and the errors for files that are wrong."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from hw.errors import InputError
from hw.preprocessing import Preprocessing
from quant.family import CAFFE, TORCHVISION, infer_spec, layer_names
from quant.pretrained import FloatWeights, fold_preprocessing, load_weights, save_npz
from quant.squeezenet import FireWidths, SqueezeNet, SqueezeNetSpec

Arrays = dict[str, np.ndarray]
NARROW = SqueezeNetSpec("1.1", num_classes=5, stem_channels=4, fires=(FireWidths(2, 3, 4),) * 8)
NARROW_1_0 = replace(NARROW, version="1.0", head_padding=1)


def random_arrays(spec: SqueezeNetSpec, seed: int = 0) -> Arrays:
    """Weights of a network of this spec by our names, for files to be made of."""
    rng = np.random.default_rng(seed)
    state = SqueezeNet(spec).state_dict()
    return {name: rng.normal(0, 0.3, tuple(t.shape)).astype(np.float32) for name, t in state.items()}


def network(weights: FloatWeights) -> SqueezeNet:
    """The float network exactly as in the file: its input is what the source network takes."""
    net = SqueezeNet(weights.spec).eval()
    net.load_state_dict({name: torch.from_numpy(a) for name, a in weights.arrays.items()})
    return net


# --- Caffe, written byte by byte


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    payload = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def old_blob(array: np.ndarray) -> bytes:
    """num, channels, height, width and unpacked floats, as the first Caffe wrote them."""
    shape = (1,) * (4 - array.ndim) + array.shape
    floats = b"".join(varint(5 << 3 | 5) + struct.pack("<f", value) for value in array.ravel())
    return b"".join(field(n, size) for n, size in enumerate(shape, start=1)) + floats


def new_blob(array: np.ndarray) -> bytes:
    """BlobShape and packed floats."""
    return field(7, field(1, b"".join(map(varint, array.shape)))) + field(5, array.astype("<f4").tobytes())


def double_blob(array: np.ndarray) -> bytes:
    """A network trained in double precision."""
    return field(7, field(1, b"".join(map(varint, array.shape)))) + field(8, array.astype("<f8").tobytes())


# V1 layers have number, type and fields of their own.
LAYER_V2 = {
    "net": 100,
    "name": 1,
    "type": 2,
    "bottom": 3,
    "top": 4,
    "blobs": 7,
    "convolution": 106,
    "pooling": 121,
}
LAYER_V1 = {
    "net": 2,
    "name": 4,
    "type": 5,
    "bottom": 2,
    "top": 3,
    "blobs": 6,
    "convolution": 10,
    "pooling": 19,
}
V1_TYPES = {
    "Convolution": 4,
    "ReLU": 18,
    "Pooling": 17,
    "Concat": 3,
    "InnerProduct": 14,
    "Data": 5,
    "Split": 22,
}


def caffemodel(
    arrays: Arrays,
    spec: SqueezeNetSpec,
    numbers: Mapping[str, int] = LAYER_V2,
    blob: Callable[[np.ndarray], bytes] = new_blob,
    head_name: str = "conv10",
    extra: bytes = b"",
) -> bytes:
    def layer(name: str, kind: str, bottoms: list[str], top: str, content: bytes = b"") -> bytes:
        text = field(numbers["name"], name)
        text += field(numbers["type"], kind if numbers is LAYER_V2 else V1_TYPES[kind])
        text += b"".join(field(numbers["bottom"], bottom) for bottom in bottoms)
        return field(numbers["net"], text + field(numbers["top"], top) + content)

    def conv(name: str, ours: str, bottom: str, stride: int = 1, pad: int = 0) -> bytes:
        weight, bias = arrays[f"{ours}.weight"], arrays[f"{ours}.bias"]
        param = (field(3, pad) if pad else b"") + (field(6, stride) if stride > 1 else b"")
        blobs = field(numbers["blobs"], blob(weight)) + field(numbers["blobs"], blob(bias))
        return layer(
            name, "Convolution", [bottom], name, blobs + field(numbers["convolution"], param)
        ) + layer(f"relu_{name}", "ReLU", [name], name)

    max_pool = field(numbers["pooling"], field(1, 0) + field(2, 3) + field(3, 2))
    net = field(1, "a net") + layer("data", "Data", [], "data") + conv("conv1", "conv1", "data", stride=2)
    current = "conv1"
    for number in range(2, 10):
        fire = f"fire{number}"
        if pool := spec.pool_before(number):
            net += layer(pool, "Pooling", [current], pool, max_pool)
            current = pool
        net += conv(f"{fire}/squeeze1x1", f"{fire}.squeeze", current)
        net += conv(f"{fire}/expand1x1", f"{fire}.expand1x1", f"{fire}/squeeze1x1")
        net += conv(f"{fire}/expand3x3", f"{fire}.expand3x3", f"{fire}/squeeze1x1", pad=1)
        current = f"{fire}/concat"
        net += layer(current, "Concat", [f"{fire}/expand1x1", f"{fire}/expand3x3"], current)
    net += conv(head_name, "conv10", current, pad=spec.head_padding)
    average = field(numbers["pooling"], field(1, 1) + field(12, 1))
    return net + layer("pool10", "Pooling", [head_name], "pool10", average) + extra


@pytest.mark.parametrize("spec", [NARROW, NARROW_1_0], ids=["1.1", "1.0"])
@pytest.mark.parametrize("numbers", [LAYER_V1, LAYER_V2], ids=["V1", "V2"])
@pytest.mark.parametrize("blob", [old_blob, new_blob, double_blob])
def test_caffemodel(
    tmp_path: Path, spec: SqueezeNetSpec, numbers: Mapping[str, int], blob: Callable[[np.ndarray], bytes]
) -> None:
    arrays = random_arrays(spec)
    path = tmp_path / "net.caffemodel"
    path.write_bytes(caffemodel(arrays, spec, numbers, blob, head_name="conv10_fine_tuned"))
    weights = load_weights(path)
    assert (weights.source, weights.preprocessing) == ("caffe", CAFFE)
    assert weights.spec == replace(spec, input_size=227)
    assert_same(weights.arrays, arrays)


def assert_same(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        assert found[name].dtype == np.float32


def test_real_caffemodel(data_folder: Path) -> None:
    weights = load_weights(data_folder / "squeezenet_v1_1_small.caffemodel")
    assert_same(weights.arrays, dict(np.load(data_folder / "squeezenet_v1_1_small.npz")))
    assert sum(a.size for a in weights.arrays.values()) == 619_816


# --- ONNX


def onnx_model(
    arrays: Arrays, spec: SqueezeNetSpec, prefix: str = "", drop: tuple[str, ...] = ()
) -> onnx.ModelProto:
    """A network as exporters write it; `prefix` names the weights, steps in `drop` are left out."""
    nodes: list[onnx.NodeProto] = []

    def add(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        if output in drop:
            return inputs[0]
        nodes.append(helper.make_node(kind, inputs, [output], name=f"node {len(nodes)}", **attributes))
        return output

    def conv(name: str, source: str, pad: int = 0, stride: int = 1) -> str:
        names = [f"{prefix}{name}.weight", f"{prefix}{name}.bias"]
        return add(
            "Relu", [add("Conv", [source, *names], name, pads=[pad] * 4, strides=[stride] * 2)], f"{name}.act"
        )

    current = conv("conv1", "image", stride=2)
    for number in range(2, 10):
        fire = f"fire{number}"
        if pool := spec.pool_before(number):
            current = add("MaxPool", [current], pool, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
        squeeze = conv(f"{fire}.squeeze", current)
        branches = [conv(f"{fire}.expand1x1", squeeze), conv(f"{fire}.expand3x3", squeeze, pad=1)]
        out = add("Concat", branches, f"{fire}.concat", axis=1)
        if around := spec.bypass_of(number):
            bypass = conv(f"{fire}.bypass", current) if around == "conv" else current
            out = add("Add", [out, bypass], f"{fire}.add")
        current = out
    scores = conv("conv10", add("Dropout", [current], "drop9"), pad=spec.head_padding)
    pooled = add("GlobalAveragePool", [scores], "pool10")
    add("Shape", [pooled], "shape")
    add("Constant", [], "first", value=numpy_helper.from_array(np.array([0], np.int64)))
    add("Gather", ["shape", "first"], "batch", axis=0)
    add("Constant", [], "rest", value=numpy_helper.from_array(np.array([-1], np.int64)))
    add("Concat", ["batch", "rest"], "wanted shape", axis=0)
    add("Reshape", [pooled, "wanted shape"], "scores")
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, spec.num_classes])],
        [numpy_helper.from_array(array, f"{prefix}{name}") for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("bypass", ["none", "simple", "complex"])
@pytest.mark.parametrize("spec", [NARROW, NARROW_1_0], ids=["1.1", "1.0"])
def test_onnx(tmp_path: Path, spec: SqueezeNetSpec, bypass: Any) -> None:
    """Read from ONNX, our float network computes what ONNX Runtime computes."""
    wider = tuple(
        FireWidths(2, *expands)
        for expands in ((3, 4), (3, 4), (4, 5), (4, 5), (5, 5), (5, 5), (6, 5), (6, 5))
    )
    spec = replace(spec, bypass=bypass, fires=wider, input_size=64)
    arrays = random_arrays(spec)
    path = tmp_path / "net.onnx"
    onnx.save(onnx_model(arrays, spec), path)
    weights = load_weights(path, replace(TORCHVISION, size=64))
    assert weights.spec == spec
    assert_same(weights.arrays, arrays)
    image = np.random.default_rng(1).normal(size=(1, 3, 64, 64)).astype(np.float32)
    (wanted,) = onnxruntime.InferenceSession(path).run(None, {"image": image})
    with torch.no_grad():
        found = network(weights)(torch.from_numpy(image)).numpy()
    assert wanted.max() > 0.01
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_onnx_preprocessing(tmp_path: Path) -> None:
    """Torchvision's and the model zoo's names tell the preprocessing; others must be told."""
    path = tmp_path / "net.onnx"
    arrays = random_arrays(NARROW)
    model = onnx_model(arrays, NARROW)
    onnx.save(model, path)
    with pytest.raises(
        InputError, match=r"preprocessing must be known.*this onnx file.*caffe or torchvision"
    ):
        load_weights(path)
    for name in ("features.0.weight", "squeezenet0_conv0_weight"):
        model.graph.initializer[0].name = model.graph.node[0].input[1] = name
        onnx.save(model, path)
        assert load_weights(path).preprocessing == TORCHVISION
        assert load_weights(path, "caffe").preprocessing == CAFFE


def test_onnx_external_data(tmp_path: Path) -> None:
    arrays = random_arrays(NARROW)
    path = tmp_path / "net.onnx"
    onnx.save(
        onnx_model(arrays, NARROW), path, save_as_external_data=True, location="net.data", size_threshold=0
    )
    assert_same(load_weights(path, "torchvision").arrays, arrays)
    (tmp_path / "net.data").rename(tmp_path.parent / "net.data")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        tensor.external_data[0].value = "../net.data"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"must be a whole \.onnx file"):
        load_weights(path, "torchvision")


# --- torch


def torchvision_names(arrays: Arrays, spec: SqueezeNetSpec) -> dict[str, torch.Tensor]:
    features = [3, 4, 5, 7, 8, 9, 10, 12] if spec.version == "1.0" else [3, 4, 6, 7, 9, 10, 11, 12]
    renamed = {"conv1": "features.0", "conv10": "classifier.1"}
    renamed |= {
        f"fire{fire}": f"features.{number}" for fire, number in zip(range(2, 10), features, strict=True)
    }
    tensors = {}
    for name, array in arrays.items():
        first, rest = name.split(".", 1)
        tensors[f"{renamed[first]}.{rest}"] = torch.from_numpy(array)
    return tensors


def write_pth(tensors: dict[str, torch.Tensor], path: Path) -> None:
    torch.save(tensors, path)


def write_old_pth(tensors: dict[str, torch.Tensor], path: Path) -> None:
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


def write_checkpoint(tensors: dict[str, torch.Tensor], path: Path) -> None:
    state = {f"module.{name}": tensor for name, tensor in tensors.items()}
    torch.save({"epoch": 3, "state_dict": state}, path)


def write_half_safetensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    safetensors.torch.save_file({name: tensor.bfloat16() for name, tensor in tensors.items()}, path)


@pytest.mark.parametrize("spec", [NARROW, NARROW_1_0], ids=["1.1", "1.0"])
@pytest.mark.parametrize(
    ("write", "suffix"),
    [
        (write_pth, "pth"),
        (write_old_pth, "pth"),
        (write_checkpoint, "pt"),
        (write_half_safetensors, "safetensors"),
    ],
)
def test_torchvision(tmp_path: Path, spec: SqueezeNetSpec, write: Callable[..., None], suffix: str) -> None:
    arrays = random_arrays(spec)
    if suffix == "safetensors":  # numbers that bfloat16 has
        arrays = {
            name: (array.view(np.uint32) & 0xFFFF0000).view(np.float32) for name, array in arrays.items()
        }
    path = tmp_path / f"net.{suffix}"
    write(torchvision_names(arrays, spec), path)
    weights = load_weights(path)
    assert weights.preprocessing == TORCHVISION
    assert weights.spec == replace(spec, input_size=224, head_padding=0)
    assert_same(weights.arrays, arrays)


def test_our_state_dict(tmp_path: Path) -> None:
    """Our own float network, whose conv1 takes centred RGB pixels, is read with the record that says so."""
    arrays = random_arrays(NARROW)
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, tmp_path / "net.pt")
    with pytest.raises(InputError, match="this torch file does not tell"):
        load_weights(tmp_path / "net.pt")
    record = Preprocessing(size=224, resize=256, mean=(120.0, 110.0, 100.0))
    weights = load_weights(tmp_path / "net.pt", record)
    assert (weights.preprocessing, weights.spec) == (record, NARROW)
    folded = fold_preprocessing(weights)
    np.testing.assert_array_equal(folded.pixel_mean, np.array([120, 110, 100], np.float32))
    assert_same(folded.arrays, arrays)


class Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("touched by a pickle"),))


def test_no_pickled_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": Evil()}, tmp_path / "evil.pt")
    npz_of(tmp_path, {"conv1.weight": np.array([Evil()], dtype=object)}).rename(tmp_path / "evil.npz")
    with pytest.raises(InputError, match=r"must be a whole \.pt file without pickled objects"):
        load_weights("evil.pt", "caffe")
    with pytest.raises(InputError, match=r"must be a whole \.npz file without pickled objects"):
        load_weights("evil.npz", "caffe")
    assert not (tmp_path / "touched by a pickle").exists()


# --- npz


def test_npz(tmp_path: Path) -> None:
    arrays = random_arrays(NARROW_1_0)
    np.savez_compressed(tmp_path / "net.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match=r"preprocessing must be known.*npz file does not tell; say which it is"
    ):
        load_weights(tmp_path / "net.npz")
    with pytest.raises(InputError, match="must be caffe or torchvision, not 'keras'"):
        load_weights(tmp_path / "net.npz", "keras")
    caffe = load_weights(tmp_path / "net.npz", "caffe")
    assert caffe.spec == replace(NARROW_1_0, input_size=227)
    assert load_weights(tmp_path / "net.npz", "torchvision").spec.head_padding == 0
    simple = replace(caffe, spec=replace(caffe.spec, bypass="simple"))
    save_npz(simple, tmp_path / "saved.npz")
    again = load_weights(tmp_path / "saved.npz")
    assert (again.preprocessing, again.spec) == (CAFFE, simple.spec)
    assert_same(again.arrays, arrays)


@pytest.mark.parametrize("record", [CAFFE, TORCHVISION], ids=["caffe", "torchvision"])
def test_fold_preprocessing(record: Preprocessing) -> None:
    """conv1 of what is folded, on centred RGB pixels, is conv1 of the source on what the source takes."""
    arrays = random_arrays(NARROW)
    pixels = np.random.default_rng(2).integers(0, 256, (2, 3, 21, 21)).astype(np.float64)  # NCHW, RGB
    mean, std = (np.reshape(triple, (1, 3, 1, 1)) for triple in (record.mean, record.std))
    source = (pixels - mean) / std
    if record.source_order == "BGR":
        source = source[:, ::-1].copy()
    folded = fold_preprocessing(FloatWeights(arrays, "npz", record, NARROW))
    centred = pixels - folded.pixel_mean.reshape(1, 3, 1, 1)

    def conv1(image: np.ndarray, weights: Mapping[str, np.ndarray]) -> torch.Tensor:
        kernel, bias = (torch.from_numpy(weights[f"conv1.{kind}"]).double() for kind in ("weight", "bias"))
        return torch.nn.functional.conv2d(torch.from_numpy(image), kernel, bias, stride=2)

    torch.testing.assert_close(conv1(centred, folded.arrays), conv1(source, arrays), rtol=0, atol=1e-4)
    assert {name for name in arrays if not np.array_equal(arrays[name], folded.arrays[name])} == {
        "conv1.weight"
    }


# --- the real networks


def outputs(net: SqueezeNet, image: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of the modules by their names, for one image (3, H, W)."""
    kept: dict[str, np.ndarray] = {}
    for name, module in net.named_modules():
        module.register_forward_hook(lambda _m, _i, out, name=name: kept.__setitem__(name, out[0].numpy()))
    with torch.no_grad():
        net(torch.from_numpy(image)[None])
    return kept


def test_golden_caffe_1_0(data_folder: Path) -> None:
    golden = np.load(data_folder / "golden_v1_0_caffe.npz")
    weights = load_weights(data_folder / "squeezenet_v1_0.npz", "caffe")
    assert weights.spec.head_padding == 1
    kept = outputs(network(weights), golden["input"])
    for name, ours in [("conv1_relu", "conv1_act"), *((f"fire{n}_concat", f"fire{n}") for n in (2, 5, 9))]:
        np.testing.assert_allclose(kept[ours], golden[name], rtol=0, atol=1e-3, err_msg=name)
    np.testing.assert_allclose(np.maximum(kept["conv10"], 0), golden["conv10_relu"], rtol=0, atol=1e-3)
    np.testing.assert_allclose(kept[""], golden["pool10"], rtol=0, atol=1e-3)


def test_golden_caffe_1_0_from_pixels(data_folder: Path) -> None:
    """The same after folding, from RGB pixels."""
    golden = np.load(data_folder / "golden_v1_0_caffe.npz")
    weights = load_weights(data_folder / "squeezenet_v1_0.npz", "caffe")
    folded = fold_preprocessing(weights)
    net = network(replace(weights, arrays=folded.arrays))
    net.pixel_offset = torch.from_numpy(folded.pixel_mean).reshape(1, 3, 1, 1)
    pixels = golden["input"][::-1] + folded.pixel_mean.reshape(3, 1, 1)
    kept = outputs(net, pixels.astype(np.float32))
    np.testing.assert_allclose(kept["fire5"], golden["fire5_concat"], rtol=0, atol=2e-3)
    np.testing.assert_allclose(kept[""], golden["pool10"], rtol=0, atol=1e-3)


def test_golden_onnx_zoo_1_1(data_folder: Path) -> None:
    golden = np.load(data_folder / "golden_v1_1_onnxzoo.npz")
    net = network(load_weights(data_folder / "squeezenet_v1_1_onnxzoo.npz", "torchvision"))
    for number in range(3):
        found = outputs(net, golden[f"input_{number}"][0])[""]
        np.testing.assert_allclose(found, golden[f"output_{number}"], rtol=0, atol=2e-4)


# --- files that are wrong


def npz_of(path: Path, arrays: Arrays) -> Path:
    np.savez(path / "net.npz", **arrays)  # type: ignore[arg-type]
    return path / "net.npz"


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
