# A strict Tcl interpreter with Vivado's commands defined: what the flow relies on is modelled, all else is an error.
#
#   tclsh vivado.tcl SCRIPT ARGUMENTS...
#
# Commands with their options and operands: vivado_commands.tsv. IP with its properties, pins, interfaces and address
# segments: vivado_objects.tsv. The modules of the sources are read from the sources. Objects are "CLASS:NAME".
# MOCK_FMAX is the clock in MHz that the design reaches (1000 by default).

set here [file dirname [file normalize [info script]]]
set model [dict create project {} cells {} nets {} intf_nets {} ports {} assigned {} spaces {} state none top {} \
    files {} severity {} wrapper 0 generated 0 validated 0]

proc fail {message} {
    puts "ERROR: \[Mock 1-1\] $message"
    error $message
}

proc rows {name} {
    set file [open [file join $::here $name]]
    set lines [split [string trim [read $file]] "\n"]
    close $file
    return [lmap line [lrange $lines 1 end] {split $line "\t"}]
}

# Defines COMMAND, which takes its words apart as the table says and calls do_COMMAND OPTIONS OPERANDS.
foreach row [rows vivado_commands.tsv] {
    lassign $row command options operands
    dict set syntax $command [list $options {*}[split $operands -]]
    proc $command args "call $command \$args"
}

proc call {command words} {
    lassign [dict get $::syntax $command] options least most
    set given {}
    set operands {}
    for {set i 0} {$i < [llength $words]} {incr i} {
        set word [lindex $words $i]
        if {![regexp {^-[a-z_]+$} $word]} {
            lappend operands $word
        } elseif {"$word=" in $options} {
            incr i
            if {$i == [llength $words]} {fail "$command: $word has no value"}
            dict set given $word [lindex $words $i]
        } elseif {$word in $options} {
            dict set given $word 1
        } else {
            fail "$command: unknown option $word"
        }
    }
    if {[llength $operands] < $least || [llength $operands] > $most} {
        fail "$command: takes $least to $most operands, not [llength $operands]"
    }
    return [do_$command $given $operands]
}

proc option {given name {default {}}} {
    return [expr {[dict exists $given $name] ? [dict get $given $name] : $default}]
}

proc only {command given allowed} {
    foreach name [dict keys $given] {
        if {$name ni $allowed} {fail "$command: the model does not cover $name; extend it"}
    }
}

proc one {class object} {
    if {[llength $object] != 1 || ![string match $class:* $object]} {fail "one $class is wanted, not '$object'"}
    return [string range $object [string length $class:] end]
}

proc state {} {return [dict get $::model state]}

proc advance {from to command} {
    if {[state] ni $from} {fail "$command: wants a design that is [join $from { or }], not [state]"}
    dict set ::model state $to
}

# Projects and files

proc do_create_project {given operands} {
    only create_project $given {-part}
    if {[dict get $::model project] ne {}} {fail "create_project: a project is open"}
    lassign $operands name folder
    if {[file exists [file join $folder $name.xpr]]} {fail "create_project: $folder holds a project"}
    if {[option $given -part] eq {}} {fail "create_project: no part"}
    file mkdir $folder
    dict set ::model project [dict create name $name folder $folder part [option $given -part]]
}

proc do_add_files {given operands} {
    only add_files $given {-fileset -norecurse}
    if {[option $given -fileset] ne "sources_1"} {fail "add_files: no fileset [option $given -fileset]"}
    foreach path [concat {*}$operands] {
        if {![file isfile $path]} {fail "add_files: no file $path"}
        if {[file extension $path] ni {.v .sv}} {fail "add_files: $path is no source"}
        dict lappend ::model files [file normalize $path]
    }
}

proc do_read_mem {given operands} {
    foreach path [concat {*}$operands] {
        if {![file isfile $path]} {fail "read_mem: no file $path"}
    }
}

