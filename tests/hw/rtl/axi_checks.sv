// What an AXI4 master and a pair of streams must never do; a violation ends the simulation.

module stable_check #(
    parameter int unsigned BITS = 1
) (
    input logic clk,
    input logic resetn,
    input logic valid,
    input logic ready,
    input logic [BITS-1:0] payload
);
  logic waited;
  logic [BITS-1:0] earlier;
  always_ff @(posedge clk) begin
    if (resetn && waited && !valid) $error("%m: withdrawn before it was taken");
    if (resetn && waited && payload != earlier) $error("%m: changed before it was taken");
    waited <= resetn && valid && !ready;
    earlier <= payload;
  end
endmodule

module burst_check #(
    parameter int unsigned BUS_BYTES   = 8,
    parameter int unsigned BURST_BEATS = 16
) (
    input logic clk,
    input logic resetn,
    input logic valid,
    input logic ready,
    input logic [63:0] address,
    input logic [7:0] len
);
  stable_check #(.BITS(72)) stable (.clk, .resetn, .valid, .ready, .payload({address, len}));
  wire [63:0] last = address + 64'(len) * BUS_BYTES;
  always_ff @(posedge clk)
    if (resetn && valid) begin
      if (32'(len) >= BURST_BEATS) $error("%m: a burst of %0d beats", len + 1);
      if (address % BUS_BYTES != 0) $error("%m: unaligned");
      if (address[63:12] != last[63:12]) $error("%m: a burst across 4 KiB");
    end
endmodule

module axi_checks #(
    parameter int unsigned BUS_BYTES   = 8,
    parameter int unsigned BURST_BEATS = 16
) (
    input logic clk,
    input logic resetn,
    input logic awvalid, awready, wvalid, wready, wlast, bvalid, bready, arvalid, arready, rvalid, rready,
    input logic [63:0] awaddr, araddr,
    input logic [7:0] awlen, arlen,
    input logic [8*BUS_BYTES-1:0] wdata,
    input logic [BUS_BYTES-1:0] wstrb
);
  burst_check #(.BUS_BYTES(BUS_BYTES), .BURST_BEATS(BURST_BEATS)) aw (
      .clk, .resetn, .valid(awvalid), .ready(awready), .address(awaddr), .len(awlen));
  burst_check #(.BUS_BYTES(BUS_BYTES), .BURST_BEATS(BURST_BEATS)) ar (
      .clk, .resetn, .valid(arvalid), .ready(arready), .address(araddr), .len(arlen));
  stable_check #(.BITS(9 * BUS_BYTES + 1)) w (
      .clk, .resetn, .valid(wvalid), .ready(wready), .payload({wdata, wstrb, wlast}));

  // A burst's W beats may come before, with or after its AW: each list is as far ahead as it is.
  int unsigned lens[$], beats[$];
  int unsigned beat, reads, answers, waiting;
  always_ff @(posedge clk) begin
    if (!resetn) begin
      lens.delete();
      beats.delete();
      beat    <= 0;
      reads   <= 0;
      answers <= 0;
      waiting <= 0;
    end else begin
      if (awvalid && awready) lens.push_back(32'(awlen) + 1);
      if (wvalid && wready) begin
        if (wlast) beats.push_back(beat + 1);
        if (!wlast && beat + 1 >= BURST_BEATS) $error("%m: no WLAST");
        beat <= wlast ? 0 : beat + 1;
      end
      if (lens.size() != 0 && beats.size() != 0)
        if (lens.pop_front() != beats.pop_front()) $error("%m: WLAST is not where AWLEN says");
      if (beats.size() > 1) $error("%m: W is two bursts ahead of AW");
      answers <= answers + 32'(awvalid && awready) - 32'(bvalid && bready);
      reads   <= reads + (arvalid && arready ? 32'(arlen) + 1 : 0) - 32'(rvalid && rready);
      // What is asked for must be taken at once, or the bus stands still for others.
      waiting <= rvalid && !rready ? waiting + 1 : 0;
      if (waiting > 0) $error("%m: R waits");
      if (bvalid && !bready) $error("%m: B waits");
    end
  end
endmodule
