#!/bin/sh
# From these sources to out/bitstream/fireflow.bit, with Vivado 2021.1 or newer on the PATH (source its settings64.sh).
# A step that is done is not run again; run this again after a failure or an interruption.
set -eu
cd "$(dirname "$0")"
here=$PWD

step() { # NAME FOLDER ARGUMENTS...: runs NAME.tcl in FOLDER, or where it is empty in the folder of its results
    name=$1
    if [ -d "out/$name" ]; then
        echo "$name: done before"
        return
    fi
    echo "$name: runs, see out/$name.log"
    rm -rf "out/.$name"
    mkdir -p "out/.$name"
    where=out/.$name
    if [ -n "$2" ]; then
        where=out/.$name/$2
        cp -R "$2" "$where"
    fi
    shift 2
    (
        cd "$where"
        vivado -mode batch -notrace -nojournal -log "$here/out/$name.log" -source "$here/$name.tcl" -tclargs "$@"
    ) >/dev/null || {
        echo "$name: failed: $(grep -m 1 '^ERROR' "out/$name.log" || echo "see out/$name.log")" >&2
        exit 1
    }
    rm -rf "out/.$name/rtl" "out/.$name/project"
    cp key "out/.$name/key"
    mv "out/.$name" "out/$name"
}

step synth rtl "$here/out/.synth"
step place "" "$here/out/synth" "$here/out/.place"
step route "" "$here/out/place" "$here/out/.route"
step bitstream "" "$here/out/route" "$here/out/.bitstream"
grep -A 6 "Design Timing Summary" out/route/timing.rpt
echo "take this folder back, and add --vivado-results to the command that made it"
