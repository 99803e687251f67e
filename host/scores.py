"""What is read from class scores: the best classes, and how well a network does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

import numpy as np

from fireflow.hw import given

if TYPE_CHECKING:
    from fireflow.hw.types import Array, Int64Array


@dataclass(frozen=True)
class Guess:
    """A class of one picture.

    Args:
        index: of the class.
        label: its name, or its number where it has none.
        score: as a real number.
        integer: the score as the hardware gives it; `score` is this times the scale.
    """

    index: int
    label: str
    score: float
    integer: int


def best(scores: Array, labels: Sequence[str], scale: float, count: int) -> list[Guess]:
    """The classes with the highest scores, the lower number first where scores are equal.

    Args:
        scores: int64 (classes,).
        labels: by class, or empty.
        scale: of one integer step.
        count: how many.

    Raises:
        InputError: no whole number of classes, at least 1.
    """
    order = np.argsort(-scores, kind="stable")[: given.whole("count", count)].tolist()
    return [
        Guess(i, labels[i] if labels else str(i), float(scores[i] * scale), int(scores[i])) for i in order
    ]


def ranks(scores: Array, classes: Int64Array) -> Int64Array:
    """How many classes come before the right one, in the order of `best`.

    Args:
        scores: (N, classes).
        classes: int64 (N,), the right class of each.

    Raises:
        IndexError: a class that there is not.

    >>> ranks(np.array([[3, 5, 5]] * 3), np.array([0, 1, 2])).tolist()
    [2, 0, 1]
    """
    right = scores[np.arange(len(scores)), classes][:, np.newaxis]
    earlier = np.arange(scores.shape[1])[np.newaxis] < classes[:, np.newaxis]
    before = (scores > right) | ((scores == right) & earlier)
    result: Int64Array = before.sum(axis=1)
    return result
