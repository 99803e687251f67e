"""Settings of the tiny device in FASM, and the Verilog that they mean."""

from __future__ import annotations

import numpy as np

from tests.hw.bitstream.tiny_device import DSP_PINS

TILE, SWITCHES = "CLBLM_L_X2Y0", "INT_L_X1Y0"


def routes(pairs: str) -> str:
    """FASM of switches, from "TARGET=SOURCE" words."""
    steps = [pair.split("=") for pair in pairs.split()]
    return "".join(f"{SWITCHES}.TO_{target}.FROM_{source}\n" for target, source in steps)


def settings(half: str, names: str) -> str:
    """FASM of a slice's plain features."""
    return "".join(f"{TILE}.{half}.{name}\n" for name in names.split())


def tables(half: str, **init: int) -> str:
    return "".join(f"{TILE}.{half}.{name}LUT.INIT[63:0] = 64'h{value:x}\n" for name, value in init.items())


A1 = 0xAAAAAAAAAAAAAAAA
LOGIC = (
    tables("SLICEL_X1", **dict.fromkeys("ABCD", A1 & ~0xFFFFFFFF))
    + settings("SLICEL_X1", "FFSYNC NOCLKINV SRUSEDMUX CEUSEDMUX PRECYINIT.C1")
    + settings("SLICEL_X1", " ".join(f"CARRY4.{x}CY0 {x}FFMUX.XOR" for x in "ABCD"))
    + settings("SLICEL_X1", "AFF.ZRST AFF.ZINI BFF.ZINI DFF.ZINI")
    + routes(
        "L_A1=L_AQ L_B1=L_BQ L_C1=L_CQ L_D1=L_DQ L_CLK=PS7_FCLKCLK0 L_CE=PS7_EMIOGPIOO0 L_SR=PS7_EMIOGPIOO1"
    )
    + routes(
        "PS7_EMIOGPIOI0=L_AQ PS7_EMIOGPIOI1=L_BQ PS7_EMIOGPIOI2=L_CQ PS7_EMIOGPIOI3=L_DQ PS7_EMIOGPIOI4=L_COUT"
    )
    + tables("SLICEM_X0", **dict.fromkeys("ABCD", A1))
    + settings("SLICEM_X0", "BOUTMUX.F8 AOUTMUX.A5Q A5FFMUX.IN_B A5FF.ZRST A5FF.ZINI CLKINV")
    + routes(
        "M_A1=PS7_EMIOGPIOO2 M_B1=PS7_EMIOGPIOO3 M_C1=PS7_EMIOGPIOO4 M_D1=PS7_EMIOGPIOO5 M_CLK=PS7_FCLKCLK0"
    )
    + routes("M_AX=PS7_EMIOGPIOO6 M_CX=PS7_EMIOGPIOO7 M_BX=PS7_EMIOGPIOO8")
    + routes("PS7_EMIOGPIOI5=M_BMUX PS7_EMIOGPIOI6=M_AMUX PS7_EMIOGPIOI7=M_C")
)
CORE = """module core(input [3:0] FCLKCLK, input [3:0] FCLKRESETN, input [15:0] EMIOGPIOO, output [15:0] EMIOGPIOI);
  wire clk = FCLKCLK[0], reset = ~FCLKRESETN[0];
  wire [15:0] o = EMIOGPIOO;
%s
endmodule
"""
LOGIC_CORE = """
  reg [3:0] n = 4'b0100;
  always @(posedge clk) if (o[1]) n <= 4'b1110; else if (o[0]) n <= n + 4'd1;
  reg q = 0;
  always @(negedge clk) q <= o[6];
  wire f8 = o[8] ? (o[6] ? o[2] : o[3]) : (o[7] ? o[4] : o[5]);
  assign EMIOGPIOI = {8'hff, o[4], q, f8, &n, n};"""
