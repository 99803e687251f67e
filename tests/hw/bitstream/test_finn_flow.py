"""FINN's builder as a step, with a program in its place that succeeds, fails, hangs or is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fireflow.hw.bitstream import finn_flow
from fireflow.hw.bitstream.finn_flow import BITSTREAM, HWH, FinnBuilder, check, finn_steps, write_script
from fireflow.hw.bitstream.process import ToolError
from fireflow.hw.bitstream.steps import Outcome, run_steps
from fireflow.hw.errors import InputError

TIMING = Path(__file__).parent / "reports" / "timing.rpt"
PROGRAM = """#!/bin/sh
set -eu
[ "$*" = "build --batch build.json model.onnx" ]
[ -f build.json ] && [ -f model.onnx ]
case "${MOCK_FINN:-}" in
fail) echo "ERROR: [HLS 200-70] Synthesizability check failed."; exit 1 ;;
hang) exec sleep 600 ;;
kill) kill -KILL $$ ;;
nothing) exit 0 ;;
esac
mkdir -p output/bitfile output/report
echo bits > output/bitfile/finn-accel.bit
echo "<EDKSYSTEM/>" > output/bitfile/finn-accel.hwh
sed -e "s/@SLACK@/${MOCK_SLACK:-0.5}/; s/@FAILING@/0/; s/@UNCLOCKED@/0/" "$MOCK_TIMING" \\
    > output/report/post_route_timing.rpt
"""


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FinnBuilder:
    program = tmp_path / "bin" / "finn"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    monkeypatch.setenv("MOCK_TIMING", str(TIMING))
    return FinnBuilder(program, "tools")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "given"
    folder.mkdir()
    for name in ("build.json", "model.onnx", "folding.json", "fifos.json"):
        (folder / name).write_text(name)
    write_script(folder, ("Pool_hls_0",))
    return folder


def build(builder: FinnBuilder, folder: Path, limit_s: float | None = None) -> Outcome:
    return run_steps(finn_steps(builder, folder, limit_s), folder.with_name("build"))["finn"]


def test_success(builder: FinnBuilder, folder: Path) -> None:
    outcome = build(builder, folder)
    assert check(outcome.folder)[BITSTREAM].read_text() == "bits\n"
    assert build(builder, folder).kept
    (folder / "folding.json").write_text("{}")
    assert not build(builder, folder).kept


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("fail", r"finn: ERROR: \[HLS 200-70\] Synthesizability check failed.; see .*finn.log"),
        ("hang", "finn: took longer than 2 s"),
        ("kill", "finn: was ended by SIGKILL .*; run the build again to go on"),
        ("nothing", "its builder must write .*finn-accel.bit, and did not"),
    ],
)
def test_failures(
    kind: str, says: str, builder: FinnBuilder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOCK_FINN", kind)
    with pytest.raises(ToolError, match=says):
        build(builder, folder, limit_s=2.0)
    assert not (folder.with_name("build") / "finn").exists()
    monkeypatch.delenv("MOCK_FINN")
    assert not build(builder, folder).kept


def test_timing_must_be_met(builder: FinnBuilder, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOCK_SLACK", "-0.25")
    with pytest.raises(ToolError, match=r"timing must be met, not missed by 0\.250 ns"):
        build(builder, folder)


def test_the_folder_runs_by_itself(
    builder: FinnBuilder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(builder.program.parent), prepend=":")
    text = (folder / "run.sh").read_text()
    assert "Built with Vitis HLS: Pool_hls_0." in text
    subprocess.run([folder / "run.sh"], check=True)
    assert set(check(folder)) == {BITSTREAM, HWH, finn_flow.TIMING}


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("XILINX_VIVADO", raising=False)
    monkeypatch.delenv("XILINX_HLS", raising=False)
    with pytest.raises(InputError, match=r"finn-plus .* and Vivado \(\$XILINX_VIVADO\) and Vitis HLS"):
        FinnBuilder.find()
    (tmp_path / "finn").write_text("")
    monkeypatch.setenv("XILINX_VIVADO", "/tools/Vivado")
    with pytest.raises(
        InputError, match=r"must find Vitis HLS \(\$XILINX_HLS\), and does not; .* add --scripts-only"
    ):
        FinnBuilder.find()
    monkeypatch.setenv("XILINX_HLS", "/tools/Vitis_HLS")
    assert FinnBuilder.find().program == tmp_path / "finn"
