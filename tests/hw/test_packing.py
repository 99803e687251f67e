"""Bit strings and array files: round trips, sizes, and what happens to damaged data."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from fireflow.hw.errors import InputError
from fireflow.hw.packing import MAGIC, pack_bits, read_arrays, unpack_bits, write_arrays


def slow_pack(values: list[int], width: int) -> list[int]:
    """One long integer, element 0 lowest."""
    total = sum((value & ((1 << width) - 1)) << (width * place) for place, value in enumerate(values))
    return list(total.to_bytes(-(-len(values) * width // 8), "little"))


@settings(deadline=None, max_examples=200)
@given(st.data(), st.integers(1, 32), st.booleans(), st.integers(0, 20))
def test_bits(data: st.DataObject, width: int, signed: bool, count: int) -> None:
    low = -(1 << (width - 1)) if signed else 0
    element = st.integers(low, low + (1 << width) - 1)
    values = np.array(data.draw(st.lists(element, min_size=count, max_size=count)), np.int64)
    packed = pack_bits(values, width, signed)
    assert packed.dtype == np.uint8
    assert packed.tolist() == slow_pack(values.tolist(), width)
    assert_array_equal(unpack_bits(packed, width, signed, count), values)


@pytest.mark.parametrize("width", [3, 4, 8, 16, 24])
def test_bits_along_the_last_axis(width: int) -> None:
    values = np.random.default_rng(0).integers(0, 8, (2, 3, 5))[:, ::-1]
    packed = pack_bits(values, width, False)
    assert packed.shape == (2, 3, -(-5 * width // 8))
    assert packed[1, 2].tolist() == slow_pack(values[1, 2].tolist(), width)
    assert_array_equal(unpack_bits(packed, width, False, 5), values)


def test_unpacked_type_is_the_narrowest() -> None:
    for width, signed, dtype in (
        (4, True, "int8"),
        (8, False, "uint8"),
        (9, True, "int16"),
        (32, False, "uint32"),
    ):
        packed = pack_bits(np.ones(3, int), width, signed)
        assert unpack_bits(packed, width, signed, 3).dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pack_bits(np.array([16]), 4, False), r"values must lie in 0\.\.15 for 4 bits, not 16\.\.16"),
        (lambda: pack_bits(np.array([-9]), 4, True), r"values must lie in -8\.\.7 for 4 bits, not -9\.\.-9"),
        (lambda: pack_bits(np.array([0.5]), 4, True), "must be an array of integers, not float64"),
        (lambda: pack_bits(np.array([1]), 33, True), "width must be 1 to 32 bits, not 33"),
        (
            lambda: unpack_bits(np.zeros(1, np.uint8), 4, True, 3),
            r"must be uint8 \(\.\.\., 2\) for 3 elements",
        ),
        (lambda: unpack_bits(np.zeros(2, np.int8), 4, True, 3), "not int8"),
    ],
)
def test_bits_rules(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def thresholds(channels: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    steps = rng.uniform(50, 600, (channels, 1)) * np.arange(15)
    return np.ceil(rng.uniform(-2000, 2000, (channels, 1)) + steps).astype(np.int64)


def example() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "conv/weight": rng.integers(-3, 4, (8, 3, 3, 5)),
        "act/thresholds": thresholds(20),
        "floats": rng.standard_normal((3, 4)).astype(np.float32),
        "wide": rng.integers(-(1 << 40), 1 << 40, (3, 7)),
    }


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


DTYPES = ("i1", "u1", "<i2", ">i2", "<u2", "<i4", "<u4", ">u4", "<i8", "<u8", "<f4", ">f8", "?")


@settings(deadline=None, max_examples=200)
@given(
    st.integers(0, 1 << 30),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 5), max_size=3),
    st.integers(0, 63),
)
def test_any_array(
    tmp_path_factory: pytest.TempPathFactory, seed: int, dtype: str, shape: list[int], bits: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-(1 << bits), 1 << bits, shape)
    path = tmp_path_factory.mktemp("arrays") / "a"
    arrays = {"x": np.asarray(values).astype(dtype), "sorted": np.sort(values, axis=-1) if shape else values}
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    write_arrays(path, arrays, {"note": [1, "ü", None]})
    found, meta = read_arrays(path)
    assert_same(found, arrays)
    assert meta == {"note": [1, "ü", None]}


@pytest.mark.parametrize("dtype", ["i1", "<i2", "<i8", "<u8", "<u4"])
def test_extremes(tmp_path: Path, dtype: str) -> None:
    info = np.iinfo(dtype)
    arrays = {"x": np.array([[info.min, info.max, 0, 1, info.max]], dtype)}
    write_arrays(tmp_path / "a", arrays, {})
    assert_same(read_arrays(tmp_path / "a")[0], arrays)


def test_same_bytes_every_time(tmp_path: Path) -> None:
    for name in "ab":
        write_arrays(tmp_path / name, example(), {"b": 1, "a": 2})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("bits", [2, 3, 4, 6])
def test_size_is_near_the_entropy(tmp_path: Path, bits: int) -> None:
    """Random weights cannot be coded in less than their order-0 entropy; at most 3% more is used."""
    top = (1 << (bits - 1)) - 1
    count = 200_000
    weights = np.random.default_rng(bits).standard_normal(count) * top / 2
    weights = np.clip(np.rint(weights), -top, top).astype(np.int64)
    share = np.unique(weights, return_counts=True)[1] / count
    entropy_bytes = -(share * np.log2(share)).sum() * count / 8
    write_arrays(tmp_path / "a", {"w": weights}, {})
    assert (tmp_path / "a").stat().st_size < 1.03 * entropy_bytes + 300


def test_thresholds_take_little_space(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a", {"t": thresholds(3000)}, {})
    assert (tmp_path / "a").stat().st_size < 3000 * 15 * 8 * 0.08


def test_network_of_1000_classes_with_3_bits(tmp_path: Path) -> None:
    """1.235 million weights from -3 to 3 and the thresholds of SqueezeNet 1.1: under 0.47 MB."""
    rng = np.random.default_rng(0)
    weights = np.clip(np.rint(rng.standard_normal(1_235_496) * 1.5), -3, 3).astype(np.int64)
    write_arrays(tmp_path / "a", {"weights": weights, "thresholds": thresholds(2944)}, {})
    assert (tmp_path / "a").stat().st_size < 470_000


def test_every_truncation_is_found(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a", example(), {})
    data = (tmp_path / "a").read_bytes()
    for size in [*range(60), *range(60, len(data), 97), len(data) - 1]:
        (tmp_path / "cut").write_bytes(data[:size])
        with pytest.raises(InputError, match=r"cut: .*; get the file again"):
            read_arrays(tmp_path / "cut")
    (tmp_path / "long").write_bytes(data + b"\0")
    with pytest.raises(InputError, match="long: must end after its arrays, not 1 bytes later"):
        read_arrays(tmp_path / "long")


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a", example(), {})
    data = (tmp_path / "a").read_bytes()
    for place in [*range(60), *range(60, len(data), 61), len(data) - 1]:
        changed = bytearray(data)
        changed[place] ^= 0x41
        (tmp_path / "bad").write_bytes(changed)
        with pytest.raises(InputError, match=r"bad: .*; get the file again"):
            read_arrays(tmp_path / "bad")


def test_the_damaged_array_is_named(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a", example(), {})
    data = bytearray((tmp_path / "a").read_bytes())
    data[-1] ^= 1
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(InputError, match="a: wide must match its hash, not be cut or changed"):
        read_arrays(tmp_path / "a")


def parts(path: Path, array: Any) -> tuple[dict[str, Any], bytes]:
    """The header and the blocks of a file with this array."""
    write_arrays(path, {"x": array}, {})
    data = path.read_bytes()
    start = len(MAGIC) + 36
    end = start + int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "little")
    document: dict[str, Any] = json.loads(data[start:end])
    return document, data[end:]


def join(path: Path, document: dict[str, Any], blocks: bytes) -> None:
    """A file whose hashes are valid."""
    header = json.dumps(document).encode()
    size = len(header).to_bytes(4, "little")
    path.write_bytes(MAGIC + size + hashlib.sha256(header).digest() + header + blocks)


def forge(path: Path, array: Any = None, **changes: Any) -> None:
    """A file with a valid hash whose header lies about its only array."""
    document, blocks = parts(path, np.arange(4) * 1000 if array is None else array)
    document["arrays"][0].update(changes)
    join(path, document, blocks)


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [1 << 40]},
        {"shape": [1 << 13, 1 << 13]},
        {"shape": [1 << 62, 1 << 62, 0]},
        {"shape": [-1]},
        {"shape": [5]},
        {"shape": "ab"},
        {"shape": [1e400]},
        {"dtype": "O"},
        {"dtype": "<U9"},
        {"dtype": "<i3"},
        {"dtype": 8},
        {"code": "pickle"},
        {"code": "digits"},
        {"code": "digits", "radix": 0},
        {"code": "raw"},
        {"order": 1 << 30},
        {"order": "1"},
        {"stored": "O"},
        {"stored": "<f8"},
        {"stored": "<u8"},
        {"lo": "a"},
        {"lo": 1 << 90},
        {"size_bytes": -1},
        {"size_bytes": True},
        {"sha256": 3},
        {"shape": [2.7]},
        {"shape": [4, True]},
        {"name": 5},
        {"order": True},
        {"order": 1.0},
        {"lo": 1.5},
        {"stored": ["<u2"]},
        {"code": None},
        {"lo": (1 << 63) - 1},
        {"dtype": "<f4"},
        {"dtype": "|b1"},
    ],
)
def test_lying_headers(tmp_path: Path, changes: dict[str, Any]) -> None:
    forge(tmp_path / "a", **changes)
    with pytest.raises(InputError, match=r"a: .*get the file again"):
        read_arrays(tmp_path / "a")


@pytest.mark.parametrize(("values", "code"), [([1, 3, 0, 2], "digits"), ([0, 1000, 2000, 3000], "planes")])
@pytest.mark.parametrize("lo", [300, -129, 1 << 40, -(1 << 63), (1 << 63) - 2])
def test_numbers_outside_their_type_never_wrap(tmp_path: Path, values: list[int], code: str, lo: int) -> None:
    for dtype in ("|i1", "|u1"):
        path = tmp_path / "a"
        write_arrays(path, {"x": np.array(values)}, {})
        forge(path, np.array(values), dtype=dtype, lo=lo)
        with pytest.raises(InputError, match=r"a: x must hold numbers (of|that int64)"):
            read_arrays(path)


@pytest.mark.parametrize("order", [1, 2])
def test_sums_of_differences_that_leave_int64_are_refused(tmp_path: Path, order: int) -> None:
    wide = np.arange(8).reshape(2, 4) * 1000
    forge(tmp_path / "a", wide, lo=(1 << 62) - 10, order=order)
    with pytest.raises(InputError, match="a: x must hold numbers that int64 can hold"):
        read_arrays(tmp_path / "a")


def test_booleans_are_0_or_1(tmp_path: Path) -> None:
    forge(tmp_path / "a", np.array([0.0, 1.0, 2.0], np.float32), dtype="|b1", shape=[12])
    with pytest.raises(InputError, match="x must hold 0 or 1 for each boolean"):
        read_arrays(tmp_path / "a")


def test_a_name_twice(tmp_path: Path) -> None:
    document, blocks = parts(tmp_path / "a", np.arange(4))
    join(tmp_path / "a", {**document, "arrays": document["arrays"] * 2}, blocks * 2)
    with pytest.raises(InputError, match="a: array 1 must have a name of its own, not 'x'"):
        read_arrays(tmp_path / "a")


@pytest.mark.parametrize("meta", ["{}, {}", "NaN", '{"a": 1, "a": 2}', '"\\ud800"', "[" * 99 + "]" * 99])
def test_headers_are_plain_json(tmp_path: Path, meta: str) -> None:
    header = f'{{"arrays": [], "meta": {meta}}}'.encode()
    (tmp_path / "a").write_bytes(
        MAGIC + len(header).to_bytes(4, "little") + hashlib.sha256(header).digest() + header
    )
    with pytest.raises(InputError, match="a: the file must hold JSON"):
        read_arrays(tmp_path / "a")


def bomb(path: Path, **fields: Any) -> None:
    """A small file that says it holds many numbers, and does."""
    coder = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    block = coder.compress(bytes(fields.pop("unpacked_bytes"))) + coder.flush()
    entry = {"name": "x", "size_bytes": len(block), "sha256": hashlib.sha256(block).hexdigest(), **fields}
    join(path, {"arrays": [entry], "meta": {}}, block)


@pytest.mark.parametrize(
    "fields",
    [
        {"code": "digits", "lo": 0, "radix": 1, "shape": [1 << 26], "unpacked_bytes": 1 << 23},
        {"code": "digits", "lo": 0, "radix": 2, "shape": [1 << 20, 8], "unpacked_bytes": 1 << 20},
        {
            "code": "planes",
            "lo": 0,
            "stored": "|u1",
            "order": 2,
            "shape": [5 << 20],
            "unpacked_bytes": 5 << 20,
        },
        {"code": "raw", "dtype": "|u1", "shape": [1 << 23], "unpacked_bytes": 1 << 23},
    ],
)
def test_a_small_file_asks_for_little(tmp_path: Path, fields: dict[str, Any]) -> None:
    bomb(tmp_path / "a", **{"dtype": "<i8", **fields})
    size = (tmp_path / "a").stat().st_size
    assert size < 50_000
    tracemalloc.start()
    with pytest.raises(InputError, match=rf"a: x must have at most \d+ numbers in a file of {size} bytes"):
        read_arrays(tmp_path / "a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_what_a_small_file_may_ask_for_takes_memory_of_its_size(tmp_path: Path) -> None:
    bomb(tmp_path / "a", dtype="|i1", code="digits", lo=0, radix=2, shape=[1 << 22], unpacked_bytes=1 << 19)
    tracemalloc.start()
    assert read_arrays(tmp_path / "a")[0]["x"].nbytes == 1 << 22
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20  # with the digits of all bytes at once it was 24 bytes a number


def test_nothing_is_written_that_would_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"a: arrays must have at most \d+ numbers in \d+ bytes, not 8388608"
    ):
        write_arrays(tmp_path / "a", {"x": np.zeros(1 << 23, np.int8)}, {})
    assert not list(tmp_path.iterdir())


def test_files_that_are_something_else(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InputError, match="text: an array file must start with b'FIREARR1', not b'hello'"):
        read_arrays(tmp_path / "text")
    with pytest.raises(InputError, match="none: the file must be readable, not No such file"):
        read_arrays(tmp_path / "none")


def test_only_numbers_are_written(tmp_path: Path) -> None:
    for array in (np.array([object()]), np.array(["a"]), np.array([1j])):
        with pytest.raises(InputError, match="a: x must be integers, floats or booleans"):
            write_arrays(tmp_path / "a", {"x": array}, {})
    assert not list(tmp_path.iterdir())
