"""Vivado's scripts, interpreted strictly, and what a build does when the tool succeeds, fails, hangs or is killed."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from fireflow.hw.bitstream.process import ToolError
from fireflow.hw.bitstream.steps import Outcome, run_steps
from fireflow.hw.bitstream.vivado import (
    BITSTREAM,
    KEY,
    RTL,
    SCRIPTS,
    Acceptance,
    Results,
    Vivado,
    import_results,
    results,
    vivado_steps,
    write_scripts,
)
from fireflow.hw.bitstream.vivado_reports import TimingError
from fireflow.hw.errors import InputError
from fireflow.hw.parts import BOARDS, Board, Resources, board
from tests.hw.bitstream.vivado_mock import HERE, IMAGE, install, shell

Z2, KV260 = board("pynq-z2"), board("kv260")


@pytest.fixture
def mock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    install(tmp_path / "bin", monkeypatch)
    return monkeypatch


def scripts(folder: Path, chosen: Board = Z2) -> Path:
    write_scripts(shell(chosen, folder / "design"), chosen, float(chosen.clocks_mhz[0]), folder / "scripts")
    return folder / "scripts"


def build(folder: Path, chosen: Board = Z2, options: Acceptance | None = None) -> dict[str, Outcome]:
    place = folder / "scripts"
    if not place.is_dir():
        scripts(folder, chosen)
    clock_mhz = float(chosen.clocks_mhz[0])
    steps = vivado_steps(Vivado.find(), place, chosen, clock_mhz, options or Acceptance())
    return run_steps(steps, folder / "build")


def found(outcomes: dict[str, Outcome]) -> Results:
    return results({name: outcome.folder for name, outcome in outcomes.items()})


@pytest.mark.parametrize("chosen", BOARDS, ids=lambda chosen: chosen.name)
def test_golden_settings(chosen: Board, tmp_path: Path) -> None:
    made = scripts(tmp_path, chosen)
    golden = HERE / "golden" / f"{chosen.name}.tcl"
    assert (made / "settings.tcl").read_text() == golden.read_text()
    for path in SCRIPTS.iterdir():
        assert (made / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("chosen", BOARDS, ids=lambda chosen: chosen.name)
def test_every_board_to_a_bitstream(chosen: Board, tmp_path: Path, mock: pytest.MonkeyPatch) -> None:
    outcomes = build(tmp_path, chosen)
    result = found(outcomes)
    part = chosen.part.replace("xc7", "7").encode()
    assert part in result.bitstream.read_bytes()[:100]
    assert result.figures["clock_mhz"] == chosen.clocks_mhz[0]
    assert result.figures["fmax_mhz"] == pytest.approx(1000, rel=1e-3)
    uram = 31.0 if chosen.family == "xcup" else 0.0
    assert result.figures["resources"]["uram"] == uram
    assert all(path.is_file() for path in result.reports.values())
    assert {path.name for path in outcomes["synth"].folder.iterdir()} == {
        "synth.dcp",
        "fireflow.hwh",
        "utilization_synth.rpt",
        "step.json",
    }


def test_figures(tmp_path: Path, mock: pytest.MonkeyPatch) -> None:
    mock.setenv("MOCK_FMAX", "125")
    figures = found(build(tmp_path)).figures
    assert figures["timing"] == {
        "setup_slack_ns": 2.0,
        "hold_slack_ns": 0.057,
        "pulse_width_slack_ns": 0.225,
        "failing": 0,
    }
    assert figures["resources"] == Resources(37302, 41210, 104.5, 0, 168).to_json()
    assert figures["power_w"] == 2.391


# One change of a script or its settings each, as a slip of ours would be, and what the interpreter says to it.
SLIPS = [
    ("synth.tcl", "save_bd_design", "save_design", "invalid command name"),
    ("synth.tcl", "-norecurse", "-recurse", "add_files: unknown option -recurse"),
    (
        "synth.tcl",
        "create_project -part",
        "set_msg_config -id {Synth 8-1} -new_severity ERROR\ncreate_project -part",
        "set_msg_config: no project",
    ),
    ("synth.tcl", "synth_design -top", "synth_design -module", "unknown option -module"),
    ("synth.tcl", "[pin control/aclk] ", "", "control/aclk is open"),
    (
        "synth.tcl",
        "reset/peripheral_aresetn",
        "reset/peripheral_resetn",
        "has no pin reset/peripheral_resetn",
    ),
    ("synth.tcl", "control/M00_AXI", "control/M01_AXI", "has no interface control/M01_AXI"),
    (
        "synth.tcl",
        "[port accelerator/m_axi] [port memory/S00_AXI]",
        "[port accelerator/m_axi]",
        "takes 2 to 3 operands",
    ),
    ("synth.tcl", "CONFIG.NUM_MI 1", "CONFIG.NUM_MI 2", "control/M01_AXI is not connected"),
    ("synth.tcl", "CONFIG.NUM_MI 1", "CONFIG.NUM_MASTERS 1", "has no property CONFIG.NUM_MASTERS"),
    (
        "synth.tcl",
        "xilinx.com:ip:smartconnect",
        "xilinx.com:ip:smart_connect",
        "no IP xilinx.com:ip:smart_connect",
    ),
    ("synth.tcl", "validate_bd_design", "", "the design is not valid"),
    ("synth.tcl", "synth_checkpoint_mode None", "synth_checkpoint_mode Global", "no mode Global"),
    ("synth.tcl", "make_wrapper -top -import $design", "", "no module fireflow_wrapper"),
    ("settings.tcl", "PCW_USE_S_AXI_HP0 {1}", "PCW_USE_S_AXI_HP0 {0}", "has no pin ps/S_AXI_HP0_ACLK"),
    ("settings.tcl", "PCW_USE_S_AXI_HP0 {1}", "PCW_USE_S_AXI_HP0 {yes}", "must be 0|1, not yes"),
    ("settings.tcl", "PCW_USE_M_AXI_GP0", "PCW_USE_M_AXI_GPO", "has no property CONFIG.PCW_USE_M_AXI_GPO"),
    (
        "settings.tcl",
        "clock_mhz 100.000000",
        "clock_mhz 99.000000",
        "must give 99.000000 MHz, not 100.000000",
    ),
    ("settings.tcl", "PERIPHERAL_FREQMHZ {50}", "PERIPHERAL_FREQMHZ {33.3}", "has no CONFIG.PCW_ACT_FPGA0"),
    ("settings.tcl", "control_range 0x00020000", "control_range 0x00040000", "has 0x20000 bytes, not 262144"),
    ("settings.tcl", "control_base 0x40000000", "control_base 0x00000000", "is outside ps/Data"),
    ("settings.tcl", "HP0_DDR_LOWOCM", "HP0_DDR_LOW", "one segment is wanted"),
    ("settings.tcl", "ddrx_rtl:1.0", "ddr4_rtl:1.0", "types differ"),
    ("settings.tcl", "part xc7z020clg400-1", "part xc7z020clg400-1 x", "wrong # args"),
    ("settings.tcl", "accelerator.sv", "nowhere.sv", "no file nowhere.sv"),
    ("place.tcl", "place_design", "", "phys_opt_design: wants a design that is placed or routed"),
    ("route.tcl", "placed.dcp", "synth.dcp", "no file"),
    ("results.tcl", "report_power -file", "report_power -out", "unknown option -out"),
    ("bitstream.tcl", "-force", "-forced", "unknown option -forced"),
]


@pytest.mark.parametrize(("name", "old", "new", "says"), SLIPS, ids=[f"{s[0]}-{s[3]}" for s in SLIPS])
def test_the_interpreter_is_strict(
    name: str, old: str, new: str, says: str, tmp_path: Path, mock: pytest.MonkeyPatch
) -> None:
    place = scripts(tmp_path) / name
    text = place.read_text()
    assert old in text
    place.write_text(text.replace(old, new))
    with pytest.raises(ToolError):
        build(tmp_path)
    step = "route" if name == "results.tcl" else "synth" if name == "settings.tcl" else Path(name).stem
    assert says in (tmp_path / "build" / f"{step}.log").read_text()


def test_every_command_is_documented() -> None:
    """The interpreter's table holds what the scripts use and no more, and the page says so of each with its source."""
    rows = (HERE / "vivado_commands.tsv").read_text().splitlines()[1:]
    page = (HERE.parents[2] / "docs" / "vivado.md").read_text()
    text = "\n".join(path.read_text() for path in sorted(SCRIPTS.glob("*.tcl")))
    for row in rows:
        command, _options, _operands, source = row.split("\t")
        assert re.search(rf"(?<![\w.-]){command}(?![\w.])", text), command
        assert f"| [`{command}`]({source}) |" in page
    assert f"all {len(rows)} commands" in page