proc do_get_filesets {given operands} {
    if {$operands ne "sources_1"} {fail "get_filesets: no fileset '$operands'"}
    return fileset:sources_1
}

proc do_update_compile_order {given operands} {
    only update_compile_order $given {-fileset}
    if {[option $given -fileset] ne "sources_1"} {fail "update_compile_order: no fileset [option $given -fileset]"}
}

proc do_get_files {given operands} {
    if {$operands ne "fireflow.bd" || ![dict exists $::model design]} {fail "get_files: no file '$operands'"}
    return file:fireflow.bd
}

proc do_set_msg_config {given operands} {
    only set_msg_config $given {-id -new_severity}
    # UG835: the rules are the current project's.
    if {[dict get $::model project] eq {}} {fail "set_msg_config: no project"}
    if {[option $given -new_severity] ni {ERROR {CRITICAL WARNING} WARNING INFO STATUS}} {
        fail "set_msg_config: no severity '[option $given -new_severity]'"
    }
    dict set ::model severity [option $given -id] [option $given -new_severity]
}

# Modules in the sources. Interfaces as X_INTERFACE_INFO names them.

proc module {name} {
    foreach path [dict get $::model files] {
        set file [open $path]
        set text [read $file]
        close $file
        if {[regexp "(?:^|\n)\\s*module\\s+$name\\y" $text]} {return [list $path $text]}
    }
    fail "no source has a module $name"
}

proc module_cell {name} {
    lassign [module $name] path text
    if {[file extension $path] ne ".v"} {fail "create_bd_cell: the top of a module reference must be Verilog, not $path"}
    set cell [dict create reference $name pins {} interfaces {} config {} spaces {} segments {}]
    set text [string range $text [string first "module $name" $text] end]
    set header [string range $text 0 [string first ");\n" $text]]
    # Attributes stand on lines of their own, in front of their port.
    set marked {}
    foreach line [split $header "\n"] {
        if {[regexp {X_INTERFACE_INFO = "([\w.:]+) (\w+) (\w+)"} $line all type interface signal]} {
            set marked [list $type $interface $signal]
        }
        if {![regexp {^\s*(input|output)\s+(?:wire|reg)?\s*(?:\[[^\]]*\])?\s*(\w+)} $line all direction port]} continue
        if {$marked eq {}} {fail "$path: port $port is of no interface"}
        lassign $marked type interface signal
        set marked {}
        switch $type {
            xilinx.com:signal:clock:1.0 {dict set cell pins $port "in clock"}
            xilinx.com:signal:reset:1.0 {dict set cell pins $port "in reset"}
            xilinx.com:interface:aximm:1.0 {
                if {$signal ni {AWVALID ARVALID}} continue
                set mode [expr {$direction eq "output" ? "Master" : "Slave"}]
                dict set cell interfaces $interface "$mode xilinx.com:interface:aximm_rtl:1.0"
                if {$mode eq "Master"} {
                    dict set cell spaces $interface "$interface 0 0x10000000000000000"
                } else {
                    dict set cell segments $interface/reg0 "$interface 0x20000"
                }
            }
            default {fail "$path: no interface type $type"}
        }
    }
    if {![regexp {ASSOCIATED_BUSIF\s+([\w:]+)} $header all associated]} {fail "$path: no clock is associated with a bus"}
    foreach interface [dict keys [dict get $cell interfaces]] {
        if {$interface ni [split $associated :]} {fail "$path: no clock is associated with $interface"}
    }
    return $cell
}

# Block design

proc ip_cell {vlnv} {
    set cell [dict create ip $vlnv pins {} interfaces {} config {} legal {} actual {} spaces {} segments {}]
    foreach row [rows vivado_objects.tsv] {
        lassign $row ip kind name value when
        if {$ip ne $vlnv} continue
        if {$kind eq "config"} {
            dict set cell config $name [lindex $value 0]
            dict set cell legal $name [join [lrange $value 1 end]]
        }
    }
    if {![dict size [dict get $cell config]] && $vlnv ni [lmap row [rows vivado_objects.tsv] {lindex $row 0}]} {
        fail "create_bd_cell: no IP $vlnv"
    }
    return $cell
}

