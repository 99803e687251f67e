"""The one reader of picture files, for training, evaluation, boards and the service: docs/pictures.md has the rules."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import importlib.util
import io
import os
import re
import stat
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Iterator, Mapping, Union

from fireflow.hw.pixels import MAX_PIXELS, PictureError, Pixels, check_size, quiet, told

if TYPE_CHECKING:
    from fireflow.hw.files import PathLike

MAX_FILE_BYTES = 1 << 27
MAX_DECODER_BYTES = 4 * MAX_PIXELS
"""What decoding may hold at its peak, of one picture and of all that are decoded at once."""
FORMAT_OF: Mapping[str, str] = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "JPEG"),
    **dict.fromkeys((".png", ".apng"), "PNG"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm", ".pfm"), "PPM"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), "JPEG2000"),
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIF"),
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".gif": "GIF",
    ".avif": "AVIF",
}
"""Pillow's names of the formats that are read, and of no others, by the endings of their files."""
ENDINGS = tuple(FORMAT_OF)
# Bytes that a decoder holds for each pixel at its peak, Pillow's own 4 included; measured at 16 megapixels. The others
# decode row by row.
_WHOLE: Mapping[str, int] = {"AVIF": 10, "HEIF": 8, "WEBP": 16, "JPEG2000": 20}
_PILLOWS = 4
NO_FORMAT = "no known image format"
_SMALL_BYTES = 1 << 23
_PATIENCE_S = 60.0
_HEIF = "pillow_heif"
Encoded = Union["PathLike", bytes, BinaryIO]


class Busy(RuntimeError):
    """Others are decoding pictures too large for one more beside them."""


@contextlib.contextmanager
def opened(
    source: Encoded,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_FILE_BYTES,
    wait_s: float | None = None,
) -> Iterator[Pixels]:
    """Decodes a picture: the path or bytes of a file, or an open file.

    While the `with` lasts, the picture counts towards MAX_DECODER_BYTES: other large ones wait. So use it at once, and
    open no other inside. Its pixels are gone afterwards.

    Args:
        source: the picture.
        max_pixels, max_bytes: the limits.
        wait_s: how long a large one may wait for others; None for as long as it takes.

    Raises:
        PictureError: it is no picture of a known format, damaged, or beyond a limit. The message names no place.
        Busy: others took longer than `wait_s`.
    """
    with _decoded(source, max_pixels, max_bytes, wait_s) as picture:
        try:
            yield picture
        finally:
            picture.forget()


@contextlib.contextmanager
def _decoded(
    source: Encoded, max_pixels: int, max_bytes: int, wait_s: float | None = None
) -> Iterator[Pixels]:
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(_file(source, max_bytes))
        webp = _webp_size(file)
        if webp is None:
            image = unread(file)
            cost, size = _decoder_bytes(image, file), _decoded_size(image)
            stack.enter_context(_part(size, cost, max_pixels, wait_s))
        else:  # whose decoder takes its memory as soon as it opens a file
            stack.enter_context(_part(webp, _WHOLE["WEBP"], max_pixels, wait_s))
            image = unread(file)
        picture = Pixels.of(image)
        with image:  # decoded; it needs no file any more
            del image
        yield picture
        del picture


def _part(
    size: tuple[int, int], cost: int, max_pixels: int, wait_s: float | None
) -> contextlib.AbstractContextManager[None]:
    return _SHARED.part(_allowed_bytes(size, cost, max_pixels), wait_s)