def test_a_memory_without_its_image_is_refused(tmp_path: Path, mock: pytest.MonkeyPatch) -> None:
    place = scripts(tmp_path)
    (place / RTL / IMAGE).unlink()
    with pytest.raises(
        ToolError, match=r"synth: vivado: ERROR: \[Synth 8-4445\] could not open .*weights_0.dat"
    ):
        build(tmp_path)
    # Also where Vivado is not told to stop there.
    synth = place / "synth.tcl"
    synth.write_text(
        synth.read_text().replace("set_msg_config -id {Synth 8-4445}", "set_msg_config -id {Synth 8-1}")
    )
    with pytest.raises(ToolError, match="every memory must get its image"):
        build(tmp_path)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (
            "fail",
            r"^place: vivado: ERROR: \[Place 30-640\].*; build with a smaller --budget; see .*place.log$",
        ),
        ("hang", r"^place: vivado: took longer than 2 s; see "),
        (
            "kill",
            r"^place: vivado: was ended by SIGKILL \(often for want of memory\); run the build again to go on",
        ),
    ],
)
def test_a_failure_says_why_and_the_next_run_goes_on(
    kind: str, says: str, tmp_path: Path, mock: pytest.MonkeyPatch
) -> None:
    mock.setenv("MOCK_VIVADO", "fail:place")
    with pytest.raises(ToolError):
        build(tmp_path)
    mock.setenv("MOCK_VIVADO", f"{kind}:place")
    options = Acceptance(
        limit_s=2.0 if kind == "hang" else None
    )  # the step in front of it is done, however slow we are
    with pytest.raises(ToolError, match=says):
        build(tmp_path, options=options)
    assert sorted(path.name for path in (tmp_path / "build").iterdir() if path.is_dir()) == ["synth"]
    mock.delenv("MOCK_VIVADO")
    outcomes = build(tmp_path)
    assert {name: outcome.kept for name, outcome in outcomes.items()} == {
        "synth": True,
        "place": False,
        "route": False,
        "timing": False,
        "bitstream": False,
    }
    assert all(outcome.kept for outcome in build(tmp_path).values())


