// Block RAM. Source: AMD UG473 (7 Series FPGAs Memory Resources), chapter 1.
// Cascades of two and error correction are not here. Where one port writes what the other reads, that one gets the old word.

module RAMB18E1 #(
    parameter RAM_MODE = "TDP", WRITE_MODE_A = "WRITE_FIRST", WRITE_MODE_B = "WRITE_FIRST",
    parameter RSTREG_PRIORITY_A = "RSTREG", RSTREG_PRIORITY_B = "RSTREG",
    parameter int DOA_REG = 0, DOB_REG = 0, READ_WIDTH_A = 0, READ_WIDTH_B = 0, WRITE_WIDTH_A = 0, WRITE_WIDTH_B = 0,
    parameter bit [17:0] INIT_A = 0, INIT_B = 0, SRVAL_A = 0, SRVAL_B = 0,
    parameter bit IS_CLKARDCLK_INVERTED = 0, IS_CLKBWRCLK_INVERTED = 0, IS_ENARDEN_INVERTED = 0,
    parameter bit IS_ENBWREN_INVERTED = 0, IS_RSTRAMARSTRAM_INVERTED = 0, IS_RSTRAMB_INVERTED = 0,
    parameter bit IS_RSTREGARSTREG_INVERTED = 0, IS_RSTREGB_INVERTED = 0,
    parameter bit [255:0] INIT_00 = 0, INIT_01 = 0, INIT_02 = 0, INIT_03 = 0, INIT_04 = 0, INIT_05 = 0, INIT_06 = 0, INIT_07 = 0,
    parameter bit [255:0] INIT_08 = 0, INIT_09 = 0, INIT_0A = 0, INIT_0B = 0, INIT_0C = 0, INIT_0D = 0, INIT_0E = 0, INIT_0F = 0,
    parameter bit [255:0] INIT_10 = 0, INIT_11 = 0, INIT_12 = 0, INIT_13 = 0, INIT_14 = 0, INIT_15 = 0, INIT_16 = 0, INIT_17 = 0,
    parameter bit [255:0] INIT_18 = 0, INIT_19 = 0, INIT_1A = 0, INIT_1B = 0, INIT_1C = 0, INIT_1D = 0, INIT_1E = 0, INIT_1F = 0,
    parameter bit [255:0] INIT_20 = 0, INIT_21 = 0, INIT_22 = 0, INIT_23 = 0, INIT_24 = 0, INIT_25 = 0, INIT_26 = 0, INIT_27 = 0,
    parameter bit [255:0] INIT_28 = 0, INIT_29 = 0, INIT_2A = 0, INIT_2B = 0, INIT_2C = 0, INIT_2D = 0, INIT_2E = 0, INIT_2F = 0,
    parameter bit [255:0] INIT_30 = 0, INIT_31 = 0, INIT_32 = 0, INIT_33 = 0, INIT_34 = 0, INIT_35 = 0, INIT_36 = 0, INIT_37 = 0,
    parameter bit [255:0] INIT_38 = 0, INIT_39 = 0, INIT_3A = 0, INIT_3B = 0, INIT_3C = 0, INIT_3D = 0, INIT_3E = 0, INIT_3F = 0,
    parameter bit [255:0] INITP_00 = 0, INITP_01 = 0, INITP_02 = 0, INITP_03 = 0, INITP_04 = 0, INITP_05 = 0, INITP_06 = 0, INITP_07 = 0
) (
    input CLKARDCLK, CLKBWRCLK, ENARDEN, ENBWREN, REGCEAREGCE, REGCEB, RSTRAMARSTRAM, RSTRAMB, RSTREGARSTREG, RSTREGB,
    input [13:0] ADDRARDADDR, ADDRBWRADDR,
    input [15:0] DIADI, DIBDI,
    input [1:0] DIPADIP, DIPBDIP,
    input [1:0] WEA,
    input [3:0] WEBWE,
    output [15:0] DOADO, DOBDO,
    output [1:0] DOPADOP, DOPBDOP
);
  BLOCK_RAM #(
      .DATA_BITS(32), .RAM_MODE(RAM_MODE), .WRITE_MODE_A(WRITE_MODE_A), .WRITE_MODE_B(WRITE_MODE_B),
      .RSTREG_PRIORITY_A(RSTREG_PRIORITY_A), .RSTREG_PRIORITY_B(RSTREG_PRIORITY_B),
      .DOA_REG(DOA_REG), .DOB_REG(DOB_REG), .READ_WIDTH_A(READ_WIDTH_A), .READ_WIDTH_B(READ_WIDTH_B),
      .WRITE_WIDTH_A(WRITE_WIDTH_A), .WRITE_WIDTH_B(WRITE_WIDTH_B),
      .INIT_A(INIT_A), .INIT_B(INIT_B), .SRVAL_A(SRVAL_A), .SRVAL_B(SRVAL_B),
      .INIT({
          INIT_3F, INIT_3E, INIT_3D, INIT_3C, INIT_3B, INIT_3A, INIT_39, INIT_38,
          INIT_37, INIT_36, INIT_35, INIT_34, INIT_33, INIT_32, INIT_31, INIT_30,
          INIT_2F, INIT_2E, INIT_2D, INIT_2C, INIT_2B, INIT_2A, INIT_29, INIT_28,
          INIT_27, INIT_26, INIT_25, INIT_24, INIT_23, INIT_22, INIT_21, INIT_20,
          INIT_1F, INIT_1E, INIT_1D, INIT_1C, INIT_1B, INIT_1A, INIT_19, INIT_18,
          INIT_17, INIT_16, INIT_15, INIT_14, INIT_13, INIT_12, INIT_11, INIT_10,
          INIT_0F, INIT_0E, INIT_0D, INIT_0C, INIT_0B, INIT_0A, INIT_09, INIT_08,
          INIT_07, INIT_06, INIT_05, INIT_04, INIT_03, INIT_02, INIT_01, INIT_00
        }),
      .INITP({
          INITP_07, INITP_06, INITP_05, INITP_04, INITP_03, INITP_02, INITP_01, INITP_00
        })
  ) ram (
      .clk_a(CLKARDCLK ^ IS_CLKARDCLK_INVERTED), .clk_b(CLKBWRCLK ^ IS_CLKBWRCLK_INVERTED),
      .en_a(ENARDEN ^ IS_ENARDEN_INVERTED), .en_b(ENBWREN ^ IS_ENBWREN_INVERTED),
      .rst_ram_a(RSTRAMARSTRAM ^ IS_RSTRAMARSTRAM_INVERTED), .rst_ram_b(RSTRAMB ^ IS_RSTRAMB_INVERTED),
      .rst_reg_a(RSTREGARSTREG ^ IS_RSTREGARSTREG_INVERTED), .rst_reg_b(RSTREGB ^ IS_RSTREGB_INVERTED),
      .ce_reg_a(REGCEAREGCE), .ce_reg_b(REGCEB), .address_a(ADDRARDADDR[13:0]), .address_b(ADDRBWRADDR[13:0]),
      .we_a(WEA), .we_b(WEBWE), .di_a({DIPADIP, DIADI}), .di_b({DIPBDIP, DIBDI}),
      .do_a({DOPADOP, DOADO}), .do_b({DOPBDOP, DOBDO})
  );
