"""Does each DSP48E1 of a bitstream do what the routed netlist says? Mode, registers and constants, pin by pin.

A simulation of the whole finds such a fault only where its pictures reach it; this looks at every pin, and names the
cell.
"""

from __future__ import annotations

from collections.abc import Iterator

from fireflow.hw.bitstream.errors import CheckError
from fireflow.hw.bitstream.recover.database import Database
from fireflow.hw.bitstream.recover.dsp import INPUTS, INVERTIBLE, REGISTERS, dsp_modes, pins_of
from fireflow.hw.bitstream.recover.features import Features
from fireflow.hw.bitstream.recover.netlist import Netlist
from fireflow.hw.bitstream.routed import Cell, Routed

_DEFAULTS = {"A_INPUT": "DIRECT", "B_INPUT": "DIRECT", "USE_DPORT": "FALSE", "USE_SIMD": "ONE48"}


def check_dsps(routed: Routed, features: Features, database: Database) -> int:
    """Compares the DSPs.

    Args:
        routed: what nextpnr wrote.
        features: of the bitstream, or of the FASM that it is made from.
        database: of the part.

    Returns:
        how many DSPs there are.

    Raises:
        CheckError: one differs; the message names the cell, its site, and the first difference.
    """
    netlist = Netlist(features, database)
    cells = [cell for cell in routed.cells if cell.kind == "DSP48E1"]
    for cell in cells:
        x, y, index = cell.place
        site = [name for name in database.at[x, y].sites if name.startswith("DSP48_")][index]
        for what, wanted, found in _differences(cell, routed, netlist, site):
            raise CheckError(f"{cell.name} ({site}): {what} must be {wanted}, and the bits make it {found}")
    return len(cells)


def _differences(
    cell: Cell, routed: Routed, netlist: Netlist, site: str
) -> Iterator[tuple[str, object, object]]:
    modes = dsp_modes(netlist, site)
    for name in (*REGISTERS, "AREG", "BREG"):
        wanted = cell.number(name, 1)
        if wanted != int(modes[name]):
            yield name, wanted, modes[name]
    for name, default in _DEFAULTS.items():
        text = cell.parameters.get(name, default).strip()
        if text != modes.get(name, default).strip('"'):
            yield name, text, modes.get(name, default)
    inverted = {port: int(modes.get(f"IS_{port}_INVERTED", "1'h0").split("h")[1], 16) for port in INVERTIBLE}
    for port, pins in pins_of(INPUTS):
        for index, pin in enumerate(pins):
            name = port if len(pins) == 1 else f"{port}[{index}]"
            expected = routed.value(cell, name)
            if expected is None and cell.nets.get(name) is None:
                continue  # not connected: nothing is expected of it
            constant = netlist.constant(site, pin)
            actual = None if constant is None else constant ^ inverted.get(port, 0) >> index & 1
            if expected != actual:
                yield name, _shown(expected), _shown(actual)


def _shown(constant: int | None) -> int | str:
    return "a net" if constant is None else constant
