"""`fireflow build --toolchain open`, end to end: a small network becomes a bitstream that computes it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fireflow.host.cli import main
from fireflow.host.devices.overlay import bit_part, dma_addresses, place_overlay
from fireflow.host.interface import load
from tests.hw.bitstream.one_layer import one_layer
from tests.hw.bitstream.open_tools import open_tools

ROOT = Path(__file__).resolve().parents[3]


def build_command(lowered: Path, output: Path, *more: str) -> list[str]:
    """Arguments of `fireflow` that make the bitstream."""
    return [
        *("build", str(lowered), "--board", "pynq-z2", "--target-fps", "1000", "--toolchain", "open"),
        *("-o", str(output), *more),
    ]


@pytest.fixture(scope="module")
def lowered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("open") / "one-layer.fire"
    one_layer().save(path)
    return path


@pytest.mark.timeout(900)  # place and route of two thousand LUTs; seconds where an earlier run did it
def test_a_network_becomes_a_bitstream(
    lowered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tools = open_tools()
    output = tmp_path / "z2.fire"
    assert main(build_command(lowered, output)) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == str(output)
    assert (
        "equal to the integer graph: 3 images on the routed netlist and 3 images on the bits netlist"
        in captured.out
    )
    record = json.loads((output / "bitstream.json").read_text())
    assert record["toolchain"] == "open"
    assert record["tools"] == dict(tools.versions)
    assert record["clock_mhz"] <= record["max_mhz"]
    assert record["images_simulated"] == {"routed": 3, "bits": 3}
    bundle, interface = load(output)
    assert bundle.hardware is not None
    assert interface.bitstream is not None
    assert interface.clock_mhz == bundle.hardware.clock_mhz == record["clock_mhz"]
    data = interface.bitstream.read_bytes()
    assert len(data) > 4_000_000
    assert bit_part(data) == "xc7z020clg400-1"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    placed = place_overlay(interface)
    assert placed.read_bytes() == data
    assert dma_addresses(placed.with_suffix(".hwh")) == {"idma0": 0x4000_0000, "odma0": 0x4001_0000}


def test_an_interrupted_build_goes_on(lowered: Path, tmp_path: Path) -> None:
    output = tmp_path / "z2.fire"
    run = [
        sys.executable,
        "-m",
        "fireflow",
        *build_command(lowered, output, "--check", "none", "--seed", "7"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment["FIREFLOW_OPEN_TOOLS"] = str(open_tools().root or "/")

    def interrupted_in(step: str) -> str:
        """What a build says that is interrupted when it has begun the step."""
        log = tmp_path / "log"
        with open(log, "w") as file:
            process = subprocess.Popen(run, cwd=ROOT, env=environment, stdout=file, stderr=file)
            deadline = time.monotonic() + 240
            while f"] {step}: 0:00" not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
        assert not output.exists()
        return log.read_text()

    assert interrupted_in("route").splitlines()[-1] == "interrupted"
    (build,) = (tmp_path / "cache" / "fireflow" / "builds").iterdir()
    assert {path.name for path in build.iterdir() if path.is_dir()} == {"elaborate", "synthesize"}
    again = interrupted_in("route")
    for step in ("elaborate", "synthesize"):
        assert f"] {step}: done before" in again
    shutil.rmtree(build)
