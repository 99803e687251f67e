// A recovered netlist beside the design that it was made of: both get the pins of a PS7, and what they give goes out.
// Each word of in0_V is one clock cycle: FCLKRESETN above EMIOGPIOO.
module lockstep #(
    parameter int IN = 64,
    parameter int OUT = 64
) (
    input ap_clk,
    input ap_rst_n,

    input  [(IN+11)/8*8-1:0] in0_V_TDATA,
    input  in0_V_TVALID,
    output in0_V_TREADY,

    output logic [2*OUT-1:0] out0_V_TDATA,
    output logic out0_V_TVALID,
    input  out0_V_TREADY
);
  wire [OUT-1:0] one, other;
  wire [IN-1:0] pins = in0_V_TVALID ? in0_V_TDATA[IN-1:0] : '0;
  wire [3:0] resetn = in0_V_TVALID ? in0_V_TDATA[IN+3:IN] : '1;
  core core (.FCLKCLK({3'b0, ap_clk}), .FCLKRESETN(resetn), .EMIOGPIOO(pins), .EMIOGPIOI(one));
  recovered recovered (.FCLKCLK({3'b0, ap_clk}), .FCLKRESETN(resetn), .EMIOGPIOO(pins), .EMIOGPIOI(other));
  assign in0_V_TREADY = 1'b1;
  initial out0_V_TVALID = 1'b0;
  always @(posedge ap_clk) begin
    out0_V_TVALID <= in0_V_TVALID && ap_rst_n;
    out0_V_TDATA  <= {other, one};
  end
endmodule
