"""Which features of the device are set: from the frames of a bitstream, or from a FASM file."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Iterable

import numpy as np
from numpy.typing import NDArray

from fireflow.hw.bitstream.recover.database import Block, Database, Feature
from fireflow.hw.bitstream.recover.packets import ECC_BITS, ECC_WORD, Bitstream
from fireflow.hw.errors import InputError

_LINE = re.compile(r"(?P<tile>\w+)\.(?P<name>[^\s\[=]+)(\[(?P<range>[\d:]+)\])?(\s*=\s*(?P<value>.+))?$")


@dataclass
class TileFeatures:
    """What is set in one tile.

    Attributes:
        flags: the plain features, "SLICEM_X0.ALUT.RAM" or "IMUX_L1.GFAN0".
        values: of the features of many bits the number, "SLICEM_X0.ALUT.INIT".
    """

    flags: set[str] = field(default_factory=set)
    values: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, name: str, index: int | None) -> None:
        if index is None:
            self.flags.add(name)
        else:
            self.values[name] |= 1 << index


Features = dict[str, TileFeatures]


def features_of_bitstream(bitstream: Bitstream, database: Database) -> tuple[Features, list[str]]:
    """The features that a bitstream sets.

    Returns:
        The features of each tile that has some, and the bits which no feature explains, as prjxray names them:
        "00420300_10_05" for bit 5 of word 10 of the frame.
    """
    rows = {address: row for row, address in enumerate(bitstream.addresses)}
    data = bitstream.frames.copy()
    data[:, ECC_WORD] &= ~np.uint32(ECC_BITS)
    unexplained = data.copy()
    used: NDArray[np.bool_] = np.any(data, axis=1)
    result: Features = {}
    for tile in database.tiles.values():
        for kind, block in tile.blocks.items():
            first = rows[block.base]
            # The last columns of a row can have fewer frames than the tile's type has elsewhere.
            frames = slice(first, first + block.frames)
            if not used[frames].any():
                continue
            words = data[frames, block.offset : block.offset + block.words]
            if not words.any():
                continue
            decoder = _decoder(database, tile.type, kind)
            found, explained = decoder.decode(words, block)
            for name, index in found:
                result.setdefault(tile.name, TileFeatures()).add(name, index)
            unexplained[frames, block.offset : block.offset + block.words] &= ~explained
    return result, _name_bits(bitstream, unexplained)


def _name_bits(bitstream: Bitstream, words: NDArray[np.uint32]) -> list[str]:
    result = []
    for row, word in np.argwhere(words):
        value = int(words[row, word])
        address = bitstream.addresses[row]
        result += [f"{address:08x}_{word}_{bit}" for bit in range(32) if value >> bit & 1]
    return result


class _Decoder:
    """Finds the features of a type of tile in its bits."""

    def __init__(self, features: Iterable[Feature]) -> None:
        self.candidates: dict[tuple[int, int], list[Feature]] = defaultdict(list)
        for feature in features:
            # What is set by zeros alone is the state of an unused tile: nobody needs to be told.
            if feature.ones:
                self.candidates[feature.ones[0]].append(feature)

    def decode(
        self, words: NDArray[np.uint32], block: Block
    ) -> tuple[list[tuple[str, int | None]], NDArray[np.uint32]]:
        """
        Args:
            words: uint32 (frames, words of the tile).

        Returns:
            The features (name, index), and of the words those bits which they explain.
        """
        bits = np.unpackbits(words.astype("<u4").view(np.uint8), axis=1, bitorder="little")
        places = [(frame, bit) for frame, bit in np.argwhere(bits).tolist()]
        present = set(places)
        explained = np.zeros_like(bits)
        result = []
        for place in places:
            for feature in self.candidates.get(place, ()):
                if all(one in present for one in feature.ones) and present.isdisjoint(feature.zeros):
                    result.append((feature.name, feature.index))
                    for one in feature.ones:
                        explained[one] = 1
        return result, np.packbits(explained, axis=1, bitorder="little").view("<u4").astype(np.uint32)


@lru_cache(maxsize=None)
def _decoder(database: Database, tile_type: str, kind: str) -> _Decoder:
    return _Decoder(database.segbits(tile_type, kind))


def features_of_fasm(text: str) -> Features:
    """The features that a FASM file sets.

    Raises:
        InputError: a line is not FASM.

    >>> found = features_of_fasm("CLBLM_L_X8Y10.SLICEM_X0.ALUT.INIT[3:0] = 4'b0110  # comment")
    >>> dict(found["CLBLM_L_X8Y10"].values)
    {'SLICEM_X0.ALUT.INIT': 6}
    """
    result: Features = {}
    for number, whole in enumerate(text.splitlines(), 1):
        line = whole.split("#")[0].strip()
        if not line:
            continue
        match = _LINE.match(line)
        if match is None:
            raise InputError(f"FASM line {number}: must be TILE.FEATURE, not {line!r}; correct it")
        value = _number(match["value"]) if match["value"] else 1
        tile = result.setdefault(match["tile"], TileFeatures())
        if match["range"] is None:
            if value:
                tile.flags.add(match["name"])
            continue
        low = int(match["range"].split(":")[-1])
        tile.values[match["name"]] |= value << low
    return result


def _number(text: str) -> int:
    """
    >>> _number("6'b000110"), _number("8'hff"), _number("3")
    (6, 255, 3)
    """
    if "'" not in text:
        return int(text)
    digits = text.split("'")[1].replace("_", "").strip()
    return int(digits[1:], {"b": 2, "h": 16, "d": 10, "o": 8}[digits[0]])
