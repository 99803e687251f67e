"""What pictures may ask for: limits before anything is decoded, formats, damage, memory, turns."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from fireflow.hw import images
from fireflow.hw.images import MAX_DECODER_BYTES, read_rgb
from fireflow.hw.pixels import MAX_PIXELS, PictureError
from fireflow.hw.preprocessing import CAFFE, TORCHVISION, Preprocessing
from tests.hw.picture_bytes import encoded, oriented, photo, png
from tests.hw.test_images import CASES, ROOT, refused, shown


def header(width: int, height: int, depth: int = 1, colour: int = 0) -> bytes:
    """A PNG whose header promises a size and whose pixels are few."""
    return png(width, height, depth, colour, [b""])


def test_limits_before_anything_is_decoded() -> None:
    for width, height in ((13370, 13370), (8193, 6144), (1 << 16, 1 << 16), (100_000, 100_000)):
        refused(header(width, height), f"more than {MAX_PIXELS} pixels; make it smaller")
    for width, height in ((20000, 1), (1, 4000), (4000, 1), (20200, 200)):
        refused(header(width, height), f"{width}x{height} is longer than 100 times its shorter side")
    jpeg = bytearray(encoded(photo(40, 24), "JPEG"))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = struct.pack(">HH", 65000, 65000)
    refused(bytes(jpeg), f"more than {MAX_PIXELS} pixels")
    gif = bytearray(encoded(photo(40, 24), "GIF"))
    gif[6:10] = struct.pack("<HH", 60000, 60000)
    refused(bytes(gif), f"more than {MAX_PIXELS} pixels")
    image = Image.new("1", (8193, 6144))
    with pytest.raises(PictureError, match="8193x6144 is more than"):
        CAFFE.prepare(image)
    with pytest.raises(PictureError, match="4000x1 is longer than"):
        TORCHVISION.prepare(np.zeros((1, 4000, 3), np.uint8))
    for options in ({"lossless": True}, {"quality": 50}, {"lossless": True, "exif": b"Exif\0\0"}):
        webp = bytearray(encoded(photo(40, 24), "WEBP", **options))
        kind = bytes(webp[12:16])
        if kind == b"VP8X":
            webp[24:30] = b"\xff\x3f\0" * 2
        elif kind == b"VP8L":
            webp[21:25] = ((1 << 28) - 1).to_bytes(4, "little")
        else:
            webp[26:30] = b"\xff\x3f" * 2
        refused(bytes(webp), "1638[34]x1638[34] is more than 12582912 pixels")
    large = Preprocessing(size=1 << 14, resize=1 << 14, keep_aspect=True)
    with pytest.raises(PictureError, match=r"268435456|is more than"):  # what it is resized to counts too
        large.prepare(np.zeros((10, 10, 3), np.uint8))


@pytest.mark.parametrize(
    ("format", "options", "each"),
    [
        ("JPEG", {}, 4),
        ("JPEG", {"progressive": True, "subsampling": 0}, 10),
        ("JPEG", {"progressive": True, "subsampling": 2}, 7),
        ("TIFF", {}, 8),
        ("WEBP", {}, 16),
        ("PNG", {}, 4),
    ],
)
def test_limit_of_decoders_that_hold_more(format: str, options: Any, each: int, monkeypatch: Any) -> None:
    data = encoded(photo(40, 24), format, **options)
    monkeypatch.setattr(images, "MAX_DECODER_BYTES", 40 * 24 * each)
    read_rgb(data)
    monkeypatch.setattr(images, "MAX_DECODER_BYTES", 40 * 24 * each - each)
    refused(data, "40x24 is more than 959 pixels")


def test_a_jpeg_with_a_scan_for_each_colour_counts_as_progressive() -> None:
    """Its decoder keeps all coefficients as well; only the scan's header tells."""
    data = bytearray(encoded(photo(40, 24), "JPEG"))
    place = data.index(b"\xff\xda")
    (length,) = struct.unpack(">H", data[place + 2 : place + 4])
    one = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 63, 0)
    changed = bytes(data[:place]) + one + bytes(data[place + 2 + length :])
    file = io.BytesIO(changed)
    assert images._decoder_bytes(images.unread(file), file) > 4


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize("name", ["eps", "tga", "psd", "ico", "icns", "pcx", "sgi", "words", "nothing"])
def test_other_formats_are_not_even_tried(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def started(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing is started for a picture")

    monkeypatch.setattr(subprocess, "Popen", started)
    monkeypatch.setattr(subprocess, "call", started)
    content = {"eps": EPS, "words": b"words", "nothing": b"", "psd": b"8BPS\0\1" + bytes(40)}.get(name)
    if content is None:
        content = encoded(photo(32, 32), name)
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    refused(path, r"not damaged \(no known image format\); replace or remove it")
    refused(content, "no known image format")


def test_damaged_files() -> None:
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM", "WEBP"):
        data = encoded(photo(64, 64), kind)
        refused(data[: len(data) // 2], "not damaged")
    text = zlib.compress(bytes(80 << 20))  # a bomb beside the pixels
    chunk = png(4, 4, 8, 0, [bytes(4)] * 4, zTXt=b"a\0\0" + text, iCCP=b"b\0\0" + text)
    refused(chunk, "Decompressed data too large|text")


def test_the_tiles_of_a_tiff_count() -> None:
    """Its decoder takes a whole tile, however small the picture."""
    data = zlib.compress(bytes(64 * 64))
    for side, read in ((64, True), (20000, False)):
        tags = {256: 48, 257: 48, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 325: len(data)}
        tags[324] = 8 + 2 + 12 * 10 + 4
        fields = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
        file = b"II*\0" + struct.pack("<IH", 8, len(tags)) + fields + bytes(4) + data
        if read:
            assert shown(file).shape == (48, 48, 3)
        else:
            refused(file, "20000x20000 is more than")


def test_files_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "no regular file")
    refused("/dev/zero", "no regular file")
    refused(tmp_path, "no regular file")
    refused(tmp_path / "missing.png", "No such file")
    big = tmp_path / "big.png"
    with big.open("wb") as file:
        file.truncate(images.MAX_FILE_BYTES + 1)
    refused(big, "bytes are more than")


def test_heic_names_its_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
    if images.why_not_read(".heic") is None:
        refused(data, "not damaged")
    else:
        refused(data, "not this: HEIC, which needs pillow-heif; pip install pillow-heif, or convert it")


@pytest.mark.skipif(images.why_not_read(".heic") is not None, reason="pillow-heif is not installed")
def test_heic() -> None:
    data = encoded(photo(64, 48), "HEIF", quality=100)
    found = shown(data).astype(int)
    assert found.shape == (48, 64, 3)
    assert np.abs(found - np.asarray(photo(64, 48))).mean() < 12


@pytest.mark.parametrize("format", ["AVIF", "JPEG2000"])
def test_newer_formats(format: str) -> None:
    ending = {"AVIF": ".avif", "JPEG2000": ".jp2"}[format]
    missing = images.why_not_read(ending)
    if missing is not None:
        pytest.skip(f"{ending} {missing}")
    image = photo(16, 12).resize((64, 48), Image.Resampling.BICUBIC)
    found = shown(encoded(image, format)).astype(int)
    assert found.shape == (48, 64, 3)
    assert np.abs(found - np.asarray(image)).mean() < 12


def test_large_pictures_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = images._Shared(100 << 20)
    monkeypatch.setattr(images, "_SMALL_BYTES", 1 << 20)
    most, under_way, lock = 0, 0, threading.Lock()

    def take(amount: int) -> None:
        nonlocal most, under_way
        with shared.part(amount):
            with lock:
                under_way += amount
                most = max(most, under_way)
            time.sleep(0.002)
            with lock:
                under_way -= amount

    amounts = [10 << 20, 90 << 20, 60 << 20, 30 << 20] * 8
    threads = [threading.Thread(target=take, args=(amount,)) for amount in amounts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 90 << 20 <= most <= 100 << 20
    assert shared._used == 0
    with shared.part(90 << 20):
        for _ in range(2):  # whoever gives up does not stand in the way
            with pytest.raises(images.Busy), shared.part(20 << 20, wait_s=0.01):
                raise AssertionError("too much at once")
        with shared.part(5 << 20, wait_s=0), shared.part(1 << 20):
            pass
    with shared.part(100 << 20, wait_s=0):
        pass
    assert shared._used == 0


MEMORY = """
import sys, threading
from fireflow.hw.images import opened
from fireflow.hw.preprocessing import TORCHVISION

def high():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1])

def work(path):
    with opened(path) as picture:
        assert TORCHVISION.prepare(picture).shape == (224, 224, 3)

work(sys.argv[1])  # what is loaded once
start = high()
threads = [threading.Thread(target=work, args=(path,)) for path in sys.argv[2:]]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(high() - start)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is Linux's")
def test_memory_of_the_largest_pictures(tmp_path: Path) -> None:
    """Three that were 600 MB each, at once: of the largest size, on its side, transparent, of one bit."""
    photo(40, 24).save(tmp_path / "small.png")
    size = (8192, 6144)
    (tmp_path / "turned.jpg").write_bytes(oriented(Image.new("RGB", size, (90, 60, 30)), 6, "JPEG"))
    Image.new("RGBA", size, (9, 8, 7, 90)).save(tmp_path / "clear.png", compress_level=1)
    Image.new("1", size).save(tmp_path / "bit.png", compress_level=1)
    names = ("small.png", "turned.jpg", "clear.png", "bit.png")
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *(str(tmp_path / name) for name in names)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) * 1024 < MAX_DECODER_BYTES + (80 << 20)


@pytest.mark.skipif(not (CASES / "pictures").is_dir(), reason=f"no pictures in {CASES}")
def test_pictures_of_strangers() -> None:
    folder = CASES / "pictures"
    plain, upright = shown(folder / "gray8.png"), shown(folder / "upright.png")
    for name in ("gray16.png", "gray16.tif", "float01.tif"):
        assert_array_equal(shown(folder / name), plain)
    assert_array_equal(shown(folder / "exif6.png"), upright)
    assert np.abs(shown(folder / "exif6.jpg").astype(int) - upright).max() <= 8  # JPEG's own
    assert_array_equal(shown(folder / "alpha_hidden_red.png"), shown(folder / "alpha_hidden_white.png"))
    refused(CASES / "strip" / "4000x1.png", "4000x1 is longer than 100 times its shorter side")
