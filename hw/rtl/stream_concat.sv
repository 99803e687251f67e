// Concatenates two streams along the channels: of every pixel the WORDS0 words of in0, then the WORDS1 words of in1.
//
// Elements are extended to the width of the output's. Latency 1 cycle, a word a cycle.
module stream_concat #(
    parameter  int unsigned WORDS0      = 1,  // of a pixel: channels / LANES
    parameter  int unsigned WORDS1      = 1,
    parameter  int unsigned LANES       = 1,
    parameter  int unsigned ELEM0_BITS  = 8,
    parameter  bit          ELEM0_SIGNED = 0,
    parameter  int unsigned ELEM1_BITS  = 8,
    parameter  bit          ELEM1_SIGNED = 0,
    parameter  int unsigned OUT_BITS    = 8,  // of an element
    localparam int unsigned TDATA0      = 8 * ((LANES * ELEM0_BITS + 7) / 8),
    localparam int unsigned TDATA1      = 8 * ((LANES * ELEM1_BITS + 7) / 8),
    localparam int unsigned OUT_TDATA   = 8 * ((LANES * OUT_BITS + 7) / 8)
) (
    input  logic ap_clk,
    input  logic ap_rst_n,

    input  logic [TDATA0-1:0] in0_V_TDATA,
    input  logic              in0_V_TVALID,
    output logic              in0_V_TREADY,

    input  logic [TDATA1-1:0] in1_V_TDATA,
    input  logic              in1_V_TVALID,
    output logic              in1_V_TREADY,

    output logic [OUT_TDATA-1:0] out0_V_TDATA,
    output logic                 out0_V_TVALID,
    input  logic                 out0_V_TREADY
);
  localparam int unsigned MOST = WORDS0 > WORDS1 ? WORDS0 : WORDS1;
  localparam int unsigned COUNT_BITS = MOST > 1 ? $clog2(MOST) : 1;

  logic                      second;  // in1 has its turn
  logic [    COUNT_BITS-1:0] count;   // words of this turn so far
  logic                      enable, valid, last;
  logic [LANES*OUT_BITS-1:0] word0, word1, word;

  for (genvar i = 0; i < LANES; i++) begin : lane
    logic [ELEM0_BITS-1:0] a;
    logic [ELEM1_BITS-1:0] b;
    assign a = in0_V_TDATA[i*ELEM0_BITS+:ELEM0_BITS];
    assign b = in1_V_TDATA[i*ELEM1_BITS+:ELEM1_BITS];
    assign word0[i*OUT_BITS+:OUT_BITS] = OUT_BITS'($signed({ELEM0_SIGNED && a[ELEM0_BITS-1], a}));
    assign word1[i*OUT_BITS+:OUT_BITS] = OUT_BITS'($signed({ELEM1_SIGNED && b[ELEM1_BITS-1], b}));
  end

  assign enable       = !out0_V_TVALID || out0_V_TREADY;
  assign in0_V_TREADY = enable && !second;
  assign in1_V_TREADY = enable && second;
  assign valid        = second ? in1_V_TVALID : in0_V_TVALID;
  assign last         = count == COUNT_BITS'((second ? WORDS1 : WORDS0) - 1);
  assign out0_V_TDATA = OUT_TDATA'(word);

  always_ff @(posedge ap_clk) begin
    if (enable) begin
      out0_V_TVALID <= valid;
      word          <= second ? word1 : word0;
      if (valid) begin
        count <= last ? '0 : count + 1'b1;
        if (last) second <= !second;
      end
    end
    if (!ap_rst_n) begin
      out0_V_TVALID <= 1'b0;
      second        <= 1'b0;
      count         <= '0;
    end
  end
endmodule
