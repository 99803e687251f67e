"""FASM to frames on a device of three tiles, and what refuses a wrong netlist, clock or bitstream."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fireflow.hw.bitstream import checks, open_flow
from fireflow.hw.bitstream.errors import CheckError
from fireflow.hw.bitstream.fasm import Assembler, Feature, read_fasm, write_fasm, write_frames
from fireflow.hw.bitstream.recover import Database
from fireflow.hw.bitstream.routed import Routed
from fireflow.hw.bitstream.routed_verilog import verilog
from fireflow.hw.bitstream.toolchains.open_tools import OpenOptions
from fireflow.hw.errors import InputError
from tests.hw.bitstream.tiny_device import PART, write_device

TILE = "CLBLM_L_X2Y0"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    return Database(write_device(tmp_path_factory.mktemp("device")), PART)


def features(tmp_path: Path, text: str) -> list[Feature]:
    path = tmp_path / "design.fasm"
    path.write_text(text)
    return read_fasm(path)


def test_fasm_is_read_bit_by_bit(tmp_path: Path) -> None:
    text = """
# routing for net n
INT_L_X1Y0.TO_M_A1.FROM_PS7_EMIOGPIOO0
CLBLM_L_X2Y0.SLICEM_X0.ALUT.INIT[35:32] = 4'b1010  # two bits
CLBLM_L_X2Y0.SLICEM_X0.ALUT.INIT[7:0] = 8'h81
DSP_R_X25Y85.DSP48.DSP_0.ZPREG[0]
A_X0Y0.OFF = 0
"""
    found = features(tmp_path, text)
    assert [str(feature) for feature in found] == [
        "INT_L_X1Y0.TO_M_A1.FROM_PS7_EMIOGPIOO0",
        *(f"CLBLM_L_X2Y0.SLICEM_X0.ALUT.INIT[{bit}]" for bit in (33, 35, 0, 7)),
        "DSP_R_X25Y85.DSP48.DSP_0.ZPREG[0]",
    ]
    write_fasm(tmp_path / "again.fasm", found)
    assert read_fasm(tmp_path / "again.fasm") == found


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("what is this", r"design.fasm:1: not a feature: what is this"),
        ("A_X0Y0.B[1:0] = 2'b100", r"B\[1:0\] has fewer bits than its value"),
        ("A_X0Y0.B = 2", "B is one bit, and its value 2"),
    ],
)
def test_bad_fasm_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(CheckError, match=message):
        features(tmp_path, line)


def test_features_become_bits(tmp_path: Path, database: Database) -> None:
    text = f"""
{TILE}.SLICEM_X0.ALUT.INIT[33:32] = 2'b11
{TILE}.SLICEM_X0.AOUTMUX.O6
{TILE}.SLICEM_X0.NOCLKINV
INT_L_X1Y0.TO_PS7_EMIOGPIOI0.FROM_M_AMUX
INT_L_X1Y0.TO_M_A2.VCC_WIRE
"""
    frames = Assembler(database).assemble(features(tmp_path, text))
    assert set(frames) == {address for address in database.frame_addresses if address >= 0}
    wanted = {1: 0b11, 2: 0b11, 3: 1 << 5 | 1 << 6}
    for address, words in frames.items():
        assert_array_equal(words, [wanted.get(address, 0), *[0] * 100])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"{TILE}.SLICEM_X0.BLUT.INIT[0]",
            "1 features are not in prjxray's database, such as CLBLM_L_X2Y0.SLICEM_X0",
        ),
        (f"{TILE}.SLICEM_X0.ALUT.INIT[64]", "not in prjxray's database"),
        ("CLBLM_L_X9Y9.SLICEM_X0.NOCLKINV", "not in prjxray's database"),
        (
            f"{TILE}.SLICEM_X0.AOUTMUX.O5\n{TILE}.SLICEM_X0.AOUTMUX.O6",
            r"AOUTMUX.O6 sets a bit that .*AOUTMUX.O5 clears",
        ),
    ],
)
def test_what_the_database_does_not_allow(
    tmp_path: Path, database: Database, text: str, message: str
) -> None:
    with pytest.raises(CheckError, match=message):
        Assembler(database).assemble(features(tmp_path, text))


def test_frames_for_xc7frames2bit(tmp_path: Path) -> None:
    words = np.zeros(101, np.uint32)
    words[3] = 0xDEADBEEF
    write_frames(tmp_path / "frames", {0x400100: words, 0x20: words * 0})
    lines = (tmp_path / "frames").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["0x00000020", "0x00400100"]
    assert lines[1].split()[1].split(",")[3] == "0xDEADBEEF"
    assert len(lines[1].split(",")) == 101


def cell(kind: str, connections: Mapping[str, int], outputs: str = "O Q", **more: Any) -> dict[str, Any]:
    """A cell as nextpnr writes it, its ports under their own names."""
    attributes = {f"X_ORIG_PORT_{port}": port for port in connections}
    return {
        "type": kind,
        "parameters": more,
        "attributes": {"X_ORIG_TYPE": kind, "NEXTPNR_BEL": "X2Y0/SLICE_X0Y0.A6LUT", **attributes},
        "port_directions": {port: "output" if port in outputs.split() else "input" for port in connections},
        "connections": {port: [net] for port, net in connections.items()},
    }


def netlist(tmp_path: Path, cells: Mapping[str, Any], unrouted: tuple[int, ...] = ()) -> Routed:
    nets = {net for raw in cells.values() for bits in raw["connections"].values() for net in bits}
    names = {
        f"net{net}": {"bits": [net], "attributes": {"ROUTING": "" if net in unrouted else "a;b;1"}}
        for net in nets
    }
    path = tmp_path / "routed.json"
    path.write_text(json.dumps({"modules": {"top": {"cells": cells, "netnames": names}}}))
    return Routed(path)


LUT = cell("LUT2", {"I0": 1, "I1": 2, "O": 3}, INIT="1000")
FLIP_FLOPS = {
    "one": cell("FDRE", {"C": 4, "D": 3, "Q": 1}),
    "two": cell("FDSE", {"C": 4, "D": 1, "Q": 2}, INIT="1"),
    "clock": cell("BUFGCTRL", {"I0": 5, "O": 4}),
    "ps": cell("PS7", {"FCLKCLK[0]": 5, "EMIOGPIOI[0]": 2}, "FCLKCLK[0]"),
}


@pytest.mark.parametrize(
    ("kind", "content", "good"),
    [
        ("RAM32M", "00x0", True),
        ("RAM32M", "0100", False),
        ("SRL16E", "0001", False),
        ("RAMB18E1", "0100", True),  # block RAMs keep theirs
        ("LUT2", "0110", True),
    ],
)
def test_memories_of_luts_start_empty(tmp_path: Path, kind: str, content: str, good: bool) -> None:
    cells = {"one": {"type": kind, "parameters": {"INIT_A": content, "WIDTH": "1"}}}
    path = tmp_path / "netlist.json"
    path.write_text(json.dumps({"modules": {"top": {"cells": cells}}}))
    if good:
        checks.synthesized(path)
    else:
        with pytest.raises(CheckError, match="one: a memory of LUTs must start empty"):
            checks.synthesized(path)


def test_a_routed_netlist_becomes_verilog(tmp_path: Path, database: Database) -> None:
    routed = netlist(tmp_path, {"lut": LUT, **FLIP_FLOPS})
    checks.routed(routed)
    ports = json.loads((database.folder / "ps7_ports.json").read_text())
    text = verilog(routed, ports, "top")
    assert text.startswith("module top (\n  input [3:0] FCLKCLK,\n  output [15:0] EMIOGPIOI\n);\n")
    assert "  assign n3 = 4'h8 >> {n2, n1};" in text
    assert "  FDRE #(.INIT(1'b0)) u1 (.C(n4), .CE(1'b1), .D(n3), .R(1'b0), .Q(n1));" in text
    assert "  assign n5 = FCLKCLK[0];" in text
    zeros = "1'b0, " * 15
    assert f"  assign EMIOGPIOI = {{{zeros}n2}};" in text


@pytest.mark.parametrize(
    ("cells", "unrouted", "message"),
    [
        ({"lut": LUT, **FLIP_FLOPS}, (3,), "every net must have a route, and 1 have none: net3"),
        (FLIP_FLOPS, (), r"1 have none: net3 \(without a driver\)"),
        (
            {"lut": LUT, **FLIP_FLOPS, "ram": cell("RAMD32", {"O": 6}, INIT="0100")},
            (),
            "ram: a memory of LUTs must start empty",
        ),
        (
            {"odd": {**LUT, "attributes": {}, "connections": {}, "type": "MYSTERY"}},
            (),
            "odd: MYSTERY is a cell that this flow does not know",
        ),
    ],
)
def test_a_broken_netlist_is_refused(
    tmp_path: Path, cells: Mapping[str, Any], unrouted: tuple[int, ...], message: str
) -> None:
    with pytest.raises(CheckError, match=message):
        checks.routed(netlist(tmp_path, cells, unrouted))


def test_the_clock_is_one_that_the_board_can_set(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"fmax": {"clk": {"achieved": 97.3}, "other": {"achieved": 110}}}))
    assert open_flow.choose_clock(report, None) == open_flow.Clock(97.3, 1000 / 11)
    assert open_flow.choose_clock(report, 50.0) == open_flow.Clock(97.3, 50.0)
    with pytest.raises(
        CheckError, match=r"timing: the clock must be at most 97\.30 MHz, not 100; ask for a slower one"
    ):
        open_flow.choose_clock(report, 100.0)
    report.write_text(json.dumps({"fmax": {}}))
    with pytest.raises(CheckError, match="the report must tell the clock's limit"):
        open_flow.choose_clock(report, None)


def test_options_are_named() -> None:
    with pytest.raises(InputError, match=r"^placer: must be one of static, heap, not 'fast'; choose one$"):
        OpenOptions(placer="fast")
