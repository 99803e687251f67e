"""Every door shows a picture alike, keeps one limit, takes the same files, and says what it leaves out."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fireflow.host.cli import main
from fireflow.host.cli.arguments import split_share
from fireflow.host.pictures import find_pictures, prepared, read_picture
from fireflow.host.service.decoding import Decoder
from fireflow.host.sources import open_pictures
from fireflow.host.streams import stdin_frames
from fireflow.hw import images
from fireflow.hw.errors import InputError
from fireflow.hw.picture_files import FolderSource, ZipSource, left_out_line
from fireflow.hw.pixels import PictureError
from fireflow.quant import data
from fireflow.quant.data import DamagedImage, open_images
from fireflow.quant.decoded import decode_to_array
from tests.host.boards import accelerator, bundle
from tests.hw.picture_bytes import encoded, oriented, photo, png, tiff

RECORD = bundle().manifest.preprocessing
GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


def of_every_kind() -> dict[str, bytes]:
    rgba = Image.fromarray(np.dstack([np.asarray(photo(40, 24)), np.full((24, 40), 99, np.uint8)]))
    animated = encoded(photo(40, 24), "GIF", save_all=True, append_images=[photo(40, 24, 1)])
    return {
        "side.jpg": oriented(photo(40, 24), 6, "JPEG"),
        "mirror.PNG": oriented(photo(40, 24), 7, "PNG"),
        "deep.png": png(16, 16, 16, 0, [row.astype(">u2").tobytes() for row in GREY.astype(np.uint16) * 257]),
        "float.tif": tiff(GREY.astype(np.float32) / 255, sample_format=3),
        "clear.png": encoded(rgba),
        "ink.tiff": encoded(photo(40, 24).convert("CMYK"), "TIFF"),
        "moving.gif": animated,
        "few.jpe": encoded(photo(40, 24).convert("L"), "JPEG"),
        "old.jfif": encoded(photo(40, 24), "JPEG", progressive=True),
        "bits.pbm": encoded(photo(40, 24).convert("1"), "PPM"),
    }


def through_every_door(path: Path, archive: Path, cache: Path) -> dict[str, Any]:
    """name -> what each door makes of it: pixels, or None where it refuses."""
    refused: dict[str, str] = {}
    found: dict[str, dict[str, Any]] = {
        "training": {},
        "zip": {},
        "host": {},
        "run": {},
        "run zip": {},
        "serve": {},
    }
    for door, where in (("training", path), ("zip", archive)):
        pictures = open_images(where)
        decoded = decode_to_array(pictures, RECORD, cache)
        found[door] = dict(zip(decoded.names, decoded.images, strict=True))
    for file in find_pictures([path])[0]:
        try:
            found["host"][file.relative_to(path).as_posix()] = read_picture(file, RECORD)
        except InputError as error:
            refused[f"host {file.name}"] = str(error).replace(str(file), "")
    for door, where in (("run", path), ("run zip", archive)):
        prefix = f"{path}/" if door == "run" else f"{archive.name}/"
        for picture in open_pictures(str(where), RECORD, keep=True):
            assert picture.shown.mode == "RGB"
            found[door][picture.name.removeprefix(prefix)] = picture.pixels
    with accelerator() as (device, _board), closing(Decoder(device, print, 4)) as decoder:
        for file in find_pictures([path])[0]:
            try:
                pixels = decoder.image(file.read_bytes())
            except PictureError as error:
                refused[f"serve {file.name}"] = f": {error}"
            else:
                found["serve"][file.relative_to(path).as_posix()] = pixels
    for place, told in refused.items():
        assert place.startswith(("host ", "serve "))
        assert told.startswith(
            (": must be a picture that can be decoded, not ", ": must be a picture that can be decoded (")
        )
    return found


def write(folder: Path, members: dict[str, bytes]) -> tuple[Path, Path]:
    """A folder and a zip of the same files."""
    for name, content in members.items():
        (folder / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "set" / name).write_bytes(content)
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return folder / "set", folder / "set.zip"


def test_every_door_gives_the_same_pixels(tmp_path: Path) -> None:
    members = of_every_kind()
    members["strip.png"] = encoded(Image.new("RGB", (4000, 1)))
    members["many.png"] = png(13370, 13370, 1, 0, [b""])
    members["eps.png"] = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"
    members["signed.tif"] = tiff(np.int16([[1, -1]]), sample_format=2)
    members["cut.jpg"] = members["side.jpg"][:300]
    doors = through_every_door(*write(tmp_path, members), tmp_path / "cache")
    for door, found in doors.items():
        assert sorted(found) == sorted(of_every_kind()), door
        for name, pixels in found.items():
            np.testing.assert_array_equal(pixels, doors["training"][name], err_msg=f"{door} {name}")
            np.testing.assert_array_equal(pixels, RECORD.prepare(images.read_rgb(members[name])))


def test_folder_and_zip_leave_out_the_same(tmp_path: Path) -> None:
    whole = encoded(photo(40, 24))
    names = ("a/1.png", "b/2.JPG", "b/3.JpEg", "b/4.jpe", "b/5.jfif", "c/6.pgm")
    members = dict.fromkeys(names, whole)
    for name in ("a/._1.png", "__MACOSX/a/._1.png", "__MACOSX/a/1.png", "a/@eaDir/1.png", ".cache/1.png"):
        members[name] = b"left out"
    others = ("a/x.svg", "a/y.PDF", "a/z.pdf", "a/film.mp4", "notes.txt", "a/.DS_Store", "a/Thumbs.db")
    members |= dict.fromkeys(others, b"x")
    folder, archive = write(tmp_path, members)
    (folder / "a" / "gone.png").symlink_to(tmp_path / "nothing")
    os.mkfifo(folder / "a" / "pipe.png")
    expected = {"hidden": 5, ".pdf": 2, ".svg": 1, ".mp4": 1}
    for where, left_out in ((folder, {**expected, "no regular file": 2}), (archive, expected)):
        assert open_images(where).names == names
        assert open_images(where).left_out == left_out
        assert open_images(where).class_names == ("a", "b", "c")
        source = open_pictures(str(where), RECORD)
        assert (source.total, source.left_out) == (6, left_out)
        assert len(list(source)) == 6
    found, left_out = find_pictures([folder, folder / "a" / "1.png"])
    assert [path.relative_to(folder).as_posix() for path in found] == [*names, "a/1.png"]
    assert left_out == {**expected, "no regular file": 2}
    assert left_out_line(expected) == "left out: 5 hidden, 2 .pdf, 1 .mp4, 1 .svg"
    assert FolderSource(folder).find().names == ZipSource(archive).find().names


def test_what_nothing_here_reads_is_said_with_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = {".heic": "needs pillow-heif", ".avif": "needs a Pillow with AVIF"}
    for module in ("fireflow.hw.picture_files.why_not_read",):
        monkeypatch.setattr(module, needs.get)
    folder, archive = write(tmp_path, {"a.HEIC": b"x", "b.heic": b"x", "c.avif": b"x"})
    line = r"not none \(left out: 2 .heic \(needs pillow-heif\), 1 .avif \(needs a Pillow with AVIF\)\); add files"
    for where in (folder, archive):
        with pytest.raises(InputError, match=rf"set(\.zip)?: must hold at least one image, {line}"):
            open_images(where)
        with pytest.raises(InputError, match=rf"set(\.zip)?: must hold at least one picture, {line}"):
            open_pictures(str(where), RECORD)


def test_links_to_folders_are_followed_and_never_in_circles(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "x.png").write_bytes(encoded(photo(40, 24)))
    (tmp_path / "set").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).symlink_to(tmp_path / "store")
    (tmp_path / "store" / "again").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "up").symlink_to(tmp_path / "set")
    assert open_images(tmp_path / "set").names == ("cat/x.png", "dog/x.png")
    assert find_pictures([tmp_path / "set"])[0] == [tmp_path / "set" / n / "x.png" for n in ("cat", "dog")]


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _archive = write(tmp_path, {"a/1.png": b"x", "b/2.png": b"x"})
    real = os.scandir

    def closed(path: Any) -> Any:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", closed)
    for door in (
        open_images,
        lambda path: open_pictures(str(path), RECORD),
        lambda path: find_pictures([path]),
    ):
        with pytest.raises(InputError, match="b: the folder must be readable, not Permission denied"):
            door(folder)


def test_pictures_that_labels_csv_does_not_name_are_counted(tmp_path: Path) -> None:
    whole = encoded(photo(40, 24))
    members = {"images/a.png": whole, "images/b.png": whole, "c.png": whole, "images/d.heif.txt": b"x"}
    members["labels.csv"] = b"filename,class_index\na.png,3\n"
    for where in write(tmp_path, members):
        assert open_images(where).left_out == {"not in labels.csv": 2}


def test_old_decoded_pictures_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _archive = write(tmp_path, {"a.png": encoded(photo(40, 24))})
    decode_to_array(open_images(folder), 8, tmp_path / "cache")
    before = set(os.listdir(tmp_path / "cache"))
    decode_to_array(open_images(folder), 8, tmp_path / "cache")
    assert set(os.listdir(tmp_path / "cache")) == before
    monkeypatch.setattr("fireflow.quant.decoded.READING", 1)
    decode_to_array(open_images(folder), 8, tmp_path / "cache")
    assert set(os.listdir(tmp_path / "cache")) > before


def test_named_files(tmp_path: Path) -> None:
    """What is named is read by what it holds, and refused by name."""
    (tmp_path / "._photo").write_bytes(encoded(photo(40, 24)))
    assert read_picture(tmp_path / "._photo", RECORD).shape == (12, 12, 3)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match=r"pipe\.png: .*no regular file"):
        read_picture(tmp_path / "pipe.png", RECORD)
    with pytest.raises(InputError, match=r"pipe\.png: images must be in a folder, a zip or an image file"):
        open_images(tmp_path / "pipe.png")
    for name in ("pipe.npy", "pipe.zip", "pipe.mp4"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(InputError, match=f"{name}: must be a picture, .* and it is no regular file"):
            open_pictures(str(tmp_path / name), RECORD)
    with pytest.raises(InputError, match=r"pipe\.npy: .*no regular file"):
        read_picture(tmp_path / "pipe.npy", RECORD)
    np.save(tmp_path / "strip.npy", np.zeros((1, 4000, 3), np.uint8))
    with pytest.raises(InputError, match=r"strip\.npy: .*4000x1 is longer than 100 times"):
        read_picture(tmp_path / "strip.npy", RECORD)
    damaged: list[tuple[str, str]] = []
    assert list(prepared([tmp_path / "strip.npy"], RECORD, 4, damaged)) == []
    assert [name for name, _reason in damaged] == [str(tmp_path / "strip.npy")]


def test_damaged_members_of_a_zip(tmp_path: Path) -> None:
    _folder, archive = write(tmp_path, {"a.png": encoded(photo(40, 24)), "b.png": encoded(photo(40, 24, 1))})
    content = bytearray(archive.read_bytes())
    content[60] ^= 1
    archive.write_bytes(content)
    source = open_pictures(str(archive), RECORD)
    assert [picture.name for picture in source] == ["set.zip/b.png"]
    assert source.damaged[0][1].startswith(
        "set.zip/a.png: must be a picture that can be decoded, not damaged ("
    )
    assert len(open_images(archive).verify()) == 1
    with pytest.raises(DamagedImage, match=r"a\.png: must be a picture that can be decoded, not damaged"):
        open_images(archive)[0]
    assert data.MAX_PIXELS == images.MAX_PIXELS


@pytest.mark.parametrize("source", ["", " ", "ftp://host/x.jpg", "udp://@239.0.0.1:1234", "rtsp2://x"])
def test_sources_that_name_nothing_known(source: str, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    write(tmp_path, {"a.png": encoded(photo(40, 24))})
    monkeypatch.chdir(tmp_path / "set")
    bundle().save(tmp_path / "net.fire")
    assert main(["run", str(tmp_path / "net.fire"), source]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    expected = (
        "source: must be a picture, a folder" if not source.strip() else "must begin with http, https, rtsp"
    )
    assert expected in told.err


@pytest.mark.parametrize(
    "words",
    [
        ("simulate", "{net}", ""),
        ("evaluate", "{net}", "--data", ""),
        ("evaluate", "", "--data", "."),
        ("quantize", "x.npz", "-o", "y.fireq", "--data", ""),
        ("verify", "x.qonnx.onnx", "--images", ""),
        ("train", "x.npz", "-o", "out", "--data", ".", "--exclude", ""),
    ],
)
def test_no_argument_is_the_current_folder_by_mistake(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    write(tmp_path, {"a.png": encoded(photo(40, 24))})
    monkeypatch.chdir(tmp_path / "set")
    bundle().save(tmp_path / "net.fire")
    try:
        status = main([word.format(net=tmp_path / "net.fire") for word in words])
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    told = capsys.readouterr()
    assert (status, told.out) == (2, "")
    assert (
        "must be a path, not " in told.err or "must be a file or the name of a model, not nothing" in told.err
    )


@pytest.mark.parametrize("text", ["", " ", "=2"])
def test_a_share_of_nothing(text: str) -> None:
    with pytest.raises(InputError, match="data: must be a path, not "):
        split_share(text)


def test_commands_say_what_they_left_out(tmp_path: Path, capsys: Any) -> None:
    folder, archive = write(tmp_path, {"a.png": encoded(photo(40, 24)), "._a.png": b"x", "b.pdf": b"x"})
    bundle().save(tmp_path / "net.fire")
    net = str(tmp_path / "net.fire")
    for words in (["simulate", net, str(folder)], ["run", net, str(folder)], ["run", net, str(archive)]):
        assert main([*words, "--json"]) == 0
        told = capsys.readouterr()
        assert json.loads(told.out)["left_out"] == {"hidden": 1, ".pdf": 1}
        assert "left out: 1 .pdf, 1 hidden\n" in told.err
    assert main(["simulate", net, str(folder / "a.png"), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["left_out"] == {}
    assert "left out" not in told.err


class FakeCapture:
    """OpenCV's VideoCapture of a network camera that ends after three frames."""

    def __init__(self, frames: list[np.ndarray]) -> None:
        self.frames = list(frames)

    def isOpened(self) -> bool:
        return bool(self.frames)

    def read(self) -> tuple[bool, Any]:
        return (True, self.frames.pop(0)) if self.frames else (False, None)

    def release(self) -> None:
        pass


