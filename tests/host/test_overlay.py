"""The hardware description that pynq gets with a bitstream."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from fireflow.hw.bitstream.zynq import SYSTEMS
from fireflow.hw.boards import BOARDS, Board
from fireflow.hw.parts.description import family_of, render_hwh


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_ports_are_as_the_bitstream_has_them(board: Board) -> None:
    """pynq sets the widths of UltraScale+'s ports from these; another overlay may have changed them before."""
    family, system = family_of(board.name), SYSTEMS[board.family]
    root = ElementTree.fromstring(render_hwh("net", 100.0, family))
    given = {item.get("NAME"): item.get("VALUE") for item in root.iter("PARAMETER")}
    built = dict(system.config)
    for port in ("MAXIGP0", "SAXIGP2"):
        assert given.get(f"C_{port}_DATA_WIDTH") == built.get(f"PSU__{port}__DATA_WIDTH")
    assert family.base == system.control_base
    assert family.bus == system.master[0]