MEMORY = (
    tables(
        "SLICEM_X0", A=0xC3FF0F33F00C3C03, B=0x3C0FF0C3FF330CCF, C=0x0123456789ABCDEF, D=0xFEDCBA9876543210
    )
    + settings("SLICEM_X0", "ALUT.SRL ALUT.SMALL ALUT.DI1MUX.AI BLUT.SRL BLUT.DI1MUX.BI CLUT.RAM CLUT.SMALL")
    + settings("SLICEM_X0", "CLUT.DI1MUX.CI DLUT.RAM DLUT.SMALL WEMUX.CE NOCLKINV AOUTMUX.O5 COUTMUX.O5")
    + routes(" ".join(f"M_A{i + 2}=PS7_EMIOGPIOO{i} M_B{i + 2}=PS7_EMIOGPIOO{i}" for i in range(4)))
    + routes(
        "M_B6=PS7_EMIOGPIOO5 M_AI=PS7_EMIOGPIOO4 M_AX=PS7_EMIOGPIOO7 M_BI=PS7_EMIOGPIOO4 M_CE=PS7_EMIOGPIOO6"
    )
    + routes(" ".join(f"M_D{i + 1}=PS7_EMIOGPIOO{i} M_C{i + 1}=PS7_EMIOGPIOO{i + 7}" for i in range(5)))
    + routes(
        "M_CI=PS7_EMIOGPIOO4 M_CX=PS7_EMIOGPIOO8 M_DI=PS7_EMIOGPIOO5 M_DX=PS7_EMIOGPIOO9 M_CLK=PS7_FCLKCLK0"
    )
    + routes(
        "PS7_EMIOGPIOI0=M_A PS7_EMIOGPIOI1=M_AMUX PS7_EMIOGPIOI2=M_B PS7_EMIOGPIOI3=M_C PS7_EMIOGPIOI4=M_CMUX"
    )
    + routes("PS7_EMIOGPIOI5=M_D")
    + f"{SWITCHES}.TO_PS7_EMIOGPIOI6.GND_WIRE\n"
)
MEMORY_CORE = """
  // Each bit of a shift register lies twice in its table: the first of them.
  reg [15:0] low = 16'hC261, high = 16'h9F35;
  reg [31:0] deep;
  integer i;
  localparam [63:0] B = 64'h3C0FF0C3FF330CCF;
  initial for (i = 0; i < 32; i = i + 1) deep[i] = B[2 * i];
  reg [31:0] c_low = 32'h89ABCDEF, c_high = 32'h01234567, d_high = 32'hFEDCBA98;
  always @(posedge clk) if (o[6]) begin
    low <= {low[14:0], o[4]}; high <= {high[14:0], o[7]}; deep <= {deep[30:0], o[4]};
    c_low[o[4:0]] <= o[4]; c_high[o[4:0]] <= o[8]; d_high[o[4:0]] <= o[9];
  end
  assign EMIOGPIOI = {
      10'h3fe, d_high[o[4:0]], c_low[o[11:7]], c_high[o[11:7]], deep[{o[5], o[3:0]}], low[o[3:0]], high[o[3:0]]};"""


RANDOM = np.random.default_rng(3)
CONTENT = {  # of both halves: lines of 256 bits of data, and of parity
    half: [int.from_bytes(RANDOM.bytes(32), "little") for _ in range(72)] for half in (0, 1)
}


def block_ram(*widths: str) -> str:
    """FASM of both halves, written by port B at another address than A reads."""
    result = ""
    for half, lines in CONTENT.items():
        start = f"BRAM_L_X3Y0.RAMB18_Y{half}."
        names = [f"INIT_{i:02X}" for i in range(64)] + [f"INITP_{i:02X}" for i in range(8)]
        result += "".join(
            f"{start}{name}[255:0] = 256'h{line:x}\n" for name, line in zip(names, lines, strict=True)
        )
        result += "".join(
            f"{start}Z{name}_{side}[17:0] = 18'h3ffff\n" for name in ("INIT", "SRVAL") for side in "AB"
        )
        plain = [
            "CLKARDCLK",
            "CLKBWRCLK",
            "ENARDEN",
            "ENBWREN",
            "RSTRAMARSTRAM",
            "RSTRAMB",
            "RSTREGARSTREG",
            "RSTREGB",
        ]
        result += "".join(
            f"{start}{name}\n" for name in ("IN_USE", "DOA_REG", *widths, *(f"ZINV_{pin}" for pin in plain))
        )
        site = ("FIFO18", "RAMB18")[half]
        pins = {f"{clock}CLK": "PS7_FCLKCLK0" for clock in ("CLKARD", "CLKBWR", "REGCLKARDR")}
        pins |= {f"ADDRARDADDR{i + 2}": f"PS7_EMIOGPIOO{i}" for i in range(12)}
        pins |= {f"ADDRBWRADDR{i + 2}": f"PS7_EMIOGPIOO{(i + 6) % 12}" for i in range(12)}
        pins |= {f"DIBDI{i}": f"PS7_EMIOGPIOO{12 + (i + half) % 3}" for i in range(4)}
        pins |= {"DIPBDIP0": "PS7_EMIOGPIOO12"} | {f"WEBWE{i}": "PS7_EMIOGPIOO15" for i in range(8)}
        result += routes(" ".join(f"{site}_{pin}={source}" for pin, source in pins.items()))
        zeros = ["WEA0", "WEA1", "WEA2", "WEA3", "RSTRAMARSTRAM", "RSTRAMB", "RSTREGARSTREG", "RSTREGB"]
        result += "".join(f"{SWITCHES}.TO_{site}_{pin}.GND_WIRE\n" for pin in zeros)
        result += routes(" ".join(f"PS7_EMIOGPIOI{2 * i + half}={site}_DOADO{i}" for i in range(4)))
    return result + routes("PS7_EMIOGPIOI8=FIFO18_DOPADOP0")


