"""Which class of a network a class of a data set is: by WordNet id, name or number, never by position or count.

The rules are told in docs/classes.md. A class that is none of the network's, or may be two of them, is refused by name.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

from fireflow.hw.class_names import NameIndex, split_number, split_wnid
from fireflow.hw.errors import InputError
from fireflow.hw.labels import IMAGENET_CLASSES, imagenet, imagenet_names

if TYPE_CHECKING:
    pass

WNID_KIND, NAME_KIND, NUMBER_KIND = "wnid", "name", "number"
_WNID = re.compile(r"n\d{8}")
_SHOWN = 8
_FIX = (
    "name the folders, or the classes in labels.csv, by the network's labels, by wnids or by its numbers alone, "
    "or give its labels with --labels FILE"
)
_LIKE_IMAGENET = 950
"""Out of a thousand labels, so many in ImageNet's order make them ImageNet's: lists differ in a few spellings."""


@dataclass(frozen=True)
class ImageClass:
    """A class of a data set.

    Args:
        name: for people; for class folders the folder's name.
        index: its number in labels.csv, which is its place among the classes of the network that the table was written
            for (for ImageNet and Imagenette 0..999), or the number that the folder's name is or begins with; None
            where there is none. Never its position.
        wnid: WordNet id such as "n01440764", where known.
    """

    name: str
    index: int | None = None
    wnid: str | None = None


def folder_class(name: str) -> ImageClass:
    """The class that a folder of this name holds: `n01440764`, `n02085620-Chihuahua`, `007`, `17_cat` or `cat`."""
    wnid, _rest = split_wnid(name)
    return ImageClass(name, split_number(name)[0], wnid)


def classes_of(labels: Sequence[str]) -> tuple[ImageClass, ...]:
    """A network's classes as those of data, to find them in another network: their names, and wnids where known."""
    known = _Known(labels)
    return tuple(ImageClass(name, None, wnid) for name, wnid in zip(known.names, known.wnids))


@dataclass(frozen=True)
class ClassMatch:
    """Where the classes of a data set are among those of a network.

    Args:
        rows: the network's class for each class of the data.
        kinds: by what each was found: "wnid", "name" or "number".
        assumed_imagenet: the network has no labels and 1000 classes, which were taken to be ImageNet's.
    """

    rows: tuple[int, ...]
    kinds: tuple[str, ...]
    assumed_imagenet: bool = False

    def __str__(self) -> str:
        """Such as "10 of 10 by wnid"."""
        counts = Counter(self.kinds)
        parts = [f"{counts[kind]} by {kind}" for kind in (WNID_KIND, NAME_KIND, NUMBER_KIND) if counts[kind]]
        if len(parts) == 1:
            return f"{len(self.rows)} of {len(self.rows)} by {self.kinds[0]}"
        return f"{len(self.rows)} of {len(self.rows)}, {' and '.join(parts)}"


def match_classes(
    place: str, classes: Sequence[ImageClass], count: int, labels: Sequence[str] = ()
) -> ClassMatch:
    """Finds the classes of a data set among those of a network.

    Args:
        place: what to call the data set in messages.
        classes: of the data set.
        count: of the network's classes.
        labels: their names, or empty.

    Raises:
        InputError: a class that the network does not have, that may be several of its, or that is two classes of the
            data; columns or names and numbers that contradict each other. The message lists them.
    """
    if labels:
        return _Matcher(place, classes, count, _Known(labels)).match()
    return _match_unnamed(place, classes, count)


def _match_unnamed(place: str, classes: Sequence[ImageClass], count: int) -> ClassMatch:
    """A network without labels: by number; one of 1000 classes may be ImageNet's, which is then said."""
    numbers = [c.index for c in classes if c.index is not None]
    found = [False] * len(classes)
    if count == IMAGENET_CLASSES:
        as_imagenet = _Matcher(place, classes, count, _imagenet())
        found = [row is not None for row in as_imagenet.rows]
        if len(numbers) == len(classes):
            _check_against_imagenet(place, classes, as_imagenet)
        elif all(found):
            match = as_imagenet.match()
            return ClassMatch(match.rows, match.kinds, assumed_imagenet=True)
    if len(numbers) < len(classes):
        lacking = [c.name for c, known in zip(classes, found) if not known]
        raise InputError(
            f"{place}: classes must be known by number in a network of {count} classes without labels, "
            f"not {_listed(lacking)}{_as_many(len(classes), count)}; {_FIX}"
        )
    if max(numbers) >= count:
        raise InputError(
            f"{place}: class indices must be below the {count} classes of the network, not {max(numbers)}"
            f"{_as_many(len(classes), count)}; {_FIX}"
        )
    _check_distinct(place, classes, numbers)
    return ClassMatch(tuple(numbers), (NUMBER_KIND,) * len(numbers))


