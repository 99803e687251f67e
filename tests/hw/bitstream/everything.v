// One of each: counter with carry chain, multiply-accumulate, block RAM, memory of LUTs, resets of both kinds.
module core (
    input [3:0] FCLKCLK,
    input [3:0] FCLKRESETN,
    input [63:0] EMIOGPIOO,
    output [63:0] EMIOGPIOI
);
  wire clk = FCLKCLK[0];
  wire [63:0] o = EMIOGPIOO;

  reg [15:0] count = 16'h00F0;
  always @(posedge clk) if (!FCLKRESETN[0]) count <= 16'h0001; else if (o[0]) count <= count + o[16:1];

  reg flag = 1'b1;
  always @(posedge clk or negedge FCLKRESETN[1]) if (!FCLKRESETN[1]) flag <= 1'b0; else flag <= ~flag;

  // 48 bits of sum, of which the upper show whether the sign reaches the top.
  reg signed [24:0] a = 0;
  reg signed [15:0] b = 0;
  reg signed [47:0] sum = 0;
  always @(posedge clk) begin
    a <= o[24:0];
    b <= o[40:25];
    if (!FCLKRESETN[0]) sum <= 0; else if (o[41]) sum <= sum + a * b;
  end

  (* ram_style = "block" *) reg [17:0] table_of_18[0:1023];
  reg [17:0] word = 0;
  initial $readmemh("everything.hex", table_of_18);
  always @(posedge clk) begin
    if (o[42]) table_of_18[o[52:43]] <= o[17:0];
    word <= table_of_18[o[62:53]];
  end

  (* ram_style = "distributed" *) reg [5:0] table_of_6[0:31];
  integer i;
  initial for (i = 0; i < 32; i = i + 1) table_of_6[i] = 0;
  always @(posedge clk) if (o[63]) table_of_6[o[4:0]] <= o[10:5];

  wire [7:0] narrow = {flag, 1'b0, table_of_6[o[15:11]]};
  assign EMIOGPIOI = {o[18] ? sum[47:16] : {narrow, sum[23:0]}, o[19] ? word[17:2] : {14'd0, word[1:0]}, count};
endmodule
