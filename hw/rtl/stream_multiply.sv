// Multiplies each pixel of in0 with in1, a factor for each channel. A word a cycle; no DSPs.
//
// A pixel has GROUPS words. Each word of in1 is taken together with that of the first of PIXELS pixels, and kept for the
// others; the next frame may follow at once. A tree of adders, a level a cycle, sums the rows that in1's bits choose: for
// elements of 1 or 2 bits the latency is 2 cycles, for 3 and 4 bits 3, for 5 to 8 bits 4. OUT_BITS must hold every product
// that occurs: nothing saturates.
module stream_multiply #(
    parameter  int unsigned GROUPS       = 1,  // channels / LANES
    parameter  int unsigned PIXELS       = 1,
    parameter  int unsigned LANES        = 1,
    parameter  int unsigned ELEM0_BITS   = 8,
    parameter  bit          ELEM0_SIGNED = 0,
    parameter  int unsigned ELEM1_BITS   = 8,
    parameter  bit          ELEM1_SIGNED = 0,
    parameter  int unsigned OUT_BITS     = 16,             // of an element
    parameter               RAM_STYLE    = "distributed",  // of the memory of factors
    localparam int unsigned TDATA0       = 8 * ((LANES * ELEM0_BITS + 7) / 8),
    localparam int unsigned TDATA1       = 8 * ((LANES * ELEM1_BITS + 7) / 8),
    localparam int unsigned OUT_TDATA    = 8 * ((LANES * OUT_BITS + 7) / 8)
) (
    input  logic ap_clk,
    input  logic ap_rst_n,

    input  logic [TDATA0-1:0] in0_V_TDATA,
    input  logic              in0_V_TVALID,
    output logic              in0_V_TREADY,

    input  logic [TDATA1-1:0] in1_V_TDATA,
    input  logic              in1_V_TVALID,
    output logic              in1_V_TREADY,

    output logic [OUT_TDATA-1:0] out0_V_TDATA,
    output logic                 out0_V_TVALID,
    input  logic                 out0_V_TREADY
);
  localparam int unsigned GROUP_BITS = GROUPS > 1 ? $clog2(GROUPS) : 1;
  localparam int unsigned PIXEL_BITS = PIXELS > 1 ? $clog2(PIXELS) : 1;
  localparam int unsigned WIDTH0 = LANES * ELEM0_BITS;
  localparam int unsigned WIDTH1 = LANES * ELEM1_BITS;
  localparam int unsigned LEVELS = ELEM1_BITS > 2 ? $clog2(ELEM1_BITS) : 1;
  localparam int unsigned ROWS = 1 << LEVELS;

  logic enable;  // everything moves, unless an output word waits
  logic take;

  // --- where the input is ---

  logic [GROUP_BITS-1:0] group;
  logic [PIXEL_BITS-1:0] pixel;
  logic last_group, last_pixel, first_pixel;
  assign last_group  = group == GROUP_BITS'(GROUPS - 1);
  assign last_pixel  = pixel == PIXEL_BITS'(PIXELS - 1);
  assign first_pixel = pixel == '0;

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

  // Of the first pixel both words leave in one cycle, so each input waits for the other.
  assign enable       = !out0_V_TVALID || out0_V_TREADY;
  assign in0_V_TREADY = enable && (!first_pixel || in1_V_TVALID);
  assign in1_V_TREADY = enable && first_pixel && in0_V_TVALID;
  assign take         = in0_V_TVALID && in0_V_TREADY;

  // --- the factors of the word to come, read a word ahead ---

  logic [WIDTH1-1:0] kept, factors;
  assign factors = first_pixel ? in1_V_TDATA[WIDTH1-1:0] : kept;

  if (GROUPS == 1) begin : one_group
    always_ff @(posedge ap_clk) if (take) kept <= factors;
  end else begin : memory
    // A word of the first pixel writes one place, and every word reads the next; with GROUPS >= 2 they differ.
    (* ram_style = RAM_STYLE *) logic [WIDTH1-1:0] gate[GROUPS];
    logic [GROUP_BITS-1:0] ahead;
    assign ahead = last_group ? '0 : group + 1'b1;

    always_ff @(posedge ap_clk) begin
      if (take && first_pixel) gate[group] <= factors;
      if (take) kept <= gate[ahead];
    end
  end

  // --- both operands, then their products ---

  logic [        WIDTH0-1:0] elements0;
  logic [        WIDTH1-1:0] elements1;
  logic [LANES*OUT_BITS-1:0] word;
  logic [        LEVELS-1:0] valid;  // of the operands, and behind each level but the last
  assign out0_V_TDATA = OUT_TDATA'(word);

  for (genvar i = 0; i < LANES; i++) begin : lane
    logic [ELEM0_BITS-1:0] a;
    logic [ELEM1_BITS-1:0] b;
    logic [  ELEM0_BITS:0] x;
    logic [      ROWS-1:0] y;
    assign a = elements0[i*ELEM0_BITS+:ELEM0_BITS];
    assign b = elements1[i*ELEM1_BITS+:ELEM1_BITS];
    assign x = {ELEM0_SIGNED && a[ELEM0_BITS-1], a};
    assign y = ROWS'($signed({ELEM1_SIGNED && b[ELEM1_BITS-1], b}));

    for (genvar n = 0; n < LEVELS; n++) begin : level
      localparam int unsigned BITS = 1 << n;  // of y that each number of the level before is x times
      localparam int unsigned SUMS = ROWS / 2 / BITS;
      logic [ELEM0_BITS+2*BITS-1:0] sums[SUMS];

      for (genvar k = 0; k < SUMS; k++) begin : sum
        logic [ELEM0_BITS+BITS-1:0] lower, upper, shifted;
        if (n == 0) begin : rows
          assign lower = y[2*k] ? x : '0;
          assign upper = y[2*k+1] ? x : '0;
        end else begin : numbers
          assign lower = level[n-1].sums[2*k];
          assign upper = level[n-1].sums[2*k+1];
        end
        // The lowest BITS bits stay as they are. A signed factor's highest bit counts below zero.
        localparam bit MINUS = ELEM1_SIGNED && n == 0 && k == SUMS - 1;
        assign shifted = {{BITS{ELEM0_SIGNED && lower[ELEM0_BITS+BITS-1]}}, lower[ELEM0_BITS+BITS-1:BITS]};
        always_ff @(posedge ap_clk)
          if (enable) sums[k] <= {MINUS ? shifted - upper : shifted + upper, lower[BITS-1:0]};
      end
    end
    assign word[i*OUT_BITS+:OUT_BITS] = OUT_BITS'(level[LEVELS-1].sums[0]);
  end

  always_ff @(posedge ap_clk) begin
    if (enable) begin
      elements0              <= in0_V_TDATA[WIDTH0-1:0];
      elements1              <= factors;
      {out0_V_TVALID, valid} <= {valid, take};
    end
    if (!ap_rst_n) {out0_V_TVALID, valid} <= '0;
  end
endmodule