# What a cell has depends on its properties.
proc expand {name} {
    set cell [dict get $::model cells $name]
    if {[dict exists $cell reference]} {return $cell}
    foreach row [rows vivado_objects.tsv] {
        lassign $row ip kind object value when
        if {$ip ne [dict get $cell ip] || $kind eq "config"} continue
        if {[regexp {^(\w+)=(.+)$} $when all property wanted]} {
            if {[dict get $cell config $property] ne $wanted} continue
        } elseif {$when ne {}} {
            for {set i 0} {$i < [dict get $cell config $when]} {incr i} {
                dict set cell ${kind}s [format $object $i] $value
            }
            continue
        }
        dict set cell [expr {$kind eq "actual" ? "actual" : "${kind}s"}] $object $value
    }
    return $cell
}

proc edit {} {
    if {![dict exists $::model design]} {fail "no block design is open"}
    dict set ::model validated 0
}

proc do_create_bd_design {given operands} {
    only create_bd_design $given {}
    if {[dict get $::model project] eq {}} {fail "create_bd_design: no project"}
    dict set ::model design [lindex $operands 0]
}

proc do_create_bd_cell {given operands} {
    edit
    set name [lindex $operands 0]
    if {[dict exists $::model cells $name]} {fail "create_bd_cell: $name exists"}
    switch [option $given -type] {
        ip {
            only create_bd_cell $given {-type -vlnv}
            set cell [ip_cell [option $given -vlnv]]
        }
        module {
            only create_bd_cell $given {-type -reference}
            set cell [module_cell [option $given -reference]]
        }
        default {fail "create_bd_cell: no type '[option $given -type]'"}
    }
    dict set ::model cells $name $cell
    return cell:$name
}

proc do_get_bd_cells {given operands} {
    only get_bd_cells $given {}
    return [expr {[dict exists $::model cells $operands] ? "cell:$operands" : {}}]
}

proc member {kind path} {
    lassign [split $path /] cell name
    if {![dict exists $::model cells $cell]} {return {}}
    return [expr {[dict exists [expand $cell] $kind $name] ? $path : {}}]
}

# As in Vivado, a name that is not there gives an empty list and no error.
proc do_get_bd_pins {given operands} {
    only get_bd_pins $given {}
    set found [member pins [lindex $operands 0]]
    return [expr {$found eq {} ? {} : "pin:$found"}]
}

proc do_get_bd_intf_pins {given operands} {
    only get_bd_intf_pins $given {}
    set found [member interfaces [lindex $operands 0]]
    return [expr {$found eq {} ? {} : "interface:$found"}]
}

proc do_connect_bd_net {given operands} {
    edit
    only connect_bd_net $given {}
    set drivers {}
    set kinds {}
    foreach object $operands {
        set path [one pin $object]
        lassign [split $path /] cell name
        lassign [dict get [expand $cell] pins $name] direction kind
        if {$direction eq "out"} {lappend drivers $path} elseif {[dict exists $::model nets $path]} {
            fail "connect_bd_net: $path is connected"
        }
        dict set kinds $kind 1
    }
    if {[llength $drivers] != 1} {fail "connect_bd_net: one driver is wanted, not '$drivers'"}
    if {[dict size $kinds] != 1} {fail "connect_bd_net: clocks and resets are mixed at $drivers"}
    foreach object $operands {dict set ::model nets [one pin $object] $drivers}
}

proc do_create_bd_intf_port {given operands} {
    edit
    only create_bd_intf_port $given {-mode -vlnv}
    if {[option $given -mode] ne "Master"} {fail "create_bd_intf_port: the model covers masters only"}
    dict set ::model ports [lindex $operands 0] [option $given -vlnv]
    return port:[lindex $operands 0]
}

