// An AXI4-Lite slave in front of registers: one write and one read at a time.
//
// A write is told in one cycle by `write`; it waits while `hold`. The word of a read is expected two cycles after the
// cycle in which `read` tells its address. Every address is answered, with OKAY.
module axi_lite #(
    parameter int unsigned ADDRESS_BITS = 17
) (
    input logic clk,
    input logic resetn,

    input  logic [ADDRESS_BITS-1:0] s_axi_awaddr,
    input  logic                    s_axi_awvalid,
    output logic                    s_axi_awready,
    input  logic [            31:0] s_axi_wdata,
    input  logic [             3:0] s_axi_wstrb,
    input  logic                    s_axi_wvalid,
    output logic                    s_axi_wready,
    output logic [             1:0] s_axi_bresp,
    output logic                    s_axi_bvalid,
    input  logic                    s_axi_bready,
    input  logic [ADDRESS_BITS-1:0] s_axi_araddr,
    input  logic                    s_axi_arvalid,
    output logic                    s_axi_arready,
    output logic [            31:0] s_axi_rdata,
    output logic [             1:0] s_axi_rresp,
    output logic                    s_axi_rvalid,
    input  logic                    s_axi_rready,

    input  logic                    hold,
    output logic                    write,
    output logic [ADDRESS_BITS-1:2] write_address,
    output logic [            31:0] write_data,
    output logic [             3:0] write_strobe,
    output logic                    read,
    output logic [ADDRESS_BITS-1:2] read_address,
    input  logic [            31:0] read_data
);
  logic accept;  // a write: address and data are taken together
  logic reading, loading;

  assign s_axi_bresp  = 2'b00;
  assign s_axi_rresp  = 2'b00;
  assign s_axi_wready = s_axi_awready;
  assign accept       = s_axi_awvalid && s_axi_wvalid && !s_axi_awready && !write && !s_axi_bvalid && !hold;

  always_ff @(posedge clk) begin
    s_axi_awready <= accept;
    write         <= s_axi_awready;
    if (s_axi_awready) begin
      write_address <= s_axi_awaddr[ADDRESS_BITS-1:2];
      write_data    <= s_axi_wdata;
      write_strobe  <= s_axi_wstrb;
    end
    if (write) s_axi_bvalid <= 1'b1;
    else if (s_axi_bready) s_axi_bvalid <= 1'b0;

    s_axi_arready <= s_axi_arvalid && !s_axi_arready && !read && !reading && !loading && !s_axi_rvalid;
    read          <= s_axi_arready;
    reading       <= read;
    loading       <= reading;
    if (s_axi_arready) read_address <= s_axi_araddr[ADDRESS_BITS-1:2];
    if (loading) begin
      s_axi_rvalid <= 1'b1;
      s_axi_rdata  <= read_data;
    end else if (s_axi_rready) s_axi_rvalid <= 1'b0;

    if (!resetn) begin
      s_axi_awready <= 1'b0;
      write         <= 1'b0;
      s_axi_bvalid  <= 1'b0;
      s_axi_arready <= 1'b0;
      read          <= 1'b0;
      reading       <= 1'b0;
      loading       <= 1'b0;
      s_axi_rvalid  <= 1'b0;
    end
  end
endmodule
