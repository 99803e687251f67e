# The routed design and its reports, in the folder `out`. Part of route.tcl and retime.tcl.
write_checkpoint -force [file join $out routed.dcp]
report_timing_summary -file [file join $out timing.rpt]
report_route_status -file [file join $out route_status.rpt]
report_utilization -file [file join $out utilization.rpt]
report_power -file [file join $out power.rpt]
