// The registers of one DMA, as FINN's IODMA has them, with an error code and a cycle counter, and the plan of a transfer.
//
// 0x00 control: bit 0 start, 1 done and 3 ready (cleared by reading), 2 idle, 8 an error. 0x10, 0x14 address, 0x1C frames.
// 0x48 error of the last transfer: 0 none, 1 an address that the bus width does not divide, 2 an error response of the
// bus or an address beyond the bus's, 3 no frames, or 4 GiB and more. 0x4C, 0x50 where it happened. 0x54, 0x58 cycles.
//
// A start checks the address and multiplies the frames by their bytes, a bit a cycle; meanwhile `planning` keeps the
// registers from being written and the mover takes the address. Then `go` tells it to begin; it answers `ended` once, and
// `failed` with it.
module dma_control #(
    parameter int unsigned BUS_BYTES    = 8,
    parameter int unsigned ADDRESS_BITS = 32,  // of the bus; 64 at most
    parameter int unsigned FRAME_BYTES  = 1,
    parameter int unsigned TAG_BYTES    = 0,   // that a frame has more with `tags`
    localparam int unsigned BYTE_BITS   = $clog2(BUS_BYTES)
) (
    input logic clk,
    input logic resetn,
    input logic tags,

    input  logic        write,
    input  logic [ 4:0] write_index,  // of a register of 4 bytes
    input  logic [31:0] write_data,
    input  logic [ 3:0] write_strobe,
    input  logic        read,
    input  logic [ 4:0] read_index,
    output logic [31:0] read_data,  // a cycle after read_index

    output logic                    planning,
    output logic                    go,
    output logic [            63:0] address,
    output logic [ 31-BYTE_BITS:0]  last_beat,  // of the transfer, counted from 0
    output logic [ BYTE_BITS-1:0]   last_byte,  // of the last beat
    input  logic                    ended,
    input  logic                    failed,
    input  logic [ADDRESS_BITS-1:0] place
);
  localparam int unsigned STEPS = $clog2(FRAME_BYTES + TAG_BYTES + 1);
  localparam int unsigned STEP_BITS = STEPS > 1 ? $clog2(STEPS) : 1;
  localparam int unsigned CYCLE_BITS = 40;  // hours; the rest reads as 0

  typedef enum logic [1:0] {IDLE, MULTIPLY, CHECK, RUN} state_t;
  state_t state;
  logic [31:0] frames;
  logic done;
  logic [1:0] code;
  logic [CYCLE_BITS-1:0] cycles;

  assign planning = state == MULTIPLY || state == CHECK;

  //-- Registers that are written -------------------------------------------------------------------------------------
  wire start = write && write_index == 5'h00 && write_strobe[0] && write_data[0] && state == IDLE;

  always_ff @(posedge clk) begin
    for (int unsigned i = 0; i < 4; i++)
      if (write && write_strobe[i]) begin
        if (write_index == 5'h04) address[8*i+:8] <= write_data[8*i+:8];
        if (write_index == 5'h05) address[32+8*i+:8] <= write_data[8*i+:8];
        if (write_index == 5'h07) frames[8*i+:8] <= write_data[8*i+:8];
      end
    if (!resetn) begin
      address <= '0;
      frames  <= '0;
    end
  end

  //-- Transfers ------------------------------------------------------------------------------------------------------
  logic [31:0] bytes;  // of the transfer, less one: each step takes 2 x + 1 of it
  logic [STEP_BITS-1:0] step;
  logic many;  // 4 GiB or more
  logic none;  // no bit of the factor so far: what is carried is of the -1
  wire [STEPS-1:0] factor = tags ? STEPS'(FRAME_BYTES + TAG_BYTES) : STEPS'(FRAME_BYTES);
  wire [33:0] sum = {1'b0, bytes, 1'b1} + (factor[step] ? {2'b0, frames} : '0);

  logic beyond;
  if (ADDRESS_BITS < 64) begin : narrow
    always_ff @(posedge clk) beyond <= address[63:ADDRESS_BITS] != '0;
  end else begin : wide
    assign beyond = 1'b0;
  end

  assign {last_beat, last_byte} = bytes;

  always_ff @(posedge clk) begin
    go <= 1'b0;
    if (read && read_index == 5'h00) done <= 1'b0;
    if (state != IDLE) cycles <= cycles + 1'b1;
    unique case (state)
      IDLE:
      if (start) begin
        state  <= MULTIPLY;
        done   <= 1'b0;
        code   <= '0;
        cycles <= '0;
        bytes  <= '1;
        many   <= 1'b0;
        none   <= 1'b1;
        step   <= STEP_BITS'(STEPS - 1);
      end
      MULTIPLY: begin
        bytes <= sum[31:0];
        if (sum[33:32] != '0 && !none) many <= 1'b1;
        if (factor[step]) none <= 1'b0;
        step <= step - 1'b1;
        if (step == '0) state <= CHECK;
      end
      CHECK: begin
        state <= RUN;
        go    <= 1'b1;
        if (address[BYTE_BITS-1:0] != '0) code <= 2'd1;
        else if (many || bytes == '1) code <= 2'd3;  // no frames: still -1
        else if (beyond) code <= 2'd2;
        if (address[BYTE_BITS-1:0] != '0 || many || bytes == '1 || beyond) begin
          state <= IDLE;
          done  <= 1'b1;
          go    <= 1'b0;
        end
      end
      RUN:
      if (ended) begin
        state <= IDLE;
        done  <= 1'b1;
        code  <= failed ? 2'd2 : 2'd0;
      end
    endcase
    if (!resetn) begin
      state  <= IDLE;
      done   <= 1'b0;
      go     <= 1'b0;
      code   <= '0;
      cycles <= '0;
    end
  end

  //-- Registers that are read ----------------------------------------------------------------------------------------
  // On a bus of 32 bits, the address of an error is in the 4 GiB that the transfer is in.
  logic [63:0] where;
  if (ADDRESS_BITS < 64) begin : near
    assign where = {address[63:ADDRESS_BITS], place};
  end else begin : far
    assign where = place;
  end

  always_ff @(posedge clk) begin
    unique case (read_index)
      5'h00: read_data <= {23'b0, code != '0, 4'b0, done, state == IDLE, done, state != IDLE};
      5'h04: read_data <= address[31:0];
      5'h05: read_data <= address[63:32];
      5'h07: read_data <= frames;
      5'h12: read_data <= {30'b0, code};
      5'h13: read_data <= where[31:0];
      5'h14: read_data <= where[63:32];
      5'h15: read_data <= cycles[31:0];
      5'h16: read_data <= 32'(cycles[CYCLE_BITS-1:32]);
      default: read_data <= '0;
    endcase
  end
endmodule
