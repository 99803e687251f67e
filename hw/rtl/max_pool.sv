// Maximum over KERNEL_H x KERNEL_W windows of a stream of pixels, without a window generator in front.
//
// A word is CHANNELS / LANES of a pixel; one is taken every cycle, and a window's maximum is given 2 cycles after its
// last word was taken. First along the row: each channel group keeps the maximum so far of its open windows. The
// maximum of a finished row of a window then meets those of the rows above it, kept in a memory of OUT_WIDTH pixels.
// Padding (at the borders of a window that reaches beyond the input) never wins. No two windows may end at the same
// position of an axis, which excludes padding behind the input that a stride of 1 would walk into.
module max_pool #(
    parameter  int unsigned CHANNELS   = 1,
    parameter  int unsigned LANES      = 1,
    parameter  int unsigned HEIGHT     = 3,
    parameter  int unsigned WIDTH      = 3,
    parameter  int unsigned ELEM_BITS  = 8,
    parameter  bit          SIGNED     = 0,
    parameter  int unsigned KERNEL_H   = 3,
    parameter  int unsigned KERNEL_W   = 3,
    parameter  int unsigned STRIDE_H   = 2,
    parameter  int unsigned STRIDE_W   = 2,
    parameter  int unsigned PAD_TOP    = 0,
    parameter  int unsigned PAD_LEFT   = 0,
    parameter  int unsigned PAD_BOTTOM = 0,
    parameter  int unsigned PAD_RIGHT  = 0,
    parameter               RAM_STYLE  = "distributed",  // of the memory of row maxima
    localparam int unsigned BITS       = LANES * ELEM_BITS,
    localparam int unsigned TDATA      = 8 * ((BITS + 7) / 8)
) (
    input  logic ap_clk,
    input  logic ap_rst_n,

    input  logic [TDATA-1:0] in0_V_TDATA,
    input  logic             in0_V_TVALID,
    output logic             in0_V_TREADY,

    output logic [TDATA-1:0] out0_V_TDATA,
    output logic             out0_V_TVALID,
    input  logic             out0_V_TREADY
);
  localparam int unsigned GROUPS = CHANNELS / LANES;
  localparam int unsigned OUT_HEIGHT = (HEIGHT + PAD_TOP + PAD_BOTTOM - KERNEL_H) / STRIDE_H + 1;
  localparam int unsigned OUT_WIDTH = (WIDTH + PAD_LEFT + PAD_RIGHT - KERNEL_W) / STRIDE_W + 1;
  localparam int unsigned GROUP_BITS = GROUPS > 1 ? $clog2(GROUPS) : 1;
  localparam int unsigned Y_BITS = HEIGHT > 1 ? $clog2(HEIGHT) : 1;
  localparam int unsigned X_BITS = WIDTH > 1 ? $clog2(WIDTH) : 1;

  localparam int unsigned ROW_WORDS = OUT_WIDTH * GROUPS;  // of the output
  localparam int unsigned ROW_BITS = ROW_WORDS > 1 ? $clog2(ROW_WORDS) : 1;
  localparam int unsigned SPAN = HEIGHT > WIDTH ? HEIGHT : WIDTH;
  localparam int unsigned SPAN_BITS = SPAN > 1 ? $clog2(SPAN) : 1;
  typedef logic [SPAN-1:0] flags_t;  // one for each position of an axis

  // --- the windows of an axis: number o covers the positions o * stride - pad ... + kernel - 1 ---

  function automatic flags_t starting(int size, int stride, int pad);
    for (int at = 0; at < SPAN; at++) starting[at] = at < size && (at + pad) % stride == 0;
  endfunction

  function automatic flags_t ending(int size, int kernel, int stride, int pad, int windows);
    ending = '0;
    for (int o = 0; o < windows; o++)
      if (o * stride - pad + kernel < size) ending[o*stride-pad+kernel-1] = 1'b1;
      else ending[size-1] = 1'b1;
  endfunction

  // How many windows have started after window o and before its end, the newest counting first; -1 if it ends where it
  // starts, being one position long or cut by the border.
  function automatic int end_slot(int size, int kernel, int stride, int pad, int o);
    int length = o * stride - pad + kernel < size ? kernel : size - (o * stride - pad);
    return length > 1 ? (length - 2) / stride : -1;
  endfunction

  localparam flags_t X_STARTS = starting(WIDTH, STRIDE_W, PAD_LEFT);
  localparam flags_t X_ENDS = ending(WIDTH, KERNEL_W, STRIDE_W, PAD_LEFT, OUT_WIDTH);
  localparam int X_LAST_SLOT = end_slot(WIDTH, KERNEL_W, STRIDE_W, PAD_LEFT, OUT_WIDTH - 1);
  localparam int X_SLOT = KERNEL_W > 1 ? (KERNEL_W - 2) / STRIDE_W : -1;
  localparam int X_SLOTS = X_SLOT < 0 ? 1 : X_SLOT + 1;

  localparam flags_t Y_STARTS = starting(HEIGHT, STRIDE_H, PAD_TOP);
  localparam flags_t Y_ENDS = ending(HEIGHT, KERNEL_H, STRIDE_H, PAD_TOP, OUT_HEIGHT);
  localparam int Y_LAST_SLOT = end_slot(HEIGHT, KERNEL_H, STRIDE_H, PAD_TOP, OUT_HEIGHT - 1);
  localparam int Y_SLOT = KERNEL_H > 1 ? (KERNEL_H - 2) / STRIDE_H : -1;
  localparam int Y_SLOTS = Y_SLOT < 0 ? 1 : Y_SLOT + 1;

  logic enable;  // everything moves, unless an output word waits
  assign enable       = !out0_V_TVALID || out0_V_TREADY;
  assign in0_V_TREADY = enable;

  // --- where the input is: channel group, column x, row y ---

  logic [GROUP_BITS-1:0] group;
  logic [    X_BITS-1:0] x;
  logic [    Y_BITS-1:0] y;
  logic take, last_group, last_x, last_y;
  assign take       = in0_V_TVALID && enable;
  assign last_group = group == GROUP_BITS'(GROUPS - 1);
  assign last_x     = x == X_BITS'(WIDTH - 1);
  assign last_y     = y == Y_BITS'(HEIGHT - 1);

  always_ff @(posedge ap_clk) begin
    if (take) begin
      group <= last_group ? '0 : group + 1'b1;
      if (last_group) x <= last_x ? '0 : x + 1'b1;
      if (last_group && last_x) y <= last_y ? '0 : y + 1'b1;
    end
    if (!ap_rst_n) begin
      group <= '0;
      x     <= '0;
      y     <= '0;
    end
  end

  // --- along the row: a delay of one pixel brings back the open windows of the same channels ---

  logic [GROUPS-1:0][X_SLOTS*BITS-1:0] delay;
  logic [X_SLOTS*BITS-1:0] x_slots;
  logic [BITS-1:0] x_largest, row_max;
  logic row_valid, row_first, row_last, row_starts, row_ends;

  window_max #(
      .LANES(LANES), .ELEM_BITS(ELEM_BITS), .SIGNED(SIGNED),
      .SLOTS(X_SLOTS), .END_SLOT(X_SLOT), .LAST_SLOT(X_LAST_SLOT)
  ) along_row (
      .first(x == '0), .last(last_x), .starts(X_STARTS[SPAN_BITS'(x)]), .word(in0_V_TDATA[BITS-1:0]),
      .slots(delay[GROUPS-1]), .next_slots(x_slots), .largest(x_largest)
  );

  if (GROUPS == 1) begin : one_group
    always_ff @(posedge ap_clk) if (take) delay[0] <= x_slots;
  end else begin : groups
    always_ff @(posedge ap_clk) if (take) delay <= {delay[GROUPS-2:0], x_slots};
  end

  always_ff @(posedge ap_clk) begin
    if (enable) begin
      row_valid  <= in0_V_TVALID && X_ENDS[SPAN_BITS'(x)];
      row_max    <= x_largest;
      row_first  <= y == '0;
      row_last   <= last_y;
      row_starts <= Y_STARTS[SPAN_BITS'(y)];
      row_ends   <= Y_ENDS[SPAN_BITS'(y)];
    end
    if (!ap_rst_n) row_valid <= 1'b0;
  end

  // --- down the column: the memory gives what the rows above left for the same place ---

  logic [Y_SLOTS*BITS-1:0] above, y_slots;
  logic [BITS-1:0] y_largest, word;
  logic row_take;
  assign row_take     = row_valid && enable;
  assign out0_V_TDATA = TDATA'(word);

  window_max #(
      .LANES(LANES), .ELEM_BITS(ELEM_BITS), .SIGNED(SIGNED),
      .SLOTS(Y_SLOTS), .END_SLOT(Y_SLOT), .LAST_SLOT(Y_LAST_SLOT)
  ) down_column (
      .first(row_first), .last(row_last), .starts(row_starts), .word(row_max),
      .slots(above), .next_slots(y_slots), .largest(y_largest)
  );

  if (ROW_WORDS == 1) begin : one_word
    always_ff @(posedge ap_clk) if (row_take) above <= y_slots;
  end else begin : memory
    // Each word writes one place and reads the next one's ahead. The two never meet, and a place is written
    // before it is read again: the words visit all ROW_WORDS >= 2 places in turn.
    (* ram_style = RAM_STYLE *) logic [Y_SLOTS*BITS-1:0] rows[ROW_WORDS];
    logic [ROW_BITS-1:0] here, ahead;

    always_ff @(posedge ap_clk) begin
      if (row_take) begin
        rows[here] <= y_slots;
        above      <= rows[ahead];
        here       <= ahead;
        ahead      <= ahead == ROW_BITS'(ROW_WORDS - 1) ? '0 : ahead + 1'b1;
      end
      if (!ap_rst_n) begin
        here  <= '0;
        ahead <= ROW_BITS'(1);
      end
    end
  end

  always_ff @(posedge ap_clk) begin
    if (enable) begin
      out0_V_TVALID <= row_valid && row_ends;
      word          <= y_largest;
    end
    if (!ap_rst_n) out0_V_TVALID <= 1'b0;
  end
endmodule
