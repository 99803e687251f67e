"""Integers as bits: the layout of a stream, and a small file for arrays of narrow integers."""

from __future__ import annotations

import hashlib
import json
import math
import re
import zlib
from typing import TYPE_CHECKING, Any, Iterator, Mapping

import numpy as np

from hw.errors import InputError
from hw.files import PathLike, atomic_file
from hw.types import narrowest_dtype

if TYPE_CHECKING:
    from hw.types import Array, Int64Array

# --- bit strings --------------------------------------------------------------------------------------------


def pack_bits(values: Array, width: int, signed: bool) -> Array:
    """Packs the last axis into a little-endian bit string: element 0 lowest, zeros up to whole bytes.

    Args:
        values: integers (..., n).
        width: bits of an element, 1 to 32.
        signed: two's complement.

    Returns:
        uint8 (..., ceil(n * width / 8)).

    Raises:
        InputError: a width outside 1..32, values that are no integers or do not fit.

    >>> pack_bits(np.array([1, -1, 7]), 4, True).tolist()
    [241, 7]
    """
    lo, hi = _limits(width, signed)
    values = np.asarray(values)
    if values.dtype.kind not in "iu" or values.ndim == 0:
        raise InputError(f"packing: values must be an array of integers, not {values.dtype}; convert them")
    if values.size and (values.min() < lo or values.max() > hi):
        found = f"{values.min()}..{values.max()}"
        raise InputError(
            f"packing: values must lie in {lo}..{hi} for {width} bits, not {found}; use more bits"
        )
    raw = np.ascontiguousarray(values.astype("<i4" if signed else "<u4"))
    size_bytes = -(-values.shape[-1] * width // 8)
    if width in (8, 16, 32):
        return raw.astype(f"<u{width // 8}").view(np.uint8).reshape(*values.shape[:-1], size_bytes)
    # (..., n) -> (..., n, 32) single bits, of which the lowest `width` are kept
    bits = np.unpackbits(raw.view(np.uint8).reshape(*values.shape, 4), axis=-1, bitorder="little")[
        ..., :width
    ]
    return np.packbits(bits.reshape(*values.shape[:-1], -1), axis=-1, bitorder="little")


def unpack_bits(data: Array, width: int, signed: bool, count: int) -> Array:
    """The inverse of `pack_bits`.

    Args:
        data: uint8 (..., ceil(count * width / 8)).
        width, signed: as packed.
        count: elements along the last axis.

    Returns:
        (..., count) in the narrowest integer type for the width.

    Raises:
        InputError: a width outside 1..32, or data of another length.
    """
    lo, hi = _limits(width, signed)
    data = np.asarray(data)
    size_bytes = -(-count * width // 8)
    if data.dtype != np.uint8 or data.ndim == 0 or data.shape[-1] != size_bytes:
        raise InputError(
            f"unpacking: data must be uint8 (..., {size_bytes}) for {count} elements of {width} bits, "
            f"not {data.dtype} {data.shape}; check the shape"
        )
    target = narrowest_dtype(lo, hi)
    if width in (8, 16, 32):
        wide = np.ascontiguousarray(data).view(f"<{'i' if signed else 'u'}{width // 8}")
        return wide.reshape(*data.shape[:-1], count).astype(target)
    bits = np.unpackbits(data, axis=-1, bitorder="little")[..., : count * width]
    full = np.zeros((*data.shape[:-1], count, 32), np.uint8)
    full[..., :width] = bits.reshape(*data.shape[:-1], count, width)
    if signed:
        full[..., width:] = full[..., width - 1 : width]
    packed = np.packbits(full, axis=-1, bitorder="little")  # (..., count, 4)
    return packed.view("<i4" if signed else "<u4")[..., 0].astype(target)


def _limits(width: int, signed: bool) -> tuple[int, int]:
    if not 1 <= width <= 32:
        raise InputError(f"packing: width must be 1 to 32 bits, not {width}; split the value")
    return (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)


# --- array files --------------------------------------------------------------------------------------------
# MAGIC, header length (4 bytes, little-endian), SHA-256 of the header, header (JSON), a block per array.
#
# A block is deflate data. Integers that span R <= 256 values are written as base-R digits, as many to a byte
# as fit, before Huffman coding. On random Gaussian weights of 3 and 4 bits that takes 1.005 to 1.013 times
# the order-0 entropy, against 1.04 to 1.14 for the best LZMA setting (its match search finds nothing, and
# costs) and 1.02 to 1.09 for Huffman coding of single weights. Wider integers are written as byte planes, or
# those of their first or second differences along the last axis: the thresholds of a uniform quantizer are
# almost equally spaced.

MAGIC = b"FIREARR1"
MAX_HEADER_BYTES = 1 << 24
MAX_ELEMENTS = 1 << 26  # per file; a SqueezeNet has 1.3 million. A forged header may not ask for more memory.
_DTYPE = re.compile(r"[<>|][iufb][1248]")


def write_arrays(path: PathLike, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
    """Writes named arrays and a JSON value to one file; the same input gives the same bytes.

    Args:
        path: written whole or not at all.
        arrays: integers, floats or booleans of any shape; types and shapes come back exactly.
        meta: anything JSON can hold.

    Raises:
        InputError: an array of another type.
    """
    entries, blocks = [], []
    for name, array in arrays.items():
        array = np.asarray(array)
        if not _DTYPE.fullmatch(array.dtype.str):
            raise InputError(
                f"{path}: {name} must be integers, floats or booleans, not {array.dtype}; convert it"
            )
        coding, block = _encode(array)
        digest = hashlib.sha256(block).hexdigest()
        entry = {"name": name, "dtype": array.dtype.str, "shape": list(array.shape), "size_bytes": len(block)}
        entries.append({**entry, "sha256": digest, **coding})
        blocks.append(block)
    header = json.dumps(
        {"meta": dict(meta), "arrays": entries}, sort_keys=True, separators=(",", ":")
    ).encode()
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        file.write(MAGIC + len(header).to_bytes(4, "little") + hashlib.sha256(header).digest() + header)
        file.writelines(blocks)


def read_arrays(path: PathLike) -> tuple[dict[str, Array], dict[str, Any]]:
    """Reads what `write_arrays` wrote: the arrays and the meta value.

    Raises:
        InputError: a missing, truncated, damaged or foreign file; names the file and the array.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise InputError(f"{path}: the file must be readable, not {error.strerror}; check the path") from None
    start = len(MAGIC) + 36
    if len(data) < start or not data.startswith(MAGIC):
        raise InputError(
            f"{path}: an array file must start with {MAGIC!r}, not {data[:8]!r}; get the file again"
        )
    size = int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "little")
    header = data[start : start + min(size, MAX_HEADER_BYTES)]
    if len(header) != size or hashlib.sha256(header).digest() != data[start - 32 : start]:
        raise InputError(f"{path}: the header must match its hash, not be cut or changed; get the file again")
    arrays: dict[str, Array] = {}
    offset, elements = start + size, 0
    try:
        document = json.loads(header.decode())
        for entry in document["arrays"]:
            name, shape = str(entry["name"]), tuple(int(axis) for axis in entry["shape"])
            elements += math.prod(shape)
            block = data[offset : offset + int(entry["size_bytes"])]
            offset += len(block)
            if hashlib.sha256(block).hexdigest() != entry["sha256"]:
                raise InputError(
                    f"{path}: {name} must match its hash, not be cut or changed; get the file again"
                )
            if min(shape, default=0) < 0 or elements > MAX_ELEMENTS or not _DTYPE.fullmatch(entry["dtype"]):
                raise InputError(
                    f"{path}: {name} must have at most {MAX_ELEMENTS} numbers, not shape {shape} of "
                    f"{entry['dtype']}; get the file again"
                )
            arrays[name] = _decode(f"{path}: {name}", entry, shape, block)
        if offset != len(data):
            raise InputError(
                f"{path}: must end after its arrays, not {len(data) - offset} bytes later; cut it"
            )
        return arrays, dict(document["meta"])
    except (KeyError, TypeError, AttributeError, OverflowError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: the header must describe arrays ({error!r}); get the file again") from None


def _encode(array: Array) -> tuple[dict[str, Any], bytes]:
    """The way of writing that takes least space: its fields for the header, and the block."""
    if array.dtype.kind not in "iu" or array.size == 0 or (array.dtype.itemsize == 8 and _wide(array)):
        return {"code": "raw"}, _deflate(np.ascontiguousarray(array).tobytes())
    values = array.astype(np.int64)
    lo, radix = int(values.min()), int(values.max()) - int(values.min()) + 1
    if radix <= 256:
        return {"code": "digits", "lo": lo, "radix": radix}, _deflate(_to_digits(values.ravel() - lo, radix))
    candidates = []
    for order, moved in enumerate(_differences(values)):
        lo, span = int(moved.min()), int(moved.max()) - int(moved.min())
        raw = (moved - lo).astype(narrowest_dtype(0, span).newbyteorder("<"))
        planes = raw.reshape(-1).view(np.uint8).reshape(-1, raw.dtype.itemsize).T
        fields = {"code": "planes", "lo": lo, "stored": raw.dtype.str, "order": order}
        candidates.append((fields, _deflate(planes.tobytes())))
    return min(candidates, key=lambda candidate: len(candidate[1]))


def _wide(array: Array) -> bool:
    """Whether differences of these numbers could leave int64."""
    return int(array.max()) >= 1 << 60 or int(array.min()) <= -(1 << 60)


def _differences(values: Int64Array) -> Iterator[Int64Array]:
    """The values, their first and their second differences along the last axis, that axis put first.

    The first elements stay what they are. Axis first, because then similar numbers lie together.
    """
    moved = np.ascontiguousarray(np.moveaxis(values, -1, 0)) if values.ndim else values
    yield moved
    for order in range(1, 3):
        if moved.ndim < 2 or len(moved) <= order:
            return
        moved = moved.copy()
        moved[order:] -= moved[order - 1 : -1].copy()
        yield moved


def _to_digits(values: Int64Array, radix: int) -> bytes:
    count = _per_byte(radix)
    padded = np.zeros(-(-len(values) // count) * count, np.int64)
    padded[: len(values)] = values
    return bytes((padded.reshape(-1, count) @ radix ** np.arange(count)).astype(np.uint8).tobytes())


def _per_byte(radix: int) -> int:
    """How many base-`radix` digits fit in a byte."""
    count = 1
    while max(2, radix) ** (count + 1) <= 256:
        count += 1
    return count


def _decode(place: str, entry: Mapping[str, Any], shape: tuple[int, ...], block: bytes) -> Array:
    dtype, size = np.dtype(entry["dtype"]), math.prod(shape)
    if entry["code"] == "raw":
        return np.frombuffer(_inflate(place, block, size * dtype.itemsize), dtype).reshape(shape).copy()
    lo = int(entry["lo"])
    if entry["code"] == "digits":
        radix = int(entry["radix"])
        count = _per_byte(radix)
        packed = np.frombuffer(_inflate(place, block, -(-size // count)), np.uint8).astype(np.int64)
        digits = packed[:, None] // radix ** np.arange(count) % radix
        return (digits.reshape(-1)[:size] + lo).astype(dtype).reshape(shape)
    stored = np.dtype(entry["stored"])
    if entry["code"] != "planes" or stored.kind not in "ui" or entry["order"] not in (0, 1, 2):
        raise ValueError(f"unknown coding {entry['code']!r}")
    planes = np.frombuffer(_inflate(place, block, size * stored.itemsize), np.uint8).reshape(
        stored.itemsize, -1
    )
    moved = np.ascontiguousarray(planes.T).view(stored).astype(np.int64) + lo
    moved = moved.reshape(shape[-1:] + shape[:-1])
    for order in range(entry["order"], 0, -1):
        moved[order - 1 :] = np.cumsum(moved[order - 1 :], axis=0)
    return np.ascontiguousarray(np.moveaxis(moved, 0, -1) if shape else moved).astype(dtype).reshape(shape)


def _deflate(data: bytes) -> bytes:
    """Deflate data: pure Huffman coding or with matches, whichever is shorter."""
    results = []
    for strategy in (zlib.Z_HUFFMAN_ONLY, zlib.Z_DEFAULT_STRATEGY):
        coder = zlib.compressobj(9, zlib.DEFLATED, -15, 9, strategy)
        results.append(coder.compress(data) + coder.flush())
    return min(results, key=len)


def _inflate(place: str, block: bytes, size: int) -> bytes:
    """Exactly `size` bytes; never asks for more memory than that, whatever the block holds."""
    decoder = zlib.decompressobj(-15)
    try:
        data = decoder.decompress(block, size + 1)
    except zlib.error as error:
        raise InputError(f"{place} must be deflate data ({error}); get the file again") from None
    if len(data) != size or decoder.unused_data:
        raise InputError(f"{place} must hold {size} bytes, not {len(data)}; get the file again")
    return data
