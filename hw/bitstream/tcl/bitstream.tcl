# From a routed checkpoint to a bitstream; Vivado checks its design rules before it writes one.
#
#   vivado -mode batch -source bitstream.tcl -tclargs ROUTED OUT
lassign $argv routed out
open_checkpoint [file join $routed routed.dcp]
write_bitstream -force [file join $out fireflow.bit]
