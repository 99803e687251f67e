// Stream to memory: gathers words of WORD_BYTES bytes and writes a transfer in bursts.
//
// A burst ends at a multiple of its greatest length at the latest, and so never crosses 4 KiB. It begins when all of its
// beats are here, so that W never waits for the accelerator and the bus is free meanwhile. Bytes behind the transfer are
// not written. After an error response the burst under way is finished, and the transfer ends.
module dma_write
  import shell_pkg::*;
#(
    parameter  int unsigned BUS_BYTES    = 8,
    parameter  int unsigned ADDRESS_BITS = 32,
    parameter  int unsigned BURST_BEATS  = 16,  // at most: a power of two, 2 or more, and no more than 4 KiB
    parameter  int unsigned WORD_BYTES   = 3,
    localparam int unsigned BYTE_BITS    = $clog2(BUS_BYTES)
) (
    input logic clk,
    input logic resetn,

    input  logic                    planning,
    input  logic                    go,
    input  logic [ADDRESS_BITS-1:0] address,
    input  logic [  31-BYTE_BITS:0] last_beat,
    input  logic [   BYTE_BITS-1:0] last_byte,
    output logic                    ended,
    output logic                    failed,
    output logic [ADDRESS_BITS-1:0] place,  // of the burst whose answer is to come, or was an error

    output logic [ADDRESS_BITS-1:0] awaddr,
    output logic [             7:0] awlen,
    output logic                    awvalid,
    input  logic                    awready,
    output logic [ 8*BUS_BYTES-1:0] wdata,
    output logic [   BUS_BYTES-1:0] wstrb,
    output logic                    wlast,
    output logic                    wvalid,
    input  logic                    wready,
    input  logic [             1:0] bresp,
    input  logic                    bvalid,
    output logic                    bready,

    input  logic [8*WORD_BYTES-1:0] in_data,
    input  logic                    in_valid,
    output logic                    in_ready
);
  localparam int unsigned BEAT_BITS = $clog2(BURST_BEATS);
  localparam int unsigned BURST_BITS = BYTE_BITS + BEAT_BITS;
  localparam int unsigned LEFT_BITS = 32 - BYTE_BITS;
  localparam int unsigned DEPTH = 2 * BURST_BEATS;
  localparam int unsigned COUNT_BITS = $clog2(DEPTH + 1);
  localparam int unsigned ANSWER_BITS = 4;

  localparam int unsigned PIECE_BYTES = piece_bytes(WORD_BYTES, BUS_BYTES);
  localparam int unsigned PIECES = BUS_BYTES / PIECE_BYTES;
  localparam int unsigned UNIT = gcd(PIECE_BYTES, WORD_BYTES);
  localparam int unsigned SIZE_BITS = $clog2((PIECE_BYTES + WORD_BYTES) / UNIT);

  typedef enum logic [2:0] {IDLE, MEASURE, BEGIN, SEND, LAST} state_t;
  state_t state;

  //-- Gather words into beats ----------------------------------------------------------------------------------------
  logic making;                // beats are to be made
  logic [LEFT_BITS-1:0] left;  // how many, less one
  logic beat_last, beat_near;  // the transfer's last beat is made; that or the one before
  logic [8*PIECE_BYTES-1:0] piece;
  logic [SIZE_BITS-1:0] size, last_size;  // units of the piece; of the transfer's last
  logic piece_valid, piece_ready, piece_taken, piece_last;  // of its beat
  logic beat_last_next, piece_last_next, piece_last_first;  // of the piece to come; of a transfer's first
  logic [8*WORD_BYTES-1:0] word;
  logic word_valid, word_ready, word_taken;
  logic [8*BUS_BYTES-1:0] beat;
  logic beat_valid, beat_ready;

  // No word beyond the transfer is taken: near its end, none while a piece goes.
  assign word_taken  = making && word_ready && !(beat_near && piece_taken) && !(beat_last && piece_last && piece_valid);
  assign piece_ready = !beat_valid || beat_ready;
  assign piece_taken = piece_valid && piece_ready && making;
  assign last_size   = SIZE_BITS'(last_byte % PIECE_BYTES / UNIT) + 1'b1;
  assign beat_last_next = piece_last ? left == LEFT_BITS'(1) : beat_last;

  always_ff @(posedge clk) begin
    if (go) size <= last_beat == '0 && piece_last_first ? last_size : SIZE_BITS'(PIECE_BYTES / UNIT);
    else if (piece_taken) size <= beat_last_next && piece_last_next ? last_size : SIZE_BITS'(PIECE_BYTES / UNIT);
  end

  // Keeps the accelerator's paths and ours apart.
  stream_fifo #(
      .DEPTH(2), .BITS(8 * WORD_BYTES)
  ) boundary (
      .ap_clk(clk), .ap_rst_n(resetn),
      .in0_V_TDATA(in_data), .in0_V_TVALID(in_valid), .in0_V_TREADY(in_ready),
      .out0_V_TDATA(word), .out0_V_TVALID(word_valid), .out0_V_TREADY(word_taken)
  );

  byte_gearbox #(
      .IN_BYTES(WORD_BYTES), .OUT_BYTES(PIECE_BYTES)
  ) pieces (
      .clk(clk), .resetn(resetn && making),
      .in_data(word), .in_size(SIZE_BITS'(WORD_BYTES / UNIT)), .in_valid(word_valid && word_taken), .in_ready(word_ready),
      .out_data(piece), .out_size(size), .out_valid(piece_valid), .out_ready(piece_ready)
  );

  if (PIECES == 1) begin : whole
    assign piece_last       = 1'b1;
    assign piece_last_next  = 1'b1;
    assign piece_last_first = 1'b1;
    always_ff @(posedge clk) if (piece_taken) beat <= piece;
  end else begin : parts
    localparam int unsigned INDEX_BITS = $clog2(PIECES);
    logic [INDEX_BITS-1:0] index, index_next, last_index;
    assign last_index       = last_byte[BYTE_BITS-1-:INDEX_BITS];
    assign index_next       = piece_last ? '0 : index + 1'b1;
    assign piece_last_next  = index_next == (beat_last_next ? last_index : INDEX_BITS'(PIECES - 1));
    assign piece_last_first = last_beat == '0 && last_index == '0;
    always_ff @(posedge clk) begin
      for (int unsigned i = 0; i < PIECES; i++)
        if (piece_taken && index == INDEX_BITS'(i)) beat[i*8*PIECE_BYTES+:8*PIECE_BYTES] <= piece;
      if (go) begin
        index      <= '0;
        piece_last <= piece_last_first;
      end else if (piece_taken) begin
        index      <= index_next;
        piece_last <= piece_last_next;
      end
    end
  end

  always_ff @(posedge clk) begin
    if (go) begin
      making    <= 1'b1;
      left      <= last_beat;
      beat_last <= last_beat == '0;
      beat_near <= last_beat <= LEFT_BITS'(1);
    end else if (piece_taken && piece_last) begin
      making    <= !beat_last;
      left      <= left - 1'b1;
      beat_last <= left == LEFT_BITS'(1);
      beat_near <= left <= LEFT_BITS'(2);
    end
    beat_valid <= (piece_taken && piece_last) || (beat_valid && !beat_ready);
    if (failed) making <= 1'b0;
    if (!resetn || state == IDLE) beat_valid <= 1'b0;
    if (!resetn) making <= 1'b0;
  end

  //-- Queue ----------------------------------------------------------------------------------------------------------
  logic [8*BUS_BYTES-1:0] head;
  logic head_valid, head_taken;

  stream_fifo #(
      .DEPTH(DEPTH), .BITS(8 * BUS_BYTES), .RAM_STYLE("distributed")
  ) queue (
      .ap_clk(clk), .ap_rst_n(resetn && state != IDLE),
      .in0_V_TDATA(beat), .in0_V_TVALID(beat_valid), .in0_V_TREADY(beat_ready),
      .out0_V_TDATA(head), .out0_V_TVALID(head_valid), .out0_V_TREADY(head_taken)
  );

  //-- Bursts ---------------------------------------------------------------------------------------------------------
  logic [COUNT_BITS-1:0] queued;       // beats in the queue that no burst has yet
  logic [BEAT_BITS-1:0] room, length;  // beats until a burst must end; of the burst; both less one
  logic [BEAT_BITS-1:0] to_send;       // beats of the burst, less one
  logic sending;
  logic made, full;                    // all beats are in the queue; it has enough for a whole burst
  logic final_burst;
  logic beyond;                        // the bus has no such address
  logic [ANSWER_BITS-1:0] unanswered;  // bursts
  logic answer, answer_error;

  assign room = ~awaddr[BYTE_BITS+:BEAT_BITS];
  assign made = !making && !beat_valid;
  assign full = queued > COUNT_BITS'(room);
  assign awlen      = 8'(length);
  assign head_taken = sending && (!wvalid || wready);
  assign bready     = 1'b1;

  always_ff @(posedge clk) begin
    ended  <= 1'b0;
    queued <= queued + COUNT_BITS'(beat_valid && beat_ready) - (state == BEGIN ? COUNT_BITS'(length) + 1'b1 : '0);
    unique case (state)
      IDLE: begin
        queued <= '0;
        if (planning) {beyond, awaddr} <= {1'b0, address};
        if (go) state <= MEASURE;
      end
      MEASURE: begin
        length <= full ? room : BEAT_BITS'(queued - 1'b1);
        if (failed || (made && queued == '0)) state <= LAST;
        else if ((full || made) && !beyond && unanswered != '1) state <= BEGIN;
      end
      BEGIN: begin
        awvalid     <= 1'b1;
        to_send     <= length;
        sending     <= 1'b1;
        final_burst <= made && queued == COUNT_BITS'(length) + 1'b1;
        state       <= SEND;
      end
      SEND: begin
        if (awready) awvalid <= 1'b0;
        if (!awvalid && !sending) begin
          {beyond, awaddr[ADDRESS_BITS-1:BURST_BITS]} <= {1'b0, awaddr[ADDRESS_BITS-1:BURST_BITS]} + 1'b1;
          awaddr[BURST_BITS-1:0] <= '0;
          state <= MEASURE;
        end
      end
      default:
      if (unanswered == '0 && !answer && !wvalid) begin
        ended <= 1'b1;
        state <= IDLE;
      end
    endcase

    if (!wvalid || wready) begin
      wvalid <= sending && head_valid;
      wdata  <= head;
      wlast  <= to_send == '0;
      for (int unsigned i = 0; i < BUS_BYTES; i++)
        wstrb[i] <= !final_burst || to_send != '0 || BYTE_BITS'(i) <= last_byte;
      if (sending && head_valid) begin
        to_send <= to_send - 1'b1;
        sending <= to_send != '0;
      end
    end

    answer       <= bvalid;
    answer_error <= bresp[1];
    unanswered   <= unanswered + ANSWER_BITS'(state == BEGIN) - ANSWER_BITS'(answer && unanswered != '0);
    if (planning) begin
      place  <= address;
      failed <= 1'b0;
    end else if (answer && unanswered != '0 && !failed) begin
      if (answer_error) failed <= 1'b1;
      else begin
        place[ADDRESS_BITS-1:BURST_BITS] <= place[ADDRESS_BITS-1:BURST_BITS] + 1'b1;
        place[BURST_BITS-1:0] <= '0;
      end
    end
    if (state == MEASURE && beyond && !(made && queued == '0)) failed <= 1'b1;

    if (!resetn) begin
      state      <= IDLE;
      awvalid    <= 1'b0;
      wvalid     <= 1'b0;
      sending    <= 1'b0;
      answer     <= 1'b0;
      unanswered <= '0;
      failed     <= 1'b0;
      ended      <= 1'b0;
    end
  end
endmodule
