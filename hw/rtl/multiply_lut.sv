// One position of a chain without DSPs: sum_out is sum_in plus a signed weight times an unsigned activation.
//
// The weight's digits of two bits are multiplied and added one per cycle, lowest first, each in a row of LUTs that chooses a
// multiple of the activation and adds it: sum_in passes in as many cycles as there are digits, the product of digit k
// takes one cycle from act[k], act3[k] and weight[k].
module multiply_lut #(
    parameter  int unsigned WEIGHT_BITS = 4,
    parameter  int unsigned ACT_BITS    = 4,
    parameter  int unsigned IN_BITS     = 8,
    parameter  int unsigned OUT_BITS    = 8,
    parameter  bit          FIRST       = 0,                      // of the chain: sum_in is not there
    localparam int unsigned DIGITS      = (WEIGHT_BITS + 1) / 2
) (
    input logic clk,

    // For each digit the weight and multiples 1 and 3 of the activation, digit k's a cycle after digit k - 1's.
    input logic [DIGITS-1:0][WEIGHT_BITS-1:0] weight,
    input logic [DIGITS-1:0][ACT_BITS-1:0]    act,
    input logic [DIGITS-1:0][ACT_BITS+1:0]    act3,

    input  logic signed [IN_BITS-1:0]  sum_in,
    output logic signed [OUT_BITS-1:0] sum_out
);
  logic signed [OUT_BITS-1:0] sums[DIGITS+1];
  assign sums[0] = FIRST ? '0 : OUT_BITS'(sum_in);
  assign sum_out = sums[DIGITS];

  for (genvar digit = 0; digit < DIGITS; digit++) begin : digits
    localparam int unsigned SHIFT = 2 * digit;
    localparam int unsigned BITS = OUT_BITS - SHIFT;  // of the sum that the digit changes
    localparam bit PAIR = SHIFT + 1 < WEIGHT_BITS;
    wire low = weight[digit][SHIFT];
    wire high = PAIR && weight[digit][PAIR ? SHIFT + 1 : SHIFT];
    wire [BITS-1:0] one = BITS'(act[digit]);
    logic [BITS-1:0] multiple, sum;

    if (SHIFT + 2 < WEIGHT_BITS) begin : unsigned_digit  // 0, 1, 2 or 3
      assign multiple = high ? (low ? BITS'(act3[digit]) : one << 1) : (low ? one : '0);
      assign sum      = sums[digit][OUT_BITS-1:SHIFT] + multiple;
    end else begin : signed_digit  // 0, 1, -2 or -1; of a single bit 0 or -1
      wire negative = PAIR ? high : low;
      assign multiple = (low ? one : high ? one << 1 : '0) ^ {BITS{negative}};
      wire [BITS:0] carried = {sums[digit][OUT_BITS-1:SHIFT], 1'b1} + {multiple, negative};
      assign sum = carried[BITS:1];
    end

    if (SHIFT == 0) begin : lowest
      always_ff @(posedge clk) sums[digit+1] <= sum;
    end else begin : upper
      always_ff @(posedge clk) sums[digit+1] <= {sum, sums[digit][SHIFT-1:0]};
    end
  end
endmodule
