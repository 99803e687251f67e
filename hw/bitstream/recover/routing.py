"""From the pips that are set to what drives each wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator

from hw.bitstream.recover.database import Database, Tile
from hw.bitstream.recover.features import Features

Wire = tuple[str, str]  # tile, wire
_ONE, _ZERO = ("VCC_WIRE", "DSP_VCC_L", "DSP_VCC_R"), ("GND_WIRE", "DSP_GND_L", "DSP_GND_R")


class RecoveryError(ValueError):
    """The bits make something that cannot work, or that is not known here."""


@dataclass(frozen=True)
class Source:
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


NOTHING = Source("", "")
ONE, ZERO = Source("", "1"), Source("", "0")


class Routing:
    """The routes of a device with these features.

    Raises:
        RecoveryError: a pip is set that its tile does not have.
    """

    def __init__(self, features: Features, database: Database) -> None:
        self.database = database
        self.neighbours = database.neighbours
        self.active: dict[Wire, list[str]] = {}
        for name, there in features.items():
            kind = database.tile_type(database.tiles[name].type)
            for flag in sorted(there.flags):
                target, dot, source = flag.partition(".")
                if dot and target in kind.wires and source in kind.wires:
                    self.active.setdefault((name, target), []).append(source)
        self._sources: dict[Wire, Source] = {}

    def source(self, tile: str, wire: str) -> Source:
        """The site's pin, or the constant, that drives a wire.

        Raises:
            RecoveryError: several do.
        """
        path: list[Wire] = []
        here: Wire | Source = (tile, wire)
        seen = set()
        while not isinstance(here, Source):
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

    def _driver(self, wire: Wire) -> Wire | Source:
        """What drives the piece of metal that a wire is part of: a wire before a pip, or a source."""
        drivers: list[Wire | Source] = []
        default: Wire | Source = NOTHING
        for tile, name in self._metal(wire):
            if name in _ONE or name in _ZERO:
                return ONE if name in _ONE else ZERO
            kind = self.database.tile_type(tile.type)
            pips = self.active.get((tile.name, name), ())
            drivers += [(tile.name, source) for source in pips]
            if name in kind.pins:
                # A route through the site, which the database counts among the constant pips, is the site's matter.
                drivers.append(self._pin(tile, name))
            elif not pips:
                drivers += self._always(tile, kind.always.get(name, ()))
            if name in kind.defaults:
                default = (tile.name, kind.defaults[name])
        if len(drivers) > 1:
            names = ", ".join(
                f"{driver.site}.{driver.pin}" if isinstance(driver, Source) else ".".join(driver)
                for driver in drivers
            )
            raise RecoveryError(f"{wire[0]}.{wire[1]}: a wire must have one driver, not {names}")
        return drivers[0] if drivers else default

    def _always(self, tile: Tile, sources: tuple[str, ...]) -> list[Wire | Source]:
        # Both views of a block RAM, as one of 36 kbit and as two halves, drive its outputs: take the halves.
        if len(sources) > 1:
            sources = tuple(source for source in sources if not source.startswith("BRAM_FIFO36_"))
        return [(tile.name, source) for source in sources]

    def _pin(self, tile: Tile, wire: str) -> Source:
        index, pin = self.database.tile_type(tile.type).pins[wire]
        if wire.startswith(("BRAM_FIFO18_", "BRAM_RAMB18_")):
            # Named as a RAMB18E1, also where the site can be a FIFO, whose pins have other names.
            pin = wire.split("_", 2)[2]
        return Source(tile.sites[index], pin)

    def _metal(self, wire: Wire) -> Iterator[tuple[Tile, str]]:
        """All the names, in neighbouring tiles, of the piece of metal that a wire is part of."""
        start = (self.database.tiles[wire[0]], wire[1])
        seen = {(start[0].name, start[1])}
        waiting = [start]
        while waiting:
            tile, name = waiting.pop()
            yield tile, name
            for dx, dy, kind, other in self.neighbours.get(tile.type, {}).get(name, ()):
                there = self.database.at.get((tile.x + dx, tile.y + dy))
                if there is not None and there.type == kind and (there.name, other) not in seen:
                    seen.add((there.name, other))
                    waiting.append((there, other))
