"""What refuses a wrong bitstream: each fault of the open tools that is known has a check here."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fireflow.hw.bitstream.errors import CheckError
from fireflow.hw.bitstream.recover.database import Database
from fireflow.hw.bitstream.recover.packets import ECC_BITS, ECC_WORD, WORDS, read_bitstream
from fireflow.hw.bitstream.routed import Routed
from fireflow.hw.files import read_tool_json


def synthesized(netlist: Path) -> None:
    """No memory of LUTs starts with a content: nextpnr looks for that of a RAM32M under a name that it does not have.

    Args:
        netlist: what Yosys wrote, as JSON; behind place and route the content is gone.

    Raises:
        CheckError: one does.
    """
    for module in read_tool_json(netlist)["modules"].values():
        for name, cell in module["cells"].items():
            if not re.fullmatch(r"RAM\d.*|SRL.*", cell["type"]):
                continue
            if any("1" in value for key, value in cell["parameters"].items() if key.startswith("INIT")):
                raise CheckError(f"{name}: a memory of LUTs must start empty: nextpnr drops its content")


def routed(netlist: Routed) -> None:
    """Every net has a driver and a route, and no memory of LUTs starts with a content, which nextpnr would drop.

    Raises:
        CheckError: one has not.
    """
    broken = sorted(set(netlist.unrouted()))
    if broken:
        raise CheckError(
            f"place and route: every net must have a route, and {len(broken)} have none: {broken[0]}"
        )
    for cell in netlist.cells:
        if cell.kind.startswith(("RAMD", "RAMS", "SRL")) and cell.number("INIT"):
            raise CheckError(f"{cell.name}: a memory of LUTs must start empty: nextpnr drops its content")


def bitstream(path: Path, frames: Path, read_back: Path, database: Database) -> None:
    """A `.bit` file is for the part, its check sums are right, and its frames are those that were meant.

    Args:
        path: the `.bit` file.
        frames: what it was made from, for xc7frames2bit.
        read_back: the set bits that prjxray's bitread found, a line each: bit_ADDRESS_WORD_BIT.
        database: of the part.

    Raises:
        InputError: the wrong part or a wrong check sum.
        CheckError: other bits.
    """
    wanted = _frames(frames)
    found = read_bitstream(path, database)
    if not found.crc_checks:
        raise CheckError(f"{path.name}: must have a check sum, and has none")
    if found.header.get("b") != database.part:
        raise CheckError(f"{path.name}: must be for {database.part}, not {found.header.get('b')!r}")
    for address, words in zip(found.addresses, found.frames, strict=True):
        own = words.copy()
        own[ECC_WORD] &= ~np.uint32(ECC_BITS)  # of the frame itself, which xc7frames2bit adds
        expected = wanted.pop(address, np.zeros(WORDS, np.uint32))
        if not np.array_equal(own, expected):
            raise CheckError(f"{path.name}: frame {address:#010x} must hold what was assembled, and does not")
    if wanted:
        raise CheckError(f"{path.name}: must have frame {min(wanted):#010x}, and has not")
    _compare_read_back(path, _frames(frames), read_back)


def _compare_read_back(path: Path, wanted: dict[int, NDArray[np.uint32]], read_back: Path) -> None:
    """A second reader, prjxray's own, sees the same bits."""
    seen: dict[int, NDArray[np.uint32]] = {}
    for line in read_back.read_text().splitlines():
        if line.startswith("bit_"):
            _, where, word, bit = line.split("_")
            frame = seen.setdefault(int(where, 16), np.zeros(WORDS, np.uint32))
            frame[int(word)] |= np.uint32(1 << int(bit))
    for address in wanted.keys() | seen.keys():
        nothing = np.zeros(WORDS, np.uint32)
        if not np.array_equal(wanted.get(address, nothing), seen.get(address, nothing)):
            raise CheckError(
                f"{path.name}: bitread must find what was assembled in frame {address:#010x}, and does not"
            )


def _frames(path: Path) -> dict[int, NDArray[np.uint32]]:
    result = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            address, words = line.split()
            result[int(address, 16)] = np.array([int(word, 16) for word in words.split(",")], np.uint32)
    return result
