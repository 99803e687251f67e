"""What is needed of prjxray's database: the part's frames, its tiles, and what each bit of a tile means.

Source: https://f4pga.readthedocs.io/projects/prjxray/en/latest/dev_database/ (the files' formats).
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from fireflow.hw.errors import InputError
from fireflow.hw.files import read_tool_json

_INDEXED = re.compile(r"(.+)\[(\d+)\]$")


@dataclass(frozen=True)
class Feature:
    """A feature of a type of tile: it is set where all its bits have their values.

    Attributes:
        name: without the tile's type, and without an index: "SLICEM_X0.ALUT.INIT".
        index: the bit of a feature with many; None for a plain one.
        ones, zeros: (frame, bit) of the tile.
    """

    name: str
    index: int | None
    ones: tuple[tuple[int, int], ...]
    zeros: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class TileType:
    """Wires, pips and sites of a type of tile.

    Attributes:
        wires: their names.
        pips: wire -> the wires that a pip may connect to it.
        always: wire -> the wires that are connected to it whatever the bits say.
        defaults: wire -> the wire that drives it where no pip does.
        pins: wire -> (index of the site, pin), of the outputs of sites.
        sites: of each site its prefix, its (x, y) in the tile, and pin -> wire.
    """

    wires: frozenset[str]
    pips: dict[str, tuple[str, ...]]
    always: dict[str, tuple[str, ...]]
    defaults: dict[str, str]
    pins: dict[str, tuple[int, str]]
    sites: tuple[tuple[str, tuple[int, int], dict[str, str]], ...]


@dataclass(frozen=True)
class Block:
    """Where bits of a tile lie: `frames` frames from `base` on, `words` words from `offset` on."""

    base: int
    frames: int
    offset: int
    words: int


@dataclass(frozen=True)
class Tile:
    """A tile of the grid. `sites` are sorted as those of its type; `segbits` names whose bits it has."""

    name: str
    type: str
    x: int
    y: int
    blocks: dict[str, Block]
    sites: tuple[str, ...]


class Database:
    """prjxray's database of one part.

    Args:
        folder: the family's, such as /usr/share/prjxray/database/zynq7.
        part: such as "xc7z020clg400-1".

    Raises:
        InputError: not such a folder, or it lacks the part.
    """

    def __init__(self, folder: Path | str, part: str) -> None:
        self.folder, self.part = Path(folder), part
        self.fabric = re.sub(r"([a-z]+\d+[a-z]\d+)[a-z].*", r"\1", part)
        for name in (f"{part}/part.json", f"{self.fabric}/tilegrid.json"):
            if not (self.folder / name).is_file():
                raise InputError(
                    f"{self.folder}: prjxray's database must have {name}, and has not; "
                    "give the folder of the part's family (Debian: apt install prjxray-database)"
                )

    @cached_property
    def layout(self) -> dict[str, Any]:
        """part.json: IDCODE and the columns of frames."""
        return dict(read_tool_json(self.folder / self.part / "part.json"))

    @property
    def idcode(self) -> int:
        return int(self.layout["idcode"])

    @cached_property
    def frame_addresses(self) -> list[int]:
        """The addresses of all frames, in the order in which the device fills them; -1 is a pad frame."""
        result = []
        for bus_code, bus in enumerate(("CLB_IO_CLK", "BLOCK_RAM")):
            for half_code, half in enumerate(("top", "bottom")):
                rows = self.layout["global_clock_regions"][half]["rows"]
                for row in sorted(map(int, rows)):
                    buses = rows[str(row)]["configuration_buses"]
                    columns = buses.get(bus, {}).get("configuration_columns", {})
                    for column in sorted(map(int, columns)):
                        base = bus_code << 23 | half_code << 22 | row << 17 | column << 7
                        result += [base + i for i in range(columns[str(column)]["frame_count"])]
                    result += [-1, -1] if columns else []
        return result

    @cached_property
    def tiles(self) -> dict[str, Tile]:
        grid = read_tool_json(self.folder / self.fabric / "tilegrid.json")
        return {name: _tile(name, entry) for name, entry in grid.items()}

    @cached_property
    def at(self) -> dict[tuple[int, int], Tile]:
        """The tile at a place of the grid."""
        return {(tile.x, tile.y): tile for tile in self.tiles.values()}

    @cached_property
    def neighbours(self) -> dict[str, dict[str, list[tuple[int, int, str, str]]]]:
        """Type -> wire -> (dx, dy, type there, wire there): the same piece of metal in the next tile."""
        result: dict[str, dict[str, list[tuple[int, int, str, str]]]] = defaultdict(lambda: defaultdict(list))
        for entry in read_tool_json(self.folder / self.fabric / "tileconn.json"):
            (dx, dy), (one, other) = entry["grid_deltas"], entry["tile_types"]
            for here, there in entry["wire_pairs"]:
                result[one][here].append((dx, dy, other, there))
                result[other][there].append((-dx, -dy, one, here))
        return result

    @lru_cache(maxsize=None)  # noqa: B019 - a database lives as long as the program
    def tile_type(self, name: str) -> TileType:
        path = self.folder / f"tile_type_{name}.json"
        entry = read_tool_json(path)
        pips: dict[str, list[str]] = defaultdict(list)
        for pip in entry["pips"].values():
            pips[pip["dst_wire"]].append(pip["src_wire"])
            if pip["is_directional"] == "0":
                pips[pip["src_wire"]].append(pip["dst_wire"])
        always: dict[str, list[str]] = defaultdict(list)
        defaults = {}
        for target, source, kind in self.pseudo_pips(name):
            if kind == "always":
                always[target].append(source)
            elif kind == "default":
                defaults[target] = source
        wires = frozenset(entry["wires"])
        for feature in self.segbits(name):
            # A switch whose bits are all 0 is on where no other of its wire is.
            target, _, source = feature.name.partition(".")
            if not feature.ones and target in wires and source in wires:
                defaults[target] = source
        if name.startswith("DSP_"):
            # The database says nothing of these pips: without a tie-off's bit the pin is fed by the fabric.
            for target, sources in pips.items():
                fabric = [source for source in sources if not source.startswith(("DSP_GND", "DSP_VCC"))]
                if len(fabric) == 1 and len(sources) == 3:
                    defaults[target] = fabric[0]
        ordered = sorted(entry["sites"], key=lambda site: (site["prefix"], site["x_coord"], site["y_coord"]))
        sites = tuple(
            (
                site["prefix"],
                (int(site["x_coord"]), int(site["y_coord"])),
                {pin: there["wire"] for pin, there in site["site_pins"].items() if there},
            )
            for site in ordered
        )
        pins = {
            there["wire"]: (index, pin)
            for index, site in enumerate(ordered)
            for pin, there in site["site_pins"].items()
            if there and "res" in there  # a resistance: of a driver; inputs have a capacitance
        }
        return TileType(
            wires,
            {wire: tuple(sources) for wire, sources in pips.items()},
            {wire: tuple(sources) for wire, sources in always.items()},
            defaults,
            pins,
            sites,
        )

    def pseudo_pips(self, tile_type: str) -> list[tuple[str, str, str]]:
        path = self.folder / f"ppips_{tile_type.lower()}.db"
        result = []
        for line in path.read_text().splitlines() if path.is_file() else ():
            name, kind = line.split()
            _, target, source = name.split(".")
            result.append((target, source, kind))
        return result

    @lru_cache(maxsize=None)  # noqa: B019 - a database lives as long as the program
    def segbits(self, tile_type: str, block: str = "CLB_IO_CLK") -> tuple[Feature, ...]:
        """The features of a type of tile, of one of its blocks of bits."""
        suffix = {"CLB_IO_CLK": "", "BLOCK_RAM": ".block_ram"}[block]
        path = self.folder / f"segbits_{tile_type.lower()}{suffix}.db"
        return tuple(map(_feature, path.read_text().splitlines())) if path.is_file() else ()


def split_index(name: str) -> tuple[str, int | None]:
    """
    >>> split_index("ALUT.INIT[05]"), split_index("ALUT.RAM")
    (('ALUT.INIT', 5), ('ALUT.RAM', None))
    """
    found = _INDEXED.match(name)
    return (found[1], int(found[2])) if found else (name, None)


def _feature(line: str) -> Feature:
    name, *bits = line.split()
    places = [(bit.startswith("!"), tuple(map(int, bit.lstrip("!").split("_")))) for bit in bits]
    ones = tuple((frame, bit) for zero, (frame, bit) in places if not zero)
    zeros = tuple((frame, bit) for zero, (frame, bit) in places if zero)
    return Feature(*split_index(name.split(".", 1)[1]), ones, zeros)


def _tile(name: str, entry: dict[str, Any]) -> Tile:
    blocks = {
        kind: Block(int(bits["baseaddr"], 16), bits["frames"], bits["offset"], bits["words"])
        for kind, bits in entry["bits"].items()
    }
    sites = sorted(entry["sites"], key=_site_order)
    return Tile(name, entry["type"], entry["grid_x"], entry["grid_y"], blocks, tuple(sites))


def _site_order(site: str) -> tuple[str, int, int]:
    prefix, x, y = re.fullmatch(r"(.+)_X(\d+)Y(\d+)", site).groups()  # type: ignore[union-attr]
    return prefix, int(x), int(y)
