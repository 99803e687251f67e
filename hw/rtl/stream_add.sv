// Adds two streams element by element. Latency 1 cycle, a word a cycle.
//
// OUT_BITS must hold every sum that occurs: nothing saturates.
module stream_add #(
    parameter  int unsigned LANES        = 1,
    parameter  int unsigned ELEM0_BITS   = 8,
    parameter  bit          ELEM0_SIGNED = 0,
    parameter  int unsigned ELEM1_BITS   = 8,
    parameter  bit          ELEM1_SIGNED = 0,
    parameter  int unsigned OUT_BITS     = 9,  // of an element
    localparam int unsigned TDATA0       = 8 * ((LANES * ELEM0_BITS + 7) / 8),
    localparam int unsigned TDATA1       = 8 * ((LANES * ELEM1_BITS + 7) / 8),
    localparam int unsigned OUT_TDATA    = 8 * ((LANES * OUT_BITS + 7) / 8)
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
  logic                      enable;
  logic [LANES*OUT_BITS-1:0] sums, word;

  for (genvar i = 0; i < LANES; i++) begin : lane
    logic [ELEM0_BITS-1:0] a;
    logic [ELEM1_BITS-1:0] b;
    assign a = in0_V_TDATA[i*ELEM0_BITS+:ELEM0_BITS];
    assign b = in1_V_TDATA[i*ELEM1_BITS+:ELEM1_BITS];
    assign sums[i*OUT_BITS+:OUT_BITS] = OUT_BITS'($signed({ELEM0_SIGNED && a[ELEM0_BITS-1], a}))
                                      + OUT_BITS'($signed({ELEM1_SIGNED && b[ELEM1_BITS-1], b}));
  end

  // Both words leave in one cycle, so each input waits for the other.
  assign enable       = !out0_V_TVALID || out0_V_TREADY;
  assign in0_V_TREADY = enable && in1_V_TVALID;
  assign in1_V_TREADY = enable && in0_V_TVALID;
  assign out0_V_TDATA = OUT_TDATA'(word);

  always_ff @(posedge ap_clk) begin
    if (enable) begin
      out0_V_TVALID <= in0_V_TVALID && in1_V_TVALID;
      word          <= sums;
    end
    if (!ap_rst_n) out0_V_TVALID <= 1'b0;
  end
endmodule