def _check_against_imagenet(place: str, classes: Sequence[ImageClass], matcher: _Matcher) -> None:
    """Numbers that are other than ImageNet's of the same wnids or names: either the order or the numbers are wrong."""
    complete = all(row is not None for row in matcher.rows)
    odd = [
        f"{_shown(c.name)} has number {c.index} and is {row} in ImageNet"
        for c, row, kind in zip(classes, matcher.rows, matcher.kinds)
        if row is not None and row != c.index and (complete or kind == WNID_KIND)
    ]
    if odd:
        raise InputError(
            f"{place}: numbers and names of classes must agree on a network of {IMAGENET_CLASSES} classes without "
            f"labels, not {_listed(odd, plain=False)}; correct the numbers, or name the network's classes with "
            "--labels FILE"
        )


class _Known:
    """A network's classes, by name and, where its labels tell, by wnid."""

    def __init__(self, labels: Sequence[str], wnids: Sequence[str | None] | None = None) -> None:
        parts = [split_wnid(label) for label in labels]
        self.labels = tuple(labels)
        self.names = tuple(name or label for (_wnid, name), label in zip(parts, labels))
        self.index = NameIndex(self.names)
        own = [wnid for wnid, _name in parts]
        self.wnids = tuple(wnids) if wnids is not None else _wnids_of(self.names, own)
        counts = Counter(self.wnids)
        self.row_of = {wnid: row for row, wnid in enumerate(self.wnids) if wnid and counts[wnid] == 1}
        self.all_wnids = len(self.row_of) == len(labels)
        numbers = [split_number(name)[0] for name in self.names]
        distinct = None not in numbers and len(set(numbers)) == len(numbers)
        self.numbers = tuple(number for number in numbers if number is not None) if distinct else ()


def _imagenet() -> _Known:
    return _Known(imagenet_names(), [wnid for wnid, _name in imagenet()])


def _wnids_of(names: Sequence[str], own: Sequence[str | None]) -> tuple[str | None, ...]:
    """The wnids of labels that are all of ImageNet, else those that the labels hold themselves."""
    if all(wnid is not None for wnid in own):
        return tuple(own)
    table = imagenet()
    heads = NameIndex(imagenet_names(), only_first=True)
    found = [heads.rows(name) for name in names]
    in_order = sum(row in rows for row, rows in enumerate(found))
    if len(names) == len(table) and in_order >= _LIKE_IMAGENET:
        return tuple(wnid for wnid, _name in table)
    if not all(rows or wnid for rows, wnid in zip(found, own)):
        return tuple(own)
    return tuple(wnid or (table[min(rows)][0] if len(rows) == 1 else None) for rows, wnid in zip(found, own))


