// Lets it show that scores belong to the frame that was sent: between the DMAs and the accelerator.
//
// With `enable`, a tag goes behind the words of each output frame: 4 bytes, the lowest first, in whole words, the rest 0.
// It is the CRC-32 (as zlib has it) of the words of the input frame as the accelerator took them, XOR the 16 lower bits of
// the frame's number since the reset. So a frame that was read from elsewhere, or is an old one, shows, and old scores too.
//
// What shifts inside of the accelerator shows by the pause that it makes between frames: when it gave nothing for QUIET
// cycles and no frame is begun, `aligned` becomes the number of frames that came out. A stream that lost or gained a word
// is in the midst of a frame whenever it pauses.
module frame_tags #(
    parameter  int unsigned IN_WORD_BYTES  = 3,
    parameter  int unsigned IN_WORDS       = 1,  // of a frame
    parameter  int unsigned OUT_WORD_BYTES = 3,
    parameter  int unsigned OUT_WORDS      = 1,
    parameter  int unsigned QUIET          = 0,  // more than between two words of a frame; 0: no pause tells anything
    localparam int unsigned IN_BITS        = 8 * IN_WORD_BYTES,
    localparam int unsigned OUT_BITS       = 8 * OUT_WORD_BYTES
) (
    input  logic        clk,
    input  logic        resetn,
    input  logic        enable,   // from before the first frame on
    output logic [15:0] aligned,

    input  logic [IN_BITS-1:0] in_data,     // goes to the accelerator as it is, when
    input  logic               read_valid,
    output logic               read_ready,
    output logic               in_valid,
    input  logic               in_ready,

    input  logic [OUT_BITS-1:0] out_data,
    input  logic                out_valid,
    output logic                out_ready,
    output logic [OUT_BITS-1:0] write_data,
    output logic                write_valid,
    input  logic                write_ready
);
  localparam int unsigned DEPTH = 32;  // frames that the accelerator may hold; more wait outside
  localparam int unsigned OWED_BITS = $clog2(DEPTH + 1);
  localparam int unsigned TAG_WORDS = (4 + OUT_WORD_BYTES - 1) / OUT_WORD_BYTES;
  localparam int unsigned TAG_BITS = TAG_WORDS * OUT_BITS;
  localparam int unsigned IN_COUNT_BITS = $clog2(IN_WORDS + 1);
  localparam int unsigned OUT_COUNT_BITS = $clog2(OUT_WORDS + 1);
  localparam int unsigned TAG_COUNT_BITS = $clog2(TAG_WORDS + 1);

  //-- Words that the accelerator takes -------------------------------------------------------------------------------
  logic [IN_COUNT_BITS-1:0] in_left;  // words of the frame behind this one
  logic in_last, open, take;
  logic [OWED_BITS-1:0] owed;         // frames whose tag is to be given
  logic pop;

  assign in_valid   = read_valid && open;
  assign read_ready = in_ready && open;
  assign take       = in_valid && in_ready;

  always_ff @(posedge clk) begin
    if (!resetn || (take && in_last)) begin
      in_left <= IN_COUNT_BITS'(IN_WORDS - 1);
      in_last <= IN_WORDS == 1;
    end else if (take) begin
      in_left <= in_left - 1'b1;
      in_last <= in_left == IN_COUNT_BITS'(1);
    end
    // Only between frames, so that a word that is offered stays.
    if ((take && in_last) || !open) open <= owed < OWED_BITS'(DEPTH - 2);
    owed <= owed + OWED_BITS'(take && in_last && enable) - OWED_BITS'(pop);
    if (!resetn) begin
      open <= 1'b1;
      owed <= '0;
    end
  end

  //-- Their checksum, a cycle later ----------------------------------------------------------------------------------
  logic taken, taken_last;
  logic [IN_BITS-1:0] taken_word;
  logic [31:0] crc, crc_next;

  always_comb begin
    crc_next = crc;
    for (int unsigned i = 0; i < IN_BITS; i++)
      crc_next = {1'b0, crc_next[31:1]} ^ (crc_next[0] ^ taken_word[i] ? 32'hEDB88320 : 32'h0);
  end

  always_ff @(posedge clk) begin
    taken      <= take && resetn;
    taken_last <= in_last;
    taken_word <= in_data;
    if (!resetn) crc <= '1;
    else if (taken) crc <= taken_last ? '1 : crc_next;
  end

  logic [31:0] checksum;
  logic checksum_valid;

  stream_fifo #(
      .DEPTH(DEPTH), .BITS(32), .RAM_STYLE("distributed")
  ) checksums (
      .ap_clk(clk), .ap_rst_n(resetn),
      .in0_V_TDATA(~crc_next), .in0_V_TVALID(taken && taken_last && enable), .in0_V_TREADY(),
      .out0_V_TDATA(checksum), .out0_V_TVALID(checksum_valid), .out0_V_TREADY(pop)
  );

  //-- Words that it gives, and tags between them ---------------------------------------------------------------------
  logic [OUT_COUNT_BITS-1:0] out_left;
  logic [TAG_COUNT_BITS-1:0] tag_word;
  logic out_first, out_last, give, tagging, known, stray, tag_sent;
  logic [15:0] frames;  // that came out, tag and all
  wire [TAG_BITS-1:0] tag = TAG_BITS'((stray ? '0 : checksum) ^ 32'(frames));

  assign out_ready   = write_ready && !tagging;
  assign write_valid = tagging ? known : out_valid;
  assign write_data  = tagging ? tag[tag_word*OUT_BITS+:OUT_BITS] : out_data;
  assign give        = out_valid && out_ready;
  assign tag_sent      = known && write_ready && tag_word == TAG_COUNT_BITS'(TAG_WORDS - 1);
  assign pop         = tag_sent && !stray;

  always_ff @(posedge clk) begin
    if (!resetn || (give && out_last)) begin
      out_left <= OUT_COUNT_BITS'(OUT_WORDS - 1);
      out_last <= OUT_WORDS == 1;
    end else if (give) begin
      out_left <= out_left - 1'b1;
      out_last <= out_left == OUT_COUNT_BITS'(1);
    end
    if (give) out_first <= out_last;
    if (give && out_last) tagging <= enable;
    else if (tag_sent) tagging <= 1'b0;

    // A frame that came out without one that was taken has no checksum; it must not wait for that of the next.
    if (!known) stray <= !checksum_valid;
    known <= tagging && !tag_sent && (known || checksum_valid || owed == '0);
    if (!tagging) tag_word <= '0;
    else if (known && write_ready) tag_word <= tag_word + 1'b1;
    if (tag_sent || (give && out_last && !enable)) frames <= frames + 1'b1;
    if (!resetn) begin
      out_first <= 1'b1;
      tagging   <= 1'b0;
      known     <= 1'b0;
      frames    <= '0;
    end
  end

  //-- The pause between frames ---------------------------------------------------------------------------------------
  if (QUIET == 0) begin : no_pause
    assign aligned = '0;
  end else begin : pauses
    localparam int unsigned QUIET_BITS = $clog2(QUIET + 1);
    logic [QUIET_BITS-1:0] quiet;
    logic silent;

    always_ff @(posedge clk) begin
      quiet  <= out_valid ? '0 : quiet + QUIET_BITS'(!silent);
      silent <= !out_valid && (silent || quiet == QUIET_BITS'(QUIET - 1));
      if (silent && out_first && !tagging) aligned <= frames;
      if (!resetn) begin
        quiet   <= '0;
        silent  <= 1'b0;
        aligned <= '0;
      end
    end
  end
endmodule