endmodule

module RAMB36E1 #(
    parameter RAM_MODE = "TDP", WRITE_MODE_A = "WRITE_FIRST", WRITE_MODE_B = "WRITE_FIRST",
    parameter RSTREG_PRIORITY_A = "RSTREG", RSTREG_PRIORITY_B = "RSTREG",
    parameter int DOA_REG = 0, DOB_REG = 0, READ_WIDTH_A = 0, READ_WIDTH_B = 0, WRITE_WIDTH_A = 0, WRITE_WIDTH_B = 0,
    parameter bit [35:0] INIT_A = 0, INIT_B = 0, SRVAL_A = 0, SRVAL_B = 0,
    parameter bit IS_CLKARDCLK_INVERTED = 0, IS_CLKBWRCLK_INVERTED = 0, IS_ENARDEN_INVERTED = 0,
    parameter bit IS_ENBWREN_INVERTED = 0, IS_RSTRAMARSTRAM_INVERTED = 0, IS_RSTRAMB_INVERTED = 0,
    parameter bit IS_RSTREGARSTREG_INVERTED = 0, IS_RSTREGB_INVERTED = 0,
    parameter bit [255:0] INIT_00 = 0, INIT_01 = 0, INIT_02 = 0, INIT_03 = 0, INIT_04 = 0, INIT_05 = 0, INIT_06 = 0, INIT_07 = 0,
    parameter bit [255:0] INIT_08 = 0, INIT_09 = 0, INIT_0A = 0, INIT_0B = 0, INIT_0C = 0, INIT_0D = 0, INIT_0E = 0, INIT_0F = 0,
    parameter bit [255:0] INIT_10 = 0, INIT_11 = 0, INIT_12 = 0, INIT_13 = 0, INIT_14 = 0, INIT_15 = 0, INIT_16 = 0, INIT_17 = 0,
    parameter bit [255:0] INIT_18 = 0, INIT_19 = 0, INIT_1A = 0, INIT_1B = 0, INIT_1C = 0, INIT_1D = 0, INIT_1E = 0, INIT_1F = 0,
    parameter bit [255:0] INIT_20 = 0, INIT_21 = 0, INIT_22 = 0, INIT_23 = 0, INIT_24 = 0, INIT_25 = 0, INIT_26 = 0, INIT_27 = 0,
    parameter bit [255:0] INIT_28 = 0, INIT_29 = 0, INIT_2A = 0, INIT_2B = 0, INIT_2C = 0, INIT_2D = 0, INIT_2E = 0, INIT_2F = 0,
    parameter bit [255:0] INIT_30 = 0, INIT_31 = 0, INIT_32 = 0, INIT_33 = 0, INIT_34 = 0, INIT_35 = 0, INIT_36 = 0, INIT_37 = 0,
    parameter bit [255:0] INIT_38 = 0, INIT_39 = 0, INIT_3A = 0, INIT_3B = 0, INIT_3C = 0, INIT_3D = 0, INIT_3E = 0, INIT_3F = 0,
    parameter bit [255:0] INIT_40 = 0, INIT_41 = 0, INIT_42 = 0, INIT_43 = 0, INIT_44 = 0, INIT_45 = 0, INIT_46 = 0, INIT_47 = 0,
    parameter bit [255:0] INIT_48 = 0, INIT_49 = 0, INIT_4A = 0, INIT_4B = 0, INIT_4C = 0, INIT_4D = 0, INIT_4E = 0, INIT_4F = 0,
    parameter bit [255:0] INIT_50 = 0, INIT_51 = 0, INIT_52 = 0, INIT_53 = 0, INIT_54 = 0, INIT_55 = 0, INIT_56 = 0, INIT_57 = 0,
    parameter bit [255:0] INIT_58 = 0, INIT_59 = 0, INIT_5A = 0, INIT_5B = 0, INIT_5C = 0, INIT_5D = 0, INIT_5E = 0, INIT_5F = 0,
    parameter bit [255:0] INIT_60 = 0, INIT_61 = 0, INIT_62 = 0, INIT_63 = 0, INIT_64 = 0, INIT_65 = 0, INIT_66 = 0, INIT_67 = 0,
    parameter bit [255:0] INIT_68 = 0, INIT_69 = 0, INIT_6A = 0, INIT_6B = 0, INIT_6C = 0, INIT_6D = 0, INIT_6E = 0, INIT_6F = 0,
    parameter bit [255:0] INIT_70 = 0, INIT_71 = 0, INIT_72 = 0, INIT_73 = 0, INIT_74 = 0, INIT_75 = 0, INIT_76 = 0, INIT_77 = 0,
    parameter bit [255:0] INIT_78 = 0, INIT_79 = 0, INIT_7A = 0, INIT_7B = 0, INIT_7C = 0, INIT_7D = 0, INIT_7E = 0, INIT_7F = 0,
    parameter bit [255:0] INITP_00 = 0, INITP_01 = 0, INITP_02 = 0, INITP_03 = 0, INITP_04 = 0, INITP_05 = 0, INITP_06 = 0, INITP_07 = 0,
    parameter bit [255:0] INITP_08 = 0, INITP_09 = 0, INITP_0A = 0, INITP_0B = 0, INITP_0C = 0, INITP_0D = 0, INITP_0E = 0, INITP_0F = 0
) (
    input CLKARDCLK, CLKBWRCLK, ENARDEN, ENBWREN, REGCEAREGCE, REGCEB, RSTRAMARSTRAM, RSTRAMB, RSTREGARSTREG, RSTREGB,
    input [15:0] ADDRARDADDR, ADDRBWRADDR,
    input [31:0] DIADI, DIBDI,
    input [3:0] DIPADIP, DIPBDIP,
    input [3:0] WEA,
    input [7:0] WEBWE,
    output [31:0] DOADO, DOBDO,
    output [3:0] DOPADOP, DOPBDOP
);
  BLOCK_RAM #(
      .DATA_BITS(64), .RAM_MODE(RAM_MODE), .WRITE_MODE_A(WRITE_MODE_A), .WRITE_MODE_B(WRITE_MODE_B),
      .RSTREG_PRIORITY_A(RSTREG_PRIORITY_A), .RSTREG_PRIORITY_B(RSTREG_PRIORITY_B),
      .DOA_REG(DOA_REG), .DOB_REG(DOB_REG), .READ_WIDTH_A(READ_WIDTH_A), .READ_WIDTH_B(READ_WIDTH_B),
      .WRITE_WIDTH_A(WRITE_WIDTH_A), .WRITE_WIDTH_B(WRITE_WIDTH_B),
      .INIT_A(INIT_A), .INIT_B(INIT_B), .SRVAL_A(SRVAL_A), .SRVAL_B(SRVAL_B),
      .INIT({
          INIT_7F, INIT_7E, INIT_7D, INIT_7C, INIT_7B, INIT_7A, INIT_79, INIT_78,
          INIT_77, INIT_76, INIT_75, INIT_74, INIT_73, INIT_72, INIT_71, INIT_70,
          INIT_6F, INIT_6E, INIT_6D, INIT_6C, INIT_6B, INIT_6A, INIT_69, INIT_68,
          INIT_67, INIT_66, INIT_65, INIT_64, INIT_63, INIT_62, INIT_61, INIT_60,
          INIT_5F, INIT_5E, INIT_5D, INIT_5C, INIT_5B, INIT_5A, INIT_59, INIT_58,
          INIT_57, INIT_56, INIT_55, INIT_54, INIT_53, INIT_52, INIT_51, INIT_50,
          INIT_4F, INIT_4E, INIT_4D, INIT_4C, INIT_4B, INIT_4A, INIT_49, INIT_48,
          INIT_47, INIT_46, INIT_45, INIT_44, INIT_43, INIT_42, INIT_41, INIT_40,
          INIT_3F, INIT_3E, INIT_3D, INIT_3C, INIT_3B, INIT_3A, INIT_39, INIT_38,
          INIT_37, INIT_36, INIT_35, INIT_34, INIT_33, INIT_32, INIT_31, INIT_30,
          INIT_2F, INIT_2E, INIT_2D, INIT_2C, INIT_2B, INIT_2A, INIT_29, INIT_28,
          INIT_27, INIT_26, INIT_25, INIT_24, INIT_23, INIT_22, INIT_21, INIT_20,
          INIT_1F, INIT_1E, INIT_1D, INIT_1C, INIT_1B, INIT_1A, INIT_19, INIT_18,
          INIT_17, INIT_16, INIT_15, INIT_14, INIT_13, INIT_12, INIT_11, INIT_10,
          INIT_0F, INIT_0E, INIT_0D, INIT_0C, INIT_0B, INIT_0A, INIT_09, INIT_08,
          INIT_07, INIT_06, INIT_05, INIT_04, INIT_03, INIT_02, INIT_01, INIT_00
        }),
      .INITP({
          INITP_0F, INITP_0E, INITP_0D, INITP_0C, INITP_0B, INITP_0A, INITP_09, INITP_08,
          INITP_07, INITP_06, INITP_05, INITP_04, INITP_03, INITP_02, INITP_01, INITP_00
        })
  ) ram (
      .clk_a(CLKARDCLK ^ IS_CLKARDCLK_INVERTED), .clk_b(CLKBWRCLK ^ IS_CLKBWRCLK_INVERTED),
      .en_a(ENARDEN ^ IS_ENARDEN_INVERTED), .en_b(ENBWREN ^ IS_ENBWREN_INVERTED),
      .rst_ram_a(RSTRAMARSTRAM ^ IS_RSTRAMARSTRAM_INVERTED), .rst_ram_b(RSTRAMB ^ IS_RSTRAMB_INVERTED),
      .rst_reg_a(RSTREGARSTREG ^ IS_RSTREGARSTREG_INVERTED), .rst_reg_b(RSTREGB ^ IS_RSTREGB_INVERTED),
      .ce_reg_a(REGCEAREGCE), .ce_reg_b(REGCEB), .address_a(ADDRARDADDR[14:0]), .address_b(ADDRBWRADDR[14:0]),
      .we_a(WEA), .we_b(WEBWE), .di_a({DIPADIP, DIADI}), .di_b({DIPBDIP, DIBDI}),
      .do_a({DOPADOP, DOADO}), .do_b({DOPBDOP, DOBDO})
  );
