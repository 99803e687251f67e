"""`fireflow build`, `report`, `verify --rtl` and `simulate --engine rtl`, on a network with one Fire module."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.data import data_dir

import fireflow
from fireflow.host.cli import main
from fireflow.hw.bitstream.toolchains import TOOLCHAINS, Placeable
from fireflow.hw.bundle import RTL, Bundle, Golden, Manifest
from fireflow.hw.contents import Contents, read_contents
from fireflow.hw.dataflow.build import to_dataflow
from fireflow.hw.dataflow.plan import Plan
from fireflow.hw.dataflow.schedule import Timing
from fireflow.hw.preprocessing import Preprocessing
from fireflow.hw.rtl import simulate
from fireflow.hw.rtl.stitch import SOURCES
from fireflow.hw.simulator import Simulator
from tests.hw.networks import squeezenet

SIZE = 32
PHOTO = Path(data_dir) / "chelsea.png"


@pytest.fixture(scope="module")
def lowered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph = squeezenet(size=SIZE, classes=5, narrow=8, stages=(((16, 64),),))
    images = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("bundle") / "small.fire"
    Bundle(graph, Manifest(Preprocessing(size=SIZE, resize=SIZE)), Golden.record(graph, images)).save(path)
    return path


@pytest.fixture(scope="module")
def built(lowered: Path) -> Path:
    path = lowered.with_name("built.fire")
    assert main(["build", str(lowered), "--board", "pynq-z2", "--target-fps", "5000", "-o", str(path)]) == 0
    return path


def test_verdict(lowered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "build",
        str(lowered),
        "--board",
        "PYNQ-Z1",
        "-o",
        str(tmp_path / "a.fire"),
        "--no-rtl",
        "--json",
    ]
    assert main([*command, "--target-fps", "5000"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fits"] is True
    assert found["frames_per_second"] >= 5000
    assert found["resources"].keys() == found["available"].keys()
    bundle = Bundle.load(tmp_path / "a.fire")
    assert bundle.hardware is not None
    assert bundle.hardware.interval_cycles == found["interval_cycles"]
    assert not (tmp_path / "a.fire" / RTL).exists()


@pytest.mark.parametrize("target_fps", [None, 20000.0])
def test_what_the_open_tools_could_not_place_spares_luts(
    lowered: Path, monkeypatch: pytest.MonkeyPatch, target_fps: float | None
) -> None:
    bundle = Bundle.load(lowered)

    def plan(toolchain: str | None = None, spare: str | None = None) -> Plan:
        return fireflow.plan(bundle, board="pynq-z2", target_fps=target_fps, toolchain=toolchain, spare=spare)

    plain = plan()
    monkeypatch.setattr(type(TOOLCHAINS["open"]), "placeable", Placeable(plain.used.lut, 0.82))
    assert plan("open").folding == plain.folding
    monkeypatch.setattr(type(TOOLCHAINS["open"]), "placeable", Placeable(plain.used.lut * 0.7, 0.82))
    small = plan("open")
    assert small.used.lut < plain.used.lut
    if target_fps is None:
        assert small.used.lut <= plain.used.lut * 0.7
    assert plan("vivado").folding == plain.folding
    assert plan(spare="lut").used.lut <= plain.used.lut


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--board", "zedboard"], "board: must be one of PYNQ-Z1, PYNQ-Z2, .*, not 'zedboard'"),
        (
            ["--board", "pynq-z2", "--target-fps", "1e9"],
            "target rate must be at most .* frames a second on PYNQ-Z2",
        ),
        (["--board", "pynq-z2", "--target-fps", "0"], "target rate must be above 0"),
        (["--board", "pynq-z2", "--budget", "0"], "budget must be a share above 0"),
        (
            ["--board", "pynq-z2", "--budget", "0.0001"],
            r"must fit 0% of PYNQ-Z2, not need at least \d+% of LUT",
        ),
        (["--board", "pynq-z2", "--clock-mhz", "-1"], "clock: must be above 0 MHz"),
    ],
)
def test_bad_input(
    lowered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], says: str
) -> None:
    assert main(["build", str(lowered), "-o", str(tmp_path / "a.fire"), *more]) == 2
    assert re.search(says, capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


FOLDING: dict[str, dict[str, Any]] = {
    "conv1": {"pe": 4, "simd": 9, "memory": "lut"},
    "conv10": {"pe": 1, "simd": 8},
}


def build_folded(lowered: Path, tmp_path: Path, text: str, *more: str) -> int:
    """`build --folding` with a file of this text, into a.fire."""
    (tmp_path / "fold.json").write_text(text)
    files = ["--folding", str(tmp_path / "fold.json"), "-o", str(tmp_path / "a.fire")]
    return main(["build", str(lowered), "--board", "pynq-z2", "--no-rtl", *files, *more])


def test_a_given_folding_is_built(lowered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_folded(lowered, tmp_path, json.dumps(FOLDING), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (
        found["interval_cycles"] == Timing(to_dataflow(Bundle.load(lowered).graph, FOLDING), "xc7").interval
    )
    assert found["folding"] == FOLDING
    hardware = Bundle.load(tmp_path / "a.fire").hardware
    assert hardware is not None
    # What a build chose is a folding to give: it comes out the same.
    again = tmp_path / "again"
    again.mkdir()
    assert build_folded(lowered, again, json.dumps(hardware.to_json()["folding"]), "--json") == 0
    assert json.loads(capsys.readouterr().out) | {"output": ""} == found | {"output": ""}


def test_a_given_folding_that_is_too_large(
    lowered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = json.dumps({"conv1": {"pe": 8, "simd": 27, "kernel": "dsp"}})
    assert build_folded(lowered, tmp_path, large, "--budget", "0.3") == 1
    told = capsys.readouterr().out
    assert re.search(r"^DSP +\d+ +220 +\d+% +\d+ too many", told, re.MULTILINE)
    assert told.endswith("does not fit\n")
    assert not (tmp_path / "a.fire").exists()


@pytest.mark.parametrize(
    ("text", "more", "says"),
    [
        ("{", [], r"fold.json: the file must hold JSON"),
        ("[1]", [], r"folding must be an object of layers, .*, not \[1\]; correct it"),
        ('{"conv1": 4}', [], r"conv1: a folding must be an object, .*, not 4; correct it"),
        ('{"conv11": {"pe": 1}}', [], r"conv11: a folding must be for a layer of \w+; correct the name"),
        ('{"conv1": {"speed": 1}}', [], r"conv1: a folding must have pe, simd, .*, not speed; correct it"),
        ('{"conv1": {"pe": 3}}', [], r"conv1: PE must divide MH=8, not 3; choose 1, 2, 4 or 8"),
        ('{"conv1": {"memory": "tape"}}', [], r"conv1: memory must be one of lut, bram, uram, not 'tape'"),
        ("{}", ["--target-fps", "9"], r"folding: must come without --target-fps, not with it"),
    ],
)
def test_a_given_folding_that_is_wrong(
    lowered: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    more: list[str],
    says: str,
) -> None:
    assert build_folded(lowered, tmp_path, text, *more) == 2
    assert re.search(says, capsys.readouterr().err)
    assert not (tmp_path / "a.fire").exists()


def test_rtl_that_was_not_written_is_told_before_anything_is_simulated(
    lowered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulate, "layer_bench", None)
    assert build_folded(lowered, tmp_path, "{}") == 0
    assert main(["verify", str(tmp_path / "a.fire"), "--rtl"]) == 2
    assert re.search(
        r"a.fire/rtl: must hold the sources of an accelerator; run `fireflow build`", capsys.readouterr().err
    )


def test_a_bundle_that_was_not_built(lowered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["simulate", str(lowered), str(PHOTO), "--engine", "rtl"],
        ["verify", str(lowered), "--rtl"],
        ["report", str(lowered)],
    ):
        assert main(command) == 2
        assert (
            "must be built for a board, and it is not; run `fireflow build` first" in capsys.readouterr().err
        )


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders whose files are read and hashed, one entry for each time."""
    folders: list[Path] = []

    def counted(folder: Path, limits: Mapping[str, int]) -> Contents:
        folders.append(folder)
        return read_contents(folder, limits)

    monkeypatch.setattr("fireflow.hw.bundle.read_contents", counted)
    return folders


