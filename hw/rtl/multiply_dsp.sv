// One DSP of a chain: LANES signed weights times one unsigned activation, added to what the DSP before gives.
//
// Weight k stands at bit k * SPACING of a factor, and so does its product in the sum. A lane of SPACING bits holds the sum
// of a whole chain; a negative one borrows from the next, which is to add the lane's top bit.
//
// p is pcin, 1 cycle late, plus the product, 3 cycles late.
`ifdef VERILATOR
`ifndef FIREFLOW_PRIMITIVES  // without models of the DSPs
`define FIREFLOW_BEHAVIOURAL
`endif
`endif

module multiply_dsp #(
    parameter int unsigned VERSION     = 2,   // 1: DSP48E1 of 7-series, 2: DSP48E2 of UltraScale+
    parameter int unsigned LANES       = 3,
    parameter int unsigned SPACING     = 11,
    parameter int unsigned WEIGHT_BITS = 4,
    parameter int unsigned ACT_BITS    = 4,
    parameter bit          FIRST       = 0    // of the chain: pcin is not there
) (
    input logic clk,

    input logic [LANES-1:0][WEIGHT_BITS-1:0] weight,
    input logic [ACT_BITS-1:0]               act,

    input  logic [47:0] pcin,  // a DSP's cascade: nothing but the pcout of another may drive it
    output logic [47:0] pcout,
    output logic [47:0] p
);
  localparam int unsigned A_BITS = VERSION == 1 ? 25 : 27;  // of the wide factor

  // The pre-adder gives positive - negative: the weights' upper bits count negative. One that is the factor's own sign
  // is negative as it is.
  logic [A_BITS-1:0] positive, negative;
  always_comb begin
    positive = '0;
    negative = '0;
    for (int unsigned lane = 0; lane < LANES; lane++) begin
      for (int unsigned i = 0; i < WEIGHT_BITS; i++) begin
        if (i < WEIGHT_BITS - 1 || SPACING * lane + i == A_BITS - 1) positive[SPACING*lane+i] = weight[lane][i];
        else negative[SPACING*lane+i] = weight[lane][i];
      end
    end
  end

`ifdef FIREFLOW_BEHAVIOURAL
  logic signed [A_BITS-1:0] factor;
  logic signed [17:0] other;
  logic signed [47:0] product, sum;

  always_ff @(posedge clk) begin
    factor  <= positive - negative;
    other   <= 18'(act);
    product <= 48'(factor) * 48'(other);
    sum     <= product + (FIRST ? '0 : pcin);
  end
  assign p     = sum;
  assign pcout = sum;
`else
  wire [29:0] a = 30'(negative);
  wire [17:0] b = 18'(act);
  localparam logic [6:0] OPMODE = FIRST ? 7'b000_01_01 : 7'b001_01_01;  // Z: nothing or PCIN, Y and X: the product
  localparam logic [4:0] INMODE = 5'b01100;  // D - A

  if (VERSION == 1) begin : e1
    DSP48E1 #(
        .USE_DPORT("TRUE"), .AREG(0), .ACASCREG(0), .DREG(0), .ADREG(1), .BREG(1), .BCASCREG(1), .MREG(1), .PREG(1),
        .CREG(0), .ALUMODEREG(0), .CARRYINREG(0), .CARRYINSELREG(0), .INMODEREG(0), .OPMODEREG(0)
    ) dsp (
        .CLK(clk), .A(a), .B(b), .C('1), .D(positive), .PCIN(FIRST ? 48'b0 : pcin), .P(p), .PCOUT(pcout),
        .OPMODE, .INMODE, .ALUMODE('0), .CARRYINSEL('0), .CARRYIN('0),
        .CEA1('0), .CEA2('0), .CEB1('0), .CEB2('1), .CEAD('1), .CEM('1), .CEP('1), .CED('0), .CEC('0),
        .CEALUMODE('0), .CECARRYIN('0), .CECTRL('0), .CEINMODE('0),
        .RSTA('0), .RSTB('0), .RSTC('0), .RSTD('0), .RSTM('0), .RSTP('0),
        .RSTALLCARRYIN('0), .RSTALUMODE('0), .RSTCTRL('0), .RSTINMODE('0),
        .ACIN('0), .BCIN('0), .CARRYCASCIN('0), .MULTSIGNIN('0), .ACOUT(), .BCOUT(), .CARRYCASCOUT(), .CARRYOUT(),
        .MULTSIGNOUT(), .OVERFLOW(), .UNDERFLOW(), .PATTERNDETECT(), .PATTERNBDETECT()
    );
  end else begin : e2
    DSP48E2 #(
        .AMULTSEL("AD"), .BMULTSEL("B"), .PREADDINSEL("A"),
        .AREG(0), .ACASCREG(0), .DREG(0), .ADREG(1), .BREG(1), .BCASCREG(1), .MREG(1), .PREG(1),
        .CREG(0), .ALUMODEREG(0), .CARRYINREG(0), .CARRYINSELREG(0), .INMODEREG(0), .OPMODEREG(0)
    ) dsp (
        .CLK(clk), .A(a), .B(b), .C('1), .D(positive), .PCIN(FIRST ? 48'b0 : pcin), .P(p), .PCOUT(pcout),
        .OPMODE({2'b00, OPMODE}), .INMODE, .ALUMODE('0), .CARRYINSEL('0), .CARRYIN('0),
        .CEA1('0), .CEA2('0), .CEB1('0), .CEB2('1), .CEAD('1), .CEM('1), .CEP('1), .CED('0), .CEC('0),
        .CEALUMODE('0), .CECARRYIN('0), .CECTRL('0), .CEINMODE('0),
        .RSTA('0), .RSTB('0), .RSTC('0), .RSTD('0), .RSTM('0), .RSTP('0),
        .RSTALLCARRYIN('0), .RSTALUMODE('0), .RSTCTRL('0), .RSTINMODE('0),
        .ACIN('0), .BCIN('0), .CARRYCASCIN('0), .MULTSIGNIN('0), .ACOUT(), .BCOUT(), .CARRYCASCOUT(), .CARRYOUT(),
        .MULTSIGNOUT(), .OVERFLOW(), .UNDERFLOW(), .PATTERNDETECT(), .PATTERNBDETECT(), .XOROUT()
    );
  end
`endif
endmodule
