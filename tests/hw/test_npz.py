"""Arrays of .npz files: the same as NumPy's, and a file that asks for more than it holds is refused."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fireflow.hw.npz import read_npz

ARRAYS = {
    "images": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "scores": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "names": np.array(["ü", "conv1"]),
    "big": np.arange(3, dtype=">f4"),
    "none": np.zeros((0, 5), np.int64),
}


def saved(compressed: bool = True, **arrays: Any) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    text = header.encode()
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes((version, 0)) + length + text + data


def zipped(member: bytes, name: str = "x.npy") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, member)
    return file.getvalue()


@pytest.mark.parametrize("compressed", [True, False])
def test_as_numpy_reads_them(compressed: bool) -> None:
    found = read_npz(saved(compressed, **ARRAYS), ARRAYS, 1 << 20)
    for name, array in ARRAYS.items():
        assert_array_equal(found[name], array)
        assert (found[name].dtype, found[name].flags.writeable) == (array.dtype, True)


def shape(text: str) -> str:
    return f"{{'descr': '|u1', 'fortran_order': False, 'shape': {text}, }}\n"


@pytest.mark.parametrize(
    "member",
    [
        npy(shape("(1099511627776,)"), b"a"),
        npy(shape("(3,)"), b"ab"),
        npy(shape("(1,)"), b"ab"),
        npy(shape("(-1,)"), b"a"),
        npy(shape("(1.0,)"), b"a"),
        npy(shape("(True,)"), b"a"),
        npy(shape("[1]"), b"a"),
        npy(shape("()") + "x", b"a"),
        npy("(" * 5000, b"a"),
        npy("[" * 200 + "]" * 200, b"a"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"a"),
        npy("{'descr': '<U0', 'fortran_order': False, 'shape': (9999999999,)}"),
        npy("{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (1,)}", b"a"),
        npy("__import__('os').system('id')", b"a"),
        npy("{}", b"a"),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        b"\x93NUMPY",
        b"",
        b"hello",
    ],
)
def test_members_that_lie(member: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(ValueError, match="x "):
        read_npz(zipped(member), ["x"], 1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 22


def test_members_that_would_fill_the_memory() -> None:
    data = saved(x=np.zeros(1 << 24, np.uint8))
    assert len(data) < 1 << 16
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"16777\d+ bytes when unpacked, 1048576 at most"):
        read_npz(data, ["x"], 1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_damaged_files() -> None:
    data = saved(**ARRAYS)
    for place in range(0, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 0x55
        try:
            found = read_npz(bytes(changed), ARRAYS, 1 << 20)
        except ValueError:
            continue
        for name, array in ARRAYS.items():  # what nothing depends on, such as a date
            assert_array_equal(found[name], array)
    for end in range(0, len(data), 11):
        with pytest.raises(ValueError):  # noqa: PT011  any of them
            read_npz(data[:end], ARRAYS, 1 << 20)
    with pytest.raises(ValueError, match="other"):
        read_npz(data, ["other"], 1 << 20)
