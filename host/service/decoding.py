"""From an upload to the accelerator's input, in threads and in bounded memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import TYPE_CHECKING, Callable

import numpy as np

from fireflow.host.service.forms import form_file
from fireflow.host.service.lanes import Lane, Refused, Work
from fireflow.hw.images import NO_FORMAT, decoding_bytes, opened
from fireflow.hw.pixels import PictureError

if TYPE_CHECKING:
    from fireflow.host.driver import Accelerator
    from fireflow.hw.types import Array

RAW, FORM = "application/octet-stream", "multipart/form-data"
_SMALL_BYTES = 4 << 20
"""Pictures that take more when decoded wait until no smaller one does, and only so many may wait."""
_LARGE_BYTES = 96 << 20
"""What those may take together; beyond it one is alone."""
_MOST_THREADS = 4
_RETURNED_BYTES = 2 << 20


class Decoder:
    """Threads that make images of uploads.

    Args:
        accelerator: whose input the images must be.
        forward: gets every work that has its image.
        room: pictures beyond `_SMALL_BYTES` that may wait.
    """

    def __init__(self, accelerator: Accelerator, forward: Callable[[Work], None], room: int) -> None:
        preprocessing = accelerator.bundle.manifest.preprocessing
        assert preprocessing is not None
        self._preprocessing, self._forward, self._room = preprocessing, forward, room
        self._shape = accelerator.interface.input.kind.shape
        # One more than processors: a large picture takes seconds.
        threads = min(_MOST_THREADS, 1 + (os.cpu_count() or 1))
        self._lane = Lane("fireflow-decode", threads, self._handle, _LARGE_BYTES)

    def put(self, work: Work) -> None:
        """Queues an upload. Raises Refused for a raw array of another size."""
        if work.kind == RAW:
            assert work.body is not None
            self._finish(work, self._raw(work.body))
        elif not self._lane.put(work):
            raise Refused(503, "the service ends; ask another")

    def drop(self, work: Work) -> None:
        """Forgets an upload that nobody waits for."""
        self._lane.drop(work)

    def close(self) -> None:
        """Ends the threads."""
        self._lane.close()

    def _handle(self, work: Work) -> None:
        try:
            self._decode(work)
        except PictureError as error:
            text = (
                f"the upload must be a picture that can be decoded ({error.reason[:200]}); send JPEG or PNG"
            )
            work.end(Refused(400, text))
        except Exception as error:  # it belongs to the request; this thread serves all others
            work.end(error)

    def _finish(self, work: Work, image: Array) -> None:
        work.image, work.body, work.size_bytes = image, None, 0
        work.decoded()
        self._forward(work)

    def _raw(self, body: bytes) -> Array:
        size = int(np.prod(self._shape))
        if len(body) != size:
            raise Refused(
                400, f"a raw array must be {size} bytes, uint8 {self._shape}, not {len(body)}; resize it"
            )
        return np.frombuffer(body, np.uint8).reshape(self._shape)

    def _decode(self, work: Work) -> None:
        """Decodes a small picture, or one whose turn has come; another one waits for its turn."""
        body, kind = work.body, work.kind
        if body is None:
            return
        if not work.size_bytes:
            if kind.startswith(FORM):
                body, kind = form_file(body, kind, "image")
                # Browsers and curl name every file RAW whose ending they do not know.
                if kind == RAW and is_no_picture(body):
                    self._finish(work, self._raw(body))
                    return
            size = decoding_bytes(body)
            if size > _SMALL_BYTES:
                work.body, work.kind, work.size_bytes = body, kind, size
                if not self._lane.put(work, room=self._room):
                    raise Refused(
                        503, "too many large pictures wait; try again in a moment, or send a smaller one"
                    )
                return
        self._finish(work, self.image(body))

    def image(self, body: bytes) -> Array:
        """The accelerator's input of a picture. Raises PictureError."""
        with opened(body) as picture:
            return self._preprocessing.prepare(picture)


def give_memory_back() -> None:
    """Has glibc return what a decoded picture took to the system, for all of this process; elsewhere nothing happens.

    By itself it learns from the first large picture to keep what the next one may need, in each thread.
    Source: mallopt(3), M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_ARENA_MAX.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for name, value in ((-3, _RETURNED_BYTES), (-1, _RETURNED_BYTES), (-8, 2)):
            mallopt(name, value)


def is_no_picture(data: bytes) -> bool:
    """Whether the start is no known picture's."""
    try:
        decoding_bytes(data)
    except PictureError as error:
        return error.reason == NO_FORMAT
    return False
