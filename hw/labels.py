"""Names of a network's classes: ImageNet's, and those that a user has in a file.

`imagenet.csv` holds the 1000 classes of ILSVRC 2012 in the order in which networks number them, which is that of their
WordNet ids. The ids are those of timm (`imagenet_synsets.txt`, Apache-2.0); the names are the synonyms of WordNet that
ILSVRC gives with them, as the models that come with Fireflow carry them.

Source: Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", arXiv:1409.0575.
"""

from __future__ import annotations

import csv
import io
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence

from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from typing import Callable

IMAGENET = "imagenet"
IMAGENET_CLASSES = 1000
MAX_BYTES = 1 << 22
_TABLE = Path(__file__).with_name("imagenet.csv")
_NUMBER_HEADINGS, _NAME_HEADINGS = ("class_index", "index"), ("class_name", "name", "label")
_NUMBERED = re.compile(r"(\d{1,9})\s*[:,;\t ]\s*(\S.*)", re.ASCII)


@lru_cache(maxsize=1)
def imagenet() -> tuple[tuple[str, str], ...]:
    """(WordNet id, name) of the 1000 classes of ImageNet, as networks number them."""
    with open(_TABLE, encoding="utf-8", newline="") as file:
        rows = tuple((row["wnid"], row["class_name"]) for row in csv.DictReader(file))
    assert len(rows) == IMAGENET_CLASSES
    return rows


def imagenet_names() -> tuple[str, ...]:
    """The names alone."""
    return tuple(name for _wnid, name in imagenet())


def read_labels(asked: str, classes: int) -> tuple[str, ...]:
    """The names of a network's classes.

    Args:
        asked: `imagenet`, or a file: one name a line; a .csv with the columns class_index (or index) and class_name (or
            name), such as the labels.csv of a data set with all classes; a .json list, or object by number. A name may
            begin with its WordNet id, as in Caffe's synset_words.txt.
        classes: how many the network has.

    Raises:
        InputError: no such file, no names, or not one for each class.
    """
    if asked == IMAGENET:
        names: Sequence[str] = imagenet_names()
    else:
        path = Path(asked)
        text = _text(path)
        reader: Callable[[str, str], list[str]] = {".csv": _from_csv, ".json": _from_json}.get(
            path.suffix.lower(), _from_lines
        )
        names = reader(f"{path}", text)
    if len(names) != classes:
        raise InputError(
            f"{asked}: labels must be {classes}, one for each class of the network, not {len(names)}; "
            "give the list that its training used"
        )
    for number, name in enumerate(names):
        if not name.strip() or not name.isprintable():
            raise InputError(
                f"{asked}: label {number} must be a name of printable characters, not {name!r}; correct it"
            )
    return tuple(names)


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise InputError(
                f"{path}: labels must be `{IMAGENET}` or a file with a name for each class, and it is not there; "
                "check the path"
            )
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InputError(
                f"{path}: labels must be at most {MAX_BYTES} bytes, not more; is it the right file?"
            )
        return content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: labels must be readable, not {error.strerror}; check the path") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: labels must be UTF-8 text ({error}); write them again") from None


def _from_lines(place: str, text: str) -> list[str]:
    """One name a line; a number before each is taken off where the numbers count the lines from 0."""
    names = [line.strip() for line in text.strip().splitlines()]
    if names and names[0][:1] in ("{", "["):
        return _from_json(place, text)
    numbered = [_NUMBERED.fullmatch(name) for name in names]
    if names and all(numbered):
        numbers = [int(match.group(1)) for match in numbered if match]
        if numbers != list(range(len(names))):
            raise InputError(
                f"{place}: the number before each name must be that of its class, 0 to {len(names) - 1} in order, "
                f"not {_odd(numbers)}; leave out the numbers, or sort the lines"
            )
        names = [match.group(2) for match in numbered if match]
    return names


def _odd(numbers: Sequence[int]) -> int:
    return next(number for position, number in enumerate(numbers) if number != position)


def _from_csv(place: str, text: str) -> list[str]:
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        headings = list(reader.fieldnames or ())
        rows = list(reader)
    except csv.Error as error:
        raise InputError(
            f"{place}: must be a table of comma-separated text ({error}); write it again"
        ) from None
    number_in = next((heading for heading in _NUMBER_HEADINGS if heading in headings), None)
    name_in = next((heading for heading in _NAME_HEADINGS if heading in headings), None)
    if number_in is None or name_in is None:
        raise InputError(
            f"{place}: must have the columns class_index and class_name, not {', '.join(headings) or 'none'}; "
            "write them in its first line"
        )
    names: dict[int, str] = {}
    for line, row in enumerate(rows, start=2):
        number, name = row[number_in] or "", (row[name_in] or "").strip()
        if not _is_number(number):
            raise InputError(
                f"{place} line {line}: {number_in} must be a whole number, not {number!r}; correct it"
            )
        if row.get("wnid") and not name:
            name = (row["wnid"] or "").strip()
        if names.setdefault(int(number), name) != name:
            raise InputError(
                f"{place} line {line}: class {int(number)} must be {names[int(number)]!r}, not {name!r}; "
                "correct one of them"
            )
    return _in_order(place, names)


def _from_json(place: str, text: str) -> list[str]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{place}: must be JSON, a list of names or an object ({error}); correct it"
        ) from None
    if isinstance(document, list):
        return [_json_name(place, entry) for entry in document]
    if not isinstance(document, dict) or not all(map(_is_number, document)):
        raise InputError(f"{place}: must be a JSON list of names, or an object by number; write it so")
    return _in_order(place, {int(key): _json_name(place, entry) for key, entry in document.items()})


def _json_name(place: str, entry: Any) -> str:
    """A name; Keras's imagenet_class_index.json has pairs of a WordNet id and a name."""
    if isinstance(entry, list) and len(entry) == 2 and all(isinstance(part, str) for part in entry):
        return " ".join(entry)
    if not isinstance(entry, str):
        raise InputError(f"{place}: a label must be a name, not {str(entry)[:40]!r}; write a list of names")
    return entry


def _in_order(place: str, names: dict[int, str]) -> list[str]:
    """The names by number, which must go from 0 without a gap."""
    missing = next((number for number in range(len(names)) if number not in names), None)
    if missing is not None:
        raise InputError(
            f"{place}: classes must be numbered from 0 without a gap, and {missing} is missing; "
            "number them as the network does"
        )
    return [names[number] for number in range(len(names))]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9
