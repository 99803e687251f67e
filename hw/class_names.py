"""Names of classes as people write them: with synonyms, in other spellings, after a WordNet id or a number."""

from __future__ import annotations

import re
import unicodedata
from typing import Iterator, Sequence

_WNID_FIRST = re.compile(r"(n\d{8})(?:[\s_.,:-]+(.*))?", re.DOTALL)
_NUMBER_FIRST = re.compile(r"(\d{1,9})(?:[\s_.:-]+(\D.*))?", re.DOTALL | re.ASCII)
_APOSTROPHES = dict.fromkeys(map(ord, "'\u2018\u2019\u02bc`"))


def split_wnid(name: str) -> tuple[str | None, str]:
    """The WordNet id that a name is or begins with, if any, and the rest."""
    match = _WNID_FIRST.fullmatch(name)
    return (match.group(1), match.group(2) or "") if match else (None, name)


def split_number(name: str) -> tuple[int | None, str]:
    """The number that a name is (`007`) or begins with (`17_cat`, `001.Albatross`), if any, and the rest.

    A number elsewhere (`class_3`, `mp3`) or without a sign after it (`4x4`) is part of the name.
    """
    match = _NUMBER_FIRST.fullmatch(name)
    return (int(match.group(1)), match.group(2) or "") if match else (None, name)


def plain(text: str) -> str:
    """A name without its spelling: case, accents' encoding, apostrophes, and all else between words as one space."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES)
    words = "".join(" " if unicodedata.category(sign)[0] in "PSZC" else sign for sign in folded)
    return " ".join(words.split())


def synonyms(name: str) -> list[str]:
    """The parts of "tench, Tinca tinca"."""
    return [part.strip() for part in name.split(",") if part.strip()]


class NameIndex:
    """Finds names among those of a network's classes.

    Args:
        names: by class; a name may list synonyms behind commas.
        only_first: of the synonyms count the first only, and all of them together.
    """

    def __init__(self, names: Sequence[str], only_first: bool = False) -> None:
        heads: dict[str, set[int]] = {}
        others: dict[str, set[int]] = {}
        for row, name in enumerate(names):
            first, *more = synonyms(name) or [name]
            for text in (name, first):
                heads.setdefault(text, set()).add(row)
            for text in () if only_first else more:
                others.setdefault(text, set()).add(row)
        # Before another spelling comes the name as it is, before a further synonym the first: "missile" is that, though
        # there is "projectile, missile" too.
        self._levels = (heads, _unspelled(heads), others, _unspelled(others))

    def rows(self, name: str) -> frozenset[int]:
        """Classes that this name may mean: exactly, else in another spelling, else by its own synonyms."""
        found = next(iter(self._found(name)), frozenset())
        parts = synonyms(name)
        if found or len(parts) < 2:
            return found
        known = [rows for rows in map(self.rows, parts) if rows]
        if not known:
            return frozenset()
        common = frozenset.intersection(*known)
        return common or frozenset.union(*known)

    def all_rows(self, name: str) -> frozenset[int]:
        """Classes that have this name, or a part of it, among all their synonyms."""
        return frozenset().union(*(rows for text in (name, *synonyms(name)) for rows in self._found(text)))

    def _found(self, text: str) -> Iterator[frozenset[int]]:
        simple = plain(text)
        for level, names in enumerate(self._levels):
            rows = names.get(simple if level % 2 else text)
            if rows:
                yield frozenset(rows)


def _unspelled(names: dict[str, set[int]]) -> dict[str, set[int]]:
    result: dict[str, set[int]] = {}
    for text, rows in names.items():
        if plain(text):
            result.setdefault(plain(text), set()).update(rows)
    return result
