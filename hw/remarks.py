"""What a user should hear of a step that is done: a line each, of the form "PLACE: what"."""

from __future__ import annotations

from typing import Callable

Say = Callable[[str], None]
"""Takes a line for the user."""

Progress = Callable[[int, int], None]
"""Takes how many are done, 0 before the first, and how many there are."""


def unheard(line: str) -> None:
    """Drops a line: for who wants to hear nothing."""


class Notes:
    """What a step took for granted: lines for the user, told once it is clear that the step does its work.

    Until then it may be refused, and a refusal is one line.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        """Notes a line; twice the same is said once."""
        if line not in self._lines:
            self._lines.append(line)

    def imagenet(self, model: object) -> None:
        """Notes that the classes of a network, or of its file, were taken to be ImageNet's."""
        self.add(
            f"labels: {model} has none; its 1000 classes are taken to be ImageNet's, in order; "
            "--labels FILE says otherwise"
        )

    @property
    def lines(self) -> tuple[str, ...]:
        """Those that were not told yet."""
        return tuple(self._lines)

    def tell(self, say: Say) -> None:
        """Says those that were not told yet."""
        for line in self._lines:
            say(line)
        self._lines.clear()
