"""FASM, the text of a configured device, to frames: the bits of each feature, from prjxray's database.

Source: https://fasm.readthedocs.io/en/latest/specification/syntax.html (what nextpnr writes of it), and
https://f4pga.readthedocs.io/projects/prjxray/en/latest/dev_database/ (the files' formats).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fireflow.hw.bitstream.errors import CheckError
from fireflow.hw.bitstream.recover.database import Database
from fireflow.hw.bitstream.recover.packets import WORDS

_LINE = re.compile(
    r"([^.\s]+)\.([^\s\[=]+)(?:\[(\d+)(?::(\d+))?\])?(?:\s*=\s*(?:\d+'([bh])([0-9a-fA-F_]+)|(\d+)))?\s*$"
)
_MAX_DIGITS = 4096  # of a value: the widest memory image is of 256 bits
_BITS = 12  # of a bit's place in a frame, which has 3232


class Feature(NamedTuple):
    """A feature that is set: DSP_R_X25Y85, DSP48.DSP_0.ZIS_INMODE_INVERTED, bit 2 (None: it has no bits)."""

    tile: str
    name: str
    bit: int | None

    def __str__(self) -> str:
        return f"{self.tile}.{self.name}" + ("" if self.bit is None else f"[{self.bit}]")


def read_fasm(path: Path) -> list[Feature]:
    """The features that a file sets, each bit of a wide one on its own. Raises CheckError."""
    result: list[Feature] = []
    with open(path, encoding="utf-8") as file:
        try:
            for number, raw in enumerate(file, 1):
                line = raw.partition("#")[0].strip()
                if line:
                    result += _features(line, f"{path.name}:{number}")
        except UnicodeDecodeError as error:
            raise CheckError(f"{path.name}: not text, byte {error.object[error.start]:#04x}") from None
    return result


def _features(line: str, place: str) -> list[Feature]:
    found = _LINE.match(line)
    if found is None:
        raise CheckError(f"{place}: not a feature: {line[:100]}")
    tile, name, high, low, base, digits, decimal = found.groups()
    if max(len(text or "") for text in (high, low, digits, decimal)) > _MAX_DIGITS:
        raise CheckError(f"{place}: {name} has a number of more than {_MAX_DIGITS} digits")
    if digits is not None:
        try:
            value = int(digits.replace("_", ""), 2 if base == "b" else 16)
        except ValueError:
            raise CheckError(f"{place}: {name} has no number of base {base}: {digits[:100]}") from None
    else:
        value = 1 if decimal is None else int(decimal)
    if high is None:
        if value > 1:
            raise CheckError(f"{place}: {name} is one bit, and its value {value}")
        return [Feature(tile, name, None)] * value
    first = int(low if low is not None else high)
    if int(high) < first:
        raise CheckError(f"{place}: {name}[{high}:{first}] ends before it begins")
    if value >> (int(high) - first + 1):
        raise CheckError(f"{place}: {name}[{high}:{first}] has fewer bits than its value")
    return [Feature(tile, name, first + bit) for bit in range(value.bit_length()) if value >> bit & 1]


def write_fasm(path: Path, features: Iterable[Feature]) -> str:
    """One line for each feature; returns the text."""
    text = "".join(f"{feature}\n" for feature in features)
    path.write_text(text, encoding="utf-8")
    return text


class _Bits(NamedTuple):
    """What a feature does to its tile's block of bits; places are frame << _BITS | bit."""

    block: str
    ones: tuple[int, ...]
    zeros: tuple[int, ...]


class Assembler:
    """Turns features into frames.

    Args:
        database: of the part.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def required(self) -> list[Feature]:
        """What every bitstream of the part sets."""
        path = self.database.folder / self.database.part / "required_features.fasm"
        return read_fasm(path) if path.is_file() else []

    def assemble(self, features: Iterable[Feature]) -> dict[int, NDArray[np.uint32]]:
        """The frames of the features and of those that the part requires.

        Returns:
            every frame of the part: address -> uint32 (101,).

        Raises:
            CheckError: features that the database does not know, or two of which one sets a bit that the other clears.
        """
        tiles = self.database.tiles
        ones: dict[int, Feature] = {}
        zeros: dict[int, Feature] = {}
        unknown: list[str] = []
        for feature in [*features, *self.required()]:
            tile = tiles.get(feature.tile)
            known = self._known(tile.type) if tile is not None else {}
            bits = known.get((feature.name, feature.bit))
            if bits is None and feature.bit == 0:  # "USE_DPORT[0]" of a feature that has one bit
                bits = known.get((feature.name, None))
            if bits is None or tile is None or (bits.block and bits.block not in tile.blocks):
                unknown.append(str(feature))
                continue
            if not bits.block:
                continue
            block = tile.blocks[bits.block]
            base = (block.base << _BITS) + block.offset * 32
            for place in bits.ones:
                ones[base + place] = feature
            for place in bits.zeros:
                zeros[base + place] = feature
        if unknown:
            raise CheckError(f"{len(unknown)} features are not in prjxray's database, such as {unknown[0]}")
        for place in ones.keys() & zeros.keys():
            raise CheckError(f"{ones[place]} sets a bit that {zeros[place]} clears")
        return self._frames(ones)

    def _frames(self, ones: Mapping[int, Feature]) -> dict[int, NDArray[np.uint32]]:
        frames = {
            address: np.zeros(WORDS, np.uint32) for address in self.database.frame_addresses if address >= 0
        }
        for key, feature in ones.items():
            address, place = key >> _BITS, key & ((1 << _BITS) - 1)
            if address not in frames or place >= 32 * WORDS:
                raise CheckError(f"{feature} is a bit outside the frames of {self.database.part}")
            frames[address][place >> 5] |= np.uint32(1 << (place & 31))
        return frames

    @lru_cache(maxsize=None)  # noqa: B019 - an assembler lives as long as a step
    def _known(self, tile_type: str) -> dict[tuple[str, int | None], _Bits]:
        """The features of a type of tile. A pip that is always there has no bits."""
        result: dict[tuple[str, int | None], _Bits] = {}
        for target, source, _kind in self.database.pseudo_pips(tile_type):
            result[f"{target}.{source}", None] = _Bits("", (), ())
        for block in ("CLB_IO_CLK", "BLOCK_RAM"):
            for feature in self.database.segbits(tile_type, block):
                places = [
                    tuple((frame << _BITS) + bit for frame, bit in own)
                    for own in (feature.ones, feature.zeros)
                ]
                result[feature.name, feature.index] = _Bits(block, *places)
        return result


def write_frames(path: Path, frames: Mapping[int, NDArray[np.uint32]]) -> None:
    """Frames as prjxray's xc7frames2bit reads them: a line each, "0xADDRESS 0xWORD,..."."""
    with open(path, "w", encoding="utf-8") as file:
        for address in sorted(frames):
            words = ",".join(f"0x{word:08X}" for word in frames[address].tolist())
            file.write(f"0x{address:08X} {words}\n")