def test_rtsp(monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = pytest.importorskip("cv2")
    frames = list(np.random.default_rng(1).integers(0, 256, (3, 60, 80, 3), dtype=np.uint8))
    asked: list[Any] = []

    def capture(*arguments: Any) -> FakeCapture:
        asked.append(arguments)
        return FakeCapture(frames if len(asked) == 1 else [])

    monkeypatch.setattr("fireflow.host.streams._capture", capture)
    url, pixels = "RTSP://me:secret@camera/1", []
    with pytest.raises(
        Exception, match=r"RTSP://\.\.\.@camera/1: the stream must go on, not end after 3"
    ) as end:
        pixels.extend(picture.pixels for picture in open_pictures(url, RECORD, patience_s=7))
    assert "secret" not in str(end.value)
    np.testing.assert_array_equal(np.stack(pixels), np.stack([RECORD.prepare(f[:, :, ::-1]) for f in frames]))
    given, backend, limits = asked[0]
    assert (given, backend) == (url, cv2.CAP_FFMPEG)
    assert dict(zip(limits[::2], limits[1::2], strict=True)) == {
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: 7000,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC: 7000,
    }
    with pytest.raises(InputError, match="camera/1: must be a stream that answers with a video"):
        list(open_pictures(url, RECORD))


def test_rtsp_where_nobody_answers() -> None:
    pytest.importorskip("cv2")
    with pytest.raises(InputError, match=r"rtsp://127\.0\.0\.1:1/: must be a stream that answers"):
        list(open_pictures("rtsp://127.0.0.1:1/", RECORD, patience_s=2))


def test_stdin_takes_phones_photos_and_goes_on_behind_damaged_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A phone's photo has a thumbnail in its header, which is a JPEG of its own."""
    thumbnail = encoded(photo(16, 12), "JPEG")
    note = b"\xff\xe1" + (len(thumbnail) + 8).to_bytes(2, "big") + b"Exif\0\0" + thumbnail
    whole = encoded(photo(40, 24), "JPEG")
    phone = whole[:2] + note + whole[2:]
    header = b"\xff\xd8\xff\xe0\0\x04xx\xff\xd9"
    read, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as out:
        out.write(phone + header + whole)
    with os.fdopen(read, "rb") as file:
        frames = list(stdin_frames(file, threading.Event(), 5))
    assert [isinstance(frame, InputError) for frame in frames] == [False, True, False]
    for frame in (frames[0], frames[2]):
        np.testing.assert_array_equal(RECORD.prepare(frame), RECORD.prepare(Image.open(io.BytesIO(whole))))
    read, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as out:
        out.write(phone + header + whole)
    with os.fdopen(read, "rb") as file:
        monkeypatch.setattr(
            sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.FileIO(file.fileno(), closefd=False)))
        )
        source = open_pictures("-", RECORD)
        assert len(list(source)) == 2
    assert "must be a picture that can be decoded, not damaged" in source.damaged[0][1]
