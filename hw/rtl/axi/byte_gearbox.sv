// The same bytes in pieces of another size: IN_BYTES at a time come in, OUT_BYTES at a time go out.
//
// It counts in units, the greatest number of bytes that divides both. A piece may be cut short behind in_size or out_size
// units; one that is given short is the last before more comes in. A piece is given in the cycle after the last of its
// bytes was taken, and one moves every cycle on the side whose pieces are smaller.
module byte_gearbox
  import shell_pkg::gcd;
#(
    parameter  int unsigned IN_BYTES  = 4,
    parameter  int unsigned OUT_BYTES = 3,
    localparam int unsigned UNIT      = gcd(IN_BYTES, OUT_BYTES),
    localparam int unsigned IN        = IN_BYTES / UNIT,
    localparam int unsigned OUT       = OUT_BYTES / UNIT,
    localparam int unsigned ROOM      = IN + OUT - 1,
    localparam int unsigned BITS      = $clog2(ROOM + 1)
) (
    input logic clk,
    input logic resetn,

    input  logic [8*IN_BYTES-1:0] in_data,
    input  logic [      BITS-1:0] in_size,
    input  logic                  in_valid,
    output logic                  in_ready,

    output logic [8*OUT_BYTES-1:0] out_data,
    input  logic [       BITS-1:0] out_size,
    output logic                   out_valid,
    input  logic                   out_ready
);
  localparam int unsigned WIDTH = 8 * UNIT;

  logic [WIDTH*ROOM-1:0] held;
  logic [BITS-1:0] level, kept;  // units that are held; those that are left when the piece that is taken now has gone
  logic push, pop;

  assign out_data  = held[8*OUT_BYTES-1:0];
  assign out_valid = level >= out_size;
  assign pop       = out_valid && out_ready;
  assign kept      = pop ? level - out_size : level;
  assign in_ready  = kept < BITS'(OUT);
  assign push      = in_valid && in_ready;

  always_ff @(posedge clk) begin
    level <= push ? kept + in_size : kept;
    if (!resetn) level <= '0;
  end

  for (genvar i = 0; i < ROOM; i++) begin : units
    logic [WIDTH-1:0] moved, next;
    if (i + OUT < ROOM) assign moved = pop ? held[(i+OUT)*WIDTH+:WIDTH] : held[i*WIDTH+:WIDTH];
    else assign moved = held[i*WIDTH+:WIDTH];
    always_comb begin
      next = moved;
      for (int unsigned k = 0; k < OUT; k++)
        if (push && kept == BITS'(k) && i >= k && i < k + IN) next = in_data[(i>=k&&i<k+IN?i-k : 0)*WIDTH+:WIDTH];
    end
    always_ff @(posedge clk) held[i*WIDTH+:WIDTH] <= next;
  end
endmodule
