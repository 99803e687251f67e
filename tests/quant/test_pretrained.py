"""Weights from every kind of file, and the float network they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from fireflow.hw.errors import InputError
from fireflow.hw.preprocessing import CAFFE, TORCHVISION, Preprocessing
from fireflow.quant.networks.squeezenet import FireWidths, SqueezeNetSpec
from fireflow.quant.pretrained import FloatWeights, fold_preprocessing, load_weights
from tests.quant.weight_files import (
    LAYER_V1,
    LAYER_V2,
    NARROW,
    NARROW_1_0,
    assert_same,
    caffemodel,
    double_blob,
    network,
    new_blob,
    npz_of,
    old_blob,
    onnx_model,
    outputs,
    random_arrays,
    save_npz,
    torchvision_names,
    write_checkpoint,
    write_half_safetensors,
    write_old_pth,
    write_pth,
)


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


def test_real_caffemodel(data_folder: Path) -> None:
    weights = load_weights(data_folder / "squeezenet_v1_1_small.caffemodel")
    assert_same(weights.arrays, dict(np.load(data_folder / "squeezenet_v1_1_small.npz")))
    assert sum(a.size for a in weights.arrays.values()) == 619_816


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
        InputError, match=r"preprocessing must be known.*this onnx file.*caffe, torchvision or a JSON"
    ):
        load_weights(path)
    for name in ("features.0.weight", "squeezenet0_conv0_weight"):
        model.graph.initializer[0].name = model.graph.node[0].input[1] = name
        onnx.save(model, path)
        # The graph fixes its input to 64 pixels; a name says how they are scaled, and is said to be a guess.
        weights = load_weights(path)
        assert weights.preprocessing == replace(TORCHVISION, size=64, resize=73)
        (note,) = weights.notes
        assert note.startswith(
            "net.onnx: preprocessing assumed as torchvision's because its tensors are named"
        )
        assert load_weights(path, "caffe").preprocessing == replace(CAFFE, size=64, resize=72)
        asked = load_weights(path, CAFFE)
        assert asked.preprocessing == CAFFE
        assert (
            "--preprocessing is obeyed against what the file tells: input size 227, not 64" in asked.notes[0]
        )


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
    with pytest.raises(InputError, match="must be caffe, torchvision or a JSON file, not 'keras'"):
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
