"""The netlist in the making: what was asked for, what drives it, and the Verilog of it.

It grows from the outputs backwards: a site is looked at when something that matters reads one of its pins.
"""

from __future__ import annotations

from typing import Iterable, Sequence

from fireflow.hw.bitstream.recover.clocks import through_buffers
from fireflow.hw.bitstream.recover.database import Database, Tile
from fireflow.hw.bitstream.recover.features import Features, TileFeatures
from fireflow.hw.bitstream.recover.routing import NOTHING, RecoveryError, Routing, WireSource


class Netlist:
    """Sites, routes and the Verilog so far.

    Attributes:
        lines: the Verilog statements.
        cells: how many of each primitive there are.
    """

    def __init__(self, features: Features, database: Database) -> None:
        self.database = database
        self.features = features
        self.routing = Routing(features, database)
        self.lines: list[str] = []
        self.signals: list[str] = []
        self.cells: dict[str, int] = {}
        self._places: dict[str, tuple[Tile, int]] = {}
        for tile in database.tiles.values():
            for index, site in enumerate(tile.sites):
                self._places[site] = (tile, index)
        self._asked: dict[tuple[str, str], None] = {}
        self._waiting: list[tuple[str, str]] = []

    def tile(self, site: str) -> Tile:
        return self._places[site][0]

    def tile_features(self, site: str) -> TileFeatures:
        return self.features.get(self.tile(site).name) or TileFeatures()

    def place(self, site: str) -> tuple[int, int]:
        """(x, y) of a site in its tile: which of the slices it is."""
        tile, index = self._places[site]
        return self.database.tile_type(tile.type).sites[index][1]

    def source(self, site: str, pin: str) -> WireSource:
        """What drives an input of a site; a site that lacks the pin has nothing there."""
        tile, index = self._places[site]
        wire = self.database.tile_type(tile.type).sites[index][2].get(pin)
        return NOTHING if wire is None else self.routing.source(tile.name, wire)

    def wire(self, tile: str, wire: str) -> str:
        """Verilog for what drives a wire of a tile; see `pin`."""
        return self.drive(self.routing.source(tile, wire), f"{tile}.{wire}")

    def constant(self, site: str, pin: str) -> int | None:
        """The constant at an input of a site, or None."""
        source = self.source(site, pin)
        return int(source.pin) if source.constant else None

    def pin(self, site: str, pin: str) -> str:
        """Verilog for what drives an input of a site.

        Raises:
            RecoveryError: nothing does.
        """
        return self.drive(self.source(site, pin), f"{site}.{pin}")

    def drive(self, source: WireSource, place: str) -> str:
        source = through_buffers(self, source)
        if source.constant:
            return f"1'b{source.pin}"
        if not source.site:
            raise RecoveryError(f"{place}: a pin that matters must be driven, not left open")
        return self.signal(source.site, source.pin)

    def signal(self, site: str, name: str) -> str:
        """The net of an output, or of something within a site; it is asked for, and will be made."""
        if (site, name) not in self._asked:
            self._asked[site, name] = None
            self._waiting.append((site, name))
        return f"{site}_{name}"

    def waiting(self) -> Iterable[tuple[str, str]]:
        """What was asked for and is not yet made, while there is any."""
        while self._waiting:
            yield self._waiting.pop()

    def count(self, cell: str) -> None:
        self.cells[cell] = self.cells.get(cell, 0) + 1

    def assign(self, name: str, expression: str) -> None:
        self.signals.append(name)
        self.lines.append(f"  assign {name} = {expression};")

    def outputs(self, site: str, widths: dict[str, int]) -> dict[str, str]:
        """Nets for the output buses of a cell: port -> net."""
        return {port: self.declare(f"{site}_{port}__", width) for port, width in widths.items()}

    def tap(self, site: str, pin: str, widths: dict[str, int]) -> None:
        """An output that was asked for, from the nets of `outputs`: "P3" is bit 3 of "P"."""
        port = pin if pin in widths else pin.rstrip("0123456789")
        if port not in widths:
            raise RecoveryError(f"{site}.{pin}: this output is read, and its cell is modelled without it")
        bit = f"[{pin[len(port) :]}]" if widths[port] > 1 else ""
        self.assign(f"{site}_{pin}", f"{site}_{port}__{bit}")

    def declare(self, name: str, width: int = 1) -> str:
        self.signals.append(f"[{width - 1}:0] {name}" if width > 1 else name)
        return name

    def instance(self, cell: str, name: str, parameters: dict[str, str], ports: dict[str, str]) -> None:
        self.count(cell)
        given = ", ".join(f".{key}({value})" for key, value in parameters.items())
        wired = ", ".join(f".{key}({value})" for key, value in ports.items())
        self.lines.append(f"  {cell} #({given}) {name} ({wired});")


def lut(init: int, inputs: Sequence[str]) -> str:
    """Verilog of a look-up table; inputs that are constant, or that it ignores, are left out.

    Args:
        init: bit i is the value at the inputs that make up i, the first input lowest.

    >>> lut(0x8888888888888888, ["a", "b", "c", "1'b1", "d", "e"])
    "4'h8 >> {b, a}"
    >>> lut(0xC, ["1'b0", "a"])
    'a'
    """
    table = [init >> i & 1 for i in range(1 << len(inputs))]
    left: list[str] = []
    for position in range(len(inputs) - 1, -1, -1):
        name, step = inputs[position], 1 << position
        low = [value for i, value in enumerate(table) if not i & step]
        high = [value for i, value in enumerate(table) if i & step]
        if name == "1'b1":
            table = high
        elif name == "1'b0" or low == high:
            table = low
        else:
            left.append(name)
    if not left:
        return f"1'b{table[0]}"
    value = sum(bit << i for i, bit in enumerate(table))
    if len(left) == 1:
        return left[0] if value == 2 else f"~{left[0]}"
    return f"{len(table)}'h{value:x} >> {{{', '.join(left)}}}"


def bus(bits: Sequence[str]) -> str:
    """Verilog of a bus whose lowest bit comes first.

    >>> bus(["a", "b"]), bus(["1'b0", "1'b1", "1'b1"])
    ('{b, a}', "3'h6")
    """
    if all(bit in ("1'b0", "1'b1") for bit in bits):
        value = sum(int(bit[-1]) << i for i, bit in enumerate(bits))
        return f"{len(bits)}'h{value:x}"
    return "{" + ", ".join(reversed(bits)) + "}"
