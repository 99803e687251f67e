// From an AXI3 master, such as a Zynq's general-purpose port, to an AXI4-Lite slave: a burst becomes single accesses.
//
// Reads and writes go beside each other, one burst of each at a time. Data stay in their lanes: the sizes are up to
// 4 bytes.
module axi3_lite #(
    parameter int unsigned ID_BITS      = 12,
    parameter int unsigned ADDRESS_BITS = 17
) (
    input logic clk,
    input logic resetn,

    input  logic [     ID_BITS-1:0] s_axi_awid,
    input  logic [ADDRESS_BITS-1:0] s_axi_awaddr,
    input  logic [             3:0] s_axi_awlen,
    input  logic [             1:0] s_axi_awsize,
    input  logic [             1:0] s_axi_awburst,
    input  logic                    s_axi_awvalid,
    output logic                    s_axi_awready,
    input  logic [            31:0] s_axi_wdata,
    input  logic [             3:0] s_axi_wstrb,
    input  logic                    s_axi_wvalid,
    output logic                    s_axi_wready,
    output logic [     ID_BITS-1:0] s_axi_bid,
    output logic [             1:0] s_axi_bresp,
    output logic                    s_axi_bvalid,
    input  logic                    s_axi_bready,
    input  logic [     ID_BITS-1:0] s_axi_arid,
    input  logic [ADDRESS_BITS-1:0] s_axi_araddr,
    input  logic [             3:0] s_axi_arlen,
    input  logic [             1:0] s_axi_arsize,
    input  logic [             1:0] s_axi_arburst,
    input  logic                    s_axi_arvalid,
    output logic                    s_axi_arready,
    output logic [     ID_BITS-1:0] s_axi_rid,
    output logic [            31:0] s_axi_rdata,
    output logic [             1:0] s_axi_rresp,
    output logic                    s_axi_rlast,
    output logic                    s_axi_rvalid,
    input  logic                    s_axi_rready,

    output logic [ADDRESS_BITS-1:0] m_axi_awaddr,
    output logic                    m_axi_awvalid,
    input  logic                    m_axi_awready,
    output logic [            31:0] m_axi_wdata,
    output logic [             3:0] m_axi_wstrb,
    output logic                    m_axi_wvalid,
    input  logic                    m_axi_wready,
    input  logic [             1:0] m_axi_bresp,
    input  logic                    m_axi_bvalid,
    output logic                    m_axi_bready,
    output logic [ADDRESS_BITS-1:0] m_axi_araddr,
    output logic                    m_axi_arvalid,
    input  logic                    m_axi_arready,
    input  logic [            31:0] m_axi_rdata,
    input  logic [             1:0] m_axi_rresp,
    input  logic                    m_axi_rvalid,
    output logic                    m_axi_rready
);
  typedef enum logic [1:0] {WAIT, TAKE, PASS, ANSWER} state_t;

  //-- Writes ---------------------------------------------------------------------------------------------------------
  state_t write_state;
  logic [3:0] write_len, write_left;
  logic [1:0] write_size, write_burst;
  logic [ADDRESS_BITS-1:0] write_next;

  axi3_next_address #(
      .ADDRESS_BITS(ADDRESS_BITS)
  ) next_write (
      .clk, .address(m_axi_awaddr), .len(write_len), .size(write_size), .burst(write_burst), .next(write_next)
  );

  assign s_axi_awready = write_state == WAIT;
  assign s_axi_wready  = write_state == TAKE;
  assign s_axi_bvalid  = write_state == ANSWER;
  assign m_axi_bready  = write_state == PASS;

  always_ff @(posedge clk) begin
    unique case (write_state)
      WAIT:
      if (s_axi_awvalid) begin
        s_axi_bid    <= s_axi_awid;
        s_axi_bresp  <= '0;
        m_axi_awaddr <= s_axi_awaddr;
        write_len    <= s_axi_awlen;
        write_left   <= s_axi_awlen;
        write_size   <= s_axi_awsize;
        write_burst  <= s_axi_awburst;
        write_state  <= TAKE;
      end
      TAKE:
      if (s_axi_wvalid) begin
        m_axi_wdata   <= s_axi_wdata;
        m_axi_wstrb   <= s_axi_wstrb;
        m_axi_awvalid <= 1'b1;
        m_axi_wvalid  <= 1'b1;
        write_state   <= PASS;
      end
      PASS: begin
        if (m_axi_awready) m_axi_awvalid <= 1'b0;
        if (m_axi_wready) m_axi_wvalid <= 1'b0;
        if (m_axi_bvalid) begin
          if (m_axi_bresp != '0) s_axi_bresp <= m_axi_bresp;
          m_axi_awaddr <= write_next;  // no answer comes before the second cycle of PASS
          write_left   <= write_left - 1'b1;
          write_state  <= write_left == '0 ? ANSWER : TAKE;
        end
      end
      ANSWER: if (s_axi_bready) write_state <= WAIT;
    endcase
    if (!resetn) begin
      write_state   <= WAIT;
      m_axi_awvalid <= 1'b0;
      m_axi_wvalid  <= 1'b0;
    end
  end

  //-- Reads ----------------------------------------------------------------------------------------------------------
  state_t read_state;
  logic [3:0] read_len, read_left;
  logic [1:0] read_size, read_burst;
  logic [ADDRESS_BITS-1:0] read_next;

  axi3_next_address #(
      .ADDRESS_BITS(ADDRESS_BITS)
  ) next_read (
      .clk, .address(m_axi_araddr), .len(read_len), .size(read_size), .burst(read_burst), .next(read_next)
  );

  assign s_axi_arready = read_state == WAIT;
  assign m_axi_arvalid = read_state == TAKE;
  assign m_axi_rready  = read_state == PASS;
  assign s_axi_rvalid  = read_state == ANSWER;

  always_ff @(posedge clk) begin
    unique case (read_state)
      WAIT:
      if (s_axi_arvalid) begin
        s_axi_rid    <= s_axi_arid;
        m_axi_araddr <= s_axi_araddr;
        read_len     <= s_axi_arlen;
        read_left    <= s_axi_arlen;
        read_size    <= s_axi_arsize;
        read_burst   <= s_axi_arburst;
        read_state   <= TAKE;
      end
      TAKE: if (m_axi_arready) read_state <= PASS;
      PASS:
      if (m_axi_rvalid) begin
        s_axi_rdata  <= m_axi_rdata;
        s_axi_rresp  <= m_axi_rresp;
        s_axi_rlast  <= read_left == '0;
        read_state   <= ANSWER;
      end
      ANSWER:
      if (s_axi_rready) begin
        m_axi_araddr <= read_next;
        read_left    <= read_left - 1'b1;
        read_state   <= s_axi_rlast ? WAIT : TAKE;
      end
    endcase
    if (!resetn) read_state <= WAIT;
  end
endmodule

// The address of a burst's next beat, two cycles after the inputs settled: an address and a size that come from far do not
// have to pass two adders in one cycle. A burst that wraps has 2, 4, 8 or 16 beats and stays in its aligned block.
module axi3_next_address #(
    parameter int unsigned ADDRESS_BITS = 17
) (
    input logic clk,

    input  logic [ADDRESS_BITS-1:0] address,
    input  logic [             3:0] len,
    input  logic [             1:0] size,
    input  logic [             1:0] burst,
    output logic [ADDRESS_BITS-1:0] next
);
  localparam logic [1:0] FIXED = 2'b00, WRAP = 2'b10;
  logic [ADDRESS_BITS-1:0] step, block, after;

  always_ff @(posedge clk) begin
    step  <= ADDRESS_BITS'(1) << size;
    block <= ((ADDRESS_BITS'(len) + 1'b1) << size) - 1'b1;
    after <= (address & ~(step - 1'b1)) + step;
  end

  always_comb begin
    unique case (burst)
      FIXED: next = address;
      WRAP: next = (address & ~block) | (after & block);
      default: next = after;
    endcase
  end
endmodule
