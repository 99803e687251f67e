# From a synthesized to a placed checkpoint.
#
#   vivado -mode batch -source place.tcl -tclargs SYNTH OUT
lassign $argv synth out
open_checkpoint [file join $synth synth.dcp]
opt_design
place_design
phys_opt_design
write_checkpoint -force [file join $out placed.dcp]
report_utilization -file [file join $out utilization_placed.rpt]
