"""Where pictures come from: folders, archives, videos, cameras, streams, arrays.

Each source gives pictures one after the other, prepared as `fireflow evaluate` prepares them; decoding and resizing
run in worker threads a few pictures ahead. Nothing grows with the number of pictures, nothing waits for ever.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import zipfile
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator

import numpy as np

from fireflow.host.arrays import ArrayInput
from fireflow.host.pictures import prepare_shown
from fireflow.host.streams import camera_frames, http_frames, network_frames, stdin_frames, video_frames
from fireflow.host.unsaid import pictures_or_arrays
from fireflow.hw import given
from fireflow.hw.bundle import Bundle
from fireflow.hw.errors import InputError
from fireflow.hw.files import read_bytes
from fireflow.hw.npz import map_npy, read_npz
from fireflow.hw.picture_files import VIDEOS, FolderSource, LeftOut, ZipSource, none_found
from fireflow.hw.preprocessing import Preprocessing

if TYPE_CHECKING:
    from fireflow.hw.types import Array

SOURCE_HELP = (
    "a picture, a folder, a .zip, .npy or .npz, a video, /dev/videoN (a camera), http://... (MJPEG), rtsp://..., "
    "or - (JPEG frames on stdin)"
)
SHOWN_PIXELS = 640
_KEPT_DAMAGED = 100
_MAX_NPZ_BYTES = 1 << 30
_POLL_S = 0.25
_Job = Callable[[], Any]


@dataclass(frozen=True, eq=False)
class Picture:
    """One prepared picture.

    Args:
        name: for people: a path, or a frame's number and time.
        pixels: uint8 (size, size, 3), what the accelerator takes.
        shown: the picture itself for people, at most SHOWN_PIXELS wide and high, if the source keeps it.
    """

    name: str
    pixels: Array
    shown: Any = None


class PictureSource:
    """Prepared pictures, one after the other: iterate over it, once. `open_pictures` makes it.

    `damaged` lists names and reasons of pictures that cannot be decoded, the first hundred, `damaged_count` counts all;
    `left_out` counts the files of a folder that are no pictures, by kind; `stop` ends it from any thread.

    Args:
        jobs: names with a function each that gives a path, the bytes of a file, a PIL image, a uint8 RGB array, or
            the error that there is instead; taken one at a time.
        preprocessing: what the network wants: uint8 (H, W, C) of each.
        total: how many, if that is known.
        live: a camera or the like: the newest picture counts, so nothing is taken ahead.
        workers: threads that decode and resize.
        keep: keep each picture for people, small.

    Raises:
        StreamStopped: while iterating; a camera or a stream gives nothing any more.
    """

    def __init__(
        self,
        jobs: Iterable[tuple[str, _Job]],
        preprocessing: Preprocessing | ArrayInput,
        total: int | None = None,
        live: bool = False,
        workers: int = 2,
        keep: bool = False,
    ) -> None:
        self._jobs, self._preprocessing, self.total, self.live = jobs, preprocessing, total, live
        self._workers, self._keep = max(1, workers), keep
        self.closing: Callable[[], None] = _nothing
        self.damaged: list[tuple[str, str]] = []
        self.damaged_count = 0
        self.left_out: LeftOut = {}
        self.stopped = threading.Event()

    def stop(self) -> None:
        """Ends the source soon: no further picture is taken."""
        self.stopped.set()

    def __iter__(self) -> Iterator[Picture]:
        ahead = 0 if self.live else 2 * self._workers
        window: deque[tuple[str, Future[Picture]]] = deque()
        with contextlib.ExitStack() as stack:
            stack.callback(self.closing)
            pool = stack.enter_context(ThreadPoolExecutor(self._workers, "fireflow-decode"))
            for name, job in self._jobs:
                if self.stopped.is_set():
                    break
                window.append((name, pool.submit(self._prepare, name, job)))
                if len(window) > ahead:
                    yield from self._whole(*window.popleft())
            while window and not self.stopped.is_set():
                yield from self._whole(*window.popleft())

    def _whole(self, name: str, future: Future[Picture]) -> Iterator[Picture]:
        try:
            yield future.result()
        except InputError as error:
            self.damaged_count += 1
            if len(self.damaged) < _KEPT_DAMAGED:
                self.damaged.append((name, str(error)))

    def _prepare(self, name: str, job: _Job) -> Picture:
        given = job()
        if isinstance(given, InputError):
            raise InputError(f"{name}: {given}")
        try:
            pixels, shown = prepare_shown(given, self._preprocessing, SHOWN_PIXELS if self._keep else None)
        except InputError as error:
            raise InputError(str(error) if isinstance(given, Path) else f"{name}: {error}") from None
        return Picture(name, pixels, shown)


def open_pictures(
    source: str | Path,
    preprocessing: Bundle | Preprocessing | ArrayInput,
    *,
    watch: bool = False,
    workers: int = 2,
    keep: bool = False,
    patience_s: float = 10.0,
) -> PictureSource:
    """Pictures of a file, a folder, an archive, a video, a camera or a stream, prepared for a network.

    Args:
        source: a picture, a folder, a .zip, .npy or .npz, a video, /dev/videoN (a camera), http://... (MJPEG), rtsp://...,
            or - (JPEG frames on stdin).
        preprocessing: what the network wants: uint8 (H, W, C) of each; a bundle says it itself, and takes arrays of its
            input's shape where it does not.
        watch: after a folder's pictures, wait for new ones until `stop`.
        workers: threads that decode.
        keep: keep each picture for people.
        patience_s: seconds that a camera or a stream may give nothing.

    Raises:
        InputError: nothing is there, or nothing in it is a picture.
    """
    text = source if isinstance(source, str) else str(given.path("source", source))
    wanted = pictures_or_arrays(preprocessing) if isinstance(preprocessing, Bundle) else preprocessing
    if not isinstance(wanted, (Preprocessing, ArrayInput)):
        raise InputError(
            f"preprocessing: must be a Bundle or a Preprocessing, not {given.shown(wanted)}; give the bundle"
        )
    given.whole("workers", workers)
    if not given.number("patience", patience_s) > 0:
        raise InputError(f"patience: must be above 0 s, not {patience_s}; leave it out for 10")
    options: dict[str, Any] = {"workers": workers, "keep": keep}
    stopped = threading.Event()
    path = Path(text)
    total, live, closing = None, True, _nothing
    left_out: LeftOut = {}
    jobs: Iterable[tuple[str, _Job]]
    if not text.strip():
        raise InputError(f"source: must be {SOURCE_HELP}, not nothing; name one, . is this folder")
    if watch and not path.is_dir():
        raise InputError(f"{text}: only a folder can be watched; leave out --watch")
    if text == "-":
        jobs = _frames("stdin", stdin_frames(sys.stdin.buffer, stopped, patience_s))
    elif "://" in text:
        jobs = _frames("frame", _network(text, stopped, patience_s))
    elif text.startswith(("/dev/video", "camera:")):
        jobs = _frames("frame", camera_frames(text.replace("camera:", ""), stopped, patience_s))
    elif path.is_dir():
        if watch:
            jobs = _watched(path, stopped, left_out)
        else:
            jobs, total, left_out = _folder(path)
            live = False
    elif not path.exists():
        raise InputError(f"{text}: must be {SOURCE_HELP}, and it is not there; check the path")
    elif not path.is_file():
        raise InputError(f"{text}: must be {SOURCE_HELP}, and it is no regular file; save it as one")
    elif path.suffix.lower() == ".zip":
        jobs, total, left_out, closing = _zip(path)
        live = False
    else:
        jobs, total = _file(path, wanted)
        live = False
    opened = PictureSource(jobs, wanted, total, live, **options)
    opened.stopped, opened.closing, opened.left_out = stopped, closing, left_out
    return opened


def from_arrays(images: Iterable[Array], preprocessing: Preprocessing) -> PictureSource:
    """Pictures as uint8 RGB arrays (H, W, 3)."""
    return PictureSource(_frames("image", images), preprocessing)


def _network(text: str, stopped: threading.Event, patience_s: float) -> Iterator[Any]:
    scheme = text.partition("://")[0].lower()
    if scheme in ("http", "https"):
        return http_frames(text, stopped, patience_s)
    if scheme in ("rtsp", "rtsps"):
        return network_frames(text, stopped, patience_s)
    raise InputError(
        f"{text}: an address must begin with http, https, rtsp or rtsps, not {scheme!r}; use one of these"
    )


def _file(
    path: Path, preprocessing: Preprocessing | ArrayInput
) -> tuple[Iterable[tuple[str, _Job]], int | None]:
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        images = _arrays(path, preprocessing)
        return _frames(path.name, images), len(images)
    if suffix in VIDEOS:
        return _frames("frame", video_frames(path)), None
    return _paths([path]), 1


def _nothing() -> None:
    pass


def _folder(path: Path) -> tuple[Iterable[tuple[str, _Job]], int, LeftOut]:
    found = FolderSource(path).find()
    if not found.names:
        raise none_found(path, "picture", found.left_out)
    return _paths([path / name for name in found.names]), len(found.names), found.left_out


def _paths(paths: Iterable[Path]) -> Iterator[tuple[str, _Job]]:
    for path in paths:
        yield str(path), lambda path=path: path  # type: ignore[misc]


def _watched(path: Path, stopped: threading.Event, left_out: LeftOut) -> Iterator[tuple[str, _Job]]:
    """A folder's pictures, and then each new one as soon as its size no longer changes."""
    folder = FolderSource(path)
    seen: set[str] = set()
    sizes: dict[str, int] = {}
    while not stopped.is_set():
        now: dict[str, int] = {}
        found = folder.find()
        left_out.clear()
        left_out.update(found.left_out)
        for name in found.names:
            if name not in seen:
                with contextlib.suppress(OSError):  # it may go while we look
                    now[name] = (path / name).stat().st_size
        whole = [name for name, size in now.items() if sizes.get(name) == size and size > 0]
        yield from _paths(path / name for name in whole)
        seen.update(whole)
        sizes = now
        stopped.wait(_POLL_S)