proc do_connect_bd_intf_net {given operands} {
    edit
    only connect_bd_intf_net $given {}
    set ends {}
    foreach object $operands {
        if {[string match port:* $object]} {
            set name [one port $object]
            set end [list /$name port [dict get $::model ports $name]]
        } else {
            set path [one interface $object]
            lassign [split $path /] cell name
            set end [list $path {*}[dict get [expand $cell] interfaces $name]]
        }
        if {[dict exists $::model intf_nets [lindex $end 0]]} {fail "connect_bd_intf_net: [lindex $end 0] is connected"}
        lappend ends $end
    }
    lassign $ends first second
    set modes [lsort [list [lindex $first 1] [lindex $second 1]]]
    if {$modes ni {{Master Slave} {Master port}}} {fail "connect_bd_intf_net: $modes do not fit: $ends"}
    if {[lindex $first 2] ne [lindex $second 2]} {fail "connect_bd_intf_net: types differ: $ends"}
    dict set ::model intf_nets [lindex $first 0] [lindex $second 0]
    dict set ::model intf_nets [lindex $second 0] [lindex $first 0]
}

proc do_get_bd_addr_spaces {given operands} {
    only get_bd_addr_spaces $given {-of_objects}
    if {[dict exists $given -of_objects]} {
        set operands [one interface [dict get $given -of_objects]]
    }
    set found [member spaces $operands]
    return [expr {$found eq {} ? {} : "space:$found"}]
}

