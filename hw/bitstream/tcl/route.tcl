# From a placed to a routed checkpoint and its reports.
#
#   vivado -mode batch -source route.tcl -tclargs PLACE OUT
lassign $argv place out
open_checkpoint [file join $place placed.dcp]
route_design
if {[get_property SLACK [get_timing_paths -delay_type max -max_paths 1]] < 0} {
    phys_opt_design
}
source [file join [file dirname [file normalize [info script]]] results.tcl]
