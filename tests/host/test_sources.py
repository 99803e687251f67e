"""Every source gives the pixels that `evaluate` gives, in order, and ends when it must."""

from __future__ import annotations

import io
import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fireflow.host.sources import PictureSource, from_arrays, open_pictures
from fireflow.host.streams import StreamStopped, stdin_frames
from fireflow.hw.errors import InputError
from fireflow.quant.data import open_images
from tests.host.tiny import RECORD, write_pictures


def prepared(source: PictureSource) -> np.ndarray:
    return np.stack([picture.pixels for picture in source])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_pictures(tmp_path_factory.mktemp("pictures"), 7)
    (path / "images" / "deep").mkdir()
    Image.fromarray(np.full((9, 30, 4), 200, np.uint8)).save(path / "images" / "deep" / "rgba.png")
    Image.fromarray(np.full((30, 9), 20, np.uint8)).save(path / "zz.JPG", format="JPEG")
    (path / "notes.txt").write_text("no picture")
    return path


def jpegs(count: int) -> list[bytes]:
    random, files = np.random.default_rng(3), []
    for _ in range(count):
        pixels = random.integers(0, 256, (4, 6, 3), dtype=np.uint8).repeat(10, 0).repeat(10, 1)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format="JPEG")
        files.append(file.getvalue())
    return files


def decoded(files: list[bytes]) -> np.ndarray:
    return np.stack([RECORD.prepare(Image.open(io.BytesIO(data))) for data in files])


@pytest.mark.parametrize("workers", [1, 3])
def test_folder(folder: Path, workers: int) -> None:
    source = open_pictures(str(folder), RECORD, workers=workers, keep=True)
    pictures = list(source)
    names = [str(path) for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".png", ".jpg")]
    assert [picture.name for picture in pictures] == names
    assert source.total == 9
    images = open_images(folder)
    expected = {str(folder / n): RECORD.prepare(images[i]) for i, n in enumerate(images.names)}
    assert len(expected) >= 7
    for picture in pictures:
        if picture.name in expected:
            np.testing.assert_array_equal(picture.pixels, expected[picture.name])
        with Image.open(picture.name) as whole:
            np.testing.assert_array_equal(picture.pixels, RECORD.prepare(whole))
        assert picture.shown.mode == "RGB"
        assert max(picture.shown.size) <= 640


def test_one_picture_and_arrays(folder: Path, tmp_path: Path) -> None:
    whole = prepared(open_pictures(str(folder / "images" / "3.png"), RECORD))
    assert whole.shape == (1, 48, 48, 3)
    arrays = np.random.default_rng(0).integers(0, 256, (5, 60, 80, 3), dtype=np.uint8)
    np.save(tmp_path / "a.npy", arrays)
    np.savez(tmp_path / "a.npz", images=arrays)
    expected = np.stack([RECORD.prepare(array) for array in arrays])
    np.testing.assert_array_equal(prepared(open_pictures(str(tmp_path / "a.npy"), RECORD)), expected)
    np.testing.assert_array_equal(prepared(open_pictures(str(tmp_path / "a.npz"), RECORD)), expected)
    np.testing.assert_array_equal(prepared(from_arrays(arrays, RECORD)), expected)