def _allowed_bytes(size: tuple[int, int], cost: int, max_pixels: int) -> int:
    """What decoding holds at its peak. Raises PictureError for more than any picture may."""
    width, height = size
    check_size(width, height, min(max_pixels, MAX_DECODER_BYTES // cost))
    return width * height * cost


def _decoded_size(image: Any) -> tuple[int, int]:
    """Width and height of what is decoded: the image, or the tile of a TIFF where that is larger."""
    width, height = image.size
    if image.format == "TIFF":
        tile = [image.tag_v2.get(tag) for tag in (322, 323)]
        if all(isinstance(side, int) for side in tile) and tile[0] * tile[1] > width * height:
            return tile[0], tile[1]
    return width, height


def _webp_size(file: BinaryIO) -> tuple[int, int] | None:
    """Width and height of a WebP, of its whole canvas if it has one; None of another file.

    Source: RFC 9649, 2.5 to 2.7 and 3.4.
    """
    start = file.read(30)
    file.seek(0)
    if start[:4] != b"RIFF" or start[8:12] != b"WEBP" or len(start) < 30:
        return None
    if start[12:16] == b"VP8X":
        return int.from_bytes(start[24:27], "little") + 1, int.from_bytes(start[27:30], "little") + 1
    if start[12:16] == b"VP8L":
        bits = int.from_bytes(start[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(start[26:28], "little") & 0x3FFF, int.from_bytes(start[28:30], "little") & 0x3FFF


def decoding_bytes(source: Encoded, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_FILE_BYTES) -> int:
    """What decoding a picture would hold at its peak, as its header says. Raises PictureError."""
    with _file(source, max_bytes) as file:
        webp = _webp_size(file)
        if webp is not None:
            return _allowed_bytes(webp, _WHOLE["WEBP"], max_pixels)
        with unread(file) as image:
            return _allowed_bytes(_decoded_size(image), _decoder_bytes(image, file), max_pixels)


def read_rgb(source: Encoded, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_FILE_BYTES) -> Any:
    """The whole picture as a PIL image in RGB; as `opened`."""
    with _decoded(source, max_pixels, max_bytes) as picture:
        return picture.rgb()


def why_not_read(ending: str) -> str | None:
    """What is missing to read files of this ending, one of ENDINGS; None where nothing is.

    Raises:
        ImportError: Pillow is not installed.
    """
    return _missing(FORMAT_OF[ending])


@functools.lru_cache(maxsize=None)
def _missing(format: str) -> str | None:
    from PIL import features

    if format == "HEIF":
        return None if importlib.util.find_spec(_HEIF) else "needs pillow-heif"
    name = {"AVIF": "avif", "WEBP": "webp", "JPEG2000": "jpg_2000"}.get(format)
    known = name is None or ((name in features.modules or name in features.codecs) and features.check(name))
    return None if known else f"needs a Pillow with {format}"


def decoders() -> list[str]:
    """Versions of what decides pixels, for the names of what keeps them."""
    import PIL

    versions = [PIL.__version__]
    if importlib.util.find_spec(_HEIF):
        versions.append(importlib.import_module(_HEIF).__version__)
    return versions


@contextlib.contextmanager
def _file(source: Encoded, max_bytes: int) -> Iterator[BinaryIO]:
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        try:
            kind = path.stat()
            if not stat.S_ISREG(kind.st_mode):
                raise PictureError("no regular file", "save it as a file")
            check_bytes(kind.st_size, max_bytes)
            file = path.open("rb")
        except OSError as error:
            raise PictureError(f"{error.strerror or error}", "check the path") from None
        with file:
            yield file
        return
    if isinstance(source, bytes):
        check_bytes(len(source), max_bytes)
        source = io.BytesIO(source)
    yield source


def check_bytes(size: int, most: int = MAX_FILE_BYTES) -> None:
    """Raises PictureError for a file of more bytes."""
    if size > most:
        raise PictureError(f"{size} bytes are more than {most}", "make it smaller")


def unread(file: BinaryIO) -> Any:
    """A PIL image of which only the header has been read; what decodes it should be `Pixels.of`.

    Raises:
        PictureError: it is no picture of a known format, or its header is damaged.
    """
    import PIL.Image

    try:
        start = file.read(12)
        file.seek(0)
        with quiet():
            image = PIL.Image.open(file, formats=_formats(start))
    except PIL.Image.DecompressionBombError:
        raise PictureError(f"far more than {MAX_PIXELS} pixels", "make it smaller") from None
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        missing = _missing("HEIF") if _is_heif(start) else None
        if missing is not None:
            raise PictureError(f"HEIC, which {missing}", "pip install pillow-heif, or convert it") from None
        unknown = isinstance(error, PIL.UnidentifiedImageError)
        if unknown and start[:4] in (b"II*\0", b"MM\0*"):
            raise PictureError("a TIFF of a kind that Pillow does not read", "save it as 8-bit RGB") from None
        raise PictureError(NO_FORMAT if unknown else told(error)) from None
    _check_levels(image, start)
    return image


def _check_levels(image: Any, start: bytes) -> None:
    """Refuses the PGM and PPM whose levels a Pillow before 9.1 leaves as they are, so that 15 of 15 were nearly black.

    Newer ones give the decoder the number of levels, or scale nothing where it is 255 or 65535.
    """
    if image.format != "PPM" or start[:2] not in (b"P5", b"P6") or image.tile[0][0] != "raw":
        return
    image.fp.seek(0)
    text = re.sub(rb"#[^\n]*", b" ", image.fp.read(1 << 12))
    levels = text.split(None, 4)[3]
    if levels not in (b"255", b"65535"):
        most = levels.decode("ascii", "replace")
        raise PictureError(f"one of {most} levels", "install Pillow 9.1 or newer, or save it as PNG")


def _is_heif(start: bytes) -> bool:
    return start[4:8] == b"ftyp" and start[8:12] not in (b"avif", b"avis")


def _formats(start: bytes) -> list[str]:
    """The formats that Pillow may try: never one that starts another program, such as EPS."""
    import PIL.Image

    if _is_heif(start) and importlib.util.find_spec(_HEIF):
        importlib.import_module(_HEIF).register_heif_opener()
    PIL.Image.init()
    return [name for name in dict.fromkeys(FORMAT_OF.values()) if name in PIL.Image.OPEN]


def _decoder_bytes(image: Any, file: BinaryIO) -> int:
    """Bytes for each pixel that decoding takes at its peak."""
    if image.format in ("JPEG", "MPO"):
        return _PILLOWS + _coefficient_bytes(file)
    if image.format == "TIFF":  # its decoder holds a strip, which may be all of it; then Pillow turns a copy
        bits = image.tag_v2.get(258, 1)
        return _PILLOWS + max(_PILLOWS, sum(bits if isinstance(bits, tuple) else (bits,)) // 8)
    return _WHOLE.get(image.format, _PILLOWS)


def _coefficient_bytes(file: BinaryIO) -> int:
    """Bytes for each pixel of the coefficients that a JPEG's decoder keeps: none if one scan has all the colours.

    Source: ITU-T T.81, B.2 (markers, frame and scan headers).
    """
    file.seek(2)
    most, sequential, samples = _PILLOWS * 2, False, [1]
    while True:
        marker = file.read(2)
        if len(marker) < 2 or marker[0] != 0xFF:
            return most
        if marker[1] == 0xFF:  # fill
            file.seek(-1, os.SEEK_CUR)
            continue
        if marker[1] == 0x01 or 0xD0 <= marker[1] <= 0xD8:  # alone, without a length
            continue
        length = int.from_bytes(file.read(2), "big")
        if length < 2:
            return most
        segment = file.read(length - 2)
        if 0xC0 <= marker[1] <= 0xCF and marker[1] not in (0xC4, 0xC8, 0xCC) and len(segment) > 6:
            sequential = marker[1] in (0xC0, 0xC1)
            samples = [(factors >> 4) * (factors & 15) for factors in segment[7::3]] or [1]
        elif marker[1] == 0xDA:
            if sequential and segment[:1] == bytes([len(samples)]):
                return 0
            return min(most, -(-2 * sum(samples) // (max(samples) or 1)))


@functools.lru_cache(maxsize=None)
def _malloc_trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library than glibc
        return None


def _trim() -> None:
    """Gives freed memory back to the system: glibc keeps it for each thread, so four decoders held four pictures."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


class _Shared:
    """An amount that is taken in parts, first come, first served; small parts wait for nobody."""

    def __init__(self, whole: int) -> None:
        self._whole = whole
        self.forget()

    def forget(self) -> None:
        self._used = 0
        self._turn, self._given_back = threading.Lock(), threading.Condition()

    @contextlib.contextmanager
    def part(self, amount: int, wait_s: float | None = None) -> Iterator[None]:
        if amount <= _SMALL_BYTES:
            yield
            return
        self._take(amount, wait_s)
        try:
            yield
        finally:
            _trim()
            with self._given_back:
                self._used -= amount
                self._given_back.notify_all()

    def _take(self, amount: int, wait_s: float | None) -> None:
        # After so long somebody holds a picture that he forgot: better more memory than to wait for ever.
        patience_s = _PATIENCE_S if wait_s is None else wait_s
        end = time.monotonic() + patience_s
        turn, given_back = self._turn, self._given_back
        first = turn.acquire(timeout=patience_s)
        try:
            with given_back:
                left_s = max(0.0, end - time.monotonic())
                fits = first and given_back.wait_for(lambda: self._used + amount <= self._whole, left_s)
                if not fits and wait_s is not None:
                    raise Busy("other large pictures are being decoded; try again in a moment")
                self._used += amount
        finally:
            if first:
                turn.release()


_SHARED = _Shared(MAX_DECODER_BYTES)
if hasattr(os, "register_at_fork"):  # the threads that hold parts are not in the child
    os.register_at_fork(after_in_child=_SHARED.forget)
