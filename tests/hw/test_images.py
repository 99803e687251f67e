"""The one reader of pictures: every kind of file as a viewer shows it, or refused with its reason."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image, features

from fireflow.hw import pixels
from fireflow.hw.images import opened, read_rgb
from fireflow.hw.pixels import PictureError, Pixels
from fireflow.hw.preprocessing import CAFFE, TORCHVISION
from tests.hw.picture_bytes import encoded, oriented, photo, png, tiff

ROOT = Path(__file__).parents[2]
CASES = Path(os.environ.get("FIREFLOW_DATA", ROOT.parent / "shared" / "data")).parent / "cases"
GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)
# What turns a picture so that a viewer, which follows the orientation, shows it upright again.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


def shown(data: Any) -> np.ndarray:
    image = read_rgb(data)
    assert image.mode == "RGB"
    return np.asarray(image)


def grey(values: Any) -> np.ndarray:
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=-1)


def refused(data: Any, text: str) -> None:
    with pytest.raises(PictureError, match=text) as caught:
        read_rgb(data)
    assert "must be a picture that can be decoded, not " in str(caught.value)
    assert " at 0x" not in caught.value.reason, "no addresses"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_orientation(format: str, orientation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if format == "WEBP" and not features.check("webp"):
        pytest.skip("this Pillow reads no WebP")
    upright = np.asarray(photo(40, 24))
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    data = oriented(stored, orientation, format)
    whole = shown(data)
    if format == "JPEG":  # nearly so: its blocks lie elsewhere
        assert whole.shape == upright.shape
        assert np.abs(whole.astype(int) - upright).mean() < 8
    else:
        assert_array_equal(whole, upright)
    for rows in (1, 7 * 40):  # in bands as at once
        monkeypatch.setattr(pixels, "_BAND_PIXELS", rows)
        assert_array_equal(shown(data), whole)
        for record in (CAFFE, TORCHVISION):
            with opened(data) as picture:
                assert_array_equal(record.prepare(picture), record.prepare(whole))


def test_what_has_been_turned_is_not_turned_again() -> None:
    data = oriented(photo(40, 24), 6, "PNG")
    image = read_rgb(data)
    assert_array_equal(TORCHVISION.prepare(image), TORCHVISION.prepare(np.asarray(image)))
    assert_array_equal(TORCHVISION.prepare(Image.open(io.BytesIO(data))), TORCHVISION.prepare(image))
    assert_array_equal(read_rgb(encoded(image)), image)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHHI", 274, 3, 1, 9, 0, 0),
        b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHI4sI", 274, 2, 4, b"six\0", 0),
    ],
)
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_damaged_exif_says_nothing(exif: bytes, format: str) -> None:
    image = photo(40, 24)
    assert_array_equal(shown(encoded(image, format, exif=exif)), shown(encoded(image, format)))


@pytest.mark.parametrize("order", ["<", ">"])
def test_grey_of_16_bits(order: str) -> None:
    """Rounded as PNG's specification has it; the 16-bit values of 8-bit ones give these again."""
    exact, random = GREY.astype(np.uint16) * 257, np.random.default_rng(0)
    other = random.integers(0, 1 << 16, (16, 16)).astype(np.uint16)
    for values in (exact, other):
        expected = grey(np.floor(values / 257 + 0.5))
        assert_array_equal(shown(tiff(values, order)), expected)
        rows = [row.astype(">u2").tobytes() for row in values]
        assert_array_equal(shown(png(16, 16, 16, 0, rows)), expected)
        pgm = b"P5\n# 16 bits\n16 16\n65535\n" + values.astype(">u2").tobytes()
        assert_array_equal(shown(pgm), expected)
        assert_array_equal(np.asarray(Pixels.of(Image.fromarray(values)).rgb()), expected)
    assert_array_equal(shown(tiff(exact, order)), grey(GREY))


