"""Integer programs: the cheapest choice within limits. The only place that needs SciPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from fireflow.hw.parts import RESOURCES, Board, Resources

if TYPE_CHECKING:
    from fireflow.hw.types import Array

TIME_LIMIT_S = 60.0
RELATIVE_GAP = 0.01
"""How far from the best a solution may be; whether there is one at all does not depend on it."""
SPARING = 0.05
"""What the sum of all shares counts beside the largest, or beside that of the resource to spare."""


class IntegerProgram:
    """An integer program under construction: variables with costs, and equations."""

    def __init__(
        self,
        board: Board,
        capacity: Resources,
        reserve: Resources,
        without: Sequence[str],
        spare: str | None = None,
    ) -> None:
        self.total = board.resources
        self.names = [name for name in RESOURCES if name not in without]
        self.spared = [name for name in self.names if spare in (None, name)] or self.names
        self.room = [getattr(capacity, name) - getattr(reserve, name) for name in self.names]
        self.reserved = [getattr(reserve, name) for name in self.names]
        self.costs: list[Resources] = []
        self.binary: list[bool] = []
        self.rows: list[list[tuple[int, float]]] = []
        self.right: list[float] = []

    def add(self, price: Resources, binary: bool = False) -> int:
        self.costs.append(price)
        self.binary.append(binary)
        return len(self.costs) - 1

    def equal(self, terms: list[tuple[int, float]], value: float) -> None:
        self.rows.append(terms)
        self.right.append(value)

    def solve(self, whole: bool) -> Array | None:
        """The variables of the best solution, or None if there is none.

        The best leaves the most of the scarcest resource, or of the one to spare: placing and routing fail where
        one runs out.
        """
        count = len(self.costs)
        entries = [(row, column, value) for row, terms in enumerate(self.rows) for column, value in terms]
        rows, columns, values = zip(*entries, strict=True)
        equations = sparse.csr_array((values, (rows, columns)), shape=(len(self.rows), count + 1))
        scale = np.array([getattr(self.total, name) or 1 for name in self.names], float)[:, None]
        prices = np.array([[getattr(price, name) for price in self.costs] for name in self.names]) / scale
        room, reserve = np.array(self.room) / scale[:, 0], np.array(self.reserved) / scale[:, 0]
        most = np.hstack([prices, np.full((len(self.names), 1), -1.0)])  # a last variable above these shares
        spared = [self.names.index(name) for name in self.spared]
        constraints = [
            LinearConstraint(equations, self.right, self.right),
            LinearConstraint(np.hstack([prices, np.zeros((len(self.names), 1))]), -np.inf, room),
            LinearConstraint(most[spared], -np.inf, -reserve[spared]),
        ]
        result = milp(
            np.append(SPARING * prices.sum(axis=0), 1.0),
            integrality=np.append(np.array(self.binary, int) * whole, 0),
            bounds=Bounds(0, np.append(np.ones(count), np.inf)),
            constraints=constraints,
            options={"time_limit": TIME_LIMIT_S, "mip_rel_gap": RELATIVE_GAP},
        )
        return None if result.x is None else np.asarray(result.x[:count])


def first(good: Callable[[int], bool], low: int, end: int, near: bool = False) -> int:
    """The first index from `low` that is good, all after it being so; `end` if none is. near: likely close to low."""
    step, high = 1, end
    while near and low < end:
        probe = min(low + step - 1, end - 1)
        if good(probe):
            high = probe
            break
        low, step = probe + 1, 4 * step
    while low < high:
        middle = (low + high) // 2
        if good(middle):
            high = middle
        else:
            low = middle + 1
    return low
