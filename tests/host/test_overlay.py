"""The hardware description that pynq gets with a bitstream."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from fireflow.hw.parts import FAMILIES, Family
from fireflow.hw.parts.description import render_hwh


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_ports_are_as_the_bitstream_has_them(family: Family) -> None:
    """pynq sets the widths of UltraScale+'s ports from these; another overlay may have changed them before."""
    root = ElementTree.fromstring(render_hwh("net", 100.0, family.system))
    given = {item.get("NAME"): item.get("VALUE") for item in root.iter("PARAMETER")}
    built = dict(family.system.config)
    for port in ("MAXIGP0", "SAXIGP2"):
        assert given.get(f"C_{port}_DATA_WIDTH") == built.get(f"PSU__{port}__DATA_WIDTH")
    bases = {item.get("INSTANCE"): int(str(item.get("BASEVALUE")), 16) for item in root.iter("MEMRANGE")}
    first = family.system.control_base
    assert bases == {"idma0": first, "odma0": first + 0x1_0000}
    assert {item.get("MASTERBUSINTERFACE") for item in root.iter("MEMRANGE")} == {family.system.master[0]}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_the_clock_is_the_one_that_the_bitstream_asks_for(family: Family) -> None:
    clock, built = family.system.clock, dict(family.system.config)
    assert built[clock.enable.format(0)] == "1"
    assert built[clock.select.format(0)] == clock.pll
