"""The hardware description (.hwh) of an accelerator, which pynq parses: what its processing system is set to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping
from xml.sax.saxutils import quoteattr

from fireflow.hw.clocks import PLL_MHZ, divisors
from fireflow.hw.errors import InputError

INPUT_DMA, OUTPUT_DMA = "idma0", "odma0"
"""Names of FINN's two IODMA blocks, and of our own DMAs; FINN's VLNV is numbered and cannot be searched for."""
DMA_RANGE = 1 << 16
"""Bytes of the registers of each."""


@dataclass(frozen=True)
class Family:
    """What differs between Zynq-7000 and Zynq UltraScale+.

    Args:
        name: "zynq" or "zynqmp".
        machine: what the kernel calls the processor.
        ps, vlnv, bus: the processing system in a block design, and its port to the logic.
        enable, divisor, frequency, select: names of a clock's parameters, {0} the clock and {1} the divisor.
        pll: the value of `select`.
        pll_mhz: of the PLL that clocks the logic.
        base: address of the first DMA's registers.
        parts: how the names of its parts begin in the header of a bitstream.
        widths: of ports in bits, by the parameter from which pynq sets them. Those of Zynq-7000 are fixed.
    """

    name: str
    machine: str
    ps: str
    vlnv: str
    bus: str
    enable: str
    divisor: str
    frequency: str
    select: str
    pll: str
    pll_mhz: float
    base: int
    parts: tuple[str, ...]
    widths: tuple[tuple[str, int], ...] = ()


ZYNQ = Family(
    "zynq",
    "armv7l",
    "processing_system7",
    "xilinx.com:ip:processing_system7:5.5",
    "M_AXI_GP0",
    "PCW_FPGA_FCLK{0}_ENABLE",
    "PCW_FCLK{0}_PERIPHERAL_DIVISOR{1}",
    "PCW_ACT_FPGA{0}_PERIPHERAL_FREQMHZ",
    "PCW_FCLK{0}_PERIPHERAL_CLKSRC",
    "IO PLL",
    PLL_MHZ["xc7"],
    0x4000_0000,
    ("7z", "xc7z"),
)
ZYNQMP = Family(
    "zynqmp",
    "aarch64",
    "zynq_ultra_ps_e",
    "xilinx.com:ip:zynq_ultra_ps_e:3.5",
    "M_AXI_HPM0_FPD",
    "PSU__FPGA_PL{0}_ENABLE",
    "PSU__CRL_APB__PL{0}_REF_CTRL__DIVISOR{1}",
    "PSU__CRL_APB__PL{0}_REF_CTRL__ACT_FREQMHZ",
    "PSU__CRL_APB__PL{0}_REF_CTRL__SRCSEL",
    "IOPLL",
    PLL_MHZ["xcup"],
    0xA000_0000,
    ("xczu", "xck"),
    (("C_MAXIGP0_DATA_WIDTH", 128), ("C_SAXIGP2_DATA_WIDTH", 128)),
)
FAMILIES: Mapping[str, Family] = {
    "Pynq-Z1": ZYNQ,
    "Pynq-Z2": ZYNQ,
    "Ultra96": ZYNQMP,
    "KV260": ZYNQMP,
    "ZCU104": ZYNQMP,
}
"""By the name that a PYNQ image gives its board."""


def same_board(one: str, other: str) -> bool:
    """Whether two spellings mean one board: "PYNQ-Z2" is "Pynq-Z2", and "Ultra96-V2" is an "Ultra96".

    >>> same_board("PYNQ-Z2", "pynq_z2"), same_board("KV260", "ZCU104")
    (True, False)
    """
    return _plain(one) == _plain(other)


def _plain(board: str) -> str:
    text = "".join(c for c in board.lower() if c.isalnum())
    return "ultra96" if text.startswith("ultra96") else text


def family_of(board: str) -> Family:
    """Raises InputError for a board that is not known."""
    for name, family in FAMILIES.items():
        if same_board(name, board):
            return family
    raise InputError(f"board: must be one of {', '.join(FAMILIES)}, not {board!r}; build for one of these")


def render_hwh(name: str, clock_mhz: float, family: Family) -> str:
    """The hardware description of an accelerator: the processing system, its clock, and both DMAs.

    Args:
        name: of the network.
        clock_mhz: of the accelerator; the highest that the dividers give and that is not above it is described.
        family: of the board.
    """
    first, second = divisors(family.pll_mhz, clock_mhz)
    parameters = {key: str(bits) for key, bits in family.widths}
    for clock in range(4):
        parameters[family.enable.format(clock)] = str(int(clock == 0))
        parameters[family.select.format(clock)] = family.pll
        pair = (first, second) if clock == 0 else (15, 1)
        for number, value in enumerate(pair):
            parameters[family.divisor.format(clock, number)] = str(value)
        parameters[family.frequency.format(clock)] = f"{family.pll_mhz / (pair[0] * pair[1]):.6f}"
    blocks = [(INPUT_DMA, family.base), (OUTPUT_DMA, family.base + DMA_RANGE)]
    ranges = "".join(
        f'<MEMRANGE ADDRESSBLOCK="Reg" BASEVALUE="0x{base:08X}" HIGHVALUE="0x{base + DMA_RANGE - 1:08X}" '
        f'INSTANCE="{block}" MASTERBUSINTERFACE="{family.bus}" MEMTYPE="REGISTER" '
        'SLAVEBUSINTERFACE="s_axi_control"/>'
        for block, base in blocks
    )
    modules = _module(
        "zynq_ps",
        family.ps,
        family.vlnv,
        parameters,
        _bus(family.bus, "MASTER"),
        f"<MEMORYMAP>{ranges}</MEMORYMAP>",
    )
    for number, (block, _base) in enumerate(blocks):
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