@pytest.mark.parametrize("command", ["simulate", "report", "build"])
def test_a_bundle_is_read_once(built: Path, tmp_path: Path, reads: list[Path], command: str) -> None:
    more = {
        "simulate": [str(PHOTO)],
        "report": ["-o", str(tmp_path / "page.html")],
        "build": ["--board", "pynq-z2", "--target-fps", "5000", "-o", str(tmp_path / "again.fire")],
    }
    assert main([command, str(built), *more[command]]) == 0
    assert reads == [built]


def test_every_file_of_the_rtl_is_hashed(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    copy = tmp_path / "copy.fire"
    shutil.copytree(built, copy)
    image = next(path for path in sorted((copy / RTL).iterdir()) if path.suffix == ".dat")
    image.write_bytes(image.read_bytes()[:-2] + b"0\n")
    assert main(["simulate", str(copy), str(PHOTO), "--engine", "rtl"]) == 2
    assert f"{image.name}: must match the hash in the manifest" in capsys.readouterr().err


@pytest.mark.timeout(600)  # the first build takes a minute or more
def test_rtl_verified_simulated_reported(
    built: Path, reads: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (built / RTL / SOURCES).is_file()
    assert main(["verify", str(built), "--rtl", "--images", str(PHOTO), "--count", "1", "--json"]) == 0
    assert reads == [built]
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is True
    assert found["differing"] == 0
    columns = {name for row in found["rows"] for name, count in row["differing"].items() if count == 0}
    assert columns == {"interpreter", "dataflow", "RTL layer", "RTL whole"}
    assert found["latency_cycles"] == found["expected_latency_cycles"]

    assert main(["simulate", str(built), str(PHOTO), "--engine", "rtl", "--json"]) == 0
    assert reads == [built, built]
    captured = capsys.readouterr()
    assert re.search(r"RTL: \d+ cycles to the first scores", captured.err)
    bundle = Bundle.load(built)
    assert bundle.manifest.preprocessing is not None
    picture = bundle.manifest.preprocessing.prepare(Image.open(PHOTO))[None]
    scores = Simulator(bundle.graph).run(picture)[0] * bundle.graph.output_scale
    top = json.loads(captured.out)["images"][0]["top"]
    assert [guess["score"] for guess in top] == pytest.approx(sorted(scores, reverse=True))

    assert main(["report", str(built)]) == 0
    page = built.with_suffix(".html").read_text()
    assert "bit-exact" in page
    assert page.count("<svg") == 3
    assert "src=" not in page  # nothing is fetched
    for layer in bundle.hardware.dataflow(bundle.graph).layers if bundle.hardware else ():
        assert layer.name in page


@pytest.mark.timeout(600)  # the RTL is compiled once, by whichever test comes first
def test_the_virtual_board_computes_with_the_rtl(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The driver's way through DMAs and memory ends with what Verilator computed."""
    names = ("astronaut.png", "chelsea.png", "coffee.png")
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in names:
        Image.open(Path(data_dir) / name).convert("RGB").resize((SIZE, SIZE)).save(folder / name)
    out = tmp_path / "out.jsonl"
    assert main(["run", str(built), str(folder), "--engine", "rtl", "-o", str(out), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["device"] == "virtual, arithmetic by the RTL"
    assert (summary["pictures"], summary["damaged"]) == (3, 0)
    images = np.stack([np.asarray(Image.open(folder / name)) for name in names])
    wanted = Bundle.load(built).graph.run(images)
    for line, row in zip(out.read_text().splitlines(), wanted, strict=True):
        assert [guess["integer"] for guess in json.loads(line)["top"]] == sorted(row.tolist(), reverse=True)


def test_rtl_wants_a_build_and_the_virtual_board(
    lowered: Path, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(lowered), str(PHOTO), "--engine", "rtl"]) == 2
    assert "must be built for a board, and it is not" in capsys.readouterr().err
    assert main(["run", str(built), str(PHOTO), "--engine", "rtl", "--device", "pynq"]) == 2
    assert "engine: must be fast on pynq, not rtl" in capsys.readouterr().err
