"""DSP48E1 pins that are constant, tied off by the bits that the device has for it.

nextpnr gives a constant 0 at a mode pin as a 1 through an inverter, and leaves the tie-off bits of INMODE, ALUMODE and
OPMODE alone; Vivado sets them. Both must mean the same, but only the explicit bits are sure to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fireflow.hw.bitstream.errors import CheckError
from fireflow.hw.bitstream.fasm import Feature
from fireflow.hw.bitstream.recover.database import Database
from fireflow.hw.bitstream.recover.dsp import INPUTS, pins_of
from fireflow.hw.bitstream.routed import Cell, Routed

_PIN = re.compile(r"DSP_(\d)_([A-Z]+\d*)\.DSP_(GND|VCC)_[LR]")
_NAMES = ("GND", "VCC")
_INVERTIBLE = ("ALUMODE", "INMODE", "OPMODE")


def tie_off(features: Sequence[Feature], routed: Routed, database: Database) -> list[Feature]:
    """The features with an explicit bit for each constant DSP pin that has one, and none of these pins inverted.

    Raises:
        CheckError: an input of a DSP that is not connected, or a tie-off that contradicts the netlist.
    """
    added: dict[Feature, None] = {}
    for cell in routed.cells:
        if cell.kind == "DSP48E1":
            for feature in _of_cell(cell, routed, database):
                added[feature] = None
    present = set(features)
    for feature in added:
        found = _PIN.fullmatch(feature.name)
        if found:
            other = feature.name.replace(
                "_GND_" if found[3] == "GND" else "_VCC_", "_VCC_" if found[3] == "GND" else "_GND_"
            )
            if feature._replace(name=other) in present:
                raise CheckError(f"{feature}: the pin must be tied to one constant, and is tied to both")
    return [*features, *(feature for feature in added if feature not in present)]


def _of_cell(cell: Cell, routed: Routed, database: Database) -> list[Feature]:
    x, y, index = cell.place
    tile = database.at[x, y]
    if not tile.type.startswith("DSP_"):
        raise CheckError(f"{cell.name}: a DSP48E1 must lie in a DSP tile, not in {tile.name}")
    side = tile.type[-1]
    tied = {
        found[2]
        for feature in database.segbits(tile.type)
        if (found := _PIN.fullmatch(feature.name)) and found[1] == str(index)
    }
    result = []
    for port, pins in pins_of(INPUTS):
        for number, pin in enumerate(pins):
            name = port if len(pins) == 1 else f"{port}[{number}]"
            value = routed.value(cell, name)
            if value is None and cell.nets.get(name) is None:
                raise CheckError(f"{cell.name}: DSP48E1.{name} must be driven, and is not")
            if value is None or pin not in tied:
                continue
            result.append(Feature(tile.name, f"DSP_{index}_{pin}.DSP_{_NAMES[value]}_{side}", None))
            if port in _INVERTIBLE:
                result.append(Feature(tile.name, f"DSP48.DSP_{index}.ZIS_{port}_INVERTED", number))
    return result
