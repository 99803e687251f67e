"""The verification table counts exactly and names the first difference."""

from __future__ import annotations

import numpy as np
import pytest

from fireflow.hw.compare import compare, integers_of
from fireflow.hw.errors import InputError


def stages() -> dict[str, dict[str, np.ndarray]]:
    base = {
        "image": np.zeros((1, 2, 2, 3), np.int64),
        "conv1": np.arange(8).reshape(1, 2, 2, 2),
        "scores": np.ones((1, 3), int),
    }
    return {"interpreter": base, "fast": {"image": base["image"], "scores": base["scores"].astype(np.uint8)}}


def test_equal_stages() -> None:
    table = compare(stages(), "interpreter")
    assert table.differing == 0
    assert table.first is None
    assert [(row.tensor, row.shape, row.differing) for row in table.rows] == [
        ("image", (1, 2, 2, 3), (0, 0)),
        ("conv1", (1, 2, 2, 2), (0, None)),
        ("scores", (1, 3), (0, 0)),
    ]
    assert table.render() == (
        "tensor  shape    interpreter  fast\n"
        "----------------------------------\n"
        "image   1x2x2x3            0     0\n"
        "conv1   1x2x2x2            0     -\n"
        "scores  1x3                0     0\n"
        "values that differ from interpreter: 0"
    )


def test_first_difference_in_topological_order() -> None:
    both = stages()
    both["fast"]["scores"] = np.array([[1, 2, 3]])
    both["fast"]["conv1"] = both["interpreter"]["conv1"].copy()
    both["fast"]["conv1"][0, 1, 0, 1] = -7
    table = compare(both, "interpreter")
    assert [row.differing[1] for row in table.rows] == [0, 1, 2]
    assert table.differing == 3
    assert (table.differing_of("interpreter"), table.differing_of("fast")) == (0, 3)
    assert table.integers == 12 + 8 + 3
    assert table.first is not None
    assert (table.first.stage, table.first.tensor, table.first.index) == ("fast", "conv1", (0, 1, 0, 1))
    assert (table.first.expected, table.first.actual) == (5, -7)
    assert table.render().endswith("first difference: conv1[0, 1, 0, 1] is -7 in fast, 5 in the reference")


def test_another_shape_differs_as_a_whole() -> None:
    both = stages()
    both["fast"]["scores"] = np.ones((3,), int)
    table = compare(both, "interpreter")
    assert table.rows[2].differing == (0, 3)
    assert str(table.first) == "scores: shape is (3,) in fast, (1, 3) in the reference"


def test_tensor_that_the_reference_lacks() -> None:
    three = {**stages(), "finn": {"extra": np.array([1, 2]), "scores": np.ones((1, 3), int)}}
    three["fast"]["extra"] = np.array([1, 5])
    table = compare(three, "interpreter")
    assert (table.rows[-1].tensor, table.rows[-1].differing) == ("extra", (None, 0, 1))


def test_rules() -> None:
    with pytest.raises(
        InputError, match="the reference must be one of interpreter, fast, not 'brevitas'; name one"
    ):
        compare(stages(), "brevitas")
    both = stages()
    both["fast"]["scores"] = np.ones((1, 3))
    with pytest.raises(InputError, match="fast: scores must be integers, not float64; divide by the scale"):
        compare(both, "interpreter")


def test_integers_of_quantized_floats() -> None:
    floats = {"a": np.array([-0.5, 0.0, 0.75], np.float32), "b": np.array([0.3])}
    found = integers_of(floats, {"a": 0.25, "c": 1.0})
    assert list(found) == ["a"]  # "b" is not quantized, and "c" is not there
    assert found["a"].dtype == np.int64
    np.testing.assert_array_equal(found["a"], [-2, 0, 3])
    with pytest.raises(
        InputError, match=r"b: values must be multiples of their scale 0.25, not 0\.\d+ of a step off"
    ):
        integers_of(floats, {"b": 0.25})
