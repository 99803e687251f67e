// Look-up tables as memory: what RAMD32, RAMD64E, SRL16E and SRLC32E of a slice do. Source: AMD UG474, chapter 2.

// Written at WA on a clock's edge, read at RA at once.
module DISTRIBUTED_RAM #(
    parameter int WIDTH = 6,  // of an address
    parameter bit [(1<<WIDTH)-1:0] INIT = 0
) (
    input CLK, WE, D,
    input [WIDTH-1:0] WA, RA,
    output O
);
  logic [(1<<WIDTH)-1:0] bits = INIT;
  assign O = bits[RA];
  always @(posedge CLK) if (WE) bits[WA] <= D;
endmodule

// A is the place that Q shows, 0 the latest bit; Q31 is the last.
module SHIFT_REGISTER #(
    parameter int DEPTH = 32,  // 16 or 32
    parameter bit [DEPTH-1:0] INIT = 0
) (
    input CLK, WE, D,
    input [$clog2(DEPTH)-1:0] A,
    output Q, Q31
);
  logic [DEPTH-1:0] bits = INIT;
  assign Q   = bits[A];
  assign Q31 = bits[DEPTH-1];
  always @(posedge CLK) if (WE) bits <= {bits[DEPTH-2:0], D};
endmodule
