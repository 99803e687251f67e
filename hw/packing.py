"""Integers as bits: the layout of a stream, and a small file for arrays of narrow integers."""

from __future__ import annotations

import hashlib
import json
import math
import re
import zlib
from typing import TYPE_CHECKING, Any, Iterator, Mapping

import numpy as np

from fireflow.hw.errors import InputError
from fireflow.hw.files import MAX_JSON_BYTES, PathLike, atomic_file, parse_json, read_bytes
from fireflow.hw.types import narrowest_dtype

if TYPE_CHECKING:
    from fireflow.hw.types import Array, Int64Array

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
MAX_FILE_BYTES = 1 << 28
MAX_HEADER_BYTES = MAX_JSON_BYTES
MAX_ELEMENTS = 1 << 26
"""Per file; a SqueezeNet has 1.3 million."""
FREE_ELEMENTS, ELEMENTS_PER_BYTE = 1 << 22, 64
"""A file may hold so many elements, and so many more for each of its bytes: a small one never asks for much memory.
Weights of 1 bit are 8 elements a byte; only arrays that say next to nothing are denser than the second figure."""
_CHUNK = 1 << 16
_INT64 = (-(1 << 63), (1 << 63) - 1)
_DTYPE = re.compile(r"[<>|][iufb][1248]")