def test_timing_must_be_met(tmp_path: Path, mock: pytest.MonkeyPatch) -> None:
    mock.setenv("MOCK_FMAX", "270")
    with pytest.raises(
        TimingError,
        match=r"timing must be met at 300 MHz, not missed by 0\.371 ns \(setup; 12 endpoints fail\); add "
        r"--lower-clock, or build with --clock-mhz 250, or take the risk with --ignore-timing",
    ):
        build(tmp_path, KV260)
    outcomes = build(tmp_path, KV260, Acceptance(lower_clock=True))
    assert outcomes["route"].kept  # the lower clock needs no new wires
    assert found(outcomes).figures["clock_mhz"] == 250
    assert found(outcomes).figures["timing"]["failing"] == 0
    outcomes = build(tmp_path, KV260, Acceptance(ignore_timing=True))
    assert found(outcomes).figures["clock_mhz"] == 300
    assert found(outcomes).figures["timing"]["setup_slack_ns"] < 0


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ("MOCK_UNROUTED", "every net must be routed, and 3 are not"),
        ("MOCK_UNCLOCKED", "every register must have a clock, and 3 have none"),
    ],
)
def test_a_wrong_routed_design_is_refused(
    variable: str, says: str, tmp_path: Path, mock: pytest.MonkeyPatch
) -> None:
    mock.setenv(variable, "3")
    with pytest.raises(ToolError, match=says):
        build(tmp_path, options=Acceptance(ignore_timing=True))


