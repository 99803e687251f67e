// Everything between the processor's buses and an accelerator's streams: registers, and a DMA in each direction.
//
// s_axi: the input DMA's registers at 0, the output DMA's at 0x10000 (see dma_control), and in each block
// 0x40 "FIRE", 0x44 the version of this map, 0x60 to 0x7C HASH, its first 32 bits first. Of the output DMA's alone:
// 0x24 bit 0, written before the first transfer, puts a tag behind the scores of each frame (see frame_tags), which older
// shells do not have and read as 0; 0x28 QUIET; 0x5C the 16 lower bits of how many
// frames came out whole, as a pause behind them shows.
module shell #(
    parameter int unsigned  BUS_BYTES       = 8,
    parameter int unsigned  ADDRESS_BITS    = 32,   // that the bus behind m_axi has
    parameter int unsigned  BURST_BEATS     = 16,
    parameter int unsigned  IN_WORD_BYTES   = 3,
    parameter int unsigned  IN_FRAME_BYTES  = 3,
    parameter int unsigned  OUT_WORD_BYTES  = 3,
    parameter int unsigned  OUT_FRAME_BYTES = 3,
    parameter int unsigned  QUIET           = 0,    // see frame_tags
    parameter logic [255:0] HASH            = '0
) (
    input logic clk,
    input logic resetn,

    input  logic [16:0] s_axi_awaddr,
    input  logic        s_axi_awvalid,
    output logic        s_axi_awready,
    input  logic [31:0] s_axi_wdata,
    input  logic [ 3:0] s_axi_wstrb,
    input  logic        s_axi_wvalid,
    output logic        s_axi_wready,
    output logic [ 1:0] s_axi_bresp,
    output logic        s_axi_bvalid,
    input  logic        s_axi_bready,
    input  logic [16:0] s_axi_araddr,
    input  logic        s_axi_arvalid,
    output logic        s_axi_arready,
    output logic [31:0] s_axi_rdata,
    output logic [ 1:0] s_axi_rresp,
    output logic        s_axi_rvalid,
    input  logic        s_axi_rready,

    output logic [           63:0] m_axi_awaddr,
    output logic [            7:0] m_axi_awlen,
    output logic                   m_axi_awvalid,
    input  logic                   m_axi_awready,
    output logic [8*BUS_BYTES-1:0] m_axi_wdata,
    output logic [  BUS_BYTES-1:0] m_axi_wstrb,
    output logic                   m_axi_wlast,
    output logic                   m_axi_wvalid,
    input  logic                   m_axi_wready,
    input  logic [            1:0] m_axi_bresp,
    input  logic                   m_axi_bvalid,
    output logic                   m_axi_bready,
    output logic [           63:0] m_axi_araddr,
    output logic [            7:0] m_axi_arlen,
    output logic                   m_axi_arvalid,
    input  logic                   m_axi_arready,
    input  logic [8*BUS_BYTES-1:0] m_axi_rdata,
    input  logic [            1:0] m_axi_rresp,
    input  logic                   m_axi_rvalid,
    output logic                   m_axi_rready,

    output logic                       accelerator_resetn,
    output logic [ 8*IN_WORD_BYTES-1:0] in_data,
    output logic                       in_valid,
    input  logic                       in_ready,
    input  logic [8*OUT_WORD_BYTES-1:0] out_data,
    input  logic                       out_valid,
    output logic                       out_ready
);
  localparam logic [31:0] MAGIC = 32'h45524946;  // "FIRE" in memory
  localparam logic [31:0] VERSION = 32'd1;
  localparam int unsigned BEAT_BITS = 32 - $clog2(BUS_BYTES);
  localparam int unsigned BYTE_BITS = $clog2(BUS_BYTES);

  always_ff @(posedge clk) accelerator_resetn <= resetn;

  //-- Registers ------------------------------------------------------------------------------------------------------
  logic write, read;
  logic [16:2] write_address, read_address;
  logic [31:0] write_data, read_data, input_word, output_word, constant, constant_word;
  logic [3:0] write_strobe;
  logic input_planning, output_planning;
  wire write_known = write_address[15:7] == '0;
  wire read_known = read_address[15:7] == '0;

  axi_lite #(
      .ADDRESS_BITS(17)
  ) slave (
      .hold(input_planning || output_planning),
      .*
  );

  logic tags;
  logic [15:0] aligned;

  always_ff @(posedge clk)
    if (!resetn) tags <= 1'b0;
    else if (write && write_known && write_address[16] && write_address[6:2] == 5'h09 && write_strobe[0])
      tags <= write_data[0];

  always_comb begin
    unique case (read_address[6:2])
      5'h10: constant = MAGIC;
      5'h11: constant = VERSION;
      5'h09: constant = {31'b0, tags && read_address[16]};
      5'h0A: constant = read_address[16] ? QUIET : '0;
      5'h17: constant = read_address[16] ? 32'(aligned) : '0;
      default: constant = '0;
    endcase
    for (int unsigned i = 0; i < 8; i++) if (read_address[6:2] == 5'(24 + i)) constant = HASH[255-32*i-:32];
  end

  always_ff @(posedge clk) begin
    constant_word <= constant;
    read_data     <= read_known ? constant_word | (read_address[16] ? output_word : input_word) : '0;
  end

  //-- Input ----------------------------------------------------------------------------------------------------------
  logic input_go, input_ended, input_failed;
  logic [63:0] input_address;
  logic [BEAT_BITS-1:0] input_last_beat;
  logic [BYTE_BITS-1:0] input_last_byte;
  logic [ADDRESS_BITS-1:0] input_place, araddr;
  logic read_valid, read_ready;

  dma_control #(
      .BUS_BYTES(BUS_BYTES), .ADDRESS_BITS(ADDRESS_BITS), .FRAME_BYTES(IN_FRAME_BYTES)
  ) input_control (
      .clk(clk), .resetn(resetn), .tags(1'b0),
      .write(write && write_known && !write_address[16]), .write_index(write_address[6:2]),
      .write_data(write_data), .write_strobe(write_strobe),
      .read(read && read_known && !read_address[16]), .read_index(read_address[6:2]), .read_data(input_word),
      .planning(input_planning), .go(input_go), .address(input_address),
      .last_beat(input_last_beat), .last_byte(input_last_byte),
      .ended(input_ended), .failed(input_failed), .place(input_place)
  );

  dma_read #(
      .BUS_BYTES(BUS_BYTES), .ADDRESS_BITS(ADDRESS_BITS), .BURST_BEATS(BURST_BEATS), .WORD_BYTES(IN_WORD_BYTES)
  ) reader (
      .clk(clk), .resetn(resetn),
      .planning(input_planning), .go(input_go), .address(input_address[ADDRESS_BITS-1:0]),
      .last_beat(input_last_beat), .last_byte(input_last_byte),
      .ended(input_ended), .failed(input_failed), .place(input_place),
      .araddr(araddr), .arlen(m_axi_arlen), .arvalid(m_axi_arvalid), .arready(m_axi_arready),
      .rdata(m_axi_rdata), .rresp(m_axi_rresp), .rvalid(m_axi_rvalid), .rready(m_axi_rready),
      .out_data(in_data), .out_valid(read_valid), .out_ready(read_ready)
  );
  assign m_axi_araddr = 64'(araddr);

  //-- Output ---------------------------------------------------------------------------------------------------------
  logic output_go, output_ended, output_failed;
  logic [63:0] output_address;
  logic [BEAT_BITS-1:0] output_last_beat;
  logic [BYTE_BITS-1:0] output_last_byte;
  logic [ADDRESS_BITS-1:0] output_place, awaddr;
  logic [8*OUT_WORD_BYTES-1:0] write_word;
  logic write_valid, write_ready;

  dma_control #(
      .BUS_BYTES(BUS_BYTES), .ADDRESS_BITS(ADDRESS_BITS), .FRAME_BYTES(OUT_FRAME_BYTES),
      .TAG_BYTES((4 + OUT_WORD_BYTES - 1) / OUT_WORD_BYTES * OUT_WORD_BYTES)
  ) output_control (
      .clk(clk), .resetn(resetn), .tags(tags),
      .write(write && write_known && write_address[16]), .write_index(write_address[6:2]),
      .write_data(write_data), .write_strobe(write_strobe),
      .read(read && read_known && read_address[16]), .read_index(read_address[6:2]), .read_data(output_word),
      .planning(output_planning), .go(output_go), .address(output_address),
      .last_beat(output_last_beat), .last_byte(output_last_byte),
      .ended(output_ended), .failed(output_failed), .place(output_place)
  );

  dma_write #(
      .BUS_BYTES(BUS_BYTES), .ADDRESS_BITS(ADDRESS_BITS), .BURST_BEATS(BURST_BEATS), .WORD_BYTES(OUT_WORD_BYTES)
  ) writer (
      .clk(clk), .resetn(resetn),
      .planning(output_planning), .go(output_go), .address(output_address[ADDRESS_BITS-1:0]),
      .last_beat(output_last_beat), .last_byte(output_last_byte),
      .ended(output_ended), .failed(output_failed), .place(output_place),
      .awaddr(awaddr), .awlen(m_axi_awlen), .awvalid(m_axi_awvalid), .awready(m_axi_awready),
      .wdata(m_axi_wdata), .wstrb(m_axi_wstrb), .wlast(m_axi_wlast), .wvalid(m_axi_wvalid), .wready(m_axi_wready),
      .bresp(m_axi_bresp), .bvalid(m_axi_bvalid), .bready(m_axi_bready),
      .in_data(write_word), .in_valid(write_valid), .in_ready(write_ready)
  );
  assign m_axi_awaddr = 64'(awaddr);

  //-- Between them ---------------------------------------------------------------------------------------------------
  frame_tags #(
      .IN_WORD_BYTES(IN_WORD_BYTES), .IN_WORDS(IN_FRAME_BYTES / IN_WORD_BYTES),
      .OUT_WORD_BYTES(OUT_WORD_BYTES), .OUT_WORDS(OUT_FRAME_BYTES / OUT_WORD_BYTES), .QUIET(QUIET)
  ) frames (
      .clk(clk), .resetn(resetn), .enable(tags), .aligned(aligned),
      .in_data(in_data), .read_valid(read_valid), .read_ready(read_ready), .in_valid(in_valid), .in_ready(in_ready),
      .out_data(out_data), .out_valid(out_valid), .out_ready(out_ready),
      .write_data(write_word), .write_valid(write_valid), .write_ready(write_ready)
  );
endmodule
