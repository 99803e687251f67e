// What FINN's mvu.sv computes, cycle by cycle, for simulation only: plain products in place of packed DSPs.
//
// FINN's module (and its adder trees) makes C++ that grows with PE * SIMD and takes minutes to compile; a whole network
// of them is out of reach. This module has its name, parameters and ports, gives the same word in the same cycle
// (tests/hw/rtl/test_mvu_model.py compares the two), and is never synthesized.
module mvu #(
	int unsigned  VERSION = 1,

	int unsigned  PE,
	int unsigned  SIMD,
	int unsigned  WEIGHT_WIDTH,
	int unsigned  ACTIVATION_WIDTH,
	int unsigned  ACCU_WIDTH,

	bit  SIGNED_ACTIVATIONS = 0,
	bit  NARROW_WEIGHTS   = 0,
	bit  FORCE_BEHAVIORAL = 0
)(
	input	logic  clk,
	input	logic  rst,
	input	logic  en,

	input	logic  last,
	input	logic  zero,
	input	logic signed [PE-1:0][SIMD-1:0][WEIGHT_WIDTH    -1:0]  w,
	input	logic                [SIMD-1:0][ACTIVATION_WIDTH-1:0]  a,

	output	logic  vld,
	output	logic signed [PE-1:0][ACCU_WIDTH-1:0]  p
);
	localparam int unsigned  PIPELINE_DEPTH = 3 + $clog2(SIMD) + (SIMD == 1) + 1;

	// Every result on its way holds a place: one per stage, as many as can be in flight.
	localparam int unsigned  PLACES = 2**$clog2(PIPELINE_DEPTH + 1);
	logic [PIPELINE_DEPTH-1:0]  InFlight = '0;
	logic [$clog2(PLACES)-1:0]  Write = '0;
	logic [$clog2(PLACES)-1:0]  Read  = '0;
	logic [PE*ACCU_WIDTH-1:0]  Results[PLACES];
	int  Acc[PE];  // the accumulators of a 4-bit network have 16 bits or so; see the check

	initial begin
		if(ACCU_WIDTH > 32)  $fatal(1, "%m: ACCU_WIDTH=%0d must be at most 32 in simulation.", ACCU_WIDTH);
	end

	int  act[SIMD];
	always_comb begin
		/* verilator unroll_disable */
		for(int unsigned  s = 0; s < SIMD; s++) begin
			act[s] = SIGNED_ACTIVATIONS? int'($signed(a[s])) : int'($unsigned(a[s]));
		end
	end

	always_ff @(posedge clk) begin
		if(rst) begin
			InFlight <= '0;
			Write <= '0;
			Read  <= '0;
			/* verilator unroll_disable */
			for(int unsigned  pe = 0; pe < PE; pe++)  Acc[pe] <= 0;
		end
		else if(en) begin
			InFlight <= PIPELINE_DEPTH'({ InFlight, last });
			if(vld)  Read <= Read + 1;
			if(!zero) begin
				/* verilator unroll_disable */
				for(int unsigned  pe = 0; pe < PE; pe++) begin
					automatic int  sum = Acc[pe];
					/* verilator unroll_disable */
					for(int unsigned  s = 0; s < SIMD; s++)  sum += act[s] * int'($signed(w[pe][s]));
					Acc[pe] <= last? 0 : sum;
					if(last)  Results[Write][pe*ACCU_WIDTH +: ACCU_WIDTH] <= sum[ACCU_WIDTH-1:0];
				end
				if(last)  Write <= Write + 1;
			end
		end
	end
	assign	vld = InFlight[PIPELINE_DEPTH-1];
	assign	p = Results[Read];

endmodule : mvu
