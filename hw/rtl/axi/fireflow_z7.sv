// The whole of a Zynq-7000's logic: the processing system, its clock and reset, and the shell with the accelerator.
//
// FCLK0 clocks everything. M_AXI_GP0 reaches the registers, at 0x40000000; the DMAs reach the memory by S_AXI_HP0. Both
// are AXI3: the bridge answers the processor's bursts, and the shell's own have at most 16 beats.
module fireflow_z7;
  wire [3:0] fclk, fclk_resetn;
  wire clk;
  (* ASYNC_REG = "TRUE" *) logic [1:0] reset_line;
  logic resetn;

  BUFG clock (
      .I(fclk[0]), .O(clk)
  );

  always_ff @(posedge clk) begin
    reset_line <= {reset_line[0], fclk_resetn[0]};
    resetn     <= reset_line[1];
  end

  //-- Registers ------------------------------------------------------------------------------------------------------
  wire [31:0] gp0_awaddr, gp0_araddr;
  wire [11:0] gp0_awid, gp0_bid, gp0_arid, gp0_rid;
  wire [3:0] gp0_awlen, gp0_arlen, gp0_wstrb;
  wire [1:0] gp0_awsize, gp0_arsize, gp0_awburst, gp0_arburst, gp0_bresp, gp0_rresp;
  wire [31:0] gp0_wdata, gp0_rdata;
  wire gp0_awvalid, gp0_awready, gp0_wvalid, gp0_wready, gp0_bvalid, gp0_bready;
  wire gp0_arvalid, gp0_arready, gp0_rlast, gp0_rvalid, gp0_rready;

  wire [16:0] lite_awaddr, lite_araddr;
  wire [31:0] lite_wdata, lite_rdata;
  wire [3:0] lite_wstrb;
  wire [1:0] lite_bresp, lite_rresp;
  wire lite_awvalid, lite_awready, lite_wvalid, lite_wready, lite_bvalid, lite_bready;
  wire lite_arvalid, lite_arready, lite_rvalid, lite_rready;

  axi3_lite bridge (
      .clk(clk), .resetn(resetn),
      .s_axi_awid(gp0_awid), .s_axi_awaddr(gp0_awaddr[16:0]), .s_axi_awlen(gp0_awlen), .s_axi_awsize(gp0_awsize),
      .s_axi_awburst(gp0_awburst), .s_axi_awvalid(gp0_awvalid), .s_axi_awready(gp0_awready),
      .s_axi_wdata(gp0_wdata), .s_axi_wstrb(gp0_wstrb), .s_axi_wvalid(gp0_wvalid), .s_axi_wready(gp0_wready),
      .s_axi_bid(gp0_bid), .s_axi_bresp(gp0_bresp), .s_axi_bvalid(gp0_bvalid), .s_axi_bready(gp0_bready),
      .s_axi_arid(gp0_arid), .s_axi_araddr(gp0_araddr[16:0]), .s_axi_arlen(gp0_arlen), .s_axi_arsize(gp0_arsize),
      .s_axi_arburst(gp0_arburst), .s_axi_arvalid(gp0_arvalid), .s_axi_arready(gp0_arready),
      .s_axi_rid(gp0_rid), .s_axi_rdata(gp0_rdata), .s_axi_rresp(gp0_rresp), .s_axi_rlast(gp0_rlast),
      .s_axi_rvalid(gp0_rvalid), .s_axi_rready(gp0_rready),
      .m_axi_awaddr(lite_awaddr), .m_axi_awvalid(lite_awvalid), .m_axi_awready(lite_awready),
      .m_axi_wdata(lite_wdata), .m_axi_wstrb(lite_wstrb), .m_axi_wvalid(lite_wvalid), .m_axi_wready(lite_wready),
      .m_axi_bresp(lite_bresp), .m_axi_bvalid(lite_bvalid), .m_axi_bready(lite_bready),
      .m_axi_araddr(lite_araddr), .m_axi_arvalid(lite_arvalid), .m_axi_arready(lite_arready),
      .m_axi_rdata(lite_rdata), .m_axi_rresp(lite_rresp), .m_axi_rvalid(lite_rvalid), .m_axi_rready(lite_rready)
  );

  //-- Memory ---------------------------------------------------------------------------------------------------------
  wire [63:0] hp0_awaddr, hp0_araddr, hp0_wdata, hp0_rdata;
  wire [7:0] hp0_awlen, hp0_arlen, hp0_wstrb;
  wire [1:0] hp0_bresp, hp0_rresp;
  wire hp0_awvalid, hp0_awready, hp0_wlast, hp0_wvalid, hp0_wready, hp0_bvalid, hp0_bready;
  wire hp0_arvalid, hp0_arready, hp0_rlast, hp0_rvalid, hp0_rready;

  fireflow_shell shell (
      .clk(clk), .resetn(resetn),
      .s_axi_awaddr(lite_awaddr), .s_axi_awprot(3'b000), .s_axi_awvalid(lite_awvalid), .s_axi_awready(lite_awready),
      .s_axi_wdata(lite_wdata), .s_axi_wstrb(lite_wstrb), .s_axi_wvalid(lite_wvalid), .s_axi_wready(lite_wready),
      .s_axi_bresp(lite_bresp), .s_axi_bvalid(lite_bvalid), .s_axi_bready(lite_bready),
      .s_axi_araddr(lite_araddr), .s_axi_arprot(3'b000), .s_axi_arvalid(lite_arvalid), .s_axi_arready(lite_arready),
      .s_axi_rdata(lite_rdata), .s_axi_rresp(lite_rresp), .s_axi_rvalid(lite_rvalid), .s_axi_rready(lite_rready),
      .m_axi_awaddr(hp0_awaddr), .m_axi_awlen(hp0_awlen), .m_axi_awsize(), .m_axi_awburst(), .m_axi_awcache(),
      .m_axi_awprot(), .m_axi_awvalid(hp0_awvalid), .m_axi_awready(hp0_awready),
      .m_axi_wdata(hp0_wdata), .m_axi_wstrb(hp0_wstrb), .m_axi_wlast(hp0_wlast), .m_axi_wvalid(hp0_wvalid),
      .m_axi_wready(hp0_wready),
      .m_axi_bresp(hp0_bresp), .m_axi_bvalid(hp0_bvalid), .m_axi_bready(hp0_bready),
      .m_axi_araddr(hp0_araddr), .m_axi_arlen(hp0_arlen), .m_axi_arsize(), .m_axi_arburst(), .m_axi_arcache(),
      .m_axi_arprot(), .m_axi_arvalid(hp0_arvalid), .m_axi_arready(hp0_arready),
      .m_axi_rdata(hp0_rdata), .m_axi_rresp(hp0_rresp), .m_axi_rlast(hp0_rlast), .m_axi_rvalid(hp0_rvalid),
      .m_axi_rready(hp0_rready)
  );

  //-- Processing system ----------------------------------------------------------------------------------------------
  // An input of it that nothing drives reads as 1 in this family: every request that is not made is tied to 0.
  PS7 ps (
      .FCLKCLK(fclk), .FCLKRESETN(fclk_resetn), .FCLKCLKTRIGN(4'b0), .FPGAIDLEN(1'b0),

      .MAXIGP0ACLK(clk),
      .MAXIGP0AWID(gp0_awid), .MAXIGP0AWADDR(gp0_awaddr), .MAXIGP0AWLEN(gp0_awlen), .MAXIGP0AWSIZE(gp0_awsize),
      .MAXIGP0AWBURST(gp0_awburst), .MAXIGP0AWVALID(gp0_awvalid), .MAXIGP0AWREADY(gp0_awready),
      .MAXIGP0WDATA(gp0_wdata), .MAXIGP0WSTRB(gp0_wstrb), .MAXIGP0WVALID(gp0_wvalid), .MAXIGP0WREADY(gp0_wready),
      .MAXIGP0BID(gp0_bid), .MAXIGP0BRESP(gp0_bresp), .MAXIGP0BVALID(gp0_bvalid), .MAXIGP0BREADY(gp0_bready),
      .MAXIGP0ARID(gp0_arid), .MAXIGP0ARADDR(gp0_araddr), .MAXIGP0ARLEN(gp0_arlen), .MAXIGP0ARSIZE(gp0_arsize),
      .MAXIGP0ARBURST(gp0_arburst), .MAXIGP0ARVALID(gp0_arvalid), .MAXIGP0ARREADY(gp0_arready),
      .MAXIGP0RID(gp0_rid), .MAXIGP0RDATA(gp0_rdata), .MAXIGP0RRESP(gp0_rresp), .MAXIGP0RLAST(gp0_rlast),
      .MAXIGP0RVALID(gp0_rvalid), .MAXIGP0RREADY(gp0_rready),

      .SAXIHP0ACLK(clk), .SAXIHP0RDISSUECAP1EN(1'b0), .SAXIHP0WRISSUECAP1EN(1'b0),
      .SAXIHP0AWID(6'b0), .SAXIHP0AWADDR(hp0_awaddr[31:0]), .SAXIHP0AWLEN(hp0_awlen[3:0]), .SAXIHP0AWSIZE(2'b11),
      .SAXIHP0AWBURST(2'b01), .SAXIHP0AWCACHE(4'b0011), .SAXIHP0AWPROT(3'b0), .SAXIHP0AWLOCK(2'b0),
      .SAXIHP0AWQOS(4'b0), .SAXIHP0AWVALID(hp0_awvalid), .SAXIHP0AWREADY(hp0_awready),
      .SAXIHP0WID(6'b0), .SAXIHP0WDATA(hp0_wdata), .SAXIHP0WSTRB(hp0_wstrb), .SAXIHP0WLAST(hp0_wlast),
      .SAXIHP0WVALID(hp0_wvalid), .SAXIHP0WREADY(hp0_wready),
      .SAXIHP0BRESP(hp0_bresp), .SAXIHP0BVALID(hp0_bvalid), .SAXIHP0BREADY(hp0_bready),
      .SAXIHP0ARID(6'b0), .SAXIHP0ARADDR(hp0_araddr[31:0]), .SAXIHP0ARLEN(hp0_arlen[3:0]), .SAXIHP0ARSIZE(2'b11),
      .SAXIHP0ARBURST(2'b01), .SAXIHP0ARCACHE(4'b0011), .SAXIHP0ARPROT(3'b0), .SAXIHP0ARLOCK(2'b0),
      .SAXIHP0ARQOS(4'b0), .SAXIHP0ARVALID(hp0_arvalid), .SAXIHP0ARREADY(hp0_arready),
      .SAXIHP0RDATA(hp0_rdata), .SAXIHP0RRESP(hp0_rresp), .SAXIHP0RLAST(hp0_rlast), .SAXIHP0RVALID(hp0_rvalid),
      .SAXIHP0RREADY(hp0_rready),

      .IRQF2P(20'b0), .EVENTEVENTI(1'b0), .DDRARB(4'b0),
      .DMA0DAREADY(1'b0), .DMA0DRVALID(1'b0), .DMA1DAREADY(1'b0), .DMA1DRVALID(1'b0),
      .DMA2DAREADY(1'b0), .DMA2DRVALID(1'b0), .DMA3DAREADY(1'b0), .DMA3DRVALID(1'b0),
      .FTMDTRACEINVALID(1'b0), .FTMTF2PTRIG(4'b0), .FTMTP2FTRIGACK(4'b0),
      .MAXIGP1BVALID(1'b0), .MAXIGP1RVALID(1'b0), .MAXIGP1ARREADY(1'b0), .MAXIGP1AWREADY(1'b0), .MAXIGP1WREADY(1'b0),
      .SAXIGP0ARVALID(1'b0), .SAXIGP0AWVALID(1'b0), .SAXIGP0WVALID(1'b0), .SAXIGP0BREADY(1'b0), .SAXIGP0RREADY(1'b0),
      .SAXIGP1ARVALID(1'b0), .SAXIGP1AWVALID(1'b0), .SAXIGP1WVALID(1'b0), .SAXIGP1BREADY(1'b0), .SAXIGP1RREADY(1'b0),
      .SAXIACPARVALID(1'b0), .SAXIACPAWVALID(1'b0), .SAXIACPWVALID(1'b0), .SAXIACPBREADY(1'b0), .SAXIACPRREADY(1'b0),
      .SAXIHP1ARVALID(1'b0), .SAXIHP1AWVALID(1'b0), .SAXIHP1WVALID(1'b0), .SAXIHP1BREADY(1'b0), .SAXIHP1RREADY(1'b0),
      .SAXIHP2ARVALID(1'b0), .SAXIHP2AWVALID(1'b0), .SAXIHP2WVALID(1'b0), .SAXIHP2BREADY(1'b0), .SAXIHP2RREADY(1'b0),
      .SAXIHP3ARVALID(1'b0), .SAXIHP3AWVALID(1'b0), .SAXIHP3WVALID(1'b0), .SAXIHP3BREADY(1'b0), .SAXIHP3RREADY(1'b0)
  );
endmodule
