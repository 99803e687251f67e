"""Readers of what other tools write: hardware descriptions, bitstreams, features, reports."""

from __future__ import annotations

from collections.abc import Sequence

from fireflow.hw.bitstream.errors import CheckError
from fireflow.hw.errors import InputError
from tests.fuzz.target import Target, as_file


def _hwh(data: bytes) -> object:
    from fireflow.host.devices.overlay import dma_addresses

    return dma_addresses(as_file("design.hwh", data))


def _hwh_seeds() -> Sequence[bytes]:
    from fireflow.hw.parts.boards import family_of
    from fireflow.hw.parts.description import render_hwh

    return tuple(
        render_hwh("net", 100.0, family_of(board).system).encode() for board in ("Pynq-Z2", "Ultra96")
    )


def _bit(data: bytes) -> object:
    from fireflow.host.devices.overlay import bit_data, bit_part

    return bit_part(data), bit_data(data)


def _bit_seeds() -> Sequence[bytes]:
    from fireflow.host.devices.overlay import bit_file

    return (bit_file("top", "xc7z020clg400", b"\xaa\x99\x55\x66" + bytes(24)),)


def _packets(data: bytes) -> object:
    from fireflow.hw.bitstream.recover.packets import body_words, register_writes

    _start, words = body_words(data, "design.bit")
    return [(register, len(payload)) for _place, register, payload in register_writes(words, "design.bit")]


def _packet_seeds() -> Sequence[bytes]:
    words = [0xAA995566, 0x20000000, 0x30008001, 7, 0x30004002, 1, 2, 0x50000003, 4, 5, 6, 0x30008001, 13]
    return (b"head" + b"".join(word.to_bytes(4, "big") for word in words),)


def _fasm(data: bytes) -> object:
    from fireflow.hw.bitstream.fasm import read_fasm

    return read_fasm(as_file("design.fasm", data))


def _fasm_seeds() -> Sequence[bytes]:
    return (
        b"# a line\nCLBLL_L_X2Y0.SLICEL_X0.ALUT.INIT[63:0] = 64'h00000000000000ff\nDSP_R_X9Y5.DSP48.MASK[2] = 1\n",
        b"INT_L_X0Y1.EE2BEG0.LOGIC_OUTS1\nBRAM_L_X6Y0.RAMB18_Y0.INIT_00[255:0] = 256'b1010\n",
    )


def _reports(data: bytes) -> object:
    from fireflow.hw.bitstream import vivado_reports as reports
    from fireflow.hw.bitstream.process import ToolError

    path, refused = as_file("report.rpt", data), []
    for read in (reports.read_timing, reports.read_utilization, reports.read_power_w, reports.check_routed):
        try:
            read(path)
        except ToolError as error:
            refused.append(str(error))
    if len(refused) == 4:
        raise InputError(refused[0])
    return refused


def _report_seeds() -> Sequence[bytes]:
    timing = "checking no_clock (0)\n| Design Timing Summary\n| ---\n\n  1.5 0.0 0 100 0.02 0.0 0 100 3.0 0.0 0 50\n"
    used = "".join(
        f"| {name} | 12 | 0 | 0 | 53200 | 1.0 |\n"
        for name in ("Slice LUTs", "Slice Registers", "Block RAM Tile", "DSPs")
    )
    nets = {"routable nets": 5, "fully routed nets": 5, "nets with routing errors": 0}
    routed = "".join(f"# of {name}......... : {count} :\n" for name, count in nets.items())
    return (timing.encode(), used.encode(), b"| Total On-Chip Power (W)  | 1.5 |\n", routed.encode())


TARGETS = [
    Target("hwh", _hwh, _hwh_seeds),
    Target("bit", _bit, _bit_seeds, refusals=(InputError, ValueError), weight=3),
    Target("packets", _packets, _packet_seeds, weight=3),
    Target("fasm", _fasm, _fasm_seeds, refusals=(InputError, CheckError), weight=3),
    Target("vivado reports", _reports, _report_seeds, weight=3),
]
