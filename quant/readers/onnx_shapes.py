"""Shapes that an ONNX graph computes, as exporters write them in front of the last Reshape.

A shape is a list whose entries are numbers or dimensions of tensors on the way of the picture, which are not known
before the network runs: what is behind the average needs only to be told that it is the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

BATCH = 0


@dataclass(frozen=True, slots=True)
class Dimension:
    """Dimension `axis` of a tensor."""

    tensor: str
    axis: int


Entry = int | Dimension
Shape = list[Entry] | Entry
"""A vector, or one entry of it."""


def computed_shape(kind: str, attributes: Mapping[str, Any], inputs: Sequence[Any]) -> Shape | None:
    """What an operation on shapes gives; None where it is none of those that are understood.

    Args:
        kind: ONNX's name.
        attributes: of the node.
        inputs: shapes as above.
    """
    compute = _OPERATIONS.get(kind)
    return None if compute is None else compute(attributes, *inputs)


def shape_of_tensor(tensor: str, rank: int, attributes: Mapping[str, Any]) -> list[Entry]:
    """What ONNX's Shape gives of a tensor."""
    whole: list[Entry] = [Dimension(tensor, axis) for axis in range(rank)]
    return whole[attributes.get("start", 0) : attributes.get("end", rank)]


def as_shape(array: np.ndarray[Any, Any] | None) -> Shape | None:
    """A constant as a shape; None where it is no vector or number of integers."""
    if array is None or array.dtype.kind != "i" or array.ndim > 1 or array.size > 8:
        return None
    return [int(n) for n in array] if array.ndim else int(array)


def _same(_attributes: Mapping[str, Any], shape: Shape) -> Shape:
    return shape


def _gather(attributes: Mapping[str, Any], shape: Shape, index: Shape) -> Shape | None:
    if attributes.get("axis", 0) != 0 or not isinstance(shape, list):
        return None
    wanted = index if isinstance(index, list) else [index]
    if not all(isinstance(i, int) and -len(shape) <= i < len(shape) for i in wanted):
        return None
    picked = [shape[i] for i in wanted if isinstance(i, int)]
    return picked if isinstance(index, list) else picked[0]


def _slice(_attributes: Mapping[str, Any], shape: Shape, *bounds: Shape) -> Shape | None:
    numbers = [bound[0] if isinstance(bound, list) and len(bound) == 1 else bound for bound in bounds]
    whole = [number for number in numbers if isinstance(number, int)]
    if not isinstance(shape, list) or len(whole) not in (2, 3, 4) or len(whole) != len(numbers):
        return None
    start, end, axis, step = [*whole, 0, 1] if len(whole) == 2 else [*whole, 1][:4]
    return shape[start:end] if (axis, step) == (0, 1) else None


def _unsqueeze(attributes: Mapping[str, Any], entry: Shape, axes: Shape | None = None) -> Shape | None:
    first = attributes.get("axes", axes) in ([0], (0,))
    return [entry] if first and not isinstance(entry, list) else None


def _squeeze(attributes: Mapping[str, Any], shape: Shape, axes: Shape | None = None) -> Shape | None:
    first = attributes.get("axes", axes) in (None, [0], (0,))
    return shape[0] if first and isinstance(shape, list) and len(shape) == 1 else None


def _concat(attributes: Mapping[str, Any], *shapes: Shape) -> Shape | None:
    if attributes.get("axis") != 0 or not all(isinstance(shape, list) for shape in shapes):
        return None
    return [entry for shape in shapes if isinstance(shape, list) for entry in shape]


_OPERATIONS: dict[str, Callable[..., Shape | None]] = {
    "Cast": _same,
    "Concat": _concat,
    "Gather": _gather,
    "Identity": _same,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
}