def _zip(path: Path) -> tuple[Iterable[tuple[str, _Job]], int, LeftOut, Callable[[], None]]:
    if not zipfile.is_zipfile(str(path)):
        raise InputError(f"{path}: must be a zip archive, and it is cut off or none at all; pack it again")
    archive = ZipSource(path)
    found = archive.find()
    if not found.names:
        archive.close()
        raise none_found(path, "picture", found.left_out)

    def read(name: str) -> Any:
        try:
            return archive.read_bytes(name)
        except InputError as error:
            return error

    def jobs() -> Iterator[tuple[str, _Job]]:
        for name in sorted(found.names):
            yield f"{path.name}/{name}", lambda name=name: read(name)  # type: ignore[misc]

    return jobs(), len(found.names), found.left_out, archive.close


def _arrays(path: Path, preprocessing: Preprocessing | ArrayInput) -> Array:
    try:
        if path.suffix.lower() == ".npz":
            images = read_npz(read_bytes(path, _MAX_NPZ_BYTES), ["images"], _MAX_NPZ_BYTES)["images"]
        else:
            images = map_npy(path)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: must hold an array of pictures, in an .npz called images ({error})"
        ) from None
    if images.ndim == 3:
        images = images[None]
    if isinstance(preprocessing, ArrayInput):
        for image in images[:1]:
            preprocessing.prepare(image)
    elif images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise InputError(
            f"{path}: pictures must be uint8 of shape (N, H, W, 3), not {images.dtype} {images.shape}; convert them"
        )
    array: Array = images
    return array


def _frames(name: str, frames: Iterable[Any]) -> Iterator[tuple[str, _Job]]:
    start = time.monotonic()
    for number, frame in enumerate(frames):
        yield f"{name} {number} ({time.monotonic() - start:.2f} s)", lambda frame=frame: frame  # type: ignore[misc]
