// Copies a stream: every output gets every word once, each at its own pace.
//
// One register holds the word for all outputs; `pending` tells which of them still have to take it. The next word is
// taken in the cycle in which the last of them does. Latency 1 cycle, a word a cycle. Output i is slice i of out_V_*.
module stream_fork #(
    parameter  int unsigned COPIES = 2,
    parameter  int unsigned BITS   = 8,  // of a word
    localparam int unsigned TDATA  = 8 * ((BITS + 7) / 8)
) (
    input  logic ap_clk,
    input  logic ap_rst_n,

    input  logic [TDATA-1:0] in0_V_TDATA,
    input  logic             in0_V_TVALID,
    output logic             in0_V_TREADY,

    output logic [COPIES*TDATA-1:0] out_V_TDATA,
    output logic [COPIES-1:0]       out_V_TVALID,
    input  logic [COPIES-1:0]       out_V_TREADY
);
  logic [BITS-1:0]   word;
  logic [COPIES-1:0] pending;

  assign in0_V_TREADY = (pending & ~out_V_TREADY) == '0;
  assign out_V_TVALID = pending;
  assign out_V_TDATA  = {COPIES{TDATA'(word)}};

  always_ff @(posedge ap_clk) begin
    if (in0_V_TREADY) word <= in0_V_TDATA[BITS-1:0];
    if (!ap_rst_n) pending <= '0;
    else if (in0_V_TREADY) pending <= {COPIES{in0_V_TVALID}};
    else pending <= pending & ~out_V_TREADY;
  end
endmodule