def write_arrays(path: PathLike, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
    """Writes named arrays and a JSON value to one file; the same input gives the same bytes.

    Args:
        path: written whole or not at all.
        arrays: integers, floats or booleans of any shape; types and shapes come back exactly.
        meta: anything JSON can hold.

    Raises:
        InputError: an array of another type, or more numbers than `read_arrays` would take.
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
    size_bytes = len(MAGIC) + 36 + len(header) + sum(map(len, blocks))
    elements, allowed = sum(np.asarray(array).size for array in arrays.values()), _allowed(size_bytes)
    if elements > allowed or size_bytes > MAX_FILE_BYTES or len(header) > MAX_HEADER_BYTES:
        raise InputError(
            f"{path}: arrays must have at most {allowed} numbers in {size_bytes} bytes, not {elements}; split them"
        )
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        file.write(MAGIC + len(header).to_bytes(4, "little") + hashlib.sha256(header).digest() + header)
        file.writelines(blocks)


def read_arrays(path: PathLike) -> tuple[dict[str, Array], dict[str, Any]]:
    """Reads what `write_arrays` wrote: the arrays and the meta value.

    Raises:
        InputError: as `parse_arrays`, or a missing file, a pipe, a device, one of more than `MAX_FILE_BYTES`.
    """
    return parse_arrays(read_bytes(path, MAX_FILE_BYTES), path)


def parse_arrays(data: bytes, path: object) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and the meta value in the bytes of a file that `write_arrays` wrote.

    Args:
        data: the whole file.
        path: its name, for messages.

    Raises:
        InputError: a truncated, damaged or foreign file, or one that asks for more than its size allows; names the
            file and the array.
    """
    start = len(MAGIC) + 36
    if len(data) < start or not data.startswith(MAGIC):
        raise InputError(
            f"{path}: an array file must start with {MAGIC!r}, not {data[:8]!r}; get the file again"
        )
    size = int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "little")
    header = data[start : start + min(size, MAX_HEADER_BYTES)]
    if len(header) != size or hashlib.sha256(header).digest() != data[start - 32 : start]:
        raise InputError(f"{path}: the header must match its hash, not be cut or changed; get the file again")
    document = parse_json(header, path, "get the file again")
    arrays: dict[str, Array] = {}
    offset, allowed = start + size, _allowed(len(data))
    try:
        for number, entry in enumerate(document["arrays"]):
            name, shape = entry["name"], _shape(entry["shape"])
            if not isinstance(name, str) or name in arrays:
                raise InputError(
                    f"{path}: array {number} must have a name of its own, not {name!r}; get the file again"
                )
            block = data[offset : offset + _whole(entry, "size_bytes")]
            offset += len(block)
            if hashlib.sha256(block).hexdigest() != entry["sha256"]:
                raise InputError(
                    f"{path}: {name} must match its hash, not be cut or changed; get the file again"
                )
            allowed -= math.prod(shape)
            if allowed < 0 or not _DTYPE.fullmatch(entry["dtype"]):
                raise InputError(
                    f"{path}: {name} must have at most {math.prod(shape) + allowed} numbers in a file of "
                    f"{len(data)} bytes, not shape {shape} of {entry['dtype']}; get the file again"
                )
            arrays[name] = _decode(f"{path}: {name}", entry, shape, block)
        if offset != len(data):
            raise InputError(
                f"{path}: must end after its arrays, not {len(data) - offset} bytes later; cut it"
            )
        return arrays, dict(document["meta"])
    except (KeyError, TypeError, AttributeError, OverflowError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: the header must describe arrays ({error!r}); get the file again") from None


def _allowed(size_bytes: int) -> int:
    """How many numbers a file of this size may hold."""
    return min(MAX_ELEMENTS, FREE_ELEMENTS + ELEMENTS_PER_BYTE * size_bytes)


def _whole(entry: Mapping[str, Any], key: str, low: int = 0, high: int = 1 << 62) -> int:
    value = entry[key]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{key} must be a whole number of {low} to {high}, not {value!r}")
    return value


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > 32:  # as many axes as every NumPy can have
        raise ValueError(f"shape must be a list of sizes, not {value!r}")
    return tuple(_whole({"shape": size}, "shape") for size in value)


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
    dtype, size, code = np.dtype(entry["dtype"]), math.prod(shape), entry["code"]
    if code == "raw":
        data = _inflate(place, block, size * dtype.itemsize)
        if dtype.kind == "b" and data.translate(None, b"\x00\x01"):
            raise InputError(
                f"{place} must hold 0 or 1 for each boolean, not another byte; get the file again"
            )
        return np.frombuffer(data, dtype).reshape(shape).copy()
    if dtype.kind not in "iu" or code not in ("digits", "planes"):
        raise ValueError(f"unknown coding {code!r} of {dtype}")
    decode = _from_digits if code == "digits" else _from_planes
    values = decode(place, entry, shape, block)
    info = np.iinfo(dtype)
    if values.size and (int(values.min()) < info.min or int(values.max()) > info.max):
        raise InputError(
            f"{place} must hold numbers of {info.min} to {info.max} as {dtype}, not {values.min()} to {values.max()}; "
            "get the file again"
        )
    return values.astype(dtype, copy=False).reshape(shape)


def _from_digits(place: str, entry: Mapping[str, Any], shape: tuple[int, ...], block: bytes) -> Array:
    """(size,) of the narrowest type; a piece at a time, since the digits of a byte take 64 times its room."""
    size, radix, lo = math.prod(shape), _whole(entry, "radix", 1, 256), _whole(entry, "lo", *_INT64)
    count = _per_byte(radix)
    packed = np.frombuffer(_inflate(place, block, -(-size // count)), np.uint8)
    values = np.empty(len(packed) * count, narrowest_dtype(lo, min(lo + radix - 1, _INT64[1])))
    powers = radix ** np.arange(count)
    for first in range(0, len(packed), _CHUNK):
        piece = packed[first : first + _CHUNK].astype(np.int64)
        digits = (piece[:, None] // powers % radix).reshape(-1)
        if lo > _INT64[1] - int(digits.max()):
            raise InputError(f"{place} must hold numbers that int64 can hold, not more; get the file again")
        values[first * count : first * count + len(digits)] = digits + lo
    return values[:size]


def _from_planes(place: str, entry: Mapping[str, Any], shape: tuple[int, ...], block: bytes) -> Array:
    """int64 of the shape."""
    size, stored, lo = math.prod(shape), entry["stored"], _whole(entry, "lo", *_INT64)
    order = _whole(entry, "order", 0, 2)
    if not isinstance(stored, str) or not re.fullmatch(r"[<>|][iu][1248]", stored):
        raise ValueError(f"stored must be an integer type, not {stored!r}")
    raw = np.dtype(stored)
    planes = np.frombuffer(_inflate(place, block, size * raw.itemsize), np.uint8).reshape(raw.itemsize, -1)
    moved: Array = np.ascontiguousarray(planes.T).view(raw).reshape(shape[-1:] + shape[:-1])
    if size:
        # In Python's integers: neither the sum with `lo` nor those of the differences may leave int64 unseen.
        reach = max(abs(int(moved.min()) + lo), abs(int(moved.max()) + lo))
        if reach > _INT64[1]:
            raise InputError(f"{place} must hold numbers that int64 can hold, not more; get the file again")
    moved = moved.astype(np.int64) + lo
    for back in range(order, 0, -1):
        _check_sums(place, moved[back - 1 :])
        moved[back - 1 :] = np.cumsum(moved[back - 1 :], axis=0)
    return np.ascontiguousarray(np.moveaxis(moved, 0, -1) if shape else moved)


def _check_sums(place: str, differences: Int64Array) -> None:
    """Refuses differences whose sums leave int64: those of what `_encode` takes stay below 2^61, and wide apart."""
    if not differences.size:
        return
    if max(abs(int(differences.min())), abs(int(differences.max()))) * len(differences) < 1 << 62:
        return
    sums = np.cumsum(differences.astype(np.float64), axis=0)
    if not (np.abs(sums) < 2.0**62).all():
        raise InputError(f"{place} must hold numbers that int64 can hold, not more; get the file again")


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
