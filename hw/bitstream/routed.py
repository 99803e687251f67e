"""The routed netlist as nextpnr writes it: its cells, and what is tied to a constant."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fireflow.hw.bitstream.errors import CheckError

_BEL = re.compile(r"X(\d+)Y(\d+)/(\w+?)(?:_X(\d+)Y(\d+))?\.(\w+)")
_INDEXED = re.compile(r"(.+)\[(\d+)\]$")


@dataclass(frozen=True, eq=False)
class Cell:
    """A placed primitive.

    Args:
        name: as in the design.
        kind: the primitive that it was before nextpnr took it: "LUT6", "FDRE", "DSP48E1".
        parameters: texts, or binary numbers as texts.
        attributes: nextpnr's.
        nets: what is at each of the primitive's own ports, "D[3]": a net's number, or None for nothing.
        outputs: those of the ports that it drives.
    """

    name: str
    kind: str
    parameters: Mapping[str, str]
    attributes: Mapping[str, str]
    nets: Mapping[str, int | None]
    outputs: frozenset[str]

    @property
    def place(self) -> tuple[int, int, int]:
        """Where it is: column and row of its tile in the grid, and which of the tile's sites in y."""
        found = _BEL.match(self.attributes["NEXTPNR_BEL"])
        if found is None:
            raise CheckError(f"{self.name}: must be placed, not at {self.attributes['NEXTPNR_BEL']!r}")
        return int(found[1]), int(found[2]), int(found[5] or 0)

    def number(self, parameter: str, default: int = 0) -> int:
        """A parameter as a number; bits without a value are 0."""
        text = self.parameters.get(parameter)
        return default if text is None else int(text.replace("x", "0").replace("z", "0").strip() or "0", 2)

    def inverted(self, port: str) -> int:
        """1 if the port is inverted on its way in. nextpnr writes IS_INMODE_INVERTED and IS_INMODE[2]_INVERTED."""
        found = _INDEXED.match(port)
        base, bit = (found[1], int(found[2])) if found else (port, 0)
        own = self.number(f"IS_{port}_INVERTED") & 1 if found else 0
        return own | self.number(f"IS_{base}_INVERTED") >> bit & 1

    def bits(self, port: str) -> list[str]:
        """The names of a port's bits, the lowest first: "D" -> D[0], D[1] ...; a single one has its own name."""
        if port in self.nets:
            return [port]
        found = [int(match[2]) for name in self.nets if (match := _INDEXED.match(name)) and match[1] == port]
        return [f"{port}[{i}]" for i in range(max(found, default=-1) + 1)]


class Routed:
    """What `nextpnr --write` wrote.

    Args:
        path: the JSON file.

    Raises:
        CheckError: not such a file.
    """

    def __init__(self, path: Path) -> None:
        with open(path, encoding="utf-8") as file:
            modules = json.load(file)["modules"]
        if len(modules) != 1:
            raise CheckError(f"{path}: must hold one module, not {len(modules)}")
        (self.module,) = modules.values()

    @cached_property
    def cells(self) -> list[Cell]:
        return [cell for name, raw in self.module["cells"].items() if (cell := _cell(name, raw)) is not None]

    @cached_property
    def constants(self) -> dict[int, int]:
        """The nets that are 0 or 1."""
        values = {"PSEUDO_GND": 0, "PSEUDO_VCC": 1}
        return {
            raw["connections"]["Y"][0]: values[raw["type"]]
            for raw in self.module["cells"].values()
            if raw["type"] in values
        }

    def unrouted(self) -> Iterator[str]:
        """The nets that have a driver and a reader and no route."""
        driven: set[int] = set()
        read: set[int] = set()
        for raw in self.module["cells"].values():
            for port, bits in raw["connections"].items():
                (driven if raw["port_directions"][port] == "output" else read).update(bits)
        for name, net in self.module["netnames"].items():
            for bit in net["bits"]:
                if bit in driven and bit in read and not net["attributes"].get("ROUTING", "").strip():
                    yield name
        undriven = read - driven
        for name, net in self.module["netnames"].items():
            if undriven.intersection(net["bits"]):
                yield f"{name} (without a driver)"

    def value(self, cell: Cell, port: str) -> int | None:
        """The constant that a cell's input has behind its inverter; None if it is none."""
        net = cell.nets.get(port)
        tied = cell.attributes.get("DSP_GND_PINS", ""), cell.attributes.get("DSP_VCC_PINS", "")
        pin = port.replace("[", "").replace("]", "")
        for constant, pins in enumerate(tied):
            if pin in pins.split():
                return constant
        if net is None or net not in self.constants:
            return None
        return self.constants[net] ^ cell.inverted(port)


def _cell(name: str, raw: Mapping[str, Any]) -> Cell | None:
    kind = raw["attributes"].get("X_ORIG_TYPE")
    if kind is None:
        if raw["type"] in ("PSEUDO_GND", "PSEUDO_VCC"):
            return None
        raise CheckError(f"{name}: {raw['type']} is a cell that this flow does not know")
    nets: dict[str, int | None] = {}
    outputs = set()
    for pin, bits in raw["connections"].items():
        for port in raw["attributes"].get(f"X_ORIG_PORT_{pin}", "").split():
            nets[port] = bits[0] if bits else nets.get(port)
            if raw["port_directions"][pin] == "output":
                outputs.add(port)
    return Cell(name, kind, raw["parameters"], raw["attributes"], nets, frozenset(outputs))
