// The end of the network: x + bias, ReLU, and the sum over all pixels of each channel.
//
// A word of LANES channels is taken every cycle. The sums are given while the last pixel passes, each 2 cycles after
// its last word was taken; the next frame may follow at once. BIAS_FILE: for $readmemh, CHANNELS / LANES words of LANES
// biases, the first in the lowest bits; "" for none.
module global_sum #(
    parameter  int unsigned CHANNELS    = 1,
    parameter  int unsigned LANES       = 1,
    parameter  int unsigned PIXELS      = 1,
    parameter  int unsigned ELEM_BITS   = 8,
    parameter  bit          SIGNED      = 0,
    parameter               BIAS_FILE   = "",
    parameter  int unsigned BIAS_BITS   = 1,   // signed
    parameter  int unsigned VALUE_BITS  = 10,  // signed: x + bias
    parameter  bit          RELU        = 0,
    parameter  int unsigned SUM_BITS    = 16,
    parameter               RAM_STYLE   = "distributed",  // of the memory of sums
    parameter               ROM_STYLE   = "auto",         // of the memory of biases
    localparam int unsigned IN_TDATA    = 8 * ((LANES * ELEM_BITS + 7) / 8),
    localparam int unsigned OUT_TDATA   = 8 * ((LANES * SUM_BITS + 7) / 8)
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
  localparam int unsigned GROUPS = CHANNELS / LANES;
  localparam int unsigned GROUP_BITS = GROUPS > 1 ? $clog2(GROUPS) : 1;
  localparam int unsigned PIXEL_BITS = PIXELS > 1 ? $clog2(PIXELS) : 1;

  logic enable;  // everything moves, unless an output word waits
  logic take, bias_valid;
  assign enable       = !out0_V_TVALID || out0_V_TREADY;
  assign in0_V_TREADY = enable && bias_valid;
  assign take         = in0_V_TVALID && in0_V_TREADY;

  // --- where the input is ---

  logic [GROUP_BITS-1:0] group;
  logic [PIXEL_BITS-1:0] pixel;
  logic last_group, last_pixel;
  assign last_group = group == GROUP_BITS'(GROUPS - 1);
  assign last_pixel = pixel == PIXEL_BITS'(PIXELS - 1);

  always_ff @(posedge ap_clk) begin
    if (take) begin
      group <= last_group ? '0 : group + 1'b1;
      if (last_group) pixel <= last_pixel ? '0 : pixel + 1'b1;
    end
    if (!ap_rst_n) begin
      group <= '0;
      pixel <= '0;
    end
  end

  // --- the bias of the word to come, read a word ahead ---

  logic [LANES*BIAS_BITS-1:0] bias;

  if (BIAS_FILE == "") begin : no_bias
    assign bias       = '0;
    assign bias_valid = 1'b1;
  end else begin : biases
    (* rom_style = ROM_STYLE *) logic [LANES*BIAS_BITS-1:0] rom[GROUPS];
    logic [GROUP_BITS-1:0] ahead;
    initial $readmemh(BIAS_FILE, rom);

    always_ff @(posedge ap_clk) begin
      if (take || !bias_valid) begin
        bias  <= rom[ahead];
        ahead <= ahead == GROUP_BITS'(GROUPS - 1) ? '0 : ahead + 1'b1;
      end
      bias_valid <= ap_rst_n;
      if (!ap_rst_n) ahead <= '0;
    end
  end

  // --- values, and the sums so far ---

  logic [LANES*VALUE_BITS-1:0] value;
  logic [LANES*SUM_BITS-1:0] so_far, sum, word;
  logic value_valid, value_first, value_last, value_take;
  assign value_take   = value_valid && enable;
  assign out0_V_TDATA = OUT_TDATA'(word);

  for (genvar i = 0; i < LANES; i++) begin : lane
    logic        [ ELEM_BITS-1:0] x;
    logic signed [ BIAS_BITS-1:0] b;
    logic signed [VALUE_BITS-1:0] v, kept;
    logic        [  SUM_BITS-1:0] old;

    assign x = in0_V_TDATA[i*ELEM_BITS+:ELEM_BITS];
    assign b = bias[i*BIAS_BITS+:BIAS_BITS];
    assign v = VALUE_BITS'($signed({SIGNED && x[ELEM_BITS-1], x})) + VALUE_BITS'(b);
    always_ff @(posedge ap_clk)
      if (enable) value[i*VALUE_BITS+:VALUE_BITS] <= RELU && v[VALUE_BITS-1] ? '0 : v;

    assign kept = value[i*VALUE_BITS+:VALUE_BITS];
    assign old  = value_first ? '0 : so_far[i*SUM_BITS+:SUM_BITS];
    assign sum[i*SUM_BITS+:SUM_BITS] = old + SUM_BITS'(kept);
  end

  if (GROUPS == 1) begin : one_group
    always_ff @(posedge ap_clk) if (value_take) so_far <= sum;
  end else begin : memory
    // As in max_pool: a word writes one place and reads the next; all GROUPS >= 2 places have their turn.
    (* ram_style = RAM_STYLE *) logic [LANES*SUM_BITS-1:0] sums[GROUPS];
    logic [GROUP_BITS-1:0] here, ahead;

    always_ff @(posedge ap_clk) begin
      if (value_take) begin
        sums[here] <= sum;
        so_far     <= sums[ahead];
        here       <= ahead;
        ahead      <= ahead == GROUP_BITS'(GROUPS - 1) ? '0 : ahead + 1'b1;
      end
      if (!ap_rst_n) begin
        here  <= '0;
        ahead <= GROUP_BITS'(1);
      end
    end
  end

  always_ff @(posedge ap_clk) begin
    if (enable) begin
      value_valid   <= take;
      value_first   <= pixel == '0;
      value_last    <= last_pixel;
      out0_V_TVALID <= value_valid && value_last;
      word          <= sum;
    end
    if (!ap_rst_n) begin
      value_valid   <= 1'b0;
      out0_V_TVALID <= 1'b0;
    end
  end
endmodule