def test_zip(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png"), reverse=True):
            archive.write(path, path.relative_to(folder))
        archive.writestr("images/2a.png", b"not a picture")
    source = open_pictures(str(tmp_path / "p.zip"), RECORD)
    pictures = list(source)
    assert [picture.name for picture in pictures] == [
        f"p.zip/images/{n}.png" for n in (0, 1, 2, 3, 4, 5, 6)
    ] + ["p.zip/images/deep/rgba.png"]
    assert source.damaged_count == 1
    assert "images/2a.png: must be a picture that can be decoded" in source.damaged[0][1]
    for picture in pictures:
        with Image.open(folder / picture.name.removeprefix("p.zip/")) as whole:
            np.testing.assert_array_equal(picture.pixels, RECORD.prepare(whole))


def test_damaged_pictures_are_left_out(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes((folder / "images" / "1.png").read_bytes())
    (tmp_path / "c.jpg").write_bytes(jpegs(1)[0][:200])
    source = open_pictures(str(tmp_path), RECORD)
    assert [Path(picture.name).name for picture in source] == ["b.png"]
    assert [Path(name).name for name, _reason in source.damaged] == ["a.png", "c.jpg"]


def test_watched_folder(folder: Path, tmp_path: Path) -> None:
    source = open_pictures(str(tmp_path), RECORD, watch=True)
    names: list[str] = []

    def take() -> None:
        names.extend(Path(picture.name).name for picture in source)

    taker = threading.Thread(target=take)
    taker.start()
    data = (folder / "images" / "1.png").read_bytes()
    with open(tmp_path / "slow.png", "wb") as file:
        for part in range(4):  # never taken before it is whole
            file.write(data[part * len(data) // 4 : (part + 1) * len(data) // 4])
            file.flush()
            time.sleep(0.15)
    (tmp_path / "late.png").write_bytes(data)
    deadline = time.monotonic() + 10
    while len(names) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    source.stop()
    taker.join(5)
    assert not taker.is_alive()
    assert sorted(names) == ["late.png", "slow.png"]
    assert source.damaged == []


@pytest.fixture
def stdin() -> Iterator[tuple[Callable[[bytes], None], Callable[[], None], io.BufferedReader]]:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as file, os.fdopen(write, "wb", buffering=0) as out:
        yield out.write, out.close, file


def test_stdin(stdin) -> None:
    write, close, file = stdin
    files = jpegs(4)
    threading.Thread(target=lambda: [write(b"".join(files)), close()]).start()
    frames = stdin_frames(file, threading.Event(), 5)
    np.testing.assert_array_equal(np.stack([RECORD.prepare(frame) for frame in frames]), decoded(files))


def test_stdin_that_stops(stdin) -> None:
    write, _close, file = stdin
    write(jpegs(1)[0])
    frames = stdin_frames(file, threading.Event(), 0.3)
    next(frames)
    with pytest.raises(StreamStopped, match=r"must come within 0.3 s, not stop after 1"):
        next(frames)
    stopped = threading.Event()
    frames = stdin_frames(file, stopped, 100)
    threading.Timer(0.2, stopped.set).start()
    assert list(frames) == []


@pytest.fixture
def mjpeg() -> Iterator[Callable[[list[bytes], bool], str]]:
    servers = []

    def serve(files: list[bytes], hang: bool) -> str:
        release = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                for data in files:
                    self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + data + b"\r\n")
                if hang:
                    release.wait(20)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread, release))
        return f"http://127.0.0.1:{server.server_port}/video"

    yield serve
    for server, thread, release in servers:
        release.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("hang", [False, True])
def test_http(mjpeg, hang: bool) -> None:
    files, pixels = jpegs(5), []
    source = open_pictures(mjpeg(files, hang), RECORD, patience_s=0.5)
    assert source.live
    with pytest.raises(StreamStopped, match="break off" if hang else "end after 5"):
        pixels.extend(picture.pixels for picture in source)
    np.testing.assert_array_equal(np.stack(pixels), decoded(files))


class FakeCamera:
    """OpenCV's VideoCapture, of a camera that is unplugged after three frames."""

    def __init__(self, frames: list[np.ndarray]) -> None:
        self.frames = list(frames)
        self.released = False

    def isOpened(self) -> bool:
        return bool(self.frames)

    def set(self, *_: object) -> None:
        pass

    def read(self) -> tuple[bool, np.ndarray | None]:
        return (True, self.frames.pop(0)) if self.frames else (False, None)

    def release(self) -> None:
        self.released = True


def test_camera_that_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2")
    frames = list(np.random.default_rng(1).integers(0, 256, (3, 60, 80, 3), dtype=np.uint8))
    camera = FakeCamera(frames)
    monkeypatch.setattr("fireflow.host.streams._capture", lambda *_: camera)
    pixels = []
    with pytest.raises(StreamStopped, match="must give frames, not stop after 3; plug it in again"):
        pixels.extend(picture.pixels for picture in open_pictures("/dev/video7", RECORD))
    np.testing.assert_array_equal(np.stack(pixels), np.stack([RECORD.prepare(f[:, :, ::-1]) for f in frames]))
    assert camera.released
    with pytest.raises(InputError, match="/dev/video7: must be a camera"):
        open_pictures("/dev/video7", RECORD)


def test_video(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    path = str(tmp_path / "v.avi")
    out = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 10, (80, 60))
    for level in range(6):
        out.write(np.full((60, 80, 3), (40 * level, 10, 200), np.uint8))
    out.release()
    capture, expected = cv2.VideoCapture(path), []
    while True:
        whole, frame = capture.read()
        if not whole:
            break
        expected.append(RECORD.prepare(np.ascontiguousarray(frame[:, :, ::-1])))
    pixels = prepared(open_pictures(path, RECORD))
    assert len(pixels) == 6
    np.testing.assert_array_equal(pixels, np.stack(expected))
    assert abs(int(pixels[5, 0, 0, 0]) - 200) < 8, "RGB, not BGR"
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"bad\.mp4: must be a video"):
        prepared(open_pictures(str(tmp_path / "bad.mp4"), RECORD))


def test_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    np.save(tmp_path / "bad.npy", np.zeros((3, 4)))
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    for name, text in {
        "missing": "it is not there; check the path",
        ".": "must hold at least one picture, not none",
        "bad.zip": "must be a zip archive",
        "empty.zip": "must hold at least one picture, not none",
        "bad.npy": r"must be uint8 of shape \(N, H, W, 3\), not float64",
    }.items():
        with pytest.raises(InputError, match=text):
            open_pictures(str(tmp_path / name), RECORD)
    with pytest.raises(InputError, match="must be a stream that answers"):
        open_pictures("http://127.0.0.1:1/", RECORD)
    with pytest.raises(InputError, match="only a folder can be watched"):
        open_pictures("http://127.0.0.1:1/", RECORD, watch=True)


def test_stops_in_the_middle(folder: Path) -> None:
    source = open_pictures(str(folder), RECORD)
    taken = []
    for picture in source:
        taken.append(picture)
        if len(taken) == 2:
            source.stop()
    assert len(taken) == 2
