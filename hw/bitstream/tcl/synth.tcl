# From the accelerator's sources to a synthesized checkpoint, with the processing system around it.
#
#   vivado -mode batch -source synth.tcl -tclargs OUT
#
# Runs in a copy of rtl/: $readmemh takes its files from the folder in which Vivado was started. OUT gets synth.dcp,
# fireflow.hwh and reports.
source [file join [file dirname [file normalize [info script]]] settings.tcl]
set out [file normalize [lindex $argv 0]]

proc pin {name} {
    set found [get_bd_pins $name]
    if {[llength $found] != 1} {error "the block design has no pin $name"}
    return $found
}

proc port {name} {
    set found [get_bd_intf_pins $name]
    if {[llength $found] != 1} {error "the block design has no interface $name"}
    return $found
}

create_project -part $part fireflow [file join $out project]
# Vivado only warns of a memory image that it does not find, and goes on with zeros.
set_msg_config -id {Synth 8-4445} -new_severity ERROR
add_files -fileset sources_1 -norecurse $sources
set images [glob -nocomplain *.dat]
if {[llength $images]} {read_mem $images}
set_property top $shell [get_filesets sources_1]
update_compile_order -fileset sources_1

create_bd_design fireflow
create_bd_cell -type ip -vlnv $ps_ip ps
set_property -dict $ps_config [get_bd_cells ps]
set actual_mhz [get_property $ps_clock_property [get_bd_cells ps]]
if {abs($actual_mhz - $clock_mhz) > 0.001 * $clock_mhz} {
    error "the processing system must give $clock_mhz MHz, not $actual_mhz MHz"
}
create_bd_cell -type module -reference $shell accelerator
create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset reset
foreach crossbar {control memory} {
    create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect $crossbar
    set_property -dict {CONFIG.NUM_SI 1 CONFIG.NUM_MI 1} [get_bd_cells $crossbar]
}

connect_bd_net [pin ps/$ps_clock] [pin ps/$ps_master_clock] [pin ps/$ps_slave_clock] \
    [pin reset/slowest_sync_clk] [pin control/aclk] [pin memory/aclk] [pin accelerator/clk]
connect_bd_net [pin ps/$ps_reset] [pin reset/ext_reset_in]
connect_bd_net [pin reset/peripheral_aresetn] [pin control/aresetn] [pin memory/aresetn] [pin accelerator/resetn]
connect_bd_intf_net [port ps/$ps_master] [port control/S00_AXI]
connect_bd_intf_net [port control/M00_AXI] [port accelerator/s_axi]
connect_bd_intf_net [port accelerator/m_axi] [port memory/S00_AXI]
connect_bd_intf_net [port memory/M00_AXI] [port ps/$ps_slave]
foreach {name vlnv} $ps_external {
    connect_bd_intf_net [create_bd_intf_port -mode Master -vlnv $vlnv $name] [port ps/$name]
}

assign_bd_address -offset $control_base -range $control_range \
    -target_address_space [get_bd_addr_spaces ps/Data] \
    [get_bd_addr_segs -of_objects [port accelerator/s_axi]]
assign_bd_address -offset 0x00000000 -range $memory_range \
    -target_address_space [get_bd_addr_spaces -of_objects [port accelerator/m_axi]] \
    [get_bd_addr_segs ps/$memory_segment]
validate_bd_design
save_bd_design

# One synthesis of everything: no runs of their own for the parts of the block design.
set design [get_files fireflow.bd]
set_property synth_checkpoint_mode None $design
generate_target all $design
make_wrapper -top -import $design
set_property top fireflow_wrapper [get_filesets sources_1]
update_compile_order -fileset sources_1

synth_design -top fireflow_wrapper -part $part
write_checkpoint -force [file join $out synth.dcp]
report_utilization -file [file join $out utilization_synth.rpt]

# Before 2020.2 generated files lay below .srcs.
set handoff [glob -directory [file join $out project] \
    {fireflow.{gen,srcs}/sources_1/bd/fireflow/hw_handoff/fireflow.hwh}]
file copy -force [lindex $handoff 0] [file join $out fireflow.hwh]