endmodule

// 512 words of DATA_BITS bits with a parity bit for each byte, which ports narrower than a word take in parts.
module BLOCK_RAM #(
    parameter int DATA_BITS = 64,  // 64: RAMB36E1, 32: RAMB18E1
    parameter RAM_MODE = "TDP", WRITE_MODE_A = "WRITE_FIRST", WRITE_MODE_B = "WRITE_FIRST",
    parameter RSTREG_PRIORITY_A = "RSTREG", RSTREG_PRIORITY_B = "RSTREG",
    parameter int DOA_REG = 0, DOB_REG = 0, READ_WIDTH_A = 0, READ_WIDTH_B = 0, WRITE_WIDTH_A = 0, WRITE_WIDTH_B = 0,
    parameter int HALF = DATA_BITS / 2, PORT = HALF * 9 / 8, ADDRESS = 9 + $clog2(DATA_BITS),
    parameter bit [PORT-1:0] INIT_A = 0, INIT_B = 0, SRVAL_A = 0, SRVAL_B = 0,
    parameter bit [512*DATA_BITS-1:0] INIT = 0,
    parameter bit [64*DATA_BITS-1:0] INITP = 0
) (
    input clk_a, clk_b, en_a, en_b, rst_ram_a, rst_ram_b, rst_reg_a, rst_reg_b, ce_reg_a, ce_reg_b,
    input [ADDRESS-1:0] address_a, address_b,
    input [HALF/8-1:0] we_a,
    input [DATA_BITS/8-1:0] we_b,
    input [PORT-1:0] di_a, di_b,  // parity above data
    output [PORT-1:0] do_a, do_b
);
  localparam int BYTES = DATA_BITS / 8;
  localparam int SUB = $clog2(DATA_BITS);
  typedef logic [DATA_BITS-1:0] data_t;
  typedef logic [BYTES-1:0] parity_t;
  typedef logic [PORT-1:0] port_t;
  localparam bit WIDE_READ = RAM_MODE == "SDP" && READ_WIDTH_A == DATA_BITS * 9 / 8;
  localparam bit WIDE_WRITE = RAM_MODE == "SDP" && WRITE_WIDTH_B == DATA_BITS * 9 / 8;

  data_t data[512];
  parity_t parity[512];
  initial begin
    for (int i = 0; i < 512; i++) begin
      data[i]   = INIT[i*DATA_BITS+:DATA_BITS];
      parity[i] = INITP[i*BYTES+:BYTES];
    end
  end

  // The data bits of a port; those of width 9 and above have parity.
  function automatic int data_bits(int width);
    return width < 9 ? width : width * 8 / 9;
  endfunction
  function automatic logic [SUB-1:0] offset(logic [ADDRESS-1:0] address, int width);
    return address[SUB-1:0] & ~SUB'(data_bits(width) - 1);
  endfunction
  function automatic port_t read(data_t word, parity_t bits, logic [ADDRESS-1:0] address, int width);
    automatic logic [HALF-1:0] value = HALF'(word >> offset(address, width));
    automatic logic [HALF/8-1:0] extra = (HALF/8)'(bits >> (offset(address, width) >> 3));
    for (int i = 0; i < HALF; i++) if (i >= data_bits(width)) value[i] = 1'b0;
    for (int i = 0; i < HALF / 8; i++) if (width < 9 || i >= data_bits(width) / 8) extra[i] = 1'b0;
    return {extra, value};
  endfunction
  // Which bits a write changes.
  function automatic data_t mask(logic [BYTES-1:0] enables, logic [ADDRESS-1:0] address, int width);
    automatic data_t result = 0;
    for (int i = 0; i < DATA_BITS; i++) if (i < data_bits(width)) result[i] = enables[width < 9 ? 0 : i/8];
    return result << offset(address, width);
  endfunction
  function automatic parity_t parity_mask(logic [BYTES-1:0] enables, logic [ADDRESS-1:0] address, int width);
    automatic parity_t result = 0;
    for (int i = 0; i < BYTES; i++) if (width >= 9 && i < data_bits(width) / 8) result[i] = enables[i];
    return result << (offset(address, width) >> 3);
  endfunction

  wire [8:0] row_a = address_a[ADDRESS-1-:9];
  wire [8:0] row_b = address_b[ADDRESS-1-:9];
  data_t word_a, word_b, new_a, new_b, mask_a, mask_b;
  parity_t bits_a, bits_b, new_bits_a, new_bits_b, mask_bits_a, mask_bits_b;
  always_comb begin
    word_a = data[row_a];
    bits_a = parity[row_a];
    word_b = data[row_b];
    bits_b = parity[row_b];
    mask_a = RAM_MODE == "SDP" ? 0 : mask(BYTES'(we_a), address_a, WRITE_WIDTH_A);
    mask_bits_a = RAM_MODE == "SDP" ? 0 : parity_mask(BYTES'(we_a), address_a, WRITE_WIDTH_A);
    new_a = DATA_BITS'(di_a[HALF-1:0]) << offset(address_a, WRITE_WIDTH_A);
    new_bits_a = BYTES'(di_a[PORT-1:HALF]) << (offset(address_a, WRITE_WIDTH_A) >> 3);
    mask_b = mask(we_b, address_b, WRITE_WIDTH_B);
    mask_bits_b = parity_mask(we_b, address_b, WRITE_WIDTH_B);
    if (WIDE_WRITE) begin
      new_b = {di_b[HALF-1:0], di_a[HALF-1:0]};
      new_bits_b = {di_b[PORT-1:HALF], di_a[PORT-1:HALF]};
    end else begin
      new_b = DATA_BITS'(di_b[HALF-1:0]) << offset(address_b, WRITE_WIDTH_B);
      new_bits_b = BYTES'(di_b[PORT-1:HALF]) << (offset(address_b, WRITE_WIDTH_B) >> 3);
    end
  end
  wire writes_a = WRITE_WIDTH_A != 0 && |mask_a;
  wire writes_b = WRITE_WIDTH_B != 0 && |mask_b;
  always @(posedge clk_a) begin
    if (en_a && writes_a) begin
      data[row_a]   <= word_a & ~mask_a | new_a & mask_a;
      parity[row_a] <= bits_a & ~mask_bits_a | new_bits_a & mask_bits_a;
    end
  end
  always @(posedge clk_b) begin
    if (en_b && writes_b) begin
      data[row_b]   <= word_b & ~mask_b | new_b & mask_b;
      parity[row_b] <= bits_b & ~mask_bits_b | new_bits_b & mask_bits_b;
    end
  end

  // What a port that writes shows: the new word, the old one, or what it showed before.
  wire data_t seen_a = WRITE_MODE_A == "WRITE_FIRST" ? word_a & ~mask_a | new_a & mask_a : word_a;
  wire parity_t seen_bits_a = WRITE_MODE_A == "WRITE_FIRST" ? bits_a & ~mask_bits_a | new_bits_a & mask_bits_a : bits_a;
  wire data_t seen_b = WRITE_MODE_B == "WRITE_FIRST" ? word_b & ~mask_b | new_b & mask_b : word_b;
  wire parity_t seen_bits_b = WRITE_MODE_B == "WRITE_FIRST" ? bits_b & ~mask_bits_b | new_bits_b & mask_bits_b : bits_b;
  port_t latch_a = INIT_A, latch_b = INIT_B, register_a = INIT_A, register_b = INIT_B;
  always @(posedge clk_a) begin
    if (en_a) begin
      if (rst_ram_a) begin
        latch_a <= SRVAL_A;
        if (WIDE_READ) latch_b <= SRVAL_B;
      end else if (WIDE_READ) begin
        latch_a <= {bits_a[BYTES/2-1:0], word_a[HALF-1:0]};
        latch_b <= {bits_a[BYTES-1:BYTES/2], word_a[DATA_BITS-1:HALF]};
      end else if (READ_WIDTH_A != 0 && !(WRITE_MODE_A == "NO_CHANGE" && writes_a)) begin
        latch_a <= read(seen_a, seen_bits_a, address_a, READ_WIDTH_A);
      end
    end
    if (rst_reg_a && (ce_reg_a || RSTREG_PRIORITY_A == "RSTREG")) begin
      register_a <= SRVAL_A;
      if (WIDE_READ) register_b <= SRVAL_B;
    end else if (ce_reg_a) begin
      register_a <= latch_a;
      if (WIDE_READ) register_b <= latch_b;
    end
  end
  if (!WIDE_READ) begin : port_b
    always @(posedge clk_b) begin
      if (en_b) begin
        if (rst_ram_b) latch_b <= SRVAL_B;
        else if (READ_WIDTH_B != 0 && !(WRITE_MODE_B == "NO_CHANGE" && writes_b)) begin
          latch_b <= read(seen_b, seen_bits_b, address_b, READ_WIDTH_B);
        end
      end
      if (rst_reg_b && (ce_reg_b || RSTREG_PRIORITY_B == "RSTREG")) register_b <= SRVAL_B;
      else if (ce_reg_b) register_b <= latch_b;
    end
  end
  assign do_a = DOA_REG != 0 ? register_a : latch_a;
  assign do_b = (WIDE_READ ? DOA_REG : DOB_REG) != 0 ? register_b : latch_b;
endmodule