proc do_get_bd_addr_segs {given operands} {
    only get_bd_addr_segs $given {-of_objects}
    if {[dict exists $given -of_objects]} {
        set path [one interface [dict get $given -of_objects]]
        lassign [split $path /] cell name
        return [lmap key [dict keys [dict get [expand $cell] segments] $name/*] {string cat segment:$cell/$key}]
    }
    set rest [lassign [split $operands /] cell]
    if {![dict exists $::model cells $cell]} {return {}}
    set key [join $rest /]
    return [expr {[dict exists [expand $cell] segments $key] ? "segment:$cell/$key" : {}}]
}

proc do_assign_bd_address {given operands} {
    edit
    only assign_bd_address $given {-offset -range -target_address_space}
    lassign [split [one space [option $given -target_address_space]] /] master name
    set rest [lassign [split [one segment $operands] /] slave]
    lassign [dict get [expand $master] spaces $name] from base size
    lassign [dict get [expand $slave] segments [join $rest /]] to most
    set offset [expr {[option $given -offset]}]
    set range [expr {[option $given -range]}]
    if {$range & ($range - 1) || $range < 4096} {fail "assign_bd_address: $range is no power of 2 from 4096"}
    if {$offset % $range} {fail "assign_bd_address: $offset is no multiple of $range"}
    if {$range > $most} {fail "assign_bd_address: $slave/[join $rest /] has $most bytes, not $range"}
    if {$offset < $base || $offset + $range > $base + $size} {fail "assign_bd_address: $offset is outside $master/$name"}
    # One crossbar lies between a master and a slave.
    set near [opposite $master/$from]
    set far [opposite $slave/$to]
    if {[file dirname $near] ne [file dirname $far] || [file dirname $near] ni {control memory}} {
        fail "assign_bd_address: no way from $master/$from to $slave/$to"
    }
    dict set ::model assigned $master/$from [list $slave/$to $offset $range]
}

proc opposite {path} {
    if {![dict exists $::model intf_nets $path]} {fail "$path is not connected"}
    return [dict get $::model intf_nets $path]
}

proc do_validate_bd_design {given operands} {
    foreach name [dict keys [dict get $::model cells]] {
        set cell [expand $name]
        dict for {pin kind} [dict get $cell pins] {
            if {[lindex $kind 0] eq "in" && ![dict exists $::model nets $name/$pin]} {fail "validate: $name/$pin is open"}
        }
        foreach interface [dict keys [dict get $cell interfaces]] {opposite $name/$interface}
        dict for {space where} [dict get $cell spaces] {
            if {![dict exists $::model assigned $name/[lindex $where 0]]} {fail "validate: $name/$space reaches nothing"}
        }
    }
    dict set ::model validated 1
}

proc do_save_bd_design {given operands} {
    if {![dict get $::model validated]} {fail "save_bd_design: the design is not valid"}
}

proc do_generate_target {given operands} {
    lassign $operands what object
    if {$what ne "all"} {fail "generate_target: no target $what"}
    one file $object
    if {![dict get $::model validated]} {fail "generate_target: the design is not valid"}
    if {![dict exists $::model checkpoint_mode] || [dict get $::model checkpoint_mode] ne "None"} {fail "generate_target: runs out of context are not modelled"}
    dict set ::model generated 1
    set project [dict get $::model project]
    set folder [file join [dict get $project folder] fireflow.gen sources_1 bd fireflow hw_handoff]
    file mkdir $folder
    set file [open [file join $folder fireflow.hwh] w]
    puts $file {<?xml version="1.0"?><EDKSYSTEM><MODULES><MODULE INSTANCE="ps"><MEMORYMAP>}
    dict for {from where} [dict get $::model assigned] {
        lassign $where to offset range
        if {![string match ps/* $from]} continue
        puts $file [format {<MEMRANGE INSTANCE="%s" BASEVALUE="0x%08X" HIGHVALUE="0x%08X" SLAVEBUSINTERFACE="%s"/>} \
            [file dirname $to] $offset [expr {$offset + $range - 1}] [file tail $to]]
    }
    puts $file {</MEMORYMAP></MODULE></MODULES></EDKSYSTEM>}
    close $file
}

proc do_make_wrapper {given operands} {
    only make_wrapper $given {-top -import}
    one file $operands
    if {![dict get $::model generated]} {fail "make_wrapper: nothing is generated"}
    dict set ::model wrapper 1
}

proc do_set_property {given operands} {
    only set_property $given {-dict}
    if {[dict exists $given -dict]} {
        if {[llength $operands] != 1} {fail "set_property: takes one operand with -dict, not $operands"}
        set pairs [dict get $given -dict]
        set object [lindex $operands 0]
    } else {
        if {[llength $operands] != 3} {fail "set_property: takes a name, a value and an object, not $operands"}
        set pairs [lrange $operands 0 1]
        set object [lindex $operands 2]
    }
    if {[llength $object] != 1} {fail "set_property: no object"}
    foreach {name value} $pairs {
        switch -glob $object {
            cell:* {set_config [one cell $object] $name $value}
            fileset:sources_1 {
                if {[string tolower $name] ne "top"} {fail "set_property: a fileset has no $name"}
                if {$value ne "fireflow_wrapper"} {module $value} elseif {![dict get $::model wrapper]} {
                    fail "set_property: no module $value"
                }
                dict set ::model top $value
            }
            file:fireflow.bd {
                if {[string tolower $name] ne "synth_checkpoint_mode"} {fail "set_property: a block design has no $name"}
                if {$value ni {None Singular Hierarchical}} {fail "set_property: no mode $value"}
                dict set ::model checkpoint_mode $value
            }
            default {fail "set_property: no object $object"}
        }
    }
}

proc set_config {name property value} {
    edit
    if {![regexp {^CONFIG\.(\w+)$} $property all key]} {fail "set_property: $property is no property of $name"}
    set cell [dict get $::model cells $name]
    if {![dict exists $cell config $key]} {fail "set_property: [dict get $cell ip] has no property $property"}
    set legal [dict get $cell legal $key]
    set right [expr {
        $legal eq "number" ? [string is double -strict $value] :
        $legal eq "count" ? ([string is integer -strict $value] && $value > 0) : ($value in [split $legal |])
    }]
    if {!$right} {fail "set_property: $property must be $legal, not $value"}
    dict set ::model cells $name config $key $value
}

proc do_get_property {given operands} {
    lassign $operands name object
    switch -glob $object {
        cell:* {
            set cell [expand [one cell $object]]
            regsub {^CONFIG\.} $name {} key
            if {![dict exists $cell actual $key]} {fail "get_property: [one cell $object] has no $name"}
            lassign [dict get $cell actual $key] asked pll
            set divisor [expr {max(1, round($pll / [dict get $cell config $asked]))}]
            return [format %.6f [expr {$pll / $divisor}]]
        }
        path:* {
            if {$name ne "SLACK"} {fail "get_property: the model covers SLACK only, not $name"}
            return [one path $object]
        }
        clock:* {
            if {$name ne "SOURCE_PINS"} {fail "get_property: the model covers SOURCE_PINS only, not $name"}
            return clock_source
        }
        default {fail "get_property: no object $object"}
    }
}

# Synthesis to bitstream. A checkpoint is a file with the state, part and clock.

proc message {id severity text} {
    if {[dict exists $::model severity $id]} {set severity [dict get $::model severity $id]}
    puts "$severity: \[$id\] $text"
    if {$severity eq "ERROR"} {error $text}
}

proc do_synth_design {given operands} {
    only synth_design $given {-top -part}
    set project [dict get $::model project]
    if {[option $given -part] ne [dict get $project part]} {fail "synth_design: another part than the project's"}
    if {[option $given -top] ne [dict get $::model top] || ![dict get $::model wrapper]} {
        fail "synth_design: no top [option $given -top]"
    }
    # $readmemh looks in the folder in which Vivado was started.
    foreach path [dict get $::model files] {
        set file [open $path]
        set text [read $file]
        close $file
        # Names in full, and beginnings to which our kernels and FINN's thresholds add numbers.
        foreach {pattern ending} {
            {"([\w./]+\.(?:dat|hex))"} {}
            {\.IMAGE\("([\w./]+)"\)} _*.dat
            {THRESHOLDS_PATH = "([\w./]+)"} threshs_*.dat
        } {
            foreach {all name} [regexp -all -inline $pattern $text] {
                if {[llength [glob -nocomplain $name$ending]]} continue
                message {Synth 8-4445} {CRITICAL WARNING} "could not open \$readmem data file '$name$ending'; please make\
                    sure the file is added to project and has read permission, ignoring"
            }
        }
    }
    set cell [dict get $::model cells ps config]
    set key [expr {[dict exists $cell PSU__FPGA_PL0_ENABLE] ? "PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ" : "PCW_FPGA0_PERIPHERAL_FREQMHZ"}]
    dict set ::model clock [expr {[dict exists $cell PSU__FPGA_PL0_ENABLE] ? "clk_pl_0" : "clk_fpga_0"}]
    dict set ::model period [format %.3f [expr {1000.0 / [dict get $cell $key]}]]
    dict set ::model part [dict get $project part]
    puts "Starting Synthesize"
    dict set ::model state synthesized
}

proc do_write_checkpoint {given operands} {
    only write_checkpoint $given {-force}
    if {[state] eq "none"} {fail "write_checkpoint: no design"}
    set file [open [lindex $operands 0] w]
    puts $file [list [state] [dict get $::model part] [dict get $::model clock] [dict get $::model period]]
    close $file
}

proc do_open_checkpoint {given operands} {
    only open_checkpoint $given {}
    set path [lindex $operands 0]
    if {![file isfile $path]} {fail "open_checkpoint: no file $path"}
    set file [open $path]
    lassign [read $file] state part clock period
    close $file
    foreach name {state part clock period} {dict set ::model $name [set $name]}
}

proc do_opt_design {given operands} {advance synthesized optimized opt_design}
proc do_place_design {given operands} {
    puts "Phase 1 Placer Initialization"
    advance {synthesized optimized} placed place_design
}
proc do_phys_opt_design {given operands} {advance {placed routed} [state] phys_opt_design}
proc do_route_design {given operands} {
    puts "Phase 1 Build RT Design"
    advance placed routed route_design
}

proc slack {} {
    set fmax [expr {[info exists ::env(MOCK_FMAX)] ? $::env(MOCK_FMAX) : 1000.0}]
    return [format %.3f [expr {[dict get $::model period] - 1000.0 / $fmax}]]
}

proc do_get_timing_paths {given operands} {
    only get_timing_paths $given {-delay_type -max_paths}
    if {[option $given -delay_type] ni {max min min_max}} {fail "get_timing_paths: no type [option $given -delay_type]"}
    if {[state] eq "none"} {fail "get_timing_paths: no design"}
    return path:[slack]
}

proc do_get_clocks {given operands} {
    only get_clocks $given {}
    return [expr {$operands eq [dict get $::model clock] ? "clock:$operands" : {}}]
}

proc do_get_pins {given operands} {
    only get_pins $given {}
    return [expr {$operands eq "clock_source" ? "netpin:$operands" : {}}]
}

proc do_create_clock {given operands} {
    only create_clock $given {-name -period}
    one netpin $operands
    if {[option $given -name] ne [dict get $::model clock]} {fail "create_clock: a second clock on one pin"}
    if {![string is double -strict [option $given -period]]} {fail "create_clock: no period"}
    dict set ::model period [option $given -period]
}

proc report {command given states text} {
    only $command $given {-file}
    if {[state] ni $states} {fail "$command: wants a design that is [join $states { or }], not [state]"}
    set file [open [option $given -file] w]
    puts $file "| Tool Version : Vivado v.2023.2 (mock)\n| Design State : [state]\n"
    puts $file $text
    close $file
}

proc template {name} {
    set file [open [file join $::here reports $name]]
    set text [read $file]
    close $file
    return $text
}

proc do_report_timing_summary {given operands} {
    set failing [expr {[slack] < 0 ? 12 : 0}]
    set unclocked [expr {[info exists ::env(MOCK_UNCLOCKED)] ? $::env(MOCK_UNCLOCKED) : 0}]
    report report_timing_summary $given routed \
        [string map [list @SLACK@ [slack] @FAILING@ $failing @UNCLOCKED@ $unclocked] [template timing.rpt]]
}

proc do_report_route_status {given operands} {
    set errors [expr {[info exists ::env(MOCK_UNROUTED)] ? $::env(MOCK_UNROUTED) : 0}]
    report report_route_status $given routed \
        [string map [list @ERRORS@ $errors @ROUTED@ [expr {100 - $errors}]] [template route_status.rpt]]
}

proc do_report_utilization {given operands} {
    set family [expr {[string match xc7* [dict get $::model part]] ? "xc7" : "xcup"}]
    report report_utilization $given {synthesized placed routed} [template utilization_$family.rpt]
}

proc do_report_power {given operands} {
    report report_power $given routed [template power.rpt]
}

proc do_write_bitstream {given operands} {
    only write_bitstream $given {-force}
    if {[state] ne "routed"} {fail "write_bitstream: wants a design that is routed, not [state]"}
    regsub {^xc7} [dict get $::model part] 7 part
    set data [binary format H* 000900ff00ff00ff00ff000001]
    foreach {key text} [list a "fireflow_wrapper;Version=2023.2" b $part c 2026/01/01 d 00:00:00] {
        append data [binary format aSa*x $key [expr {[string length $text] + 1}] $text]
    }
    set file [open [lindex $operands 0] wb]
    puts -nonewline $file $data[binary format aIH16 e 8 aa99556620000000]
    close $file
}

set script [lindex $argv 0]
set argv [lrange $argv 1 end]
set argc [llength $argv]
if {[catch {uplevel #0 [list source $script]} message options]} {
    puts [dict get $options -errorinfo]
    exit 1
}
