"""From an upload to the accelerator's input, in threads and in bounded memory."""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING, Callable

import numpy as np

from host.service.forms import form_file
from host.service.lanes import Lane, Refused, Work
from hw.errors import InputError

if TYPE_CHECKING:
    from host.driver import Accelerator
    from hw.types import Array

RAW, FORM = "application/octet-stream", "multipart/form-data"
_SMALL_BYTES = 40 << 20
"""Pictures that take more decoded are decoded one at a time, the smallest first."""
_MOST_THREADS = 4
_ADDRESS = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>|0x[0-9a-fA-F]{8,}")


class Decoder:
    """Threads that make images of uploads.

    Args:
        accelerator: whose input the images must be.
        forward: gets every work that has its image.
        room: large pictures that may wait.
    """

    def __init__(self, accelerator: Accelerator, forward: Callable[[Work], None], room: int) -> None:
        preprocessing = accelerator.bundle.manifest.preprocessing
        assert preprocessing is not None
        self._preprocessing, self._forward = preprocessing, forward
        self._shape = accelerator.design.input.kind.shape
        threads = min(_MOST_THREADS, os.cpu_count() or 1)
        self._small = Lane("fireflow-decode", threads, self._guarded(self._decode_small))
        self._large = Lane(
            "fireflow-decode-large",
            1,
            self._guarded(self._decode_large),
            room,
            key=lambda work: work.size_bytes,
        )

    def put(self, work: Work) -> None:
        """Queues an upload. Raises Refused for a raw array of another size."""
        if work.kind == RAW:
            assert work.body is not None
            self._finish(work, self._raw(work.body))
        elif not self._small.put(work):
            raise Refused(503, "the service ends; ask another")

    def drop(self, work: Work) -> None:
        """Forgets an upload that nobody waits for."""
        self._small.drop(work)
        self._large.drop(work)

    def close(self) -> None:
        """Ends the threads."""
        self._small.close()
        self._large.close()

    @staticmethod
    def _guarded(decode: Callable[[Work], None]) -> Callable[[Work], None]:
        def handle(work: Work) -> None:
            try:
                decode(work)
            except Exception as error:  # it belongs to the request; this thread serves all others
                work.end(error)

        return handle

    def _finish(self, work: Work, image: Array) -> None:
        work.image, work.body = image, None
        work.decoded()
        self._forward(work)

    def _raw(self, body: bytes) -> Array:
        size = int(np.prod(self._shape))
        if len(body) != size:
            raise Refused(
                400, f"a raw array must be {size} bytes, uint8 {self._shape}, not {len(body)}; resize it"
            )
        return np.frombuffer(body, np.uint8).reshape(self._shape)

    def _decode_small(self, work: Work) -> None:
        body, kind = work.body, work.kind
        if body is None:
            return
        if kind.startswith(FORM):
            body, kind = form_file(body, kind, "image")
        work.size_bytes = decoded_bytes(body)
        # Browsers and curl name every file RAW whose ending they do not know.
        if kind == RAW and not work.size_bytes:
            self._finish(work, self._raw(body))
        elif work.size_bytes <= _SMALL_BYTES:
            self._finish(work, self._decode(body))
        else:
            work.body = body
            if not self._large.put(work):
                raise Refused(503, "too many large pictures wait; try again later, or send a smaller one")

    def _decode_large(self, work: Work) -> None:
        if work.body is not None:
            self._finish(work, self._decode(work.body))

    def _decode(self, body: bytes) -> Array:
        import PIL.Image

        try:
            with PIL.Image.open(io.BytesIO(body)) as picture:
                return self._preprocessing.prepare(picture)
        except InputError:
            raise
        except Exception as error:  # decoders raise nearly anything on foreign bytes
            reason = _ADDRESS.sub("the upload", " ".join(str(error).split()))[:100]
            raise Refused(
                400, f"the upload must be a picture that can be decoded ({reason}); send JPEG or PNG"
            ) from None


def decoded_bytes(body: bytes) -> int:
    """About what a picture takes while it is decoded, as its header says; 0 for what is no picture."""
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(body)) as picture:
            width, height = picture.size
            samples = len(picture.getbands())
            wide = 4 if picture.mode.startswith(("I", "F")) else 1
    except Exception:  # decoding says what is wrong with it
        return 0
    return width * height * (samples * wide + 3)