class _Matcher:
    """One data set against one network: what was found of each class, and what speaks against it."""

    def __init__(self, place: str, classes: Sequence[ImageClass], count: int, known: _Known) -> None:
        self._place, self._classes, self._count, self._known = place, classes, count, known
        self.rows: list[int | None] = [None] * len(classes)
        self.kinds: list[str] = [NAME_KIND] * len(classes)
        self._several: dict[int, list[int]] = {}
        self._missing: list[str] = []
        self._ambiguous: list[str] = []
        self._contradicting: list[str] = []
        self._find()

    def _find(self) -> None:
        """Fills `rows` as far as wnids and names tell."""
        for position, c in enumerate(self._classes):
            candidates = self._by_name(c)
            if c.wnid is not None and _WNID.fullmatch(c.wnid):
                row = self._known.row_of.get(c.wnid)
                if row is None and self._known.all_wnids:
                    continue
                if row is not None:
                    self.rows[position], self.kinds[position] = row, WNID_KIND
                    self._check_name(c, row)
                    continue
            if len(candidates) == 1:
                self.rows[position] = candidates[0]
            elif candidates:
                self._several[position] = candidates
        for position, candidates in self._several.items():
            self._settle(position, candidates)

    def match(self) -> ClassMatch:
        """The whole match.

        Raises:
            InputError: as `match_classes`.
        """
        self._by_number()
        self._refuse()
        rows = [row for row in self.rows if row is not None]
        assert len(rows) == len(self._classes)
        _check_distinct(self._place, self._classes, rows)
        self._check_numbers(rows)
        return ClassMatch(tuple(rows), tuple(self.kinds))

    def _names(self, c: ImageClass) -> list[str]:
        """What a class may be called: its name, and that without the wnid or number before it."""
        names = [c.name]
        wnid, rest = split_wnid(c.name)
        number, after = split_number(c.name)
        if wnid is not None and wnid == c.wnid and rest:
            names.append(rest)
        if number is not None and number == c.index and after:
            names.append(after)
        return names

    def _by_name(self, c: ImageClass) -> list[int]:
        number = self._number_alone(c)
        if number is not None and number in self._known.numbers:  # "01" is the label "1"
            return [self._known.numbers.index(number)]
        return next((sorted(rows) for rows in map(self._known.index.rows, self._names(c)) if rows), [])

    def _settle(self, position: int, candidates: list[int]) -> None:
        """One of several rows that a name may mean, if the others are other classes of the data by their full names, or
        if the number tells and is the network's for all others."""
        c = self._classes[position]
        whole = [row for row in candidates if self._known.names[row] == c.name]
        full = {other.name for other in self._classes if other is not c}
        if len(whole) == 1 and all(self._known.names[row] in full for row in candidates if row not in whole):
            self.rows[position] = whole[0]
        elif c.index in candidates and self._numbers_are_rows():
            self.rows[position] = c.index
        else:
            self._ambiguous.append(f"{_shown(c.name)} (classes {', '.join(map(str, candidates[:4]))})")

    def _numbers_are_rows(self) -> bool:
        """Whether the numbers of the classes that were found are those of the network."""
        return all(c.index == row for c, row in zip(self._classes, self.rows) if row is not None)

    def _check_name(self, c: ImageClass, row: int) -> None:
        """A wnid of one class beside a name of another, unless the number is that of the wnid's."""
        by_name = sorted({r for name in self._names(c) for r in self._known.index.all_rows(name)})
        if by_name and row not in by_name and c.index != row:
            self._contradicting.append(
                f"{_shown(c.name)} is class {by_name[0]} by name and {row} by wnid {c.wnid}"
            )

    def _by_number(self) -> None:
        """Classes of which nothing but a number is known go by that, where the others' numbers are the network's."""
        numbered = self._numbers_are_rows()
        for position, c in enumerate(self._classes):
            if self.rows[position] is not None or position in self._several:
                continue
            number = self._number_alone(c)
            if number is not None and numbered and not self._known.numbers and number < self._count:
                self.rows[position], self.kinds[position] = number, NUMBER_KIND
            else:
                self._missing.append(c.name)

    @staticmethod
    def _number_alone(c: ImageClass) -> int | None:
        """Its number, if its name says nothing beside it."""
        bare = c.wnid is None and c.name.isascii() and c.name.isdigit()
        return c.index if bare else None

    def _check_numbers(self, rows: Sequence[int]) -> None:
        """Numbers beside names must be those of some numbering: the network's, its labels', ImageNet's or another's."""
        known = self._known
        numbers = [
            # the number in a folder's name says nothing of its own where the whole of it is the label
            row if known.names[row] == c.name and split_number(c.name)[0] == c.index else c.index
            for c, row in zip(self._classes, rows)
        ]
        known_numbers = [number for number in numbers if number is not None]
        if len(known_numbers) < len(rows) or max(known_numbers) >= self._count or numbers == list(rows):
            return
        if known.numbers and numbers == [known.numbers[row] for row in rows]:
            return
        order = {wnid: number for number, (wnid, _name) in enumerate(imagenet())}
        if numbers == [order.get(known.wnids[row] or "") for row in rows] and len(known.labels) != len(order):
            return
        prefixed = all(split_number(c.name)[0] is not None for c in self._classes)
        if prefixed and numbers == [row + 1 for row in rows]:  # 001.Albatross, 002.Auklet, ...
            return
        odd = [
            f"{_shown(c.name)} has number {c.index} and is class {row}"
            for c, number, row in zip(self._classes, numbers, rows)
            if number != row
        ]
        raise InputError(
            f"{self._place}: numbers and names of classes must agree, not {_listed(odd, plain=False)}; "
            "correct the numbers or the names"
        )

    def _refuse(self) -> None:
        place, labels = self._place, self._known.labels
        if self._contradicting:
            raise InputError(
                f"{place}: wnids and names of classes must agree, not {_listed(self._contradicting, plain=False)}; "
                "correct one of them"
            )
        if self._ambiguous:
            raise InputError(
                f"{place}: each class must be one of the network's, not "
                f"{_listed(self._ambiguous, plain=False)}; rename the folders to wnids or full labels, or add a "
                "labels.csv with class_index"
            )
        if self._missing:
            raise InputError(
                f"{place}: classes must be among the network's {self._count} ({_listed(labels, most=3)}), not "
                f"{_listed(self._missing)}{_as_many(len(self._classes), self._count)}; {_FIX}"
            )


def _check_distinct(place: str, classes: Sequence[ImageClass], rows: Sequence[int]) -> None:
    named: dict[int, list[str]] = {}
    for c, row in zip(classes, rows):
        named.setdefault(row, []).append(_shown(c.name))
    twice = [f"{' and '.join(names[:4])} (class {row})" for row, names in named.items() if len(names) > 1]
    if twice:
        raise InputError(
            f"{place}: classes must differ, and these are one and the same in the network: "
            f"{_listed(twice, plain=False)}; put their pictures together"
        )


def _as_many(found: int, count: int) -> str:
    return "; being as many does not make them the same" if found == count else ""


def _shown(name: str) -> str:
    """A name fit for a line of a terminal."""
    short = name if len(name) <= 60 else name[:57] + "..."
    if not short.isprintable():
        return ascii(short)
    return f'"{short}"' if "," in short else short


def _listed(names: Sequence[str], most: int = _SHOWN, plain: bool = True) -> str:
    texts = [_shown(name) if plain else name for name in names[:most]]
    more = len(names) - len(texts)
    return ", ".join(texts) + (f" and {more} more" if more else "")
