"""Rows as text."""

from __future__ import annotations

from typing import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows as text in columns; a column of numbers is set to the right.

    Args:
        headings: of the columns.
        rows: as many cells each; anything that can be shown as text.

    Raises:
        nothing.

    >>> print(table(["name", "n"], [["a", 5], ["bc", 10]]))
    name   n
    a      5
    bc    10
    """
    lines = [[str(cell) for cell in row] for row in rows]
    columns = list(zip(headings, *lines))
    widths = [max(map(len, column)) for column in columns]
    right = [bool(lines) and all(_is_number(cell) for cell in column[1:]) for column in columns]
    return "\n".join(
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right)).rstrip()
        for line in [list(headings), *lines]
    )


def _is_number(text: str) -> bool:
    return text[:1].isdigit() or text[:1] in ("-", "+") or text == ""
