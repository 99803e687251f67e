"""Frames of videos, cameras, HTTP and stdin, one at a time; every wait ends after a while."""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import time
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, Iterator

import numpy as np

from fireflow.hw.errors import InputError
from fireflow.hw.images import unread
from fireflow.hw.pixels import PictureError

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from fireflow.hw.types import Array

MAX_FRAME_BYTES = 1 << 25
_SLICE_S = 0.2
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


class StreamStopped(RuntimeError):
    """A camera or a stream gave nothing for too long, or broke off."""


def video_frames(path: Path) -> Iterator[Array]:
    """RGB frames of a video file.

    Raises:
        InputError: it cannot be decoded.
    """
    capture = _capture(str(path))
    if not capture.isOpened():
        raise InputError(f"{path}: must be a video that can be decoded; convert it, for example to .mp4")
    return _read(
        capture, lambda number: None if number else InputError(f"{path}: must have frames; replace it")
    )


def camera_frames(device: str, stopped: threading.Event, patience_s: float) -> Iterator[Array]:
    """RGB frames of a V4L2 camera, /dev/videoN.

    Raises:
        InputError: no camera is there.
        StreamStopped: it gives no frame any more.
    """
    import cv2

    capture = _capture(device, cv2.CAP_V4L2) if device.startswith("/") else _capture(int(device or 0))
    if not capture.isOpened():
        raise InputError(
            f"{device}: must be a camera that this user may read; plug it in, or join the group video"
        )
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    capture.set(getattr(cv2, "CAP_PROP_READ_TIMEOUT_MSEC", 54), 1000 * patience_s)

    def broken(number: int) -> Exception:
        return StreamStopped(
            f"{device}: the camera must give frames, not stop after {number}; plug it in again"
        )

    return _read(capture, broken, stopped)


def network_frames(url: str, stopped: threading.Event, patience_s: float) -> Iterator[Array]:
    """RGB frames of a network camera over RTSP, through the FFmpeg in OpenCV.

    Raises:
        InputError: nobody answers there, or with nothing that can be decoded.
        StreamStopped: no frame for `patience_s`, or the connection ended.
    """
    import cv2

    waits = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
    limits = [value for wait in waits for value in (wait, int(1000 * patience_s))]
    capture, shown = _capture(url, cv2.CAP_FFMPEG, limits), _without_password(url)
    if not capture.isOpened():
        raise InputError(
            f"{shown}: must be a stream that answers with a video; check the address, the name and the password"
        )

    def broken(number: int) -> Exception:
        return StreamStopped(f"{shown}: the stream must go on, not end after {number} frames; start it again")

    return _read(capture, broken, stopped)


def _capture(*arguments: Any) -> Any:
    import cv2

    return cv2.VideoCapture(*arguments)


def _read(
    capture: Any, end: Callable[[int], Exception | None], stopped: threading.Event | None = None
) -> Iterator[Array]:
    number = 0
    try:
        while stopped is None or not stopped.is_set():
            whole, frame = capture.read()
            if not whole:
                error = end(number)
                if error is not None:
                    raise error
                return
            number += 1
            yield np.ascontiguousarray(frame[:, :, ::-1])  # OpenCV gives BGR
    finally:
        capture.release()


def http_frames(url: str, stopped: threading.Event, patience_s: float) -> Iterator[Any]:
    """Frames of an MJPEG stream over HTTP, as most network cameras give.

    Raises:
        InputError: nobody answers there.
        StreamStopped: no frame for `patience_s`, or the connection ended.
    """
    import urllib.error
    import urllib.request

    shown = _without_password(url)
    try:
        response = urllib.request.urlopen(url, timeout=patience_s)
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise InputError(f"{shown}: must be a stream that answers ({error}); check the address") from None

    def read() -> bytes | None:
        try:
            data: bytes = response.read1(1 << 16)
            return data
        except OSError as error:  # also after patience_s; such a socket cannot be read again
            raise StreamStopped(
                f"{shown}: the stream must go on, not break off ({error}); start it again"
            ) from None

    return _jpegs(shown, read, stopped, patience_s, response.close, endless=True)


def stdin_frames(file: BinaryIO, stopped: threading.Event, patience_s: float) -> Iterator[Any]:
    """JPEG frames one after the other on stdin, as `ffmpeg -f mjpeg -` writes them; a single picture too."""
    number = file.fileno()
    os.set_blocking(number, True)

    def read() -> bytes | None:
        ready, _, _ = select.select([number], [], [], _SLICE_S)
        return os.read(number, 1 << 16) if ready else None

    return _jpegs("stdin", read, stopped, patience_s, lambda: None, endless=False)


def _jpegs(
    place: str,
    read: Callable[[], bytes | None],
    stopped: threading.Event,
    patience_s: float,
    close: Callable[[], None],
    endless: bool,
) -> Iterator[Any]:
    """Cuts JPEG files out of a stream; what lies between them (headers of parts) is skipped.

    Gives PIL images that are not decoded yet, and for one whose header is damaged the error.

    A JPEG's end marker cannot occur inside its data, except in its header: in the thumbnail of a phone's photo.
    """
    data, last, number = b"", time.monotonic(), 0
    with contextlib.ExitStack() as stack:
        stack.callback(close)
        while not stopped.is_set():
            start = data.find(_JPEG_START)
            end = data.find(_JPEG_END, _header_end(data, start)) if start >= 0 else -1
            if end >= 0:
                whole, data = data[start : end + 2], data[end + 2 :]
                number, last = number + 1, time.monotonic()
                yield _unread(whole)
                continue
            data = data[start:] if start >= 0 else data[-2:]
            if len(data) > MAX_FRAME_BYTES:
                raise StreamStopped(
                    f"{place}: a frame must be below {MAX_FRAME_BYTES} bytes; send JPEG frames"
                )
            more = read()
            if more:
                data += more
            elif more == b"":
                if endless or number == 0:
                    raise StreamStopped(
                        f"{place}: JPEG frames must go on, not end after {number}; start it again"
                    )
                return
            elif time.monotonic() - last > patience_s:
                raise StreamStopped(
                    f"{place}: a frame must come within {patience_s:.3g} s, not stop after {number}; check the sender"
                )


def _header_end(data: bytes, start: int) -> int:
    """Where the header of the JPEG at `start` ends, as far as it is there; just behind `start` if it is none."""
    place = start + 2
    # Up to the first scan, and no further than a marker without a length.
    while data[place : place + 1] == b"\xff" and b"\xc0" <= data[place + 1 : place + 2] <= b"\xfe":
        if b"\xd0" <= data[place + 1 : place + 2] <= b"\xda":
            break
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if length < 2:
            return start + 2
        place += 2 + length
    return place


def _unread(whole: bytes) -> Any:
    try:
        return unread(io.BytesIO(whole))
    except PictureError as error:
        return error


def _without_password(url: str) -> str:
    """The address as it may be shown."""
    return re.sub(r"//[^/@]*@", "//...@", url)
