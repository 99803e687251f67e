"""What a reader of weight files is, and the list of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fireflow.quant.imported.raw import Raw

READERS: list[Reader] = []
"""All readers, in the order in which messages name their endings."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A format of weight files; making one registers it.

    Args:
        suffixes: how its files end, in small letters.
        read: gives what a file holds, and of one that may hold several networks the one of a key. Of a damaged file it
            raises whatever its parser does.
        keys: of the networks in a file, for a format whose files may hold several.
        other_suffixes: how people let its files end as well.
    """

    suffixes: tuple[str, ...]
    read: Callable[..., Raw]
    keys: Callable[[Path], list[str]] | None = None
    other_suffixes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        READERS.append(self)


def reader_of(path: Path) -> Reader | None:
    """The reader of files that end as `path` does."""
    suffix = path.suffix.lower()
    return next((r for r in READERS if suffix in (*r.suffixes, *r.other_suffixes)), None)
