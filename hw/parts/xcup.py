"""UltraScale+ with DSP48E2, and the processor of Zynq UltraScale+."""

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

_CRL, _CRF = 0xFF5E0000, 0xFD1A0000
_PLL = (90 << 8) | (1 << 16)  # 33.333 MHz x 90 / 2

# Names and values of properties: PYNQ's boards/ZCU104/base/base.tcl, in which Vivado wrote down every one. Both ports
# are 128 bits wide, as the processing system is after a reset: a port of another width works only after its driver has
# changed registers of the processing system.
ZYNQ_ULTRASCALE = ProcessingSystem(
    ip="xilinx.com:ip:zynq_ultra_ps_e",
    version="3.5",
    machine="aarch64",
    clock=Clock(
        pll_mhz=1500.0,  # the IO PLL: 45 x 33.33 MHz
        pin="pl_clk0",
        net="clk_pl_0",
        enable="PSU__FPGA_PL{0}_ENABLE",
        select="PSU__CRL_APB__PL{0}_REF_CTRL__SRCSEL",
        asked="PSU__CRL_APB__PL{0}_REF_CTRL__FREQMHZ",
        given="PSU__CRL_APB__PL{0}_REF_CTRL__ACT_FREQMHZ",
        divisor="PSU__CRL_APB__PL{0}_REF_CTRL__DIVISOR{1}",
        pll="IOPLL",
    ),
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
    widths=(("C_MAXIGP0_DATA_WIDTH", 128), ("C_SAXIGP2_DATA_WIDTH", 128)),
    reset="pl_resetn0",
    master=("M_AXI_HPM0_FPD", "maxihpm0_fpd_aclk"),
    slave=("S_AXI_HP0_FPD", "saxihp0_fpd_aclk"),
    memory="SAXIGP2/HP0_DDR_LOW",
    memory_bytes=0x8000_0000,
    control_base=0xA000_0000,
    after_boot={
        **dict.fromkeys((_CRL + 32, _CRL + 48, _CRF + 32, _CRF + 44, _CRF + 56), _PLL),
        **{_CRL + offset: (1 << 24) | (15 << 8) | (1 << 16) for offset in (0xC0, 0xC4, 0xC8, 0xCC)},
    },
)
XCUP = Family(
    name="xcup",
    title="UltraScale+",
    prefixes=("xczu", "xck", "xcau"),
    header_prefixes=("xczu", "xck"),
    clocks_source=(
        "300 MHz is what AMD clocks its DPU with on this family; 200 MHz leaves room for timing closure"
    ),
    factor_bits=27,
    dsp_version=2,
    lut_ram=LutRam(luts=8, bits_of_32=14, bits_of_64=7),  # RAM32M16, RAM64M8
    bus=Bus(bytes=16, address_bits=64),  # S_AXI_HP_FPD
    shell_top="fireflow_shell",
    shell_modules=(),
    synthesis=Synthesis(
        target="xcup",
        memory=f"{YOSYS_RAMS} -lib +/xilinx/lutrams_xcu.txt -D HAS_ADDRCE -lib +/xilinx/urams.txt",
        maps=("brams_xcu_map.v", "urams_map.v"),
    ),
    system=ZYNQ_ULTRASCALE,
)
_DS891 = "AMD DS891, Zynq UltraScale+ MPSoC Data Sheet: Overview, table of programmable logic, "
ZU3EG = Die(Resources(lut=70_560, ff=141_120, bram36=216, uram=0, dsp=360), _DS891 + "ZU3EG")
ZU7EV = Die(Resources(lut=230_400, ff=460_800, bram36=312, uram=96, dsp=1_728), _DS891 + "ZU7EV")
K26 = Die(
    Resources(lut=117_120, ff=234_240, bram36=144, uram=64, dsp=1_248),
    "AMD DS987, Kria K26 SOM Data Sheet, table of programmable logic resources",
)
