// A memory of constants made of LUTs, read a cycle later.
`ifdef YOSYS
// Each bit of 64 words is a LUT, which Yosys finds only where nothing else is slower: so it maps this on its own.
(* keep_hierarchy *)
`endif
module lut_rom #(
    parameter  int unsigned DEPTH        = 64,
    parameter  int unsigned BITS         = 8,
    parameter               IMAGE        = "image",                      // of the file IMAGE_NUMBER.dat for $readmemh
    parameter  int unsigned NUMBER       = 0,
    localparam int unsigned ADDRESS_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  logic                    clk,
    input  logic [ADDRESS_BITS-1:0] address,
    output logic [        BITS-1:0] read
);
`ifdef YOSYS
  (* rom_style = "logic" *)  // its name for LUTs
`else
  (* rom_style = "distributed" *)
`endif
  logic [BITS-1:0] words[DEPTH];
  initial $readmemh($sformatf("%s_%0d.dat", IMAGE, NUMBER), words);
  always_ff @(posedge clk) read <= words[address];
endmodule
