"""The verification table: the same tensors computed in several ways, compared integer by integer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Mapping

import numpy as np

from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.hw.types import Array


@dataclass(frozen=True)
class Row:
    """One tensor: how many values differ from the reference at each stage; None where a stage lacks it."""

    tensor: str
    shape: tuple[int, ...]
    differing: tuple[int | None, ...]


@dataclass(frozen=True)
class Difference:
    """The first value of the first tensor that differs. With another shape: no index, and the shapes."""

    stage: str
    tensor: str
    index: tuple[int, ...] | None
    expected: int | tuple[int, ...]
    actual: int | tuple[int, ...]

    def __str__(self) -> str:
        if self.index is None:
            return f"{self.tensor}: shape is {self.actual} in {self.stage}, {self.expected} in the reference"
        place = ", ".join(str(position) for position in self.index)
        return f"{self.tensor}[{place}] is {self.actual} in {self.stage}, {self.expected} in the reference"


@dataclass(frozen=True)
class Table:
    """The result of `compare`; rows in the order in which the reference computes its tensors."""

    reference: str
    stages: tuple[str, ...]
    rows: tuple[Row, ...]
    first: Difference | None

    @property
    def differing(self) -> int:
        """Integers that differ from the reference, over all stages."""
        return sum(self.differing_of(stage) for stage in self.stages)

    def differing_of(self, stage: str) -> int:
        """Integers of one stage that differ from the reference."""
        position = self.stages.index(stage)
        return sum(row.differing[position] or 0 for row in self.rows)

    @property
    def integers(self) -> int:
        """How many integers the tensors hold."""
        return sum(math.prod(row.shape) for row in self.rows)

    def render(self) -> str:
        """Plain text: one line per tensor, one column per stage, and the first difference if there is one."""
        cells = [("tensor", "shape", *self.stages)]
        for row in self.rows:
            counts = ("-" if count is None else str(count) for count in row.differing)
            cells.append((row.tensor, "x".join(map(str, row.shape)), *counts))
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = [
            "  ".join(
                text.ljust(width) if column < 2 else text.rjust(width)
                for column, (text, width) in enumerate(zip(line, widths))
            ).rstrip()
            for line in cells
        ]
        lines.insert(1, "-" * len(lines[0]))
        end = f"values that differ from {self.reference}: {self.differing}"
        if self.first is not None:
            end += f"\nfirst difference: {self.first}"
        return "\n".join([*lines, end])


def compare(stages: Mapping[str, Mapping[str, Array]], reference: str) -> Table:
    """Compares every stage with the reference stage.

    Args:
        stages: stage name -> tensor name -> integers; the reference's tensors in topological order.
        reference: the stage that defines the right values.

    Returns:
        a row for each tensor of the reference, then for tensors that only other stages have (compared with
        the first of them). A tensor whose shape differs counts all its values as differing.

    Raises:
        InputError: an unknown reference, or an array that does not hold integers.
    """
    if reference not in stages:
        raise InputError(
            f"compare: the reference must be one of {', '.join(stages)}, not {reference!r}; name one"
        )
    names = dict.fromkeys(name for stage in (reference, *stages) for name in stages[stage])
    rows, first = [], None
    for name in names:
        base_stage = next(stage for stage in (reference, *stages) if name in stages[stage])
        base = stages[base_stage][name]
        counts: list[int | None] = []
        for stage, tensors in stages.items():
            if name in tensors and tensors[name].dtype.kind not in "iu":
                raise InputError(
                    f"{stage}: {name} must be integers, not {tensors[name].dtype}; divide by the scale"
                )
            counts.append(_count(base, tensors[name]) if name in tensors else None)
            if counts[-1] and first is None:
                first = _first(stage, name, base, tensors[name])
        rows.append(Row(name, tuple(base.shape), tuple(counts)))
    return Table(reference, tuple(stages), tuple(rows), first)


def integers_of(tensors: Mapping[str, Array], scales: Mapping[str, float]) -> dict[str, Array]:
    """The integers that quantized float tensors stand for.

    Args:
        tensors: floats, by name.
        scales: of those tensors that are quantized; one that `tensors` lacks is left out.

    Returns:
        int64 arrays.

    Raises:
        InputError: a value that is no multiple of its scale.
    """
    integers = {}
    for name, scale in scales.items():
        if name not in tensors:
            continue
        steps = np.asarray(tensors[name], dtype=np.float64) / scale
        integers[name] = np.rint(steps).astype(np.int64)
        error = float(np.abs(steps - integers[name]).max())
        if error > 1e-3:
            raise InputError(
                f"{name}: values must be multiples of their scale {scale}, not {error} of a step off; export again"
            )
    return integers


def _count(expected: Array, actual: Array) -> int:
    if expected.shape != actual.shape:
        return max(expected.size, actual.size, 1)
    return int(np.count_nonzero(expected != actual))


def _first(stage: str, name: str, expected: Array, actual: Array) -> Difference:
    if expected.shape != actual.shape:
        return Difference(stage, name, None, tuple(expected.shape), tuple(actual.shape))
    index = tuple(int(position) for position in np.argwhere(expected != actual)[0])
    return Difference(stage, name, index, int(expected[index]), int(actual[index]))
