// The processing system of a Zynq-7000 as a bench: it puts frames into memory, starts both DMAs as the driver does, waits,
// and gives the scores. `logic_side` is the logic, whose ports are the pins of the PS7 that it uses.
//
// in0_V: IN_WORDS words of memory for each frame; out0_V: OUT_WORDS words for each.
module processor #(
    parameter int IN_WORDS = 1,   // of 64 bits, in a frame
    parameter int OUT_WORDS = 1,
    parameter int STALLS = 1      // 1: the buses pause now and then
) (
    input ap_clk,
    input ap_rst_n,

    input  [63:0] in0_V_TDATA,
    input  in0_V_TVALID,
    output in0_V_TREADY,

    output [63:0] out0_V_TDATA,
    output out0_V_TVALID,
    input  out0_V_TREADY
);
  localparam logic [31:0] REGISTERS = 32'h4000_0000, MEMORY = 32'h1000_0000;
  localparam logic [31:0] IN_BASE = MEMORY, OUT_BASE = MEMORY + 32'(((8 * IN_WORDS) + 4095) / 4096 * 4096);
  localparam int WORDS = int'(OUT_BASE - MEMORY) / 8 + OUT_WORDS;
  localparam int AT_OUT = int'(OUT_BASE - MEMORY) / 8;

  //-- The pins -------------------------------------------------------------------------------------------------------
  logic [31:0] gp_address, gp_wdata;
  wire [31:0] gp_rdata;
  wire [11:0] gp_bid, gp_rid;
  wire [1:0] gp_bresp, gp_rresp;
  logic gp_awvalid, gp_wvalid, gp_arvalid;
  wire gp_awready, gp_wready, gp_bvalid, gp_arready, gp_rvalid, gp_rlast;
  localparam logic [11:0] ID = 12'h5A3;

  wire [31:0] hp_awaddr, hp_araddr;
  wire [3:0] hp_awlen, hp_arlen;
  wire [63:0] hp_wdata;
  wire [7:0] hp_wstrb;
  wire hp_awvalid, hp_wvalid, hp_wlast, hp_bready, hp_arvalid, hp_rready;
  wire hp_awready, hp_wready, hp_arready;
  logic hp_bvalid, hp_rvalid;
  wire hp_rlast;
  wire [63:0] hp_rdata;

  logic_side dut (
      .FCLKCLK({3'b0, ap_clk}), .FCLKRESETN({3'b0, ap_rst_n}),
      .MAXIGP0AWID(ID), .MAXIGP0AWADDR(gp_address), .MAXIGP0AWLEN(4'd0), .MAXIGP0AWSIZE(2'd2), .MAXIGP0AWBURST(2'd1),
      .MAXIGP0AWVALID(gp_awvalid), .MAXIGP0AWREADY(gp_awready),
      .MAXIGP0WID(ID), .MAXIGP0WDATA(gp_wdata), .MAXIGP0WSTRB(4'hF), .MAXIGP0WLAST(1'b1),
      .MAXIGP0WVALID(gp_wvalid), .MAXIGP0WREADY(gp_wready),
      .MAXIGP0BID(gp_bid), .MAXIGP0BRESP(gp_bresp), .MAXIGP0BVALID(gp_bvalid), .MAXIGP0BREADY(1'b1),
      .MAXIGP0ARID(ID), .MAXIGP0ARADDR(gp_address), .MAXIGP0ARLEN(4'd0), .MAXIGP0ARSIZE(2'd2), .MAXIGP0ARBURST(2'd1),
      .MAXIGP0ARVALID(gp_arvalid), .MAXIGP0ARREADY(gp_arready),
      .MAXIGP0RID(gp_rid), .MAXIGP0RDATA(gp_rdata), .MAXIGP0RRESP(gp_rresp), .MAXIGP0RLAST(gp_rlast),
      .MAXIGP0RVALID(gp_rvalid), .MAXIGP0RREADY(1'b1),
      .SAXIHP0AWADDR(hp_awaddr), .SAXIHP0AWLEN(hp_awlen), .SAXIHP0AWVALID(hp_awvalid), .SAXIHP0AWREADY(hp_awready),
      .SAXIHP0WDATA(hp_wdata), .SAXIHP0WSTRB(hp_wstrb), .SAXIHP0WLAST(hp_wlast), .SAXIHP0WVALID(hp_wvalid),
      .SAXIHP0WREADY(hp_wready), .SAXIHP0BID(6'd0), .SAXIHP0BRESP(2'd0), .SAXIHP0BVALID(hp_bvalid),
      .SAXIHP0BREADY(hp_bready),
      .SAXIHP0ARADDR(hp_araddr), .SAXIHP0ARLEN(hp_arlen), .SAXIHP0ARVALID(hp_arvalid), .SAXIHP0ARREADY(hp_arready),
      .SAXIHP0RID(6'd0), .SAXIHP0RDATA(hp_rdata), .SAXIHP0RRESP(2'd0), .SAXIHP0RLAST(hp_rlast),
      .SAXIHP0RVALID(hp_rvalid), .SAXIHP0RREADY(hp_rready)
  );

  // Pauses of the buses, each with bits of its own.
  logic [15:0] random;
  always_ff @(posedge ap_clk) begin
    random <= {random[14:0], random[15] ^ random[13] ^ random[12] ^ random[10]};
    if (!ap_rst_n) random <= 16'hACE1;
  end
  wire pause_read = STALLS != 0 && random[1:0] == 0;
  wire pause_write = STALLS != 0 && random[4:3] == 0;
  wire pause_address = STALLS != 0 && random[7:6] == 0;

  //-- Memory ---------------------------------------------------------------------------------------------------------
  logic [63:0] memory[WORDS];
  typedef struct packed {
    logic [31:0] address;
    logic [3:0] len;
  } burst_t;

  function automatic int place(logic [31:0] address);
    automatic int word = int'(address - MEMORY) / 8;
    if (address < MEMORY || word >= WORDS || address[2:0] != 0) $fatal(1, "no memory at %h", address);
    return word;
  endfunction

  burst_t reads[4], read;
  logic [2:0] waiting;
  logic reading;
  logic [3:0] beat;
  assign hp_arready = waiting < 3 && !pause_address;
  assign hp_rlast = beat == read.len;
  assign hp_rdata = reading ? memory[place(read.address+8*32'(beat))] : 'x;
  assign hp_rvalid = reading && shown;
  logic shown;  // a beat that is there stays until it is taken
  always_ff @(posedge ap_clk) begin
    automatic logic [2:0] left = waiting;
    if (hp_rvalid && hp_rready) begin
      shown <= !pause_read;
      beat  <= beat + 1;
      if (hp_rlast) reading <= 0;
    end else if (!shown) shown <= !pause_read;
    if (!reading && left != 0) begin
      read <= reads[0];
      for (int i = 0; i < 3; i++) reads[i] <= reads[i+1];
      left = left - 1;
      reading <= 1;
      beat <= 0;
    end
    if (hp_arvalid && hp_arready) begin
      if (hp_araddr[11:0] + 12'(8 * hp_arlen) < hp_araddr[11:0]) $fatal(1, "a burst over 4 KiB at %h", hp_araddr);
      reads[left[1:0]] <= '{hp_araddr, hp_arlen};
      left = left + 1;
    end
    waiting <= left;
    if (!ap_rst_n) begin
      waiting <= 0;
      reading <= 0;
      shown   <= 0;
    end
  end

  burst_t write;
  logic writing;
  logic [3:0] write_beat;
  assign hp_awready = !writing && !hp_bvalid && !pause_address;
  assign hp_wready = writing && !pause_write;
  always_ff @(posedge ap_clk) begin
    if (hp_awvalid && hp_awready) begin
      write <= '{hp_awaddr, hp_awlen};
      writing <= 1;
      write_beat <= 0;
    end
    if (hp_wvalid && hp_wready) begin
      for (int i = 0; i < 8; i++) begin
        if (hp_wstrb[i]) memory[place(write.address+8*32'(write_beat))][8*i+:8] <= hp_wdata[8*i+:8];
      end
      if (hp_wlast != (write_beat == write.len)) $fatal(1, "WLAST is %b at beat %0d", hp_wlast, write_beat);
      write_beat <= write_beat + 1;
      if (hp_wlast) begin
        writing   <= 0;
        hp_bvalid <= 1;
      end
    end
    if (hp_bvalid && hp_bready) hp_bvalid <= 0;
    if (!ap_rst_n) begin
      writing   <= 0;
      hp_bvalid <= 0;
    end else if (filled) memory[count] <= in0_V_TDATA;
  end

  //-- What the driver does -------------------------------------------------------------------------------------------
  typedef enum logic [1:0] {LOAD, DRIVE, POLL, UNLOAD} state_t;
  state_t state;
  int count;    // of words
  int step;
  logic busy;   // a transfer is under way
  localparam int SETTLE = 64;  // cycles that the logic's reset takes
  int settled;

  wire filled = in0_V_TVALID && in0_V_TREADY;
  assign in0_V_TREADY = state == LOAD && ap_rst_n;
  assign out0_V_TVALID = state == UNLOAD;
  assign out0_V_TDATA = memory[AT_OUT+count];

  localparam int WRITES = 9;  // the first is a read, of the identity
  function automatic logic [63:0] request(int number);  // address and value
    case (number)
      0: return {REGISTERS + 32'h40, 32'h45524946};
      1: return {REGISTERS + 32'h10010, OUT_BASE};
      2: return {REGISTERS + 32'h10014, 32'd0};
      3: return {REGISTERS + 32'h1001C, 32'd1};
      4: return {REGISTERS + 32'h10000, 32'd1};
      5: return {REGISTERS + 32'h00010, IN_BASE};
      6: return {REGISTERS + 32'h00014, 32'd0};
      7: return {REGISTERS + 32'h0001C, 32'd1};
      8: return {REGISTERS + 32'h00000, 32'd1};
      default: return {REGISTERS + 32'h10000, 32'd0};
    endcase
  endfunction

  always_ff @(posedge ap_clk) begin
    if (settled < SETTLE) settled <= settled + 1;
    if (filled) begin
      count <= count + 1;
      if (count == IN_WORDS - 1) begin
        count <= 0;
        step  <= 0;
        busy  <= 0;
        state <= DRIVE;
      end
    end
    if ((state == DRIVE || state == POLL) && !busy && settled == SETTLE) begin
      busy <= 1;
      {gp_address, gp_wdata} <= request(step);
      if (state == POLL || step == 0) gp_arvalid <= 1;
      else begin
        gp_awvalid <= 1;
        gp_wvalid  <= 1;
      end
    end
    if (gp_awvalid && gp_awready) gp_awvalid <= 0;
    if (gp_wvalid && gp_wready) gp_wvalid <= 0;
    if (gp_arvalid && gp_arready) gp_arvalid <= 0;
    if (gp_bvalid) begin
      if (gp_bid != ID || gp_bresp != 0) $fatal(1, "a write to %h is answered %b for ID %h", gp_address, gp_bresp, gp_bid);
      busy <= 0;
      step <= step + 1;
      if (step == WRITES - 1) state <= POLL;
    end
    if (gp_rvalid) begin
      if (gp_rid != ID || gp_rresp != 0 || !gp_rlast) begin
        $fatal(1, "a read at %h is answered %b for ID %h", gp_address, gp_rresp, gp_rid);
      end
      busy <= 0;
      if (state == DRIVE) begin
        if (gp_rdata != gp_wdata) $fatal(1, "the identity is %h, not %h", gp_rdata, gp_wdata);
        step <= step + 1;
      end else if (gp_rdata[1]) begin
        state <= UNLOAD;
        count <= 0;
      end
    end
    if (out0_V_TVALID && out0_V_TREADY) begin
      count <= count + 1;
      if (count == OUT_WORDS - 1) begin
        count <= 0;
        state <= LOAD;
      end
    end
    if (!ap_rst_n) begin
      state <= LOAD;
      count <= 0;
      step <= 0;
      busy <= 0;
      settled <= 0;
      gp_awvalid <= 0;
      gp_wvalid <= 0;
      gp_arvalid <= 0;
    end
  end
endmodule
