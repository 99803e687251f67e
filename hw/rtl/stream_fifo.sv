// Holds up to DEPTH words, DEPTH >= 2; a word a cycle in and out at once.
//
// The last of them is the output register, so no path leads through: TDATA, TVALID and TREADY come from registers.
// DEPTH 2 is a register more, latency 1 cycle. Deeper ones keep the others in a RAM, "distributed", "block" or "ultra",
// which is read into the output register: latency 2.
module stream_fifo #(
    parameter  int unsigned DEPTH     = 2,
    parameter  int unsigned BITS      = 8,              // of a word
    parameter               RAM_STYLE = "distributed",
    localparam int unsigned TDATA     = 8 * ((BITS + 7) / 8)
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
  localparam int unsigned STORED = DEPTH - 1;  // besides the output register
  localparam int unsigned COUNT_BITS = $clog2(STORED + 1);
  localparam bit RAM = STORED > 1;

  logic [      BITS-1:0] word;
  logic [COUNT_BITS-1:0] count;  // words stored
  logic                  some;   // count != 0
  logic                  push, fetch, store, load;

  assign out0_V_TDATA = TDATA'(word);
  assign push         = in0_V_TVALID && in0_V_TREADY;
  assign fetch        = !out0_V_TVALID || out0_V_TREADY;
  assign load         = fetch && some;
  // Past the register, but not past a RAM, a word goes straight to the output; if the register is in use none comes.
  assign store        = push && (RAM || !fetch);

  always_ff @(posedge ap_clk) begin
    if (fetch) out0_V_TVALID <= some || (!RAM && push);
    if (store != load) begin
      count        <= store ? count + 1'b1 : count - 1'b1;
      some         <= store || count != COUNT_BITS'(1);
      in0_V_TREADY <= load || count != COUNT_BITS'(STORED - 1);
    end
    if (!ap_rst_n) begin
      out0_V_TVALID <= 1'b0;
      in0_V_TREADY  <= 1'b1;
      count         <= '0;
      some          <= 1'b0;
    end
  end

  if (RAM) begin : memory
    localparam int unsigned ADDRESS_BITS = $clog2(STORED);
    logic [ADDRESS_BITS-1:0] head, tail;
    (* ram_style = RAM_STYLE *) logic [BITS-1:0] ram[STORED];

    always_ff @(posedge ap_clk) begin
      if (store) ram[tail] <= in0_V_TDATA[BITS-1:0];
      if (store) tail <= tail == ADDRESS_BITS'(STORED - 1) ? '0 : tail + 1'b1;
      if (load) word <= ram[head];
      if (load) head <= head == ADDRESS_BITS'(STORED - 1) ? '0 : head + 1'b1;
      if (!ap_rst_n) begin
        head <= '0;
        tail <= '0;
      end
    end
  end else begin : register
    logic [BITS-1:0] spare;

    always_ff @(posedge ap_clk) begin
      if (store) spare <= in0_V_TDATA[BITS-1:0];
      if (fetch) word <= some ? spare : in0_V_TDATA[BITS-1:0];
    end
  end

`ifdef VERILATOR
  // For choosing DEPTH: the most words held, told at the end of a simulation.
  int unsigned level, most;
  assign level = 32'(count) + 32'(out0_V_TVALID);
  initial most = 0;
  always_ff @(posedge ap_clk) if (ap_rst_n && level > most) most <= level;
  final $display("fifo %m %0d", most);
`endif
endmodule
