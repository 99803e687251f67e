"""`fireflow build --toolchain`, with mocks of the tools: bundles, resumed builds, carried folders."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from fireflow.host.cli import main
from fireflow.host.devices.overlay import dma_addresses, place_overlay
from fireflow.host.interface import load
from fireflow.hw.bitstream.steps import Progress
from fireflow.hw.bitstream.toolchains import TOOLCHAINS, Result, Toolchain, toolchain
from fireflow.hw.bitstream.toolchains.base import Say, option
from fireflow.hw.bundle import Bundle, Manifest
from fireflow.hw.dataflow.hardware import Hardware
from fireflow.hw.errors import InputError, ToolFailure
from fireflow.hw.golden import Golden
from fireflow.hw.parts import Board, board
from fireflow.hw.preprocessing import Preprocessing
from fireflow.hw.rtl.stitch import Design
from tests.hw.bitstream.vivado_mock import HERE, install
from tests.hw.networks import squeezenet

SIZE = 16
HWH = """<EDKSYSTEM><MODULES><MEMRANGE INSTANCE="idma0" BASEVALUE="0x40000000"/>
<MEMRANGE INSTANCE="odma0" BASEVALUE="0x40010000"/></MODULES></EDKSYSTEM>
"""


@pytest.fixture(scope="module")
def lowered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph = squeezenet(size=SIZE, classes=5, narrow=8, stages=(((16, 64),),))
    images = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("bundle") / "small.fire"
    Bundle(graph, Manifest(Preprocessing(size=SIZE, resize=SIZE)), Golden.record(graph, images)).save(path)
    return path


@pytest.fixture
def mock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    install(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return monkeypatch


@dataclass(frozen=True)
class CopyOptions:
    times: int = field(default=1, metadata=option("how often", kind=int, metavar="N"))
    loud: bool = field(default=False, metadata=option("in capitals"))


class Copy(Toolchain[CopyOptions]):
    """A toolchain whose bitstream is a text."""

    name = "copy"
    title = "a text"
    Options = CopyOptions
    needs = ("numpy",)

    def check(self, board: Board, options: CopyOptions) -> None:
        if options.times < 1:
            raise InputError(f"times: must be at least 1 on {board.name}, not {options.times}; leave it out")

    def build(
        self,
        bundle: Bundle,
        hardware: Hardware,
        design: Design,
        options: CopyOptions,
        *,
        say: Say = lambda text: None,
        progress: Progress | None = None,
    ) -> Result:
        say("copying")
        if options.loud:
            raise ToolFailure("copy: too loud")
        bit = design.folder.with_name("copy.bit")
        bit.write_text("bits" * options.times)
        return Result(50.0, bit, "<hwh/>", {"copy.log": bit}, {"toolchain": "copy"})

    def summary(self, result: Result, hardware: Hardware) -> str:
        return f"copied at {hardware.clock_mhz:g} MHz"


def test_a_toolchain_is_one_object(
    lowered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TOOLCHAINS, "copy", Copy())  # type: ignore[arg-type]
    output = tmp_path / "copied.fire"
    build = command(lowered, output, "--toolchain", "copy")
    assert main([*build, "--times", "0"]) == 2
    assert "times: must be at least 1 on PYNQ-Z2, not 0" in capsys.readouterr().err
    assert main([*build, "--loud"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "copying\nfireflow: copy: too loud\n"
    assert not output.exists()
    assert main([*build, "--times", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["copied at 50 MHz", str(output)]
    assert Bundle.load(output).hardware.clock_mhz == 50.0  # type: ignore[union-attr]
    texts = {"copied.bit": "bitsbits", "copied.hwh": "<hwh/>", "reports/copy.log": "bitsbits"}
    assert {name: (output / name).read_text() for name in texts} == texts
    assert json.loads((output / "bitstream.json").read_text()) == {"toolchain": "copy"}
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["toolchains"]["copy"] is True


def test_a_board_that_the_tools_do_not_know_is_told_at_once(
    lowered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(lowered, tmp_path / "a.fire", "--toolchain", "open", board="kv260")) == 2
    assert re.search(
        r"part: the open tools must know it \(xc7z020clg400-1\), and do not know xck26\S+; use --toolchain vivado",
        capsys.readouterr().err,
    )
    with pytest.raises(InputError, match="board: must be one of FINN's, not 'Other'; use PYNQ-Z1, "):
        TOOLCHAINS["finn"].check(replace(board("kv260"), name="Other"), TOOLCHAINS["finn"].Options())


def test_an_unknown_toolchain_is_refused_with_the_names() -> None:
    with pytest.raises(
        InputError, match=r"^toolchain: must be one of open, vivado, finn, not 'quartus'; choose one$"
    ):
        toolchain("quartus")


def command(lowered: Path, output: Path, *more: object, board: str = "pynq-z2") -> list[str]:
    chosen = ["build", str(lowered), "--board", board, "--target-fps", "2000", "-o", str(output)]
    return [*chosen, *map(str, more)]


def test_vivado_to_a_bundle_that_a_board_takes(
    lowered: Path, tmp_path: Path, mock: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "kv260.fire"
    mock.setenv("MOCK_FMAX", "260")
    build = command(lowered, output, "--toolchain", "vivado", board="kv260")
    mock.setenv("MOCK_VIVADO", "kill:route")
    assert main(build) == 1
    assert "route: vivado: was ended by SIGKILL" in capsys.readouterr().err
    assert not output.exists()
    mock.delenv("MOCK_VIVADO")
    assert main(build) == 1
    assert "timing must be met at 300 MHz, not missed by" in capsys.readouterr().err
    assert not output.exists()
    assert main([*build, "--lower-clock"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == str(output)
    assert "place: done before" in captured.err
    assert "250 MHz" in captured.out
    bundle, interface = load(output)
    assert bundle.hardware is not None
    assert bundle.hardware.clock_mhz == interface.clock_mhz == 250
    record = json.loads((output / "bitstream.json").read_text())
    assert record["toolchain"] == "vivado"
    assert record["tools"] == {"vivado": "2023.2"}
    assert record["resources"]["uram"] == 31
    assert {path.name for path in (output / "reports").iterdir()} == {
        f"vivado.{name}"
        for name in ("fireflow.hwh", "timing.rpt", "route_status.rpt", "utilization.rpt", "power.rpt")
    }
    assert main(["report", str(output)]) == 0
    page = output.with_suffix(".html").read_text()
    assert (
        "Bitstream by vivado (vivado 2023.2): 250 MHz of 300 MHz asked, at most 260.01 MHz by timing analysis; 2.391 W"
        in page
    )
    assert page.count('<th class="n">in the bitstream') == 1
    bit = place_overlay(interface)
    assert dma_addresses(bit.with_suffix(".hwh")) == {"idma0": 0xA000_0000, "odma0": 0xA001_0000}


def test_vivado_elsewhere(
    lowered: Path, tmp_path: Path, mock: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "carried", tmp_path / "z2.fire"
    build = command(lowered, output, "--toolchain", "vivado", "--clock-mhz", 120)
    assert main([*build, "--scripts-only", str(folder)]) == 0
    printed = capsys.readouterr().err
    assert "PYNQ-Z2's divider gives 111.111 MHz for 120 MHz" in printed
    assert "run its run.sh where the tools are" in printed
    assert load(output)[1].bitstream is None
    assert main([*build, "--results", str(folder)]) == 2
    assert "synth is not; run" in capsys.readouterr().err
    subprocess.run([folder / "run.sh"], check=True, capture_output=True)
    mock.setenv("PATH", str(tmp_path))  # Vivado is not here
    assert main([*build, "--results", str(folder)]) == 0
    interface = load(output)[1]
    assert interface.bitstream is not None
    assert interface.clock_mhz == pytest.approx(1000 / 9)
    assert place_overlay(interface).is_file()
    mock.setenv("MOCK_VIVADO", "")
    assert main([*build, "--results", str(folder), "--scripts-only", str(folder)]) == 2
    assert main([*build, "--scripts-only", str(folder)]) == 2
    assert "the folder must be new or empty" in capsys.readouterr().err
    assert main(build) == 2
    assert "`vivado` must be on the PATH, and is not" in capsys.readouterr().err


def test_finn_elsewhere(
    lowered: Path, tmp_path: Path, mock: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "carried", tmp_path / "z1.fire"
    build = command(lowered, output, "--toolchain", "finn", board="pynq-z1")
    assert main([*build, "--scripts-only", str(folder)]) == 0
    names = {"model.onnx", "build.json", "folding.json", "fifos.json", "run.sh"}
    assert {path.name for path in folder.iterdir()} == names
    (folder / "output" / "bitfile").mkdir(parents=True)
    (folder / "output" / "report").mkdir()
    # Vivado's own bitstream, by the interpreter of the other tests.
    bits = tmp_path / "vivado"
    assert (
        main([*command(lowered, tmp_path / "a.fire", "--toolchain", "vivado"), "--scripts-only", str(bits)])
        == 0
    )
    subprocess.run([bits / "run.sh"], check=True, capture_output=True)
    shutil.copy(bits / "out/bitstream/fireflow.bit", folder / "output/bitfile/finn-accel.bit")
    (folder / "output/bitfile/finn-accel.hwh").write_text(HWH)
    report = (HERE / "reports/timing.rpt").read_text()
    report = report.replace("@SLACK@", "0.1").replace("@FAILING@", "0").replace("@UNCLOCKED@", "0")
    (folder / "output/report/post_route_timing.rpt").write_text(report)
    assert main([*build, "--results", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(output)
    interface = load(output)[1]
    assert dma_addresses(place_overlay(interface).with_suffix(".hwh")) == {
        "idma0": 0x4000_0000,
        "odma0": 0x4001_0000,
    }
    mock.setenv("PATH", os.environ["PATH"])
    mock.delenv("XILINX_HLS", raising=False)
    assert main(build) == 2
    assert "FINN: its builder must find Vivado ($XILINX_VIVADO) and Vitis HLS" in capsys.readouterr().err
