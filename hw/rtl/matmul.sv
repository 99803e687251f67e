// A matrix product per pixel: out[r] = sum over c of weight[r][c] * in[c], exact in SUM_BITS. Activations are unsigned.
//
// A pixel's SF = MW / SIMD words are taken once and multiplied NF = MH / PE times, each time for PE other outputs, a word per
// cycle. Products are added along GROUPS chains of CHAIN multipliers each: position k works on a word k steps after position 0,
// from a ROM of its own whose address comes along. Nothing in the pipeline waits: a word that completes an output sets out
// only when the output queue has room for it.
module matmul #(
    parameter int unsigned MW          = 16,
    parameter int unsigned MH          = 16,
    parameter int unsigned PE          = 4,
    parameter int unsigned SIMD        = 4,
    parameter int unsigned WEIGHT_BITS = 4,
    parameter int unsigned ACT_BITS    = 4,
    parameter int unsigned SUM_BITS    = 12,             // of an output
    parameter int unsigned DSP         = 0,              // 0: LUTs multiply, 1: DSP48E1, 2: DSP48E2
    parameter int unsigned LANES       = 3,              // weights that share a DSP
    parameter int unsigned SPACING     = 11,             // bits between them
    parameter int unsigned CHAIN       = 4,              // divides SIMD
    parameter              RAM_STYLE   = "distributed",  // of the weights
    parameter              IMAGE       = "weights",      // files IMAGE_k.dat, k below CHAIN

    localparam int unsigned IN_TDATA  = 8 * ((SIMD * ACT_BITS + 7) / 8),
    localparam int unsigned OUT_TDATA = 8 * ((PE * SUM_BITS + 7) / 8)
) (
    input logic ap_clk,
    input logic ap_rst_n,

    input  logic [IN_TDATA-1:0] in0_V_TDATA,
    input  logic                in0_V_TVALID,
    output logic                in0_V_TREADY,

    output logic [OUT_TDATA-1:0] out0_V_TDATA,
    output logic                 out0_V_TVALID,
    input  logic                 out0_V_TREADY
);
  localparam int unsigned SF = MW / SIMD;
  localparam int unsigned NF = MH / PE;
  localparam int unsigned GROUPS = SIMD / CHAIN;
  localparam int unsigned DIGITS = (WEIGHT_BITS + 1) / 2;
  localparam int unsigned STEP = DSP != 0 ? 1 : DIGITS;      // cycles from a position of the chain to the next
  localparam int unsigned ROM_CYCLES = RAM_STYLE == "block" ? 2 : 1;  // a block RAM is fast only with its output register
  localparam int unsigned TRIPLE = DSP == 0 && DIGITS > 1 ? 1 : 0;    // a cycle for 3 * act
  localparam int unsigned LEVELS = $clog2(GROUPS);
  // Cycles from setting out to the end of the chain, through the adder tree, and to the accumulated sum.
  localparam int unsigned CHAIN_CYCLES = TRIPLE + ROM_CYCLES + (DSP != 0 ? CHAIN + 2 : CHAIN * DIGITS);
  localparam int unsigned CYCLES = CHAIN_CYCLES + LEVELS + 1;
  localparam int unsigned QUEUE = (CYCLES + 3) / SF + 2;  // enough that an output taken at once never makes a word wait

  //-- The words, in the order in which they are multiplied -----------------------------------------------------------
  logic issue;  // a word sets out
  logic first, last;  // of an output's words
  logic room;  // in the output queue, for one more
  logic [SIMD*ACT_BITS-1:0] word;  // a cycle later

  if (SF == 1) begin : single
    assign first = 1'b1;
    assign last  = 1'b1;
  end else begin : counted
    localparam int unsigned BITS = $clog2(SF);
    logic [BITS-1:0] count;
    always_ff @(posedge ap_clk) begin
      if (issue) begin
        count <= last ? '0 : count + 1'b1;
        first <= last;
        last  <= count == BITS'(SF - 2);
      end
      if (!ap_rst_n) begin
        count <= '0;
        first <= 1'b1;
        last  <= 1'b0;
      end
    end
  end

  if (NF == 1) begin : direct
    assign in0_V_TREADY = room || !last;
    assign issue        = in0_V_TVALID && in0_V_TREADY;
    always_ff @(posedge ap_clk) word <= in0_V_TDATA[SIMD*ACT_BITS-1:0];
  end else begin : replay
    // A ring of the words of two pixels: one is read NF times, and freed as it is read for the last time, while the
    // next comes in.
    localparam int unsigned BITS = SF > 16 ? 1 + $clog2(SF) : 5;
    localparam int unsigned ROUND_BITS = $clog2(NF);
    typedef logic [BITS:0] pointer_t;  // the upper bit tells a full ring from an empty one
    (* ram_style = "distributed" *) logic [SIMD*ACT_BITS-1:0] ring[2**BITS];
    pointer_t head, tail, free;
    logic [ROUND_BITS-1:0] round;
    logic last_round;

    assign in0_V_TREADY = (tail ^ free) != pointer_t'(1 << BITS);
    assign issue        = head != tail && (room || !last);

    always_ff @(posedge ap_clk) begin
      if (in0_V_TVALID && in0_V_TREADY) begin
        ring[tail[BITS-1:0]] <= in0_V_TDATA[SIMD*ACT_BITS-1:0];
        tail <= tail + 1'b1;
      end
      word <= ring[head[BITS-1:0]];
      if (issue) begin
        head <= last && !last_round ? head - pointer_t'(SF - 1) : head + 1'b1;
        if (last_round) free <= free + 1'b1;
        if (last) begin
          round      <= last_round ? '0 : round + 1'b1;
          last_round <= round == ROUND_BITS'(NF - 2);
        end
      end
      if (!ap_rst_n) begin
        head       <= '0;
        tail       <= '0;
        free       <= '0;
        round      <= '0;
        last_round <= 1'b0;
      end
    end
  end

  // What comes along with a word, by cycles since it set out.
  logic [CYCLES:1] valid_at, first_at, last_at;
  always_ff @(posedge ap_clk) begin
    valid_at <= {valid_at[CYCLES-1:1], issue};
    first_at <= {first_at[CYCLES-1:1], first};
    last_at  <= {last_at[CYCLES-1:1], last && issue};
    if (!ap_rst_n) begin
      valid_at <= '0;
      last_at  <= '0;
    end
  end

  //-- Weights: a ROM per position of the chain -----------------------------------------------------------------------
  localparam int unsigned DEPTH = NF * SF;
  localparam int unsigned ADDRESS_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam int unsigned DELAYS = TRIPLE + (CHAIN - 1) * STEP;
  logic [DELAYS:0][ADDRESS_BITS-1:0] address;  // by cycles since its word set out

  always_ff @(posedge ap_clk) begin
    if (issue) address[0] <= address[0] == ADDRESS_BITS'(DEPTH - 1) ? '0 : address[0] + 1'b1;
    if (!ap_rst_n) address[0] <= '0;
  end
  if (DELAYS > 0) begin : along
    always_ff @(posedge ap_clk) address[DELAYS:1] <= address[DELAYS-1:0];
  end

  logic [CHAIN-1:0][GROUPS-1:0][PE-1:0][WEIGHT_BITS-1:0] weight;
  for (genvar k = 0; k < CHAIN; k++) begin : rom
    localparam int unsigned BITS = GROUPS * PE * WEIGHT_BITS;
    if (RAM_STYLE == "distributed") begin : luts
      lut_rom #(
          .DEPTH(DEPTH), .BITS(BITS), .IMAGE(IMAGE), .NUMBER(k)
      ) words (
          .clk(ap_clk), .address(address[TRIPLE+k*STEP]), .read(weight[k])
      );
    end else begin : blocks
      (* rom_style = RAM_STYLE *) logic [BITS-1:0] words[DEPTH];
      logic [BITS-1:0] read;
      initial $readmemh($sformatf("%s_%0d.dat", IMAGE, k), words);
      always_ff @(posedge ap_clk) begin
        read      <= words[address[TRIPLE+k*STEP]];
        weight[k] <= read;
      end
    end
  end

  //-- Multiply, and add along the chains -----------------------------------------------------------------------------
  // A lane's sum is signed, and lacks the carry.
  localparam longint unsigned WORST = (longint'(1) << (WEIGHT_BITS - 1)) * ((longint'(1) << ACT_BITS) - 1);
  localparam int unsigned LUT_BITS = 1 + $clog2(WORST * CHAIN + 1);
  localparam int unsigned LANE_BITS = DSP == 0 ? LUT_BITS : SPACING < LUT_BITS ? SPACING : LUT_BITS;
  logic [GROUPS-1:0][PE-1:0][LANE_BITS-1:0] lane;
  logic [GROUPS-1:0][PE-1:0] carry;

  for (genvar g = 0; g < GROUPS; g++) begin : groups
    logic [CHAIN-1:0][ACT_BITS-1:0] act, act_before;  // when the position's ROM gives the weights; a cycle earlier
    for (genvar k = 0; k < CHAIN; k++) begin : acts
      localparam int unsigned WAIT = k * STEP + ROM_CYCLES + TRIPLE - 1;
      wire [ACT_BITS-1:0] start = word[(g*CHAIN+k)*ACT_BITS+:ACT_BITS];
      if (WAIT == 0) begin : now
        assign act[k]        = start;
        assign act_before[k] = 'x;
      end else begin : later
        logic [WAIT-1:0][ACT_BITS-1:0] waiting;
        wire [WAIT:0][ACT_BITS-1:0] line = {waiting, start};
        always_ff @(posedge ap_clk) waiting <= line[WAIT-1:0];
        assign act[k]        = line[WAIT];
        assign act_before[k] = line[WAIT-1];
      end
    end

    if (DSP != 0) begin : dsp
      for (genvar base = 0; base < PE; base += LANES) begin : packs
        localparam int unsigned USED = PE - base < LANES ? PE - base : LANES;
        logic [CHAIN:0][47:0] cascade;
        logic [CHAIN-1:0][47:0] sum;
        assign cascade[0] = '0;
        for (genvar k = 0; k < CHAIN; k++) begin : positions
          multiply_dsp #(
              .VERSION(DSP), .LANES(USED), .SPACING(SPACING), .WEIGHT_BITS(WEIGHT_BITS), .ACT_BITS(ACT_BITS), .FIRST(k == 0)
          ) multiplier (
              .clk(ap_clk), .weight(weight[k][g][base+:USED]), .act(act[k]),
              .pcin(cascade[k]), .pcout(cascade[k+1]), .p(sum[k])
          );
        end
        for (genvar l = 0; l < USED; l++) begin : lanes
          assign lane[g][base+l] = sum[CHAIN-1][SPACING*l+:LANE_BITS];
          if (l == 0) assign carry[g][base+l] = 1'b0;
          else assign carry[g][base+l] = sum[CHAIN-1][SPACING*l-1];
        end
      end
    end else begin : lut
      // Digit d of a weight is added d cycles after digit 0.
      logic [CHAIN-1:0][DIGITS-1:0][ACT_BITS-1:0] act_digit;
      logic [CHAIN-1:0][DIGITS-1:0][ACT_BITS+1:0] act3_digit;
      for (genvar k = 0; k < CHAIN; k++) begin : multiples
        logic [ACT_BITS+1:0] act3;
        always_ff @(posedge ap_clk) act3 <= {2'b0, act_before[k]} + {1'b0, act_before[k], 1'b0};
        assign act_digit[k][0]  = act[k];
        assign act3_digit[k][0] = act3;
        for (genvar d = 1; d < DIGITS; d++) begin : digits
          always_ff @(posedge ap_clk) begin
            act_digit[k][d]  <= act_digit[k][d-1];
            act3_digit[k][d] <= act3_digit[k][d-1];
          end
        end
      end

      for (genvar p = 0; p < PE; p++) begin : outputs
        logic signed [CHAIN:0][LUT_BITS-1:0] sum;
        assign sum[0] = '0;
        for (genvar k = 0; k < CHAIN; k++) begin : positions
          // What a sum of k products needs.
          localparam int unsigned IN_BITS = k == 0 ? 1 : 1 + $clog2(WORST * k + 1);
          localparam int unsigned OUT_BITS = 1 + $clog2(WORST * (k + 1) + 1);
          logic [DIGITS-1:0][WEIGHT_BITS-1:0] own_weight;
          assign own_weight[0] = weight[k][g][p];
          for (genvar d = 1; d < DIGITS; d++) begin : digits
            always_ff @(posedge ap_clk) own_weight[d] <= own_weight[d-1];
          end
          logic signed [OUT_BITS-1:0] added;
          multiply_lut #(
              .WEIGHT_BITS(WEIGHT_BITS), .ACT_BITS(ACT_BITS), .IN_BITS(IN_BITS), .OUT_BITS(OUT_BITS), .FIRST(k == 0)
          ) multiplier (
              .clk(ap_clk), .weight(own_weight), .act(act_digit[k]), .act3(act3_digit[k]),
              .sum_in(sum[k][IN_BITS-1:0]), .sum_out(added)
          );
          assign sum[k+1] = LUT_BITS'(added);
        end
        assign lane[g][p]  = sum[CHAIN];
        assign carry[g][p] = 1'b0;
      end
    end
  end

  //-- Add the chains, accumulate over the words, queue ----------------------------------------------------------------
  logic [PE-1:0][SUM_BITS-1:0] total;
  for (genvar p = 0; p < PE; p++) begin : accumulators
    // A level halves the number of sums. Each sum has a carry to be added with it: an adder takes one in.
    localparam int unsigned BITS = LANE_BITS + LEVELS < SUM_BITS ? LANE_BITS + LEVELS : SUM_BITS;
    logic signed [LEVELS:0][GROUPS-1:0][BITS-1:0] sums;
    logic [LEVELS:0][GROUPS-1:0] carries;
    for (genvar g = 0; g < GROUPS; g++) begin : leaves
      assign sums[0][g]    = BITS'($signed(lane[g][p]));
      assign carries[0][g] = carry[g][p];
    end
    for (genvar level = 0; level < LEVELS; level++) begin : tree
      localparam int unsigned COUNT = (GROUPS + (1 << level) - 1) >> level;
      localparam int unsigned WIDTH = LANE_BITS + level + 1 < BITS ? LANE_BITS + level + 1 : BITS;
      for (genvar g = 0; g < (COUNT + 1) / 2; g++) begin : nodes
        if (2 * g + 1 < COUNT) begin : add
          wire [WIDTH-1:0] left = sums[level][2*g][WIDTH-1:0];
          wire [WIDTH-1:0] right = sums[level][2*g+1][WIDTH-1:0];
          wire [WIDTH:0] sum = {left, 1'b1} + {right, carries[level][2*g]};
          always_ff @(posedge ap_clk) begin
            sums[level+1][g]    <= BITS'($signed(sum[WIDTH:1]));
            carries[level+1][g] <= carries[level][2*g+1];
          end
        end else begin : pass
          always_ff @(posedge ap_clk) begin
            sums[level+1][g]    <= sums[level][2*g];
            carries[level+1][g] <= carries[level][2*g];
          end
        end
      end
    end

    wire [SUM_BITS-1:0] so_far = SF == 1 || first_at[CYCLES-1] ? '0 : total[p];
    wire [SUM_BITS-1:0] addend = SUM_BITS'($signed(sums[LEVELS][0]));
    wire [SUM_BITS:0] sum = {addend, 1'b1} + {so_far, carries[LEVELS][0]};
    always_ff @(posedge ap_clk) if (valid_at[CYCLES-1]) total[p] <= sum[SUM_BITS:1];
  end

  localparam int unsigned COUNT_BITS = $clog2(QUEUE + 1);
  logic [COUNT_BITS-1:0] promised;  // outputs that set out and did not leave the queue
  logic [COUNT_BITS-1:0] queued;
  // A RAM, not a shift register: Yosys makes flip-flops and multiplexers of one whose place to read varies.
  localparam int unsigned PLACE_BITS = $clog2(QUEUE);
  (* ram_style = "distributed" *) logic [PE*SUM_BITS-1:0] queue[2**PLACE_BITS];
  logic [PLACE_BITS-1:0] put, get;
  logic [PE*SUM_BITS-1:0] result;
  wire push = last_at[CYCLES];
  wire pop = queued != '0 && (!out0_V_TVALID || out0_V_TREADY);
  wire promise = issue && last;

  assign out0_V_TDATA = OUT_TDATA'(result);
  always_ff @(posedge ap_clk) begin
    if (push) begin
      queue[put] <= total;
      put <= put + 1'b1;
    end
    if (!out0_V_TVALID || out0_V_TREADY) begin
      result        <= queue[get];
      out0_V_TVALID <= queued != '0;
    end
    if (pop) get <= get + 1'b1;
    if (push != pop) queued <= push ? queued + 1'b1 : queued - 1'b1;
    if (promise != pop) begin
      promised <= promise ? promised + 1'b1 : promised - 1'b1;
      room     <= !promise || promised != COUNT_BITS'(QUEUE - 1);
    end
    if (!ap_rst_n) begin
      out0_V_TVALID <= 1'b0;
      queued        <= '0;
      put           <= '0;
      get           <= '0;
      promised      <= '0;
      room          <= 1'b1;
    end
  end
endmodule