def interleaved(first: int, count: int) -> str:
    """Verilog of the content of a memory of 36 kbit: even bits of the lower half, odd ones of the upper."""
    halves = [
        sum(line << 256 * i for i, line in enumerate(CONTENT[half][first : first + count])) for half in (0, 1)
    ]
    value = sum((halves[bit % 2] >> bit // 2 & 1) << bit for bit in range(512 * count))
    return f"{512 * count}'h{value:x}"


RAM = block_ram("READ_WIDTH_A_4", "WRITE_WIDTH_B_4")
RAM_CORE = f"""
  // 4096 bytes with a bit of parity, whose reader has two registers.
  reg [32767:0] data = {interleaved(0, 64)};
  reg [4095:0] parity = {interleaved(64, 8)};
  wire [11:0] at = {{o[5:0], o[11:6]}};
  reg [8:0] first = 0, second = 0;
  always @(posedge clk) begin
    if (o[15]) begin
      data[8*at +: 8] <= {{o[13], o[12], o[12], o[14], o[14], o[13], o[13], o[12]}};
      parity[at] <= o[12];
    end
    first <= {{parity[o[11:0]], data[8*o[11:0] +: 8]}};
    second <= first;
  end
  assign EMIOGPIOI = {{7'h7f, second}};"""
DSP_START = "DSP_L_X4Y0.DSP48.DSP_0."
# As our matrix unit has it: (D - A) * B with registers behind the pre-adder, B, the product and the sum.
DSP = (
    "".join(f"{DSP_START}{name}\n" for name in ("AREG_0", "USE_DPORT[0]", "ZIS_CLK_INVERTED"))
    + "".join(
        f"{DSP_START}Z{name}REG[0]\n"
        for name in ("D", "C", "ALUMODE", "CARRYIN", "CARRYINSEL", "INMODE", "OPMODE")
    )
    # A constant 0 as a 1 and an inverter, as nextpnr has it, but for INMODE, which has tie-offs.
    + f"{DSP_START}ZIS_OPMODE_INVERTED[6:0] = 7'b0000101\n{DSP_START}ZIS_INMODE_INVERTED[4:0] = 5'b11111\n"
    + "".join(f"DSP_L_X4Y0.DSP_0_INMODE{i}.DSP_{'VCC' if i in (2, 3) else 'GND'}_L\n" for i in range(5))
    + "DSP_L_X4Y0.DSP_0_CEAD.DSP_VCC_L\nDSP_L_X4Y0.DSP_0_RSTD.DSP_GND_L\n"
    + "".join(
        f"{SWITCHES}.TO_DSP0_{pin}.GND_WIRE\n"
        for pin in DSP_PINS
        if pin.startswith(("RST", "CARRYINSEL")) and pin != "RSTD"
    )
    + routes(" ".join(f"DSP0_D{i}=PS7_EMIOGPIOO{min(i, 7)}" for i in range(25)))
    + routes(" ".join(f"DSP0_A{i}=PS7_EMIOGPIOO{min(i + 8, 15)}" for i in range(30)))
    + routes(" ".join(f"DSP0_B{i}=PS7_EMIOGPIOO{(3 * i + 1) % 16}" for i in range(18)))
    + routes("DSP0_CLK=PS7_FCLKCLK0")
    + routes(" ".join(f"PS7_EMIOGPIOI{i}=DSP0_P{i if i < 8 else i + 14}" for i in range(16)))
)
DSP_CORE = f"""
  reg signed [24:0] factor = 0;
  reg signed [17:0] other = 0;
  reg signed [42:0] product = 0;
  reg signed [47:0] sum = 0;
  always @(posedge clk) begin
    factor <= $signed(o[7:0]) - $signed(o[15:8]);
    other <= {{{", ".join(f"o[{(3 * i + 1) % 16}]" for i in reversed(range(18)))}}};
    product <= factor * other;
    sum <= product;
  end
  assign EMIOGPIOI = {{sum[29:22], sum[7:0]}};"""
CASES = {
    "DSP": (DSP, DSP_CORE, 0xFFFF),
    "logic": (LOGIC, LOGIC_CORE, 0xFF),
    "memory": (MEMORY, MEMORY_CORE, 0x3F),
    "block RAM": (RAM, RAM_CORE, 0x1FF),
}