def test_grey_where_zero_is_white_and_of_12_bits() -> None:
    values = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)
    assert_array_equal(shown(tiff(values, bits=12)), grey((values * 255.0 / 4095).round()))
    wide = GREY.astype(np.uint16) * 257
    assert_array_equal(shown(tiff(wide, photometric=0)), grey(255 - GREY))
    assert_array_equal(shown(tiff(GREY, photometric=0)), grey(255 - GREY))


@pytest.mark.parametrize("order", ["<", ">"])
def test_floats(order: str) -> None:
    floats = GREY.astype(np.float32) / 255
    assert_array_equal(shown(tiff(floats, order, sample_format=3)), grey(GREY))
    for factor, text in (
        (255, "not this: floats from 0 to 255; scale them to 0..1"),
        (-1, "floats from -1 to -?0"),
        (1.01, "floats from 0 to 1.01"),
    ):
        refused(tiff((floats * factor).astype(np.float32), order, sample_format=3), text)
    for bad in (np.nan, np.inf):
        broken = floats.copy()
        broken[9, 3] = bad
        refused(tiff(broken, order, sample_format=3), "floats from .* (nan|inf)")
    refused(tiff(floats, order, photometric=0, sample_format=3), "floats of which 0 is white")
    refused(
        tiff(floats.astype(np.float64), order, sample_format=3), "a TIFF of a kind that Pillow does not read"
    )


@pytest.mark.parametrize(
    ("values", "sample_format"),
    [(np.int16([[5, -5]]), 2), (np.int8([[5, -5]]), 2), (np.uint32([[5, 9]]), 1), (np.int32([[5, 9]]), 2)],
)
def test_integers_without_a_scale_are_refused(values: Any, sample_format: int) -> None:
    refused(
        tiff(values, sample_format=sample_format),
        "-bit integers; save|signed integers; save|a TIFF of a kind",
    )
    with pytest.raises(PictureError, match="32-bit integers"):
        CAFFE.prepare(Image.fromarray(np.int32([[1, 2], [3, 4]])))


def over_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    mixed = colours.astype(int) * alpha[..., None] + 255 * (255 - alpha[..., None].astype(int))
    return np.floor(mixed / 255 + 0.5).astype(np.uint8)


