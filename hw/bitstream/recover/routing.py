"""From the pips that are set to what drives each wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Protocol

from fireflow.hw.bitstream.recover.database import Database, Tile
from fireflow.hw.bitstream.recover.features import Features, TileFeatures
from fireflow.hw.errors import ToolFailure

Wire = tuple[str, str]  # tile, wire
_ONE, _ZERO = ("VCC_WIRE", "DSP_VCC_L", "DSP_VCC_R"), ("GND_WIRE", "DSP_GND_L", "DSP_GND_R")


class RecoveryError(ToolFailure):
    """The bits make something that cannot work, or that is not known here."""


@dataclass(frozen=True)
class WireSource:
    """What drives a wire.

    Attributes:
        site: "SLICE_X0Y0"; "" for a constant, and for nothing.
        pin: of the site; "0" or "1" for a constant; "" where nothing drives.
    """

    site: str
    pin: str

    @property
    def constant(self) -> bool:
        return not self.site and bool(self.pin)


class Pins(Protocol):
    """What drives the pins of sites, and how the sites are set."""

    def source(self, site: str, pin: str) -> WireSource:
        """What drives an input of a site; a site that lacks the pin has nothing there."""

    def constant(self, site: str, pin: str) -> int | None:
        """The constant at an input of a site, or None."""

    def place(self, site: str) -> tuple[int, int]:
        """(x, y) of a site in its tile: which of the slices it is."""

    def tile_features(self, site: str) -> TileFeatures:
        """What the tile of a site is set to."""


NOTHING = WireSource("", "")
ONE, ZERO = WireSource("", "1"), WireSource("", "0")


@dataclass(frozen=True)
class _Facts:
    """What is so of a wire in each tile of a type.

    Attributes:
        constant: what it always is, if it is.
        site, pin: the output that drives it: index of the site in the tile; "" for none.
        always: the wires that drive it without a bit.
        default: the one that drives it where no pip does, or "".
        neighbours: (dx, dy, type, wire) of the same metal.
    """

    constant: WireSource | None
    site: int
    pin: str
    always: tuple[str, ...]
    default: str
    neighbours: tuple[tuple[int, int, str, str], ...]


class Routing:
    """The routes of a device with these features.

    Raises:
        RecoveryError: a pip is set that its tile does not have.
    """

    def __init__(self, features: Features, database: Database) -> None:
        self.database = database
        self._facts: dict[tuple[str, str], _Facts] = {}
        self.active: dict[Wire, list[str]] = {}
        for name, there in features.items():
            kind = database.tile_type(database.tiles[name].type)
            for flag in sorted(there.flags):
                target, dot, source = flag.partition(".")
                if dot and target in kind.wires and source in kind.wires:
                    self.active.setdefault((name, target), []).append(source)
        self._sources: dict[Wire, WireSource] = {}

    def source(self, tile: str, wire: str) -> WireSource:
        """The site's pin, or the constant, that drives a wire.

        Raises:
            RecoveryError: several do.
        """
        path: list[Wire] = []
        here: Wire | WireSource = (tile, wire)
        seen = set()
        while not isinstance(here, WireSource):
            known = self._sources.get(here)
            if known is not None:
                here = known
                break
            if here in seen:
                raise RecoveryError(
                    f"{tile}.{wire}: a route must have a source, not a loop through {here[1]}"
                )
            seen.add(here)
            path.append(here)
            here = self._driver(here)
        for step in path:
            self._sources[step] = here
        return here

    def _driver(self, wire: Wire) -> Wire | WireSource:
        """What drives the piece of metal that a wire is part of: a wire before a pip, or a source."""
        drivers: list[Wire | WireSource] = []
        default: Wire | WireSource = NOTHING
        for tile, name, facts in self._metal(wire):
            if facts.constant is not None:
                return facts.constant
            pips = self.active.get((tile.name, name))
            if pips is not None:
                drivers += [(tile.name, source) for source in pips]
            if facts.pin:
                # A route through the site, which the database counts among the constant pips, is the site's matter.
                drivers.append(WireSource(tile.sites[facts.site], facts.pin))
            elif pips is None:
                drivers += [(tile.name, source) for source in facts.always]
            if facts.default:
                default = (tile.name, facts.default)
        if len(drivers) > 1:
            names = ", ".join(
                f"{driver.site}.{driver.pin}" if isinstance(driver, WireSource) else ".".join(driver)
                for driver in drivers
            )
            raise RecoveryError(f"{wire[0]}.{wire[1]}: a wire must have one driver, not {names}")
        return drivers[0] if drivers else default

    def _metal(self, wire: Wire) -> Iterator[tuple[Tile, str, _Facts]]:
        """All the names, in neighbouring tiles, of the piece of metal that a wire is part of."""
        at = self.database.at
        start = (self.database.tiles[wire[0]], wire[1])
        seen = {(start[0].name, start[1])}
        waiting = [start]
        while waiting:
            tile, name = waiting.pop()
            facts = self._facts.get((tile.type, name)) or self._learn(tile.type, name)
            yield tile, name, facts
            for dx, dy, kind, other in facts.neighbours:
                there = at.get((tile.x + dx, tile.y + dy))
                if there is not None and there.type == kind and (there.name, other) not in seen:
                    seen.add((there.name, other))
                    waiting.append((there, other))

    def _learn(self, tile_type: str, name: str) -> _Facts:
        kind = self.database.tile_type(tile_type)
        site, pin = kind.pins.get(name, (0, ""))
        if name.startswith(("BRAM_FIFO18_", "BRAM_RAMB18_")) and pin:
            # Named as a RAMB18E1, also where the site can be a FIFO, whose pins have other names.
            pin = name.split("_", 2)[2]
        always = kind.always.get(name, ())
        if len(always) > 1:
            # Both views of a block RAM, as one of 36 kbit and as two halves, drive its outputs: take the halves.
            always = tuple(source for source in always if not source.startswith("BRAM_FIFO36_"))
        facts = _Facts(
            ONE if name in _ONE else ZERO if name in _ZERO else None,
            site,
            pin,
            always,
            kind.defaults.get(name, ""),
            tuple(self.database.neighbours.get(tile_type, {}).get(name, ())),
        )
        self._facts[tile_type, name] = facts
        return facts
