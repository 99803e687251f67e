"""Each operation against a definition written with plain Python loops, its exact range, and its rules."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from fireflow.hw.errors import InputError
from fireflow.hw.ops import Add, Bias, Concat, Conv, GlobalSum, MaxPool, Multiply, Op, Relu, Threshold
from fireflow.hw.types import TensorType

few = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 1 << 30)


def slow_conv(op: Conv, x: Any) -> Any:
    """The definition, one multiplication at a time, in Python's integers."""
    out_channels, kernel_h, kernel_w, depth = op.weight.shape
    top, left, bottom, right = op.padding
    images, height, width, _ = x.shape
    rows = range(0, height + top + bottom - kernel_h + 1, op.stride[0])
    columns = range(0, width + left + right - kernel_w + 1, op.stride[1])
    result = np.zeros((images, len(rows), len(columns), out_channels), object)
    per_group = out_channels // op.groups
    for n, (r, row), (c, column), out in itertools.product(
        range(images), enumerate(rows), enumerate(columns), range(out_channels)
    ):
        for i, j, k in itertools.product(range(kernel_h), range(kernel_w), range(depth)):
            y, z = row + i - top, column + j - left
            inside = 0 <= y < height and 0 <= z < width
            value = int(x[n, y, z, out // per_group * depth + k]) if inside else op.pad_value
            result[n, r, c, out] += int(op.weight[out, i, j, k]) * value
    return result.astype(np.int64)


def slow_pool(op: MaxPool, x: Any) -> Any:
    top, left, bottom, right = op.padding
    images, height, width, channels = x.shape
    rows = range(-top, height + bottom - op.kernel[0] + 1, op.stride[0])
    columns = range(-left, width + right - op.kernel[1] + 1, op.stride[1])
    result = np.zeros((images, len(rows), len(columns), channels), np.int64)
    for (r, row), (c, column) in itertools.product(enumerate(rows), enumerate(columns)):
        window = x[:, max(0, row) : row + op.kernel[0], max(0, column) : column + op.kernel[1]]
        result[:, r, c] = window.max(axis=(1, 2))
    return result


def check(op: Op, expected: Any, kinds: list[TensorType], arrays: list[Any]) -> None:
    """The same integers, in the type that was inferred, from the op and from the op saved and read again."""
    result = op.eval(arrays)
    assert result.dtype == np.int64
    assert_array_equal(result, expected)
    kind = op.infer(kinds)
    assert result.shape[1:] == kind.shape
    assert kind.lo <= result.min()
    assert result.max() <= kind.hi
    document, fields = op.to_json()
    assert_array_equal(Op.from_json(document, fields).eval(arrays), expected)


def data(rng: np.random.Generator, kind: TensorType, count: int = 2) -> Any:
    return rng.integers(kind.lo, kind.hi + 1, (count, *kind.shape))


@few
@given(seeds, st.sampled_from((1, 2)), st.integers(1, 3), st.integers(1, 3))
def test_conv(seed: int, groups: int, kernel_h: int, kernel_w: int) -> None:
    rng = np.random.default_rng(seed)
    kind = TensorType((int(rng.integers(3, 7)), int(rng.integers(3, 7)), 2 * groups), -3, 12)
    weight = rng.integers(-8, 8, (2 * groups, kernel_h, kernel_w, 2))
    padding = tuple(int(pad) for pad in rng.integers(0, 3, 4))
    stride = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    op = Conv(weight, stride, padding, int(rng.integers(-20, 20)), groups)
    x = data(rng, kind)
    check(op, slow_conv(op, x), [kind], [x])


@few
@given(seeds)
def test_conv_range_is_reached_and_not_passed(seed: int) -> None:
    """All inputs that are extreme at every place: the exact range is that of their results."""
    rng = np.random.default_rng(seed)
    kind = TensorType((2, 3, 1), int(rng.integers(-4, 1)), int(rng.integers(1, 5)))
    padding = tuple(int(pad) for pad in rng.integers(0, 2, 4))
    op = Conv(rng.integers(-5, 6, (2, 2, 2, 1)), (1, 1), padding, int(rng.integers(-9, 10)))
    corners = np.array(list(itertools.product((kind.lo, kind.hi), repeat=6))).reshape(-1, 2, 3, 1)
    results = op.eval([corners])
    inferred = op.infer([kind])
    assert (inferred.lo, inferred.hi) == (results.min(), results.max())
    lows, highs = op.channel_ranges(kind)
    assert_array_equal(lows, results.min(axis=(0, 1, 2)))
    assert_array_equal(highs, results.max(axis=(0, 1, 2)))


def test_conv_of_small_picture_in_large_padding() -> None:
    """No window lies wholly inside: the range has to come from those that do not."""
    kind = TensorType((1, 1, 1), 0, 3)
    op = Conv(np.ones((1, 3, 3, 1), np.int64), (1, 1), (1, 1, 1, 1), pad_value=100)
    assert op.infer([kind]) == TensorType((1, 1, 1), 800, 803)


@few
@given(seeds, st.booleans())
def test_threshold(seed: int, per_channel: bool) -> None:
    rng = np.random.default_rng(seed)
    kind = TensorType((3, 2, 4), -20, 20)
    table = np.sort(rng.integers(-25, 25, (4 if per_channel else 1, 5)), axis=1)
    op = Threshold(table, out_lo=int(rng.integers(-3, 3)))
    x = data(rng, kind)
    rows = np.broadcast_to(table, (4, 5))
    expected = [op.out_lo + sum(int(v >= t) for t in rows[i % 4]) for i, v in enumerate(x.ravel().tolist())]
    check(op, np.reshape(expected, x.shape), [kind], [x])


def test_threshold_range() -> None:
    kind = TensorType((1, 1, 2), 0, 9)
    op = Threshold(np.array([[-5, 0, 4, 20], [3, 9, 10, 11]]), out_lo=1)
    assert op.infer([kind]) == TensorType((1, 1, 2), 1, 4)


@few
@given(seeds)
def test_max_pool(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    stride = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    padding = tuple(int(rng.integers(0, kernel[axis % 2])) for axis in range(4))
    kind = TensorType((int(rng.integers(3, 8)), int(rng.integers(3, 8)), 2), -100, -1)  # zero must never win
    op, x = MaxPool(kernel, stride, padding), data(rng, kind)
    try:
        op.infer([kind])
    except InputError:
        return
    check(op, slow_pool(op, x), [kind], [x])


@few
@given(seeds)
def test_multiply(seed: int) -> None:
    """Its range is reached at both ends, whatever the signs."""
    rng = np.random.default_rng(seed)
    (low, high), (least, most) = (np.sort(rng.integers(-9, 10, 2)).tolist() for _ in range(2))
    kind, factors = TensorType((3, 2, 4), low, high), TensorType((1, 1, 4), least, most)
    x, gate = data(rng, kind), data(rng, factors)
    expected = np.zeros(x.shape, np.int64)
    for n, row, column, channel in np.ndindex(*x.shape):
        expected[n, row, column, channel] = int(x[n, row, column, channel]) * int(gate[n, 0, 0, channel])
    check(Multiply(), expected, [kind, factors], [x, gate])
    corners = [a * b for a in (low, high) for b in (least, most)]
    assert Multiply().infer([kind, factors]) == TensorType((3, 2, 4), min(corners), max(corners))


def test_small_operations() -> None:
    rng = np.random.default_rng(0)
    kind, other = TensorType((2, 3, 2), -4, 9), TensorType((2, 3, 3), 1, 20)
    x, y = data(rng, kind), data(rng, other)
    check(Concat(), np.concatenate([x, y], axis=3), [kind, other], [x, y])
    assert Concat().infer([kind, other]) == TensorType((2, 3, 5), -4, 20)
    check(Add(), x * 2, [kind, kind], [x, x])
    assert Add().infer([kind, kind]) == TensorType((2, 3, 2), -8, 18)
    check(Relu(), np.where(x > 0, x, 0), [kind], [x])
    assert Relu().infer([kind]) == TensorType((2, 3, 2), 0, 9)
    check(Bias(np.array([5, -7])), np.stack([x[..., 0] + 5, x[..., 1] - 7], axis=-1), [kind], [x])
    assert Bias(np.array([5, -7])).infer([kind]) == TensorType((2, 3, 2), -11, 14)
    check(GlobalSum(), [[sum(plane.ravel().tolist()) for plane in image.T] for image in x], [kind], [x])
    assert GlobalSum().infer([kind]) == TensorType((2,), -24, 54)


KIND = TensorType((4, 4, 2), 0, 15)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv(np.ones((2, 1, 1, 2))), "weight must be integers with 4 axes, none empty, not float64"),
        (lambda: Conv(np.ones((2, 2), int)), r"weight must be .* not int64 of shape \(2, 2\)"),
        (
            lambda: Conv(np.full((1, 1, 1, 2), 9), weight_bits=4),
            "weight must fit in 4 signed bits, not reach from 9",
        ),
        (
            lambda: Conv(np.ones((3, 1, 1, 2), int), groups=2),
            "groups must divide the 3 output channels, not be 2",
        ),
        (
            lambda: Conv(np.ones((1, 1, 1, 2), int), (0, 1)),
            "stride must be a whole number of at least 1, not 0",
        ),
        (lambda: Conv(np.ones((1, 1, 1, 2), int), padding=(1, 1)), "padding must hold 4 whole numbers"),
        (
            lambda: Conv(np.ones((1, 1, 1, 3), int)).infer([KIND]),
            "must have 3 channels as the weight has, not 2",
        ),
        (lambda: Conv(np.ones((1, 5, 1, 2), int)).infer([KIND]), "at least as large as the window 5, not 4"),
        (
            lambda: Conv(np.ones((1, 1, 1, 2), int)).infer([TensorType((2,), 0, 1)]),
            r"must have shape \(H, W, C\)",
        ),
        (
            lambda: Threshold(np.array([[1, 3, 2]])),
            "must not decrease, not go from 3 to 2 in channel 0 at step 2",
        ),
        (lambda: Threshold(np.ones((3, 1), int)).infer([KIND]), "must be for 1 or 2 channels, not 3"),
        (
            lambda: MaxPool((2, 2), (2, 2), (2, 0, 0, 0)).infer([KIND]),
            "each window 2 must overlap the input 4",
        ),
        (
            lambda: MaxPool((2, 2), (1, 1), (0, 0, 2, 0)).infer([KIND]),
            "each window 2 must overlap the input 4",
        ),
        (lambda: MaxPool((5, 5), (1, 1)).infer([KIND]), "each window 5 must overlap the input 4"),
        (lambda: Concat().infer([KIND, TensorType((4, 3, 2), 0, 1)]), "inputs must all be 4x4 pixels"),
        (lambda: Add().infer([KIND, TensorType((4, 4, 1), 0, 1)]), "inputs must have one shape"),
        (
            lambda: Multiply().infer([KIND, KIND]),
            r"the gate must be one number for each channel, \(1, 1, 2\), not \(4, 4, 2\); check the wiring",
        ),
        (lambda: Multiply().infer([TensorType((2,), 0, 1)] * 2), r"must have shape \(H, W, C\)"),
        (lambda: Bias(np.ones(3, int)).infer([KIND]), "values must be 2, one per channel, not 3"),
        (lambda: Op.from_json({"kind": "Softmax"}, {}), "kind must be one of Add, Bias, .*, not 'Softmax'"),
        (
            lambda: Op.from_json({"kind": "Relu", "slope": 1}, {}),
            r"Relu must have the fields \[\], not \['slope'\]",
        ),
        (lambda: TensorType((4, 4), 0, 1), r"shape must be \(H, W, C\) or \(C,\)"),
        (lambda: TensorType((4,), 2, 1), "range must have lo <= hi, not 2..1"),
        (lambda: TensorType((4,), 0, 1 << 63), "range must fit in int64"),
    ],
)
def test_rules(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("lo", "hi", "bits", "dtype"),
    [(0, 0, 1, "uint8"), (0, 255, 8, "uint8"), (0, 256, 9, "uint16"), (-1, 0, 1, "int8"), (-128, 127, 8,
    "int8"),
     (-129, 0, 9, "int16"), (-1, 128, 9, "int16"), (0, 1 << 32, 33, "int64"), (-(1 << 63), 0, 64, "int64")],
)  # fmt: skip
def test_tensor_type(lo: int, hi: int, bits: int, dtype: str) -> None:
    kind = TensorType((1,), lo, hi)
    assert (kind.bits, kind.dtype) == (bits, np.dtype(dtype))
    assert TensorType.from_json(kind.to_json()) == kind


@pytest.mark.parametrize(
    ("value", "bits"), [(0, 1), (-1, 1), (1, 2), (-2, 2), (7, 4), (-8, 4), (8, 5), (-9, 5)]
)
def test_weight_bits_are_the_fewest(value: int, bits: int) -> None:
    assert Conv(np.full((1, 1, 1, 1), value)).weight_bits == bits


def test_arrays_are_read_only_copies() -> None:
    weight = np.ones((1, 1, 1, 1), np.int8)
    op = Conv(weight)
    weight[:] = 5
    assert op.weight.max() == 1
    with pytest.raises(ValueError, match="read-only"):
        op.weight[:] = 5
