"""A small design to a bitstream by the open tools, and from its bits back to a netlist: both do the same."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fireflow.hw.bitstream.check_sums import with_check_sums
from fireflow.hw.bitstream.dsp_check import check_dsps
from fireflow.hw.bitstream.errors import CheckError
from fireflow.hw.bitstream.fasm import Assembler, read_fasm, write_frames
from fireflow.hw.bitstream.recover import Database, recover
from fireflow.hw.bitstream.recover.features import features_of_fasm
from fireflow.hw.bitstream.routed import Routed
from fireflow.hw.bitstream.tie_offs import tie_off
from tests.hw.bitstream.lockstep import outputs
from tests.hw.bitstream.open_tools import open_tools

PART = "xc7z020clg400-1"
HERE = Path(__file__).parent
# Without -nosrl the Yosys of Debian drops the enable of shift registers.
SYNTHESIS = """
read_verilog -sv processor_top.v everything.v
synth_xilinx -flatten -nosrl -noiopad -noclkbuf -top top
write_json netlist.json
"""


@dataclass(frozen=True, eq=False)
class Build:
    """What the tools made of the design. `raw` is nextpnr's FASM, `fasm` the one that the bitstream is of."""

    folder: Path
    database: Database
    routed: Routed
    raw: str
    fasm: str
    bit: Path


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    toolbox = open_tools()
    folder = tmp_path_factory.mktemp("open")
    for path in HERE.glob("*.v"):
        (folder / path.name).write_text(path.read_text())
    words = np.random.default_rng(1).integers(0, 1 << 18, 1024)
    (folder / "everything.hex").write_text("".join(f"{word:x}\n" for word in words))
    (folder / "script.ys").write_text(SYNTHESIS)
    (folder / "none.xdc").write_text("")

    def run(program: str, *arguments: str) -> None:
        command = toolbox.command(program, *arguments)
        subprocess.run(
            command, cwd=folder, env={**os.environ, **toolbox.environment}, check=True, capture_output=True
        )

    run("yosys", "-q", "-s", "script.ys")
    files = ("--json", "netlist.json", "--write", "routed.json", "-o", "xdc=none.xdc", "-o", "fasm=raw.fasm")
    run("nextpnr-himbaechel-xilinx", "--device", PART, *files)
    database = Database(toolbox.database, PART)
    routed = Routed(folder / "routed.json")
    features = tie_off(read_fasm(folder / "raw.fasm"), routed, database)
    write_frames(folder / "design.frames", Assembler(database).assemble(features))
    part = ("--part_file", str(toolbox.database / PART / "part.yaml"), "--part_name", PART)
    run("xc7frames2bit", *part, "--frm_file", "design.frames", "--output_file", "unsealed.bit")
    (folder / "design.bit").write_bytes(with_check_sums((folder / "unsealed.bit").read_bytes()))
    fasm = "\n".join(map(str, features))
    return Build(folder, database, routed, (folder / "raw.fasm").read_text(), fasm, folder / "design.bit")


@pytest.mark.timeout(600)
def test_the_bits_do_what_the_design_says(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    found = recover(build.bit, build.database)
    assert found.unexplained == ()
    assert {"DSP48E1", "RAMB18E1", "DISTRIBUTED_RAM", "MUXCY", "FDCE"} <= found.cells.keys()
    monkeypatch.chdir(build.folder)  # where the design finds its table
    core = (build.folder / "everything.v").read_text()
    one, other = outputs(build.folder, core, found.verilog, (64, 64), 20000)
    assert_array_equal(other, one)


def test_the_dsp_is_as_routed_with_and_without_tie_offs(build: Build) -> None:
    assert check_dsps(build.routed, features_of_fasm(build.raw), build.database) == 1
    assert check_dsps(build.routed, features_of_fasm(build.fasm), build.database) == 1


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ("ZPREG[0]", r"PREG must be 1, and the bits make it 0"),
        ("AREG_0", r"AREG must be 1, and the bits make it 0"),
        ("ZIS_OPMODE_INVERTED[6]", r"OPMODE\[6\] must be 0, and the bits make it 1"),
    ],
)
def test_a_dsp_with_a_wrong_bit_is_named(build: Build, feature: str, message: str) -> None:
    (dsp,) = (cell for cell in build.routed.cells if cell.kind == "DSP48E1")
    x, y, index = dsp.place
    wrong = f"{build.database.at[x, y].name}.DSP48.DSP_{index}.{feature}"
    with pytest.raises(CheckError, match=message):
        check_dsps(build.routed, features_of_fasm(f"{build.raw}\n{wrong}\n"), build.database)
