"""What pictures a weight file expects: from the file, by option, or assumed and said."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from fireflow.hw.errors import InputError
from fireflow.hw.picture_options import PictureOptions
from fireflow.hw.preprocessing import CAFFE, TORCHVISION, Preprocessing
from fireflow.quant.build import load_network
from fireflow.quant.model_file import save_model
from fireflow.quant.pretrained import load_weights
from tests.quant.caffe_editing import BASES, SIDE, base
from tests.quant.caffe_executor import Described, written
from tests.quant.weight_files import NARROW, onnx_model, random_arrays, torchvision_names, write_pth


def caffe(tmp_path: Path, **data_layer: Any) -> Path:
    network: Described = copy.deepcopy(base(BASES[3]))
    first = network["layers"][0]
    for name in ("transform", "data"):
        del first[name]
    first.update(data_layer)
    path = tmp_path / "net.caffemodel"
    path.write_bytes(written(network))
    return path


def torchvision_like(tmp_path: Path, side: int = 64, **metadata: str) -> Path:
    model = onnx_model(random_arrays(NARROW), NARROW)
    model.graph.initializer[0].name = model.graph.node[0].input[1] = "features.0.weight"
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = side
    helper.set_model_props(model, metadata)
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    return path


def test_a_transformation_in_the_file(tmp_path: Path) -> None:
    transform = {"scale": 0.017, "crop_size": 224, "mean_value": [103.94, 116.78, 123.68]}
    weights = load_weights(caffe(tmp_path, transform=transform))
    record = weights.preprocessing
    assert (record.size, record.resize, record.source_order, record.keep_aspect) == (224, 256, "BGR", False)
    np.testing.assert_allclose(record.mean, (123.68, 116.78, 103.94), rtol=1e-6)
    np.testing.assert_allclose(record.std, (1 / 0.017,) * 3, rtol=1e-6)
    (note,) = weights.notes
    assert note.startswith(
        "net.caffemodel: resize, colour order, aspect assumed as Caffe's tools store pictures"
    )
    assert "--resize, --colour-order, --keep-aspect say otherwise" in note


@pytest.mark.parametrize(
    ("layer", "wanted"),
    [
        ({"transform": {"mean_value": [120.0], "crop_size": SIDE}}, {"mean": (120.0,) * 3, "size": SIDE}),
        ({"transform": {"crop_size": SIDE}}, {"mean": (0.0,) * 3, "std": (1.0,) * 3, "size": SIDE}),
        ({"data": {"scale": 0.5, "crop_size": SIDE}}, {"std": (2.0,) * 3, "size": SIDE}),
        (
            {"type": "Input", "top": ["data"], "input": {"shape": [1, 3, 64, 64]}},
            {"size": 64, "mean": CAFFE.mean},
        ),
        (
            {
                "type": "ImageData",
                "image_data": {"new_height": 60, "new_width": 60},
                "transform": {"crop_size": 48},
            },
            {"size": 48, "resize": 60, "keep_aspect": False},
        ),
        ({}, {"size": 227, "mean": CAFFE.mean, "source_order": "BGR"}),
    ],
)
def test_what_a_caffe_file_tells(tmp_path: Path, layer: Described, wanted: dict[str, Any]) -> None:
    record = load_weights(caffe(tmp_path, **layer)).preprocessing
    assert {name: getattr(record, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            {"transform": {"mean_file": "m.binaryproto", "crop_size": 64}},
            "mean must be known, and its mean_file",
        ),
        ({"transform": {"unknown": 1}}, "mean must be known, and its transform_param has field 40"),
        ({"transform": {"force_gray": 1}}, "data: pictures must have colours, not gray"),
        ({"transform": {"mean_value": [1.0, 2.0]}}, "mean_value must be one number or three, not 2"),
        (
            {"type": "Input", "top": ["data"], "input": {"shape": [1, 3, 64, 48]}},
            r"must be \(N, 3, side, side\)",
        ),
    ],
)
def test_what_no_caffe_file_may_leave_open(tmp_path: Path, layer: Described, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_weights(caffe(tmp_path, **layer))


def test_a_mean_that_is_elsewhere_can_be_said(tmp_path: Path) -> None:
    path = caffe(tmp_path, transform={"mean_file": "m.binaryproto", "crop_size": 64})
    assert load_weights(path, PictureOptions(mean=(1.0, 2.0, 3.0))).preprocessing.mean == (1.0, 2.0, 3.0)
    assert load_weights(path, "caffe").preprocessing == replace(CAFFE, size=64, resize=72)


def test_the_size_of_an_onnx_file(tmp_path: Path) -> None:
    """The graph's own size counts; another can be asked for, and that is said."""
    path = torchvision_like(tmp_path, 128)
    assert load_weights(path).preprocessing == replace(TORCHVISION, size=128, resize=146)
    asked = load_weights(path, PictureOptions(size=96))
    assert (asked.spec.input_size, asked.preprocessing.resize) == (96, 110)
    assert (
        "net.onnx: --input-size is obeyed against what the file tells: input size 96, not 128" in asked.notes
    )


def test_options_of_one_field_each(tmp_path: Path) -> None:
    path = torchvision_like(tmp_path)
    options = PictureOptions(
        mean=(1.0, 2.0, 3.0), scale=0.5, source_order="BGR", keep_aspect=False, size=64, resize=80
    )
    weights = load_weights(path, options)
    assert weights.preprocessing == Preprocessing(
        size=64, resize=80, source_order="BGR", mean=(1.0, 2.0, 3.0), std=(2.0, 2.0, 2.0), keep_aspect=False
    )
    assert not [note for note in weights.notes if "assumed" in note]  # nothing was left to assume


