"""The processing systems of Zynq-7000 and Zynq UltraScale+ as Vivado knows them: what the accelerator needs of each.

Only what reaches the logic is set: one clock and reset, one master for the registers, one slave port to the memory. The
pins, the DDR and the PLLs of a board are not in a bitstream. The first-stage boot loader of the board's PYNQ image sets
them at power-up, from the board's own preset, and loading an overlay leaves them as they are; so no board files are
needed here, and a preset of ours could only disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fireflow.hw.boards import Board
from fireflow.hw.errors import InputError
from fireflow.hw.rtl.shell import SHELL

CONTROL_RANGE = 0x2_0000
"""Bytes of its registers: 64 KiB for the input's DMA, 64 KiB for the output's."""


@dataclass(frozen=True)
class ProcessingSystem:
    """One family's, by the names that Vivado gives its parts.

    Args:
        ip: vendor, library and name; no version, so that any Vivado takes its own.
        config: properties that do not depend on the design.
        frequency, actual: properties of the clock's frequency in MHz, asked for and given.
        clock, reset: pins for the logic.
        clock_name: of the clock in the constraints that come with the IP.
        master, slave: interfaces for registers and memory, and the pins of their clocks.
        memory: the address segment of the DDR.
        memory_bytes: of it that every board of the family has, from address 0.
        control_base: where the master finds the accelerator's registers.
        external: interfaces that must be ports of the top, with their types.
    """

    ip: str
    config: tuple[tuple[str, str], ...]
    frequency: str
    actual: str
    clock: str
    reset: str
    clock_name: str
    master: tuple[str, str]
    slave: tuple[str, str]
    memory: str
    memory_bytes: int
    control_base: int
    external: tuple[tuple[str, str], ...] = ()


# Property names and values: PYNQ's boards/Pynq-Z1/base/base.tcl, in which Vivado wrote down every one.
ZYNQ_7000 = ProcessingSystem(
    ip="xilinx.com:ip:processing_system7",
    config=(
        ("PCW_CRYSTAL_PERIPHERAL_FREQMHZ", "50"),
        ("PCW_APU_PERIPHERAL_FREQMHZ", "650"),
        ("PCW_FPGA_FCLK0_ENABLE", "1"),
        ("PCW_FCLK0_PERIPHERAL_CLKSRC", "IO PLL"),
        ("PCW_EN_CLK0_PORT", "1"),
        ("PCW_EN_RST0_PORT", "1"),
        ("PCW_USE_M_AXI_GP0", "1"),
        ("PCW_USE_S_AXI_HP0", "1"),
        ("PCW_S_AXI_HP0_DATA_WIDTH", "64"),
    ),
    frequency="PCW_FPGA0_PERIPHERAL_FREQMHZ",
    actual="PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ",
    clock="FCLK_CLK0",
    reset="FCLK_RESET0_N",
    clock_name="clk_fpga_0",
    master=("M_AXI_GP0", "M_AXI_GP0_ACLK"),
    slave=("S_AXI_HP0", "S_AXI_HP0_ACLK"),
    memory="S_AXI_HP0/HP0_DDR_LOWOCM",
    memory_bytes=0x2000_0000,
    control_base=0x4000_0000,
    external=(
        ("DDR", "xilinx.com:interface:ddrx_rtl:1.0"),
        ("FIXED_IO", "xilinx.com:display_processing_system7:fixedio_rtl:1.0"),
    ),
)
# Likewise boards/ZCU104/base/base.tcl. Both ports are 128 bits wide, as the processing system is after a reset: a port
# of another width works only after its driver has changed registers of the processing system.
ZYNQ_ULTRASCALE = ProcessingSystem(
    ip="xilinx.com:ip:zynq_ultra_ps_e",
    config=(
        ("PSU__PSS_REF_CLK__FREQMHZ", "33.333"),
        ("PSU__FPGA_PL0_ENABLE", "1"),
        ("PSU__CRL_APB__PL0_REF_CTRL__SRCSEL", "IOPLL"),
        ("PSU__USE__FABRIC__RST", "1"),
        ("PSU__USE__M_AXI_GP0", "1"),
        ("PSU__MAXIGP0__DATA_WIDTH", "128"),
        ("PSU__USE__M_AXI_GP1", "0"),
        ("PSU__USE__M_AXI_GP2", "0"),
        ("PSU__USE__S_AXI_GP2", "1"),
        ("PSU__SAXIGP2__DATA_WIDTH", "128"),
    ),
    frequency="PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ",
    actual="PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ",
    clock="pl_clk0",
    reset="pl_resetn0",
    clock_name="clk_pl_0",
    master=("M_AXI_HPM0_FPD", "maxihpm0_fpd_aclk"),
    slave=("S_AXI_HP0_FPD", "saxihp0_fpd_aclk"),
    memory="SAXIGP2/HP0_DDR_LOW",
    memory_bytes=0x8000_0000,
    control_base=0xA000_0000,
)
SYSTEMS = {"xc7": ZYNQ_7000, "xcup": ZYNQ_ULTRASCALE}


def settings(board: Board, clock_mhz: float, sources: Sequence[str]) -> str:
    """The Tcl file settings.tcl, which the other scripts source.

    Args:
        clock_mhz: one that the processing system can give, see `hw.clocks.reachable_mhz`.
        sources: of the accelerator and its shell, relative to the folder in which Vivado runs.

    Raises:
        InputError: a name of a source that Tcl would take apart.
    """
    for name in sources:
        if not name.isascii() or any(letter in name for letter in ' \t\n{}[]$\\";#'):
            raise InputError(
                f"{name!r}: a source must have letters, digits, . _ - and / in its name; rename it"
            )
    system = SYSTEMS[board.family]
    pairs = [*system.config, (system.frequency, f"{clock_mhz:.6f}")]
    lines = [
        f"# {board.name} at {clock_mhz:g} MHz.",
        _set("part", board.part),
        _set("shell", SHELL),
        _set("clock_mhz", f"{clock_mhz:.6f}"),
        _set("clock_name", system.clock_name),
        _set("control_base", f"0x{system.control_base:08X}"),
        _set("control_range", f"0x{CONTROL_RANGE:08X}"),
        _set("memory_range", f"0x{system.memory_bytes:08X}"),
        _set("memory_segment", system.memory),
        _set("ps_ip", system.ip),
        _set("ps_clock", system.clock),
        _set("ps_clock_property", f"CONFIG.{system.actual}"),
        _set("ps_reset", system.reset),
        _set("ps_master", system.master[0]),
        _set("ps_master_clock", system.master[1]),
        _set("ps_slave", system.slave[0]),
        _set("ps_slave_clock", system.slave[1]),
        _block("ps_config", [f"CONFIG.{name} {{{value}}}" for name, value in pairs]),
        _block("ps_external", [f"{name} {vlnv}" for name, vlnv in system.external]),
        _block("sources", sources),
    ]
    return "\n".join(lines) + "\n"


def _set(name: str, value: str) -> str:
    return f"set {name} {value}"


def _block(name: str, words: Sequence[str]) -> str:
    return f"set {name} {{" + "".join(f"\n    {word}" for word in words) + "\n}"
