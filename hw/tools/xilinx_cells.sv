// Cells of Xilinx that FINN's library instantiates, as black boxes: Yosys counts them, their function does not matter.

(* blackbox *)
module LUT6_2 #(
	parameter [63:0]  INIT = 0
)(
	input  wire  I0, I1, I2, I3, I4, I5,
	output wire  O5, O6
);
endmodule

(* blackbox *)
module DSP48E1 #(
	parameter  A_INPUT = "DIRECT", B_INPUT = "DIRECT", USE_DPORT = "FALSE", USE_MULT = "MULTIPLY", USE_SIMD = "ONE48",
	parameter  AUTORESET_PATDET = "NO_RESET", SEL_MASK = "MASK", SEL_PATTERN = "PATTERN",
	parameter  USE_PATTERN_DETECT = "NO_PATDET",
	parameter [47:0]  MASK = 0, PATTERN = 0,
	parameter  ACASCREG = 1, ADREG = 1, ALUMODEREG = 1, AREG = 1, BCASCREG = 1, BREG = 1, CARRYINREG = 1,
	parameter  CARRYINSELREG = 1, CREG = 1, DREG = 1, INMODEREG = 1, MREG = 1, OPMODEREG = 1, PREG = 1
)(
	input  wire  CLK,
	input  wire [29:0]  A, ACIN,
	input  wire [17:0]  B, BCIN,
	input  wire [47:0]  C, PCIN,
	input  wire [24:0]  D,
	input  wire [ 3:0]  ALUMODE,
	input  wire [ 2:0]  CARRYINSEL,
	input  wire [ 4:0]  INMODE,
	input  wire [ 6:0]  OPMODE,
	input  wire  CARRYIN, CARRYCASCIN, MULTSIGNIN,
	input  wire  CEA1, CEA2, CEAD, CEALUMODE, CEB1, CEB2, CEC, CECARRYIN, CECTRL, CED, CEINMODE, CEM, CEP,
	input  wire  RSTA, RSTALLCARRYIN, RSTALUMODE, RSTB, RSTC, RSTCTRL, RSTD, RSTINMODE, RSTM, RSTP,
	output wire [29:0]  ACOUT,
	output wire [17:0]  BCOUT,
	output wire [47:0]  P, PCOUT,
	output wire [ 3:0]  CARRYOUT,
	output wire  CARRYCASCOUT, MULTSIGNOUT, OVERFLOW, PATTERNBDETECT, PATTERNDETECT, UNDERFLOW
);
endmodule

(* blackbox *)
module DSP48E2 #(
	parameter  AMULTSEL = "A", A_INPUT = "DIRECT", BMULTSEL = "B", B_INPUT = "DIRECT", PREADDINSEL = "A",
	parameter  USE_MULT = "MULTIPLY", USE_SIMD = "ONE48", USE_WIDEXOR = "FALSE", XORSIMD = "XOR24_48_96",
	parameter  AUTORESET_PATDET = "NO_RESET", AUTORESET_PRIORITY = "RESET", SEL_MASK = "MASK", SEL_PATTERN = "PATTERN",
	parameter  USE_PATTERN_DETECT = "NO_PATDET",
	parameter [47:0]  MASK = 0, PATTERN = 0, RND = 0,
	parameter [3:0]  IS_ALUMODE_INVERTED = 0,
	parameter [4:0]  IS_INMODE_INVERTED = 0,
	parameter [8:0]  IS_OPMODE_INVERTED = 0,
	parameter [0:0]  IS_CARRYIN_INVERTED = 0, IS_CLK_INVERTED = 0, IS_RSTALLCARRYIN_INVERTED = 0,
	parameter [0:0]  IS_RSTALUMODE_INVERTED = 0, IS_RSTA_INVERTED = 0, IS_RSTB_INVERTED = 0, IS_RSTCTRL_INVERTED = 0,
	parameter [0:0]  IS_RSTC_INVERTED = 0, IS_RSTD_INVERTED = 0, IS_RSTINMODE_INVERTED = 0, IS_RSTM_INVERTED = 0,
	parameter [0:0]  IS_RSTP_INVERTED = 0,
	parameter  ACASCREG = 1, ADREG = 1, ALUMODEREG = 1, AREG = 1, BCASCREG = 1, BREG = 1, CARRYINREG = 1,
	parameter  CARRYINSELREG = 1, CREG = 1, DREG = 1, INMODEREG = 1, MREG = 1, OPMODEREG = 1, PREG = 1
)(
	input  wire  CLK,
	input  wire [29:0]  A, ACIN,
	input  wire [17:0]  B, BCIN,
	input  wire [47:0]  C, PCIN,
	input  wire [26:0]  D,
	input  wire [ 3:0]  ALUMODE,
	input  wire [ 2:0]  CARRYINSEL,
	input  wire [ 4:0]  INMODE,
	input  wire [ 8:0]  OPMODE,
	input  wire  CARRYIN, CARRYCASCIN, MULTSIGNIN,
	input  wire  CEA1, CEA2, CEAD, CEALUMODE, CEB1, CEB2, CEC, CECARRYIN, CECTRL, CED, CEINMODE, CEM, CEP,
	input  wire  RSTA, RSTALLCARRYIN, RSTALUMODE, RSTB, RSTC, RSTCTRL, RSTD, RSTINMODE, RSTM, RSTP,
	output wire [29:0]  ACOUT,
	output wire [17:0]  BCOUT,
	output wire [47:0]  P, PCOUT,
	output wire [ 3:0]  CARRYOUT,
	output wire [ 7:0]  XOROUT,
	output wire  CARRYCASCOUT, MULTSIGNOUT, OVERFLOW, PATTERNBDETECT, PATTERNDETECT, UNDERFLOW
);
endmodule
