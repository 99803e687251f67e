"""What reaches the network: uint8 RGB of the right size, and a record that survives JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fireflow.hw.errors import InputError
from fireflow.hw.preprocessing import Preprocessing

Image = pytest.importorskip("PIL.Image")

CAFFE = Preprocessing(227, 256, source_order="BGR", mean=(123.0, 117.0, 104.0))
TORCH = Preprocessing(224, 256, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), keep_aspect=True)


def photo(width: int = 320, height: int = 200) -> Any:
    pixels = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3)).astype(np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.BICUBIC)


@pytest.mark.parametrize("record", [CAFFE, TORCH])
def test_record_survives_json(record: Preprocessing) -> None:
    assert Preprocessing.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_caffe_squashes_and_crops() -> None:
    expected = np.asarray(photo().resize((256, 256), Image.BILINEAR))[14 : 14 + 227, 14 : 14 + 227]
    result = CAFFE.prepare(photo())
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    assert_array_equal(result, expected)


@pytest.mark.parametrize(("width", "height", "long"), [(320, 200, 409), (200, 320, 409), (256, 256, 256)])
def test_torchvision_keeps_the_aspect(width: int, height: int, long: int) -> None:
    size = (long, 256) if width > height else (256, long)
    whole = np.asarray(photo(width, height).resize(size, Image.BILINEAR))
    top, left = round((size[1] - 224) / 2), round((size[0] - 224) / 2)
    assert_array_equal(TORCH.prepare(photo(width, height)), whole[top : top + 224, left : left + 224])


@pytest.mark.parametrize("record", [CAFFE, TORCH])
def test_array_and_picture_agree(record: Preprocessing) -> None:
    assert_array_equal(record.prepare(np.asarray(photo())), record.prepare(photo()))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_any_mode_becomes_rgb(mode: str) -> None:
    assert CAFFE.prepare(photo().convert(mode)).shape == (227, 227, 3)


def test_array_of_the_right_size_needs_no_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    record = Preprocessing(4, 6)
    image = np.arange(6 * 6 * 3, dtype=np.uint8).reshape(6, 6, 3)
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    assert_array_equal(record.prepare(image), image[1:5, 1:5])
    with pytest.raises(
        InputError, match="image: resizing needs Pillow, which is not installed; pip install pillow"
    ):
        record.prepare(image[:5])


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)]
)
def test_wrong_arrays(image: Any) -> None:
    with pytest.raises(InputError, match=r"image: must be uint8 of shape \(H, W, 3\), not"):
        CAFFE.prepare(image)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "size must be 1 to 16384 pixels, not 0"),
        ({"size": 2.0}, r"size must be 1 to 16384 pixels, not 2\.0"),
        ({"resize": 200}, "resize must be at least size=227, not 200"),
        ({"source_order": "GBR"}, "source_order must be 'RGB' or 'BGR', not 'GBR'"),
        ({"interpolation": "nearest"}, "interpolation must be 'bilinear', not 'nearest'"),
        ({"crop": None}, "crop must be 'center', not None"),
        ({"keep_aspect": 1}, "keep_aspect must be False or True, not 1"),
        ({"mean": (1, 2)}, "mean must be three finite numbers in RGB order"),
        ({"mean": (1, 2, float("nan"))}, "mean must be three finite numbers in RGB order"),
        ({"std": (1, 0, 1)}, "std must be three finite numbers above 0"),
        ({"std": None}, "std must be three finite numbers above 0"),
        ({"gamma": 1}, r"fields must be among \['size', .*\], not \[.*'gamma'"),
    ],
)
def test_rules(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"preprocessing: {message}"):
        Preprocessing.from_json({**CAFFE.to_json(), **change})


@pytest.mark.parametrize("document", [None, [], {"size": 3}])
def test_no_record(document: Any) -> None:
    with pytest.raises(InputError, match="preprocessing: fields must be among"):
        Preprocessing.from_json(document)
