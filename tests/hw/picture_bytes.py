"""Files of pictures written byte by byte, for kinds that Pillow reads and does not write."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def encoded(image: Any, format: str = "PNG", **options: Any) -> bytes:
    """A picture as a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def oriented(image: Any, orientation: int, format: str) -> bytes:
    """The picture with this EXIF orientation."""
    exif = Image.Exif()
    exif[274] = orientation
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}.get(format, {})
    return encoded(image, format, exif=exif, **lossless)


def png(width: int, height: int, depth: int, colour: int, rows: list[bytes], **chunks: bytes) -> bytes:
    """A PNG of raw rows; `chunks` come before the pixels, by their names."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))]
    parts += [(name.encode(), data) for name, data in chunks.items()]
    parts += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    framed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def tiff(array: Any, order: str = "<", photometric: int = 1, sample_format: int = 1, bits: int = 0) -> bytes:
    """A TIFF of one grey sample per pixel, of the array's bytes in this order; `bits` of packed ones."""
    height, width = array.shape
    data = array.astype(array.dtype.newbyteorder(order)).tobytes() if not bits else _packed(array, bits)
    size = bits or 8 * array.dtype.itemsize
    shorts = {258: size, 259: 1, 262: photometric, 277: 1, 339: sample_format}
    longs = {256: width, 257: height, 273: 0, 278: height, 279: len(data)}
    tags = sorted({**shorts, **longs})
    longs[273] = 8 + 2 + 12 * len(tags) + 4
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    for tag in tags:
        if tag in shorts:
            out += struct.pack(order + "HHIHH", tag, 3, 1, shorts[tag], 0)
        else:
            out += struct.pack(order + "HHII", tag, 4, 1, longs[tag])
    return out + struct.pack(order + "I", 0) + data


def _packed(array: Any, bits: int) -> bytes:
    text = "".join("".join(f"{value:0{bits}b}" for value in row) for row in array)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def photo(width: int, height: int, seed: int = 0) -> Any:
    """Blocks of colour, no two sides of it alike."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (-(-height // 4), -(-width // 4), 3), dtype=np.uint8)
    return Image.fromarray(blocks.repeat(4, axis=0).repeat(4, axis=1)[:height, :width].copy())
