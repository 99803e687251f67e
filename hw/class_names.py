"""Names of classes as people write them: with synonyms, in other spellings, after a WordNet id or a number."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Sequence

if TYPE_CHECKING:
    pass

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
        self._whole: dict[str, set[int]] = {}
        self._exact: dict[str, set[int]] = {}
        self._plain: dict[str, set[int]] = {}
        for row, name in enumerate(names):
            parts = synonyms(name)
            self._whole.setdefault(plain(name), set()).add(row)
            for text in {name, *(parts[:1] if only_first else parts)}:
                self._exact.setdefault(text, set()).add(row)
                self._plain.setdefault(plain(text), set()).add(row)
        for index in (self._whole, self._plain):
            index.pop("", None)

    def whole(self, name: str) -> frozenset[int]:
        """Classes whose full name this is, in whatever spelling."""
        return frozenset(self._whole.get(plain(name), ()))

    def rows(self, name: str) -> frozenset[int]:
        """Classes that this name may mean: exactly, else in another spelling, else by its own synonyms."""
        found = self._one(name)
        parts = synonyms(name)
        if found or len(parts) < 2:
            return found
        known = [rows for rows in map(self._one, parts) if rows]
        if not known:
            return frozenset()
        common = frozenset.intersection(*known)
        return common or frozenset.union(*known)

    def _one(self, text: str) -> frozenset[int]:
        return frozenset(self._exact.get(text) or self._plain.get(plain(text)) or ())
