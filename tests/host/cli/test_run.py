"""`fireflow run`: what it prints and writes, and how it ends."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fireflow.host.cli import main
from fireflow.host.devices.faults import Fault
from fireflow.host.devices.virtual import VirtualDevice
from fireflow.host.interface import Interface
from fireflow.host.scores import best
from fireflow.hw.bundle import Bundle
from fireflow.hw.graph import Graph
from tests.host.boards import LABELS, bundle, graph

ROOT = Path(__file__).parents[3]
COUNT = 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def saved(folder: Path) -> str:
    bundle().save(folder / "small.fire")
    return str(folder / "small.fire")


@pytest.fixture(scope="module")
def pictures(folder: Path) -> Path:
    random, path = np.random.default_rng(5), folder / "pictures"
    path.mkdir()
    for number in range(COUNT):
        pixels = random.integers(0, 256, (4, 5, 3), dtype=np.uint8).repeat(9, 0).repeat(9, 1)
        Image.fromarray(pixels).save(path / f"{number}.png")
    return path


@pytest.fixture(scope="module")
def scores(pictures: Path) -> np.ndarray:
    prepare = bundle().manifest.preprocessing.prepare
    return graph().run(np.stack([prepare(Image.open(pictures / f"{n}.png")) for n in range(COUNT)]))


def test_json_lines(saved: str, pictures: Path, scores: np.ndarray, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "out.jsonl"
    assert main(["run", saved, str(pictures), "-o", str(path), "--top", "2", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["pictures"], summary["damaged"], summary["ceiling_estimated"]) == (COUNT, 0, True)
    assert set(summary["ms"]) == {"wait", "prepare", "input", "compute", "read", "total"}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for number, (line, row) in enumerate(zip(lines, scores, strict=True)):
        assert line["picture"] == str(pictures / f"{number}.png")
        order = np.argsort(-row, kind="stable")[:2].tolist()
        assert [guess["index"] for guess in line["top"]] == order
        assert [guess["integer"] for guess in line["top"]] == row[order].tolist()


def test_lines_csv_and_annotated(
    saved: str, pictures: Path, scores: np.ndarray, tmp_path: Path, capsys: Any
) -> None:
    out, drawn = tmp_path / "out.csv", tmp_path / "drawn"
    command = ["run", saved, str(pictures), "--top", "1", "--batch", "4", "--slots", "2"]
    assert main([*command, "-o", str(out), "--save-annotated", str(drawn)]) == 0
    printed = capsys.readouterr().out
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["integer"]) for row in rows] == scores.max(axis=1).tolist()
    assert [row["label"] for row in rows] == [LABELS[row.argmax()] for row in scores]
    assert printed.startswith(f"{pictures}/0.png: {rows[0]['label']} ")
    assert f"{COUNT} pictures in " in printed
    assert "the accelerator's ceiling, estimated" in printed
    assert "phase, ms" in printed
    assert [path.name for path in sorted(drawn.iterdir())] == [f"{n + 1:06d}-{n}.jpg" for n in range(COUNT)]
    with Image.open(drawn / "000001-0.jpg") as sheet:
        assert sheet.size == (240, 36 + 20)


def test_stdout(saved: str, pictures: Path, capsys: Any) -> None:
    assert main(["run", saved, str(pictures), "-o", "-", "--limit", "4"]) == 0
    captured = capsys.readouterr()
    assert len([json.loads(line) for line in captured.out.splitlines()]) == 4
    assert "4 pictures in" in captured.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["missing.png"], "it is not there; check the path"),
        (["{pictures}", "-o", "out.txt"], "the output must be NAME.jsonl, NAME.csv or -"),
        (["{pictures}", "--device", "toaster"], "device: must be virtual, pynq or remote:ADDRESS"),
        (["{pictures}", "--device", "pynq"], "must have a bitstream to run on a board, not none; build it"),
        (["{pictures}", "--deadline", "0"], "deadline_s must be above 0"),
        (["{bad}"], "must be a picture that can be decoded"),
    ],
)
def test_refused(
    saved: str, pictures: Path, tmp_path: Path, capsys: Any, arguments: list[str], text: str
) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "a.png").write_bytes(b"no picture")
    filled = [word.format(pictures=pictures, bad=bad) for word in arguments]
    assert main(["run", saved, *filled]) == 2
    captured = capsys.readouterr()
    assert text in captured.err.splitlines()[-1]
    assert captured.err.splitlines()[-1].startswith("fireflow: ")


def test_changed_bundle(saved: str, pictures: Path, tmp_path: Path, capsys: Any) -> None:
    bundle().save(tmp_path / "changed.fire")
    arrays = tmp_path / "changed.fire" / "graph.arrays"
    arrays.write_bytes(arrays.read_bytes()[:-1] + b"x")
    assert main(["run", str(tmp_path / "changed.fire"), str(pictures)]) == 2
    assert "must match the hash in the manifest" in capsys.readouterr().err


def test_a_device_that_fails(
    saved: str, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    faults = [Fault("compute hang", 4)]

    def make(_text: str, interface: Interface, graph: Graph) -> VirtualDevice:
        return VirtualDevice(interface, graph, 0, 0, faults)

    monkeypatch.setattr("fireflow.host.driver.open_device", make)
    out = tmp_path / "out.jsonl"
    assert main(["run", saved, str(pictures), "-o", str(out), "--deadline", "0.2"]) == 1
    captured = capsys.readouterr()
    # The first frame is the golden one at the start.
    assert len(out.read_text().splitlines()) == 3
    assert "fireflow: output: odma0 must move 1 frames within" in captured.err
    assert "accepted and not answered: " in captured.err
    assert f"{pictures}/3.png" in captured.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals(saved: str, pictures: Path, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "fireflow", "run", saved, str(pictures), "--watch", "-o", str(out)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (out.exists() and len(out.read_text().splitlines()) == COUNT) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    printed, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number, errors
    assert f"{COUNT} pictures in" in printed
    assert errors == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_in_the_middle(
    saved: str, tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Frames are under way when it comes: all that were accepted are answered, in order, and no buffer is left."""
    images = np.random.default_rng(3).integers(0, 256, (3000, 12, 12, 3), dtype=np.uint8)
    np.save(tmp_path / "many.npy", images)
    prepare = bundle().manifest.preprocessing.prepare
    devices, shown = [], []

    def make(_text: str, interface: Interface, graph: Graph) -> VirtualDevice:
        devices.append(VirtualDevice(interface, graph, 0.001, 0.003))
        return devices[0]

    def one(scores: np.ndarray, *rest: Any) -> Any:
        shown.append(scores)
        if len(shown) == 20:
            os.kill(os.getpid(), number)
        return best(scores, *rest)

    monkeypatch.setattr("fireflow.host.driver.open_device", make)
    monkeypatch.setattr("fireflow.host.picture_run.best", one)
    out = tmp_path / "out.jsonl"
    assert main(["run", saved, str(tmp_path / "many.npy"), "-o", str(out), "--top", "5"]) == 128 + number
    captured = capsys.readouterr()
    count = len(out.read_text().splitlines())
    assert 20 <= count < 100
    assert f"{count} pictures in" in captured.out
    assert captured.err == ""
    wanted = graph().run(np.stack([prepare(image) for image in images[:count]]))
    np.testing.assert_array_equal(np.stack(shown), wanted)
    assert devices[0].fpga.memory.allocated == 0
    assert devices[0].fpga.violations == []


@pytest.mark.parametrize("engine", ["fast", "interpreter"])
def test_a_bundle_is_read_once(
    engine: str, saved: str, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, load = list[Path](), Bundle.load

    def counted(path: Path) -> Bundle:
        loaded.append(path)
        return load(path)

    monkeypatch.setattr(Bundle, "load", counted)
    assert main(["run", saved, str(pictures), "--engine", engine]) == 0
    assert loaded == [Path(saved)]
