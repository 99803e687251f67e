// DSP48E1 as far as it computes: pre-adder, multiplier, 48-bit adder and cascades. Source: AMD UG479, chapter 2.
// Pattern detection and SIMD are not here; a cell that asks for SIMD stops the simulation.
module DSP48E1 #(
    parameter A_INPUT = "DIRECT", B_INPUT = "DIRECT", USE_DPORT = "FALSE", USE_MULT = "MULTIPLY", USE_SIMD = "ONE48",
    parameter int ACASCREG = 1, ADREG = 1, ALUMODEREG = 1, AREG = 1, BCASCREG = 1, BREG = 1, CARRYINREG = 1,
    parameter int CARRYINSELREG = 1, CREG = 1, DREG = 1, INMODEREG = 1, MREG = 1, OPMODEREG = 1, PREG = 1,
    parameter bit [3:0] IS_ALUMODE_INVERTED = 0,
    parameter bit [4:0] IS_INMODE_INVERTED = 0,
    parameter bit [6:0] IS_OPMODE_INVERTED = 0,
    parameter bit IS_CARRYIN_INVERTED = 0, IS_CLK_INVERTED = 0
) (
    input CLK,
    input [29:0] A, ACIN,
    input [17:0] B, BCIN,
    input [47:0] C, PCIN,
    input [24:0] D,
    input [3:0] ALUMODE,
    input [2:0] CARRYINSEL,
    input [4:0] INMODE,
    input [6:0] OPMODE,
    input CARRYIN, CARRYCASCIN, MULTSIGNIN,
    input CEA1, CEA2, CEAD, CEALUMODE, CEB1, CEB2, CEC, CECARRYIN, CECTRL, CED, CEINMODE, CEM, CEP,
    input RSTA, RSTALLCARRYIN, RSTALUMODE, RSTB, RSTC, RSTCTRL, RSTD, RSTINMODE, RSTM, RSTP,
    output [29:0] ACOUT,
    output [17:0] BCOUT,
    output [47:0] P, PCOUT,
    output [3:0] CARRYOUT,
    output CARRYCASCOUT, MULTSIGNOUT
);
  wire clk = CLK ^ IS_CLK_INVERTED;
  initial if (USE_SIMD != "ONE48") $fatal(1, "DSP48E1: USE_SIMD must be ONE48, not %s", USE_SIMD);

  //-- Modes ----------------------------------------------------------------------------------------------------------
  wire [4:0] inmode_in = INMODE ^ IS_INMODE_INVERTED;
  wire [6:0] opmode_in = OPMODE ^ IS_OPMODE_INVERTED;
  wire [3:0] alumode_in = ALUMODE ^ IS_ALUMODE_INVERTED;
  wire carryin_in = CARRYIN ^ IS_CARRYIN_INVERTED;
  logic [4:0] inmode_r = 0;
  logic [6:0] opmode_r = 0;
  logic [3:0] alumode_r = 0;
  logic [2:0] carryinsel_r = 0;
  logic carryin_r = 0;
  always @(posedge clk) begin
    if (RSTINMODE) inmode_r <= 0; else if (CEINMODE) inmode_r <= inmode_in;
    if (RSTCTRL) opmode_r <= 0; else if (CECTRL) opmode_r <= opmode_in;
    if (RSTCTRL) carryinsel_r <= 0; else if (CECTRL) carryinsel_r <= CARRYINSEL;
    if (RSTALUMODE) alumode_r <= 0; else if (CEALUMODE) alumode_r <= alumode_in;
    if (RSTALLCARRYIN) carryin_r <= 0; else if (CECARRYIN) carryin_r <= carryin_in;
  end
  wire [4:0] inmode = INMODEREG != 0 ? inmode_r : inmode_in;
  wire [6:0] opmode = OPMODEREG != 0 ? opmode_r : opmode_in;
  wire [3:0] alumode = ALUMODEREG != 0 ? alumode_r : alumode_in;
  wire [2:0] carryinsel = CARRYINSELREG != 0 ? carryinsel_r : CARRYINSEL;
  wire carryin = CARRYINREG != 0 ? carryin_r : carryin_in;

  //-- Operands -------------------------------------------------------------------------------------------------------
  wire [29:0] a_in = A_INPUT == "CASCADE" ? ACIN : A;
  wire [17:0] b_in = B_INPUT == "CASCADE" ? BCIN : B;
  logic [29:0] a1 = 0, a2 = 0;
  logic [17:0] b1 = 0, b2 = 0;
  logic [47:0] c_r = 0;
  logic [24:0] d_r = 0, ad_r = 0;
  always @(posedge clk) begin
    if (RSTA) a1 <= 0; else if (CEA1) a1 <= a_in;
    if (RSTA) a2 <= 0; else if (CEA2) a2 <= AREG == 2 ? a1 : a_in;
    if (RSTB) b1 <= 0; else if (CEB1) b1 <= b_in;
    if (RSTB) b2 <= 0; else if (CEB2) b2 <= BREG == 2 ? b1 : b_in;
    if (RSTC) c_r <= 0; else if (CEC) c_r <= C;
    if (RSTD) d_r <= 0; else if (CED) d_r <= D;
    if (RSTD) ad_r <= 0; else if (CEAD) ad_r <= ad;
  end
  wire [29:0] a = AREG == 0 ? a_in : a2;
  wire [17:0] b = BREG == 0 ? b_in : b2;
  wire [47:0] c = CREG != 0 ? c_r : C;
  wire [24:0] d = DREG != 0 ? d_r : D;
  assign ACOUT = ACASCREG == 0 ? a_in : ACASCREG == 1 && AREG == 2 ? a1 : a2;
  assign BCOUT = BCASCREG == 0 ? b_in : BCASCREG == 1 && BREG == 2 ? b1 : b2;

  //-- Pre-adder and multiplier ---------------------------------------------------------------------------------------
  wire [24:0] a_early = AREG == 2 && inmode[0] ? a1[24:0] : a[24:0];
  wire [24:0] a_gated = inmode[1] ? 25'b0 : a_early;
  wire [24:0] d_gated = inmode[2] ? d : 25'b0;
  wire [24:0] ad = inmode[3] ? d_gated - a_gated : d_gated + a_gated;
  wire signed [24:0] factor = USE_DPORT == "TRUE" ? (ADREG != 0 ? ad_r : ad) : a_gated;
  wire signed [17:0] other = BREG == 2 && inmode[4] ? b1 : b;
  wire signed [42:0] product = 43'(factor) * 43'(other);
  logic signed [42:0] m_r = 0;
  always @(posedge clk) if (RSTM) m_r <= 0; else if (CEM) m_r <= product;
  wire signed [42:0] m = MREG != 0 ? m_r : product;

  //-- Adder ----------------------------------------------------------------------------------------------------------
  logic [47:0] x, y, z;
  always_comb begin
    unique case (opmode[1:0])
      2'b00: x = 0;
      2'b01: x = 48'(m);  // both halves of the product at once: Y gives nothing then
      2'b10: x = P;
      2'b11: x = {a, b};
    endcase
    unique case (opmode[3:2])
      2'b00, 2'b01: y = 0;
      2'b10: y = '1;
      2'b11: y = c;
    endcase
    case (opmode[6:4])
      3'b000: z = 0;
      3'b001: z = PCIN;
      3'b010, 3'b100: z = P;
      3'b011: z = c;
      3'b101: z = 48'($signed(PCIN) >>> 17);
      default: z = 48'($signed(P) >>> 17);
    endcase
  end
  logic carry;
  always_comb begin
    unique case (carryinsel)
      3'b000: carry = carryin;
      3'b001: carry = ~PCIN[47];
      3'b010: carry = CARRYCASCIN;
      3'b011: carry = PCIN[47];
      3'b100: carry = CARRYCASCOUT;
      3'b101: carry = ~P[47];
      3'b110: carry = ~(factor[24] ^ other[17]);
      3'b111: carry = P[47];
    endcase
  end
  // One bit more than the sum, for the carry.
  wire [48:0] xy = 49'(x) + 49'(y) + 49'(carry);
  logic [48:0] sum;
  always_comb begin
    unique case (alumode)
      4'b0000: sum = 49'(z) + xy;
      4'b0001: sum = xy + 49'(~z);
      4'b0010: sum = ~(49'(z) + xy);
      4'b0011: sum = ~(49'(~z) + xy);
      default: begin
        sum = 0;
        $fatal(1, "DSP48E1: ALUMODE must be an addition or a subtraction, not %b", alumode);
      end
    endcase
  end
  logic [48:0] p_r = 0;
  always @(posedge clk) if (RSTP) p_r <= 0; else if (CEP) p_r <= sum;
  wire [48:0] result = PREG != 0 ? p_r : sum;
  assign P = result[47:0];
  assign PCOUT = P;
  assign CARRYOUT = {result[48], 3'b000};
  assign CARRYCASCOUT = result[48];
  assign MULTSIGNOUT = m[42];
endmodule
