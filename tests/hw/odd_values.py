"""JSON that is valid but odd: every value of a document, one at a time, replaced by what nobody expects there."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

DEEP: Any = []
for _level in range(300):
    DEEP = [DEEP]
# Texts that start with "@" stand for numbers that Python's json does not write.
ODD: tuple[Any, ...] = (
    *(
        float("nan"),
        float("inf"),
        "@1e400",
        "@-1e400",
        "@" + "9" * 5000,
        1 << 63,
        -(1 << 63),
        1 << 200,
        -1,
        0,
        1,
    ),
    *(
        True,
        False,
        None,
        [],
        {},
        [[]],
        {"": []},
        [None],
        "",
        "\x00",
        "\ud800",
        "a\nb",
        "\x1b[31m",
        "x" * 100_000,
    ),
    *(0.5, -0.0, 1e308, "1", "NaN", [1, 2, 3], {"a": 1}, DEEP),
)
REMOVED = object()


def places(document: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value."""
    yield at
    if isinstance(document, dict):
        for key, value in document.items():
            yield from places(value, (*at, key))
    elif isinstance(document, list):
        for number, value in enumerate(document):
            yield from places(value, (*at, number))


def changed(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value there, or without it."""
    if not at:
        return None if value is REMOVED else value
    result = copy.deepcopy(document)
    parent = result
    for key in at[:-1]:
        parent = parent[key]
    if value is REMOVED:
        del parent[at[-1]]
    else:
        parent[at[-1]] = value
    return result


def mutations(document: Any, count: int, seed: int) -> Iterator[tuple[str, Any]]:
    """(what was done, document) of `count` different changes, or of all; a key is changed now and then too."""
    rng = np.random.default_rng(seed)
    paths = list(places(document))
    pairs = [(path, number) for path in paths for number in range(len(ODD) + 2)]
    for pick in rng.permutation(len(pairs))[:count]:
        path, number = pairs[pick]
        if number < len(ODD):
            yield f"{path} = {ODD[number]!r:.60}", changed(document, path, ODD[number])
        elif number == len(ODD) or not path or not isinstance(path[-1], str):
            yield f"{path} removed", changed(document, path, REMOVED)
        else:
            value = document
            for key in path:
                value = value[key]
            renamed = changed(document, path, REMOVED)
            yield f"{path} renamed", changed(renamed, (*path[:-1], path[-1] + "\ud800"), value)


def written(document: Any) -> bytes:
    """As bundles write JSON, with NaN and numbers of any size."""
    text = json.dumps(document, indent=1, sort_keys=True)
    for value in ODD:
        if isinstance(value, str) and value.startswith("@"):
            text = text.replace(json.dumps(value), value[1:])
    return (text + "\n").encode()
