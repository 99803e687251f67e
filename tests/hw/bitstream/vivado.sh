#!/bin/sh
# Stands for `vivado` on the PATH: takes its command line, then runs the script in the strict interpreter.
# MOCK_VIVADO=KIND:SCRIPT makes that script fail, hang or be killed.
set -eu
script= version=0
while [ $# -gt 0 ]; do
    case $1 in
    -version) version=1 ;;
    -mode) shift; [ "$1" = batch ] ;;
    -notrace | -nojournal | -nolog) ;;
    -log) shift; exec >>"$1" ;;
    -source) shift; script=$1 ;;
    -tclargs) shift; break ;;
    *) echo "ERROR: [Common 17-301] unknown argument $1"; exit 1 ;;
    esac
    shift
done
if [ $version = 1 ]; then
    echo "vivado v${MOCK_VERSION:-2023.2} (64-bit)"
    exit 0
fi
case ${MOCK_VIVADO:-} in
fail:$(basename "$script" .tcl))
    echo "INFO: [Common 17-1] 0 Errors encountered."
    echo "ERROR: [Place 30-640] Place Check : This design requires more DSPs cells than are available in the target device."
    exit 1 ;;
hang:$(basename "$script" .tcl)) exec sleep 600 ;;
kill:$(basename "$script" .tcl)) kill -KILL $$ ;;
esac
exec tclsh "$MOCK_MODEL" "$script" "$@"