@pytest.mark.parametrize("hidden", [(255, 0, 0), (255, 255, 255), (0, 0, 0)])
def test_alpha_over_white(hidden: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    colours, random = np.asarray(photo(40, 24)).copy(), np.random.default_rng(1)
    alpha = random.integers(0, 256, (24, 40)).astype(np.uint8)
    alpha[:8] = 0
    colours[:8] = hidden  # nobody sees it
    expected = over_white(colours, alpha)
    rgba = Image.fromarray(np.dstack([colours, alpha]))
    files = [encoded(rgba), encoded(rgba, "TIFF")]
    if features.check("webp"):
        files.append(encoded(rgba, "WEBP", lossless=True, exact=True))
    for data in files:
        assert_array_equal(shown(data), expected)
        monkeypatch.setattr(pixels, "_BAND_PIXELS", 100)
        assert_array_equal(shown(data), expected)
        with opened(data) as picture:
            assert_array_equal(CAFFE.prepare(picture), CAFFE.prepare(expected))
    two = np.dstack([colours[..., 0], alpha])
    lightness = over_white(grey(colours[..., 0]), alpha)
    assert_array_equal(shown(encoded(Image.fromarray(two))), lightness)
    for image, result in ((rgba, expected), (Image.fromarray(two), lightness)):
        premultiplied = image.convert("RGBa" if image.mode == "RGBA" else "La")
        found = np.asarray(Pixels.of(premultiplied).rgb()).astype(int)
        assert np.abs(found - result).max() <= 1, "premultiplied colours are rounded already"


def test_transparent_palettes_and_colours() -> None:
    palette = bytes([10, 20, 30, 40, 50, 60, 70, 80, 90, 0, 0, 0])
    indices = np.arange(16, dtype=np.uint8).reshape(4, 4) % 4
    colours = np.frombuffer(palette, np.uint8).reshape(4, 3)[indices]
    alphas = np.uint8([0, 128, 255, 255])
    rows = [bytes(row) for row in indices]
    data = png(4, 4, 8, 3, rows, PLTE=palette, tRNS=bytes(alphas))
    assert_array_equal(shown(data), over_white(colours, alphas[indices]))
    image = Image.fromarray(indices)
    image.putpalette(palette + bytes(756))
    keyed = np.where(indices == 2, 0, 255).astype(np.uint8)
    for kind in ("GIF", "PNG"):
        data = encoded(image, kind, transparency=2)
        assert_array_equal(shown(data), over_white(colours, keyed))
    with_alpha = Image.open(io.BytesIO(png(4, 4, 8, 3, rows, PLTE=palette, tRNS=bytes(alphas)))).convert("PA")
    assert_array_equal(np.asarray(Pixels.of(with_alpha).rgb()), over_white(colours, alphas[indices]))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_transparent_grey_of_every_depth(depth: int) -> None:
    count = min(1 << depth, 16)
    values = np.arange(count).reshape(1, -1) if depth < 16 else (np.arange(count) * 257).reshape(1, -1)
    bits = "".join(f"{value:0{depth}b}" for value in values[0]).ljust(8, "0")
    row = int(bits, 2).to_bytes(len(bits) // 8, "big")
    levels = (values * 255.0 / ((1 << depth) - 1)).round()
    last = int(values[0, -1])
    data = png(count, 1, depth, 0, [row], tRNS=struct.pack(">H", last))
    levels[values == last] = 255
    assert_array_equal(shown(data), grey(levels))
    data = png(count, 1, depth, 0, [row], tRNS=struct.pack(">H", 0))
    assert shown(data)[0, 0].tolist() == [255] * 3


def test_transparent_colours() -> None:
    row = bytes([1, 2, 3, 4, 5, 6, 4, 5, 7])
    assert shown(png(3, 1, 8, 2, [row], tRNS=struct.pack(">HHH", 4, 5, 6))).tolist() == [
        [[1, 2, 3], [255, 255, 255], [4, 5, 7]]
    ]
    wide = np.uint16([[1, 2, 3, 4, 5, 6]]) * 257
    refused(
        png(2, 1, 16, 2, [wide.astype(">u2").tobytes()], tRNS=struct.pack(">HHH", 257, 514, 771)), "48-bit"
    )
    assert shown(png(2, 1, 16, 2, [wide.astype(">u2").tobytes()])).tolist() == [[[1, 2, 3], [4, 5, 6]]]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV"])
def test_plain_modes_are_as_pillow_converts_them(mode: str) -> None:
    image = photo(40, 24).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    assert_array_equal(np.asarray(Pixels.of(image).rgb()), expected)
    assert_array_equal(CAFFE.prepare(image), CAFFE.prepare(expected))
    for kind in {"CMYK": ("TIFF", "JPEG"), "YCbCr": (), "HSV": ()}.get(mode, ("PNG", "TIFF")):
        data = encoded(image, kind)
        assert_array_equal(shown(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_colours_that_nothing_here_knows() -> None:
    image = Image.merge("LAB", photo(40, 24).split())
    refused(encoded(image, "TIFF"), "colours of the kind LAB; save it as RGB")


def test_the_first_of_several_pictures() -> None:
    first, second = photo(40, 24), photo(40, 24, seed=1)
    for kind, options in (("PNG", {}), ("TIFF", {}), ("GIF", {}), ("MPO", {"quality": 95})):
        several = encoded(first, kind, save_all=True, append_images=[second], **options)
        alone = encoded(first, "JPEG" if kind == "MPO" else kind, **options)
        assert_array_equal(shown(several), shown(alone))
