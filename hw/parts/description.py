"""The hardware description (.hwh) of an accelerator, which pynq parses: what its processing system is set to."""

from __future__ import annotations

from typing import Mapping
from xml.sax.saxutils import quoteattr

from fireflow.hw.parts.clocks import divisors
from fireflow.hw.parts.family import ProcessingSystem

INPUT_DMA, OUTPUT_DMA = "idma0", "odma0"
"""Names of FINN's two IODMA blocks, and of our own DMAs; FINN's VLNV is numbered and cannot be searched for."""
DMA_RANGE = 1 << 16
"""Bytes of the registers of each."""
CONTROL_RANGE = 2 * DMA_RANGE
"""Bytes of all registers: the input's DMA, then the output's."""


def render_hwh(name: str, clock_mhz: float, system: ProcessingSystem) -> str:
    """The hardware description of an accelerator: the processing system, its clock, and both DMAs.

    Args:
        name: of the network.
        clock_mhz: of the accelerator; the highest that the dividers give and that is not above it is described.
        system: of the board's family.
    """
    clock, bus, base = system.clock, system.master[0], system.control_base
    parameters = {key: str(bits) for key, bits in system.widths}
    for number in range(4):
        parameters[clock.enable.format(number)] = str(int(number == 0))
        parameters[clock.select.format(number)] = clock.pll
        pair = divisors(clock.pll_mhz, clock_mhz) if number == 0 else (15, 1)
        for position, value in enumerate(pair):
            parameters[clock.divisor.format(number, position)] = str(value)
        parameters[clock.given.format(number)] = f"{clock.pll_mhz / (pair[0] * pair[1]):.6f}"
    blocks = [(INPUT_DMA, base), (OUTPUT_DMA, base + DMA_RANGE)]
    ranges = "".join(
        f'<MEMRANGE ADDRESSBLOCK="Reg" BASEVALUE="0x{first:08X}" HIGHVALUE="0x{first + DMA_RANGE - 1:08X}" '
        f'INSTANCE="{block}" MASTERBUSINTERFACE="{bus}" MEMTYPE="REGISTER" '
        'SLAVEBUSINTERFACE="s_axi_control"/>'
        for block, first in blocks
    )
    modules = _module(
        "zynq_ps",
        system.ip.rpartition(":")[2],
        f"{system.ip}:{system.version}",
        parameters,
        _bus(bus, "MASTER"),
        f"<MEMORYMAP>{ranges}</MEMORYMAP>",
    )
    for number, (block, _first) in enumerate(blocks):
        kind = f"IODMA_hls_{number}"
        modules += _module(block, kind, f"xilinx.com:hls:{kind}:1.0", {}, _bus("s_axi_control", "SLAVE"), "")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<EDKSYSTEM EDWVERSION="1.2">'
        f"<SYSTEMINFO NAME={quoteattr(name)}/><EXTERNALPORTS/><EXTERNALINTERFACES/>"
        f"<MODULES>{modules}</MODULES></EDKSYSTEM>\n"
    )


def _bus(name: str, kind: str) -> str:
    return f'<BUSINTERFACE NAME="{name}" TYPE="{kind}" VLNV="xilinx.com:interface:aximm:1.0"/>'


def _module(name: str, kind: str, vlnv: str, parameters: Mapping[str, str], bus: str, rest: str) -> str:
    given = "".join(f'<PARAMETER NAME="{key}" VALUE="{value}"/>' for key, value in parameters.items())
    return (
        f'<MODULE FULLNAME="/{name}" INSTANCE="{name}" MODTYPE="{kind}" VLNV="{vlnv}">'
        f"<PARAMETERS>{given}</PARAMETERS><PORTS/><BUSINTERFACES>{bus}</BUSINTERFACES>{rest}</MODULE>\n"
    )
