# The timing of a routed design at another clock. No wire changes.
#
#   vivado -mode batch -source retime.tcl -tclargs ROUTE OUT PERIOD_NS
source [file join [file dirname [file normalize [info script]]] settings.tcl]
lassign $argv route out period_ns
open_checkpoint [file join $route routed.dcp]
set pins [get_pins [get_property SOURCE_PINS [get_clocks $clock_name]]]
create_clock -name $clock_name -period $period_ns $pins
source [file join [file dirname [file normalize [info script]]] results.tcl]