@pytest.mark.parametrize("name", ["timing", "utilization_xc7", "route_status", "power"])
def test_a_report_that_says_something_else_is_refused(
    name: str, tmp_path: Path, mock: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "model"
    shutil.copytree(HERE, copy)
    report = copy / "reports" / f"{name}.rpt"
    report.write_text(report.read_text().replace("|", "!").replace(":", ";"))
    mock.setenv("MOCK_MODEL", str(copy / "vivado.tcl"))
    with pytest.raises(ToolError, match="Vivado's report must hold"):
        build(tmp_path)


@pytest.mark.parametrize(
    ("version", "says"),
    [("2020.2", "must be 2021.1 or newer, not 2020.2"), ("what", "must say its version")],
)
def test_an_unfit_vivado(version: str, says: str, tmp_path: Path, mock: pytest.MonkeyPatch) -> None:
    mock.setenv("MOCK_VERSION", version)
    with pytest.raises(InputError, match=says):
        Vivado.find()


def test_no_vivado(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("XILINX_VIVADO", raising=False)
    with pytest.raises(InputError, match=r"`vivado` must be on the PATH, and is not; .* add --scripts-only"):
        Vivado.find()


def test_a_clock_that_no_divider_gives(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a part of its PLL's, not 290 MHz; take 250 MHz"):
        write_scripts(shell(KV260, tmp_path / "design"), KV260, 290.0, tmp_path / "scripts")


def test_scripts_run_by_themselves_and_come_back(tmp_path: Path, mock: pytest.MonkeyPatch) -> None:
    place = scripts(tmp_path)
    key = (place / KEY).read_text()
    with pytest.raises(InputError, match=r"synth is not; run .*run.sh first"):
        import_results(place, key, Z2, 100.0, Acceptance())
    elsewhere = tmp_path / "other machine" / "scripts"
    elsewhere.parent.mkdir()
    place.rename(elsewhere)
    mock.setenv("MOCK_VIVADO", "fail:route")
    done = subprocess.run([elsewhere / "run.sh"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("route: failed: ERROR: [Place 30-640]")
    mock.delenv("MOCK_VIVADO")
    done = subprocess.run([elsewhere / "run.sh"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "synth: done before" in done.stdout
    result = import_results(elsewhere, key, Z2, 100.0, Acceptance())
    assert result.bitstream.name == BITSTREAM
    assert result.figures["clock_mhz"] == 100
    mock.setenv("MOCK_FMAX", "90")
    shutil.rmtree(elsewhere / "out" / "route")
    subprocess.run([elsewhere / "run.sh"], check=True, capture_output=True)
    with pytest.raises(
        TimingError, match=r"missed by 1\.111 ns .*; build with --clock-mhz 83.3333, or take the risk"
    ):
        import_results(elsewhere, key, Z2, 100.0, Acceptance(lower_clock=True))
    assert import_results(elsewhere, key, Z2, 100.0, Acceptance(ignore_timing=True)).figures["fmax_mhz"] == 90
    with pytest.raises(InputError, match="results must be of this network, board and clock"):
        import_results(elsewhere, "other\n", Z2, 100.0, Acceptance())
    with pytest.raises(ToolError, match="registers must be at 0xa0000000"):
        import_results(elsewhere, key, replace(Z2, family="xcup"), 100.0, Acceptance(ignore_timing=True))
