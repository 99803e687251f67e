// One step of the maximum over windows along one axis, combinational.
//
// SLOTS windows that are open at once keep the largest word of theirs so far, the newest in slot 0. A step takes the
// word at one position: every open window takes it in, and a window that starts here begins with it.
module window_max #(
    parameter  int unsigned LANES     = 1,
    parameter  int unsigned ELEM_BITS = 8,
    parameter  bit          SIGNED    = 0,
    parameter  int unsigned SLOTS     = 1,
    parameter  int          END_SLOT  = 0,  // of the window that ends here; -1: it starts here too
    parameter  int          LAST_SLOT = 0,  // the same at the last position, where a window may be cut
    localparam int unsigned BITS      = LANES * ELEM_BITS
) (
    input  logic                  first,   // position 0: what the slots hold is old
    input  logic                  last,    // last position
    input  logic                  starts,  // a window starts here
    input  logic [      BITS-1:0] word,
    input  logic [SLOTS*BITS-1:0] slots,
    output logic [SLOTS*BITS-1:0] next_slots,
    output logic [      BITS-1:0] largest  // of the window that ends here, if one does
);
  // Flipping the sign bits makes the order of signed numbers that of unsigned ones.
  localparam logic [ELEM_BITS-1:0] FLIP = ELEM_BITS'(SIGNED) << (ELEM_BITS - 1);

  logic [SLOTS*BITS-1:0] updated;

  for (genvar s = 0; s < SLOTS; s++) begin : slot
    for (genvar i = 0; i < LANES; i++) begin : lane
      logic [ELEM_BITS-1:0] old, now;
      assign old = slots[s*BITS+i*ELEM_BITS+:ELEM_BITS];
      assign now = word[i*ELEM_BITS+:ELEM_BITS];
      assign updated[s*BITS+i*ELEM_BITS+:ELEM_BITS] = !first && (old ^ FLIP) > (now ^ FLIP) ? old : now;
    end
  end

  // Slot -1, in front of the newest, is the word itself: what a window is given that starts here, and the maximum of
  // one that ends where it starts.
  logic [(SLOTS+1)*BITS-1:0] with_word;
  assign with_word  = {updated, word};
  assign next_slots = starts ? with_word[0+:SLOTS*BITS] : updated;
  assign largest    = last ? with_word[(LAST_SLOT+1)*BITS+:BITS] : with_word[(END_SLOT+1)*BITS+:BITS];
endmodule