def test_a_file_that_tells_nothing(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    np.savez(path, **random_arrays(NARROW))  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match=r"say which it is with --preprocessing.*, or with --mean, --std, --colour-order"
    ):
        load_weights(path)
    with pytest.raises(InputError, match=r"does not tell its colour order; .*or with --colour-order"):
        load_weights(path, PictureOptions(mean=(1.0, 2.0, 3.0), std=(2.0, 2.0, 2.0)))
    weights = load_weights(path, PictureOptions(mean=(1.0, 2.0, 3.0), scale=1.0, source_order="RGB"))
    assert weights.preprocessing == Preprocessing(
        size=224, resize=256, keep_aspect=True, mean=(1.0, 2.0, 3.0)
    )
    assert any("input size, resize, aspect assumed as usual" in note for note in weights.notes)
    assert any("connections assumed as published" in note for note in weights.notes)


def test_a_json_file_is_obeyed_against_the_file(tmp_path: Path) -> None:
    record = Preprocessing(size=48, resize=50, mean=(1.0, 2.0, 3.0))
    (tmp_path / "record.json").write_text(json.dumps(record.to_json()))
    weights = load_weights(caffe(tmp_path, transform={"crop_size": SIDE}), str(tmp_path / "record.json"))
    assert weights.preprocessing == record
    (note,) = weights.notes
    assert (
        "--preprocessing is obeyed against what the file tells: input size 48, not 40; mean 1 2 3, not 0 0 0"
        in note
    )


def test_state_dicts_are_said_to_be_assumed(tmp_path: Path) -> None:
    write_pth(torchvision_names(random_arrays(NARROW), NARROW), tmp_path / "net.pth")
    notes = load_weights(tmp_path / "net.pth").notes
    assert "preprocessing assumed as torchvision's because its tensors are named as torchvision's" in notes[0]
    assert (
        "connections assumed as published (pools that round up, a ReLU in front of the average)" in notes[1]
    )


@pytest.mark.parametrize(
    ("metadata", "wanted"),
    [
        ({"Image.BitmapPixelFormat": "Bgr8"}, {"source_order": "BGR", "mean": TORCHVISION.mean}),
        ({"Image.NominalPixelRange": "Normalized_0_1"}, {"mean": (0.0,) * 3, "std": (255.0,) * 3}),
        ({"Image.NominalPixelRange": "Normalized_1_1"}, {"mean": (127.5,) * 3, "std": (127.5,) * 3}),
        (
            {"preprocessing": json.dumps(replace(CAFFE, size=64).to_json())},
            {"source_order": "BGR", "size": 64},
        ),
        ({"author": "someone", "Image.ColorSpaceGamma": "SRGB"}, {"mean": TORCHVISION.mean}),
    ],
)
def test_metadata_of_onnx(tmp_path: Path, metadata: dict[str, str], wanted: dict[str, Any]) -> None:
    record = load_weights(torchvision_like(tmp_path, **metadata)).preprocessing
    assert {name: getattr(record, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (
            {"mean": "[0.5, 0.5, 0.5]"},
            "preprocessing must be known.*because its metadata 'mean' is not understood",
        ),
        ({"Image.BitmapPixelFormat": "Gray8"}, "Image.BitmapPixelFormat must be Rgb8, Bgr8, not Gray8"),
        ({"preprocessing": "{"}, "metadata 'preprocessing' must be a preprocessing record"),
    ],
)
def test_metadata_that_is_not_understood(tmp_path: Path, metadata: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_weights(torchvision_like(tmp_path, **metadata))


def test_a_graph_that_normalises_is_not_guessed_at(tmp_path: Path) -> None:
    """Torchvision's names with the mean inside of the graph: to subtract it again would be wrong."""
    model = onnx.load(torchvision_like(tmp_path))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.full((1, 3, 1, 1), 0.5, np.float32), "m"))
    model.graph.node.insert(0, helper.make_node("Sub", ["image", "m"], ["centred"]))
    model.graph.node[1].input[0] = "centred"
    onnx.save(model, tmp_path / "own.onnx")
    with pytest.raises(
        InputError, match=r"preprocessing must be known.*because it normalises the picture itself"
    ):
        load_weights(tmp_path / "own.onnx")
    raw = PictureOptions(mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0), source_order="RGB")
    plain, own = (load_weights(tmp_path / name, raw).arrays for name in ("net.onnx", "own.onnx"))
    moved = plain["conv1.bias"] - 0.5 * plain["conv1.weight"].sum(axis=(1, 2, 3))
    np.testing.assert_allclose(own["conv1.bias"], moved, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"mean": (0.485, 0.456, 0.406)},
            "--mean: must be in units of pixels of 0 to 255.*multiply it by 255",
        ),
        ({"std": (0.229, 0.224, 0.225)}, "--std: must be in units of pixels.*multiply mean and std by 255"),
        ({"scale": 0.0}, "--scale: must be a number above 0, not 0"),
        ({"scale": 1.0, "std": (1.0, 1.0, 1.0)}, "--scale: must be given without --std"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PictureOptions(**options)


def test_a_model_of_ours_takes_another_frame_only(tmp_path: Path) -> None:
    path = torchvision_like(tmp_path)
    save_model(load_network(path), tmp_path / "net.fireq")
    model = load_network(tmp_path / "net.fireq", PictureOptions(size=96, resize=100, keep_aspect=False))
    assert (model.network.spec.input_size, model.preprocessing.resize) == (96, 100)
    assert not model.preprocessing.keep_aspect
    for options, flag in (
        ({"mean": (1.0, 2.0, 3.0)}, "--mean"),
        ({"preprocessing": "caffe"}, "--preprocessing"),
    ):
        with pytest.raises(InputError, match=f"net.fireq: {flag} is for float weights"):
            load_network(tmp_path / "net.fireq", PictureOptions(**options))
