// Memory to stream: reads a transfer in bursts and cuts it into words of WORD_BYTES bytes.
//
// A burst ends at a multiple of its greatest length at the latest, and so never crosses 4 KiB. It is asked for only when
// there is room for all of its beats besides those already asked for: R never waits, and several bursts are under way.
// After an error response no more is asked for, what still comes is dropped, and the transfer ends.
module dma_read
  import shell_pkg::*;
#(
    parameter  int unsigned BUS_BYTES    = 8,
    parameter  int unsigned ADDRESS_BITS = 32,
    parameter  int unsigned BURST_BEATS  = 16,  // at most: a power of two, 2 or more, and no more than 4 KiB
    parameter  int unsigned BURSTS       = 4,   // that there is room for
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
    output logic [ADDRESS_BITS-1:0] place,  // of the beat that is to come, or had an error

    output logic [ADDRESS_BITS-1:0] araddr,
    output logic [             7:0] arlen,
    output logic                    arvalid,
    input  logic                    arready,
    input  logic [ 8*BUS_BYTES-1:0] rdata,
    input  logic [             1:0] rresp,
    input  logic                    rvalid,
    output logic                    rready,

    output logic [8*WORD_BYTES-1:0] out_data,
    output logic                    out_valid,
    input  logic                    out_ready
);
  localparam int unsigned BEAT_BITS = $clog2(BURST_BEATS);
  localparam int unsigned BURST_BITS = BYTE_BITS + BEAT_BITS;
  localparam int unsigned LEFT_BITS = 32 - BYTE_BITS;
  localparam int unsigned DEPTH = BURSTS * BURST_BEATS;
  localparam int unsigned COUNT_BITS = $clog2(DEPTH + 1);

  typedef enum logic [2:0] {IDLE, MEASURE, ASK, HANDSHAKE, LAST} state_t;
  state_t state;

  //-- Ask for bursts -------------------------------------------------------------------------------------------------
  logic [LEFT_BITS-1:0] left;           // beats to ask for, less one
  logic [BEAT_BITS-1:0] room, length;   // beats until a burst must end; beats of the burst; both less one
  logic [COUNT_BITS-1:0] asked;         // beats of the burst, in the cycle in which it is asked for
  logic [COUNT_BITS-1:0] reserved;      // beats asked for that did not leave the queue
  logic [COUNT_BITS-1:0] coming;        // beats asked for that did not come
  logic final_burst;
  logic beyond;                         // the bus has no such address
  logic arrive, leave;

  assign room  = ~araddr[BYTE_BITS+:BEAT_BITS];
  assign arlen = 8'(length);
  assign asked = state == ASK && !failed && reserved <= COUNT_BITS'(DEPTH - BURST_BEATS) ? COUNT_BITS'(length) + 1'b1 : '0;

  always_ff @(posedge clk) begin
    ended <= 1'b0;
    unique case (state)
      IDLE: begin
        left <= last_beat;
        if (planning) {beyond, araddr} <= {1'b0, address};
        if (go) state <= MEASURE;
      end
      MEASURE: begin
        final_burst <= left <= LEFT_BITS'(room);
        length      <= left <= LEFT_BITS'(room) ? left[BEAT_BITS-1:0] : room;
        state       <= ASK;
      end
      ASK:
      if (failed) state <= LAST;
      else if (asked != '0) begin
        arvalid <= 1'b1;
        state   <= HANDSHAKE;
      end
      HANDSHAKE:
      if (arready) begin
        arvalid <= 1'b0;
        left    <= left - LEFT_BITS'(length) - 1'b1;
        {beyond, araddr[ADDRESS_BITS-1:BURST_BITS]} <= {1'b0, araddr[ADDRESS_BITS-1:BURST_BITS]} + 1'b1;
        araddr[BURST_BITS-1:0] <= '0;
        state   <= final_burst ? LAST : MEASURE;
      end
      default:
      if (coming == '0 && (failed || reserved == '0)) begin
        ended <= 1'b1;
        state <= IDLE;
      end
    endcase
    if (!resetn) begin
      state   <= IDLE;
      arvalid <= 1'b0;
      ended   <= 1'b0;
    end
  end

  //-- What comes -----------------------------------------------------------------------------------------------------
  logic beat_valid, beat_error;
  logic [8*BUS_BYTES-1:0] beat;

  assign rready = 1'b1;
  assign arrive = beat_valid && coming != '0;

  always_ff @(posedge clk) begin
    beat_valid <= rvalid && resetn;
    beat_error <= rresp[1];
    beat       <= rdata;

    coming   <= coming + asked - COUNT_BITS'(arrive);
    reserved <= reserved + asked - COUNT_BITS'(leave);
    if (state == IDLE) reserved <= '0;
    if (planning) place <= address;
    else if (arrive && !beat_error && !failed)
      place[ADDRESS_BITS-1:BYTE_BITS] <= place[ADDRESS_BITS-1:BYTE_BITS] + 1'b1;
    if (planning) failed <= 1'b0;
    else if ((arrive && beat_error) || (state == MEASURE && beyond)) failed <= 1'b1;
    if (!resetn) begin
      coming <= '0;
      failed <= 1'b0;
    end
  end

  //-- Queue, and cut into words --------------------------------------------------------------------------------------
  localparam int unsigned PIECE_BYTES = piece_bytes(WORD_BYTES, BUS_BYTES);
  localparam int unsigned PIECES = BUS_BYTES / PIECE_BYTES;
  localparam int unsigned UNIT = gcd(PIECE_BYTES, WORD_BYTES);
  localparam int unsigned SIZE_BITS = $clog2((PIECE_BYTES + WORD_BYTES) / UNIT);

  logic [8*BUS_BYTES-1:0] head;
  logic head_valid, head_last;  // of the transfer
  logic [8*PIECE_BYTES-1:0] piece;
  logic [8*WORD_BYTES-1:0] word;
  logic word_valid, word_ready;
  logic [SIZE_BITS-1:0] size;
  logic piece_last, piece_ready;  // of its beat

  stream_fifo #(
      .DEPTH(DEPTH), .BITS(8 * BUS_BYTES), .RAM_STYLE("distributed")
  ) queue (
      .ap_clk(clk), .ap_rst_n(resetn && !failed),
      .in0_V_TDATA(beat), .in0_V_TVALID(arrive && !beat_error), .in0_V_TREADY(),
      .out0_V_TDATA(head), .out0_V_TVALID(head_valid), .out0_V_TREADY(piece_ready && piece_last)
  );

  assign head_last = state == LAST && reserved == COUNT_BITS'(1);
  assign leave     = head_valid && piece_ready && piece_last;

  if (PIECES == 1) begin : whole
    assign piece      = head;
    assign piece_last = 1'b1;
  end else begin : parts
    localparam int unsigned INDEX_BITS = $clog2(PIECES);
    logic [INDEX_BITS-1:0] index;
    assign piece      = head[index*8*PIECE_BYTES+:8*PIECE_BYTES];
    assign piece_last = index == (head_last ? last_byte[BYTE_BITS-1-:INDEX_BITS] : INDEX_BITS'(PIECES - 1));
    always_ff @(posedge clk)
      if (!resetn || failed) index <= '0;
      else if (head_valid && piece_ready) index <= piece_last ? '0 : index + 1'b1;
  end

  assign size = head_last && piece_last ? SIZE_BITS'(last_byte % PIECE_BYTES / UNIT) + 1'b1 : SIZE_BITS'(PIECE_BYTES / UNIT);

  byte_gearbox #(
      .IN_BYTES(PIECE_BYTES), .OUT_BYTES(WORD_BYTES)
  ) words (
      .clk(clk), .resetn(resetn && !failed),
      .in_data(piece), .in_size(size), .in_valid(head_valid), .in_ready(piece_ready),
      .out_data(word), .out_size(SIZE_BITS'(WORD_BYTES / UNIT)), .out_valid(word_valid), .out_ready(word_ready)
  );

  // Keeps the accelerator's paths and ours apart, and a word that waits there when an error clears the rest.
  stream_fifo #(
      .DEPTH(2), .BITS(8 * WORD_BYTES)
  ) boundary (
      .ap_clk(clk), .ap_rst_n(resetn),
      .in0_V_TDATA(word), .in0_V_TVALID(word_valid), .in0_V_TREADY(word_ready),
      .out0_V_TDATA(out_data), .out0_V_TVALID(out_valid), .out0_V_TREADY(out_ready)
  );
endmodule
