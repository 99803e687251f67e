// `core` at the pins of the PS7.
module top;
  wire [63:0] to_logic, from_logic;
  wire [3:0] clocks, resets;
  wire clk;
  BUFG buffer (.I(clocks[0]), .O(clk));
  PS7 processor (.FCLKCLK(clocks), .FCLKRESETN(resets), .EMIOGPIOO(to_logic), .EMIOGPIOI(from_logic));
  core core (.FCLKCLK({3'b0, clk}), .FCLKRESETN(resets), .EMIOGPIOO(to_logic), .EMIOGPIOI(from_logic));
endmodule
