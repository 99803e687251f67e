"""Weight files of every kind, written from scratch, for the tests of the import."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import safetensors.torch
import torch
from onnx import TensorProto, helper, numpy_helper

from fireflow.quant.networks.squeezenet import FireWidths, SqueezeNet, SqueezeNetSpec
from fireflow.quant.pretrained import FloatWeights
from fireflow.quant.readers.npz import METADATA

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


def save_npz(weights: FloatWeights, path: Path) -> None:
    """Writes weights with their preprocessing, so that `load_weights` needs to be told nothing."""
    spec = weights.spec
    assert isinstance(spec, SqueezeNetSpec)
    metadata = {
        "preprocessing": weights.preprocessing.to_json(),
        "head_padding": spec.head_padding,
        "simple_bypass": spec.bypass == "simple",
        "head_relu": spec.head_relu,
        "pools": [asdict(border) for border in spec.pools],
    }
    content: dict[str, Any] = {METADATA: np.array(json.dumps(metadata)), **weights.arrays}
    np.savez(path, **content)


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


def assert_same(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        assert found[name].dtype == np.float32


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


# --- the real networks


def outputs(net: SqueezeNet, image: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of the modules by their names, for one image (3, H, W)."""
    kept: dict[str, np.ndarray] = {}
    for name, module in net.named_modules():
        module.register_forward_hook(lambda _m, _i, out, name=name: kept.__setitem__(name, out[0].numpy()))
    with torch.no_grad():
        net(torch.from_numpy(image)[None])
    return kept


def npz_of(path: Path, arrays: Arrays) -> Path:
    np.savez(path / "net.npz", **arrays)  # type: ignore[arg-type]
    return path / "net.npz"
