"""7-series with DSP48E1, and the processor of Zynq-7000."""

from __future__ import annotations

from fireflow.hw.parts.family import (
    YOSYS_RAMS,
    Bus,
    Clock,
    Die,
    Family,
    LutRam,
    ProcessingSystem,
    Synthesis,
)
from fireflow.hw.parts.resources import Resources

_SLCR = 0xF8000000

# Names and values of properties: PYNQ's boards/Pynq-Z1/base/base.tcl, in which Vivado wrote down every one.
ZYNQ_7000 = ProcessingSystem(
    ip="xilinx.com:ip:processing_system7",
    version="5.5",
    machine="armv7l",
    clock=Clock(
        pll_mhz=1000.0,  # the IO PLL: 20 x 50 MHz on PYNQ-Z1 and Z2
        pin="FCLK_CLK0",
        net="clk_fpga_0",
        enable="PCW_FPGA_FCLK{0}_ENABLE",
        select="PCW_FCLK{0}_PERIPHERAL_CLKSRC",
        asked="PCW_FPGA{0}_PERIPHERAL_FREQMHZ",
        given="PCW_ACT_FPGA{0}_PERIPHERAL_FREQMHZ",
        divisor="PCW_FCLK{0}_PERIPHERAL_DIVISOR{1}",
        pll="IO PLL",
    ),
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
    widths=(),
    reset="FCLK_RESET0_N",
    master=("M_AXI_GP0", "M_AXI_GP0_ACLK"),
    slave=("S_AXI_HP0", "S_AXI_HP0_ACLK"),
    memory="S_AXI_HP0/HP0_DDR_LOWOCM",
    memory_bytes=0x2000_0000,
    control_base=0x4000_0000,
    after_boot={
        **{_SLCR + offset: 20 << 12 for offset in (0x100, 0x104, 0x108)},  # 50 MHz x 20
        **{_SLCR + offset: (10 << 8) | (1 << 20) for offset in (0x170, 0x180, 0x190, 0x1A0)},
    },
    external=(
        ("DDR", "xilinx.com:interface:ddrx_rtl:1.0"),
        ("FIXED_IO", "xilinx.com:display_processing_system7:fixedio_rtl:1.0"),
    ),
)
XC7 = Family(
    name="xc7",
    title="7-series",
    prefixes=("xc7",),
    header_prefixes=("7z", "xc7z"),
    clocks_source="PYNQ's default FCLK0 of 100 MHz",
    factor_bits=25,
    dsp_version=1,
    lut_ram=LutRam(luts=4, bits_of_32=6, bits_of_64=3),  # RAM32M, RAM64M
    bus=Bus(bytes=8, address_bits=32),  # S_AXI_HP
    shell_top="fireflow_z7",
    shell_modules=("axi3_lite",),
    synthesis=Synthesis(
        target="xc7",
        memory=f"{YOSYS_RAMS} -lib +/xilinx/lutrams_xc5v.txt -D HAS_CASCADE",
        maps=("brams_xc6v_map.v",),
    ),
    system=ZYNQ_7000,
)
Z7020 = Die(
    Resources(lut=53_200, ff=106_400, bram36=140, uram=0, dsp=220),
    "AMD DS190, Zynq-7000 SoC Data Sheet: Overview, table of programmable logic, Z-7020",
)
