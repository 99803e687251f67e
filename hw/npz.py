"""Arrays in NumPy .npz and .npy files from anybody: their sizes are checked before there is memory for them."""

from __future__ import annotations

import ast
import io
import math
import os
import re
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any, Iterable

import numpy as np

from fireflow.hw.errors import InputError
from fireflow.hw.files import open_regular

if TYPE_CHECKING:
    from fireflow.hw.files import PathLike
    from fireflow.hw.types import Array

MAX_NPY_BYTES = 1 << 40
"""A mapped file takes an address space, not memory."""
_MAGIC = b"\x93NUMPY"
_MAX_HEADER_BYTES = 10_000  # as NumPy has it
_DESCRIPTION = re.compile(r"[<>|=]?[iufbU]\d{1,5}")
_ENCRYPTED = 1


def read_npz(data: bytes, names: Iterable[str], max_bytes: int) -> dict[str, Array]:
    """Arrays of numbers or texts by name.

    Args:
        data: the file.
        names: of the arrays that are wanted; others are not looked at.
        max_bytes: of all wanted arrays when unpacked.

    Raises:
        ValueError: one is missing, larger, of objects or damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(name, archive.getinfo(f"{name}.npy")) for name in names]
            size_bytes = sum(member.file_size for _name, member in members)
            if size_bytes > max_bytes:
                raise ValueError(f"{size_bytes} bytes when unpacked, {max_bytes} at most")
            result = {}
            for name, member in members:
                if member.flag_bits & _ENCRYPTED:
                    raise ValueError(f"{name} is encrypted")
                with archive.open(member) as file:
                    result[name] = _read_array(name, file, member.file_size)
            return result
    except KeyError as error:
        raise ValueError(str(error.args[0])) from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, MemoryError) as error:
        raise ValueError(str(error) or type(error).__name__) from None


def map_npy(path: PathLike, max_bytes: int = MAX_NPY_BYTES) -> Array:
    """The array of numbers in a .npy file, read-only and mapped: nothing of it is read before somebody looks at it.

    Raises:
        InputError: no regular file, or larger than `max_bytes`.
        ValueError: it is of objects or damaged.
    """
    with open_regular(path, max_bytes) as file:
        shape, dtype, fortran = _header(str(path), file, os.fstat(file.fileno()).st_size)
        if not math.prod(shape):
            return np.zeros(shape, dtype)
        order: Any = "F" if fortran else "C"
        return np.memmap(file, dtype, "r", file.tell(), shape, order)


def _read_array(name: str, file: IO[bytes], size_bytes: int) -> Array:
    """The array in a member of `size_bytes`."""
    shape, dtype, fortran = _header(name, file, size_bytes)
    wanted = math.prod(shape) * dtype.itemsize
    data = file.read(wanted)
    if len(data) != wanted or file.read(1):  # the second read checks the sum of the member
        raise ValueError(f"{name} is cut")
    array = np.frombuffer(data, dtype)
    return array.reshape(shape, order="F" if fortran else "C").copy()


def _header(name: str, file: IO[bytes], size_bytes: int) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape, type, and whether the first axis varies fastest, of format .npy 1.0 to 3.0; then its data follows."""
    start = file.read(8)
    length_bytes = 2 if start[6:7] == b"\x01" else 4
    length = int.from_bytes(file.read(length_bytes), "little")
    if not start.startswith(_MAGIC) or length > _MAX_HEADER_BYTES:
        raise ValueError(f"{name} is no array")
    try:
        header = ast.literal_eval(file.read(length).decode("utf-8"))
        shape, description, fortran = header["shape"], header["descr"], header["fortran_order"]
        good = isinstance(shape, tuple) and len(shape) <= 32 and all(type(n) is int and n >= 0 for n in shape)
        if not good or not _DESCRIPTION.fullmatch(description):
            raise ValueError("not of numbers or texts")
        dtype = np.dtype(description)
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise ValueError(f"{name} has no header of an array ({error})") from None
    wanted = math.prod(shape) * dtype.itemsize
    if wanted != size_bytes - 8 - length_bytes - length or dtype.itemsize == 0:
        raise ValueError(f"{name} has {size_bytes} bytes, not those of {dtype} of shape {shape}")
    return shape, dtype, fortran is True


def texts(name: str, array: Array) -> list[str]:
    """The texts of an array of them, (N,). Raises InputError where it is another one."""
    if array.dtype.kind != "U" or array.ndim != 1:
        raise InputError(
            f"{name}: must be a list of texts, not {array.dtype} of shape {array.shape}; write it again"
        )
    return [str(text) for text in array.tolist()]
