// The same elements in words of another number of lanes; one number divides the other.
//
// Wider: a word is given in the cycle after its last part, latency 1 from there, an input word a cycle.
// Narrower: the first part is given in the cycle after the word, an output word a cycle.
module stream_width #(
    parameter  int unsigned IN_LANES  = 2,
    parameter  int unsigned OUT_LANES = 1,
    parameter  int unsigned ELEM_BITS = 8,
    localparam int unsigned IN_BITS   = IN_LANES * ELEM_BITS,
    localparam int unsigned OUT_BITS  = OUT_LANES * ELEM_BITS,
    localparam int unsigned IN_TDATA  = 8 * ((IN_BITS + 7) / 8),
    localparam int unsigned OUT_TDATA = 8 * ((OUT_BITS + 7) / 8)
) (
    input  logic ap_clk,
    input  logic ap_rst_n,

    input  logic [IN_TDATA-1:0] in0_V_TDATA,
    input  logic                in0_V_TVALID,
    output logic                in0_V_TREADY,

    output logic [OUT_TDATA-1:0] out0_V_TDATA,
    output logic                 out0_V_TVALID,
    input  logic                 out0_V_TREADY
);
  if (OUT_LANES > IN_LANES) begin : wider
    localparam int unsigned PARTS = OUT_LANES / IN_LANES;

    logic [         OUT_BITS-1:0] word;  // parts move down as new ones come in at the top
    logic [$clog2(PARTS)-1:0] count;
    logic                         last;

    assign in0_V_TREADY = !out0_V_TVALID || out0_V_TREADY;
    assign out0_V_TDATA = OUT_TDATA'(word);
    assign last         = count == ($clog2(PARTS))'(PARTS - 1);

    always_ff @(posedge ap_clk) begin
      if (in0_V_TREADY) begin
        out0_V_TVALID <= in0_V_TVALID && last;
        if (in0_V_TVALID) begin
          word  <= {in0_V_TDATA[IN_BITS-1:0], word[OUT_BITS-1:IN_BITS]};
          count <= last ? '0 : count + 1'b1;
        end
      end
      if (!ap_rst_n) begin
        out0_V_TVALID <= 1'b0;
        count         <= '0;
      end
    end
  end else begin : narrower
    localparam int unsigned PARTS = IN_LANES / OUT_LANES;
    localparam int unsigned COUNT_BITS = $clog2(PARTS + 1);

    logic [   IN_BITS-1:0] word;  // the next part is lowest
    logic [COUNT_BITS-1:0] left;  // parts not given yet

    assign out0_V_TVALID = left != '0;
    assign out0_V_TDATA  = OUT_TDATA'(word[OUT_BITS-1:0]);
    assign in0_V_TREADY  = left == '0 || (left == COUNT_BITS'(1) && out0_V_TREADY);

    always_ff @(posedge ap_clk) begin
      if (in0_V_TREADY) word <= in0_V_TDATA[IN_BITS-1:0];
      else if (out0_V_TREADY) word <= word >> OUT_BITS;
      if (!ap_rst_n) left <= '0;
      else if (in0_V_TREADY) left <= in0_V_TVALID ? COUNT_BITS'(PARTS) : '0;
      else if (out0_V_TREADY) left <= left - 1'b1;
    end
  end
endmodule
