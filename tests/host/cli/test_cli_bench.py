"""The benchmark on a tiny network: every engine gives the same integers; no test of speed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fireflow.host.bench.driver import DriverRow, problems
from fireflow.host.cli import main
from fireflow.pipeline.bench import training
from fireflow.pipeline.bench.simulator import MAX_GROWTH_BYTES, EngineRow, _facts
from tests.host.boards import bundle as small


def test_all_engines(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "simulator", str(model), "--images", "4", "--rounds", "1", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    measured = {(row["engine"], row["batch"], row["threads"]) for row in facts["rows"]}
    slow = {(engine, 1, 1) for engine in ("interpreter", "qonnx", "finn")}
    fast = {(engine, batch, t) for engine in ("fast", "onnxruntime") for batch in (1, 4) for t in (1, 2)}
    assert measured == slow | fast
    assert facts["same_integers"]
    assert {row["same_integers"] for row in facts["rows"] if row["engine"] in ("fast", "finn")} == {True}
    assert all(row["ms_per_image"] > 0 and row["peak_mib"] > 0 for row in facts["rows"])
    assert [part["images"] for part in facts["stream"]] == [64, 512]
    assert not facts["memory_grows"]


def rows(fast_scores: list[float]) -> list[EngineRow]:
    return [
        EngineRow("interpreter", 1, 1, 1, [0.2], 1, [1, 2]),
        EngineRow("fast", 1, 1, 1, [0.01, 0.02, 0.9], 1, fast_scores),
        EngineRow("qonnx", 1, 1, 1, [0.4], 1, [0.1, 0.2]),
        EngineRow("onnxruntime", 1, 1, 1, [0.01], 1, [0.1, 0.2]),
    ]


def test_ratios_and_failures() -> None:
    stream = [{"images": 64, "peak_bytes": 100}, {"images": 512, "peak_bytes": 100 + MAX_GROWTH_BYTES}]
    facts = _facts(rows([1, 2]), stream)
    fast = facts["rows"][1]
    assert (fast["ms_per_image"], fast["times_onnxruntime"], fast["faster_than_qonnx"]) == (20.0, 2.0, 20.0)
    assert facts["same_integers"]
    assert not facts["memory_grows"]
    assert not _facts(rows([1, 3]), stream)["same_integers"]
    stream[1]["peak_bytes"] += 1
    assert _facts(rows([1, 2]), stream)["memory_grows"]


def test_training(model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    monkeypatch.setattr(
        torch, "compile", lambda function, **_: function
    )  # takes minutes; test_train.py compiles
    assert main(["bench", "training", str(model), "--batch-size", "2", "--rounds", "1", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [row["way"] for row in facts["rows"]] == list(training.WAYS)
    assert facts["rows"][0]["times_as_fast"] == 1
    assert all(row["ms_per_step"] > 0 for row in facts["rows"])


def test_training_ratio() -> None:
    rows = training._rows({training.BREVITAS: [4.0, 2.0, 9.0], training.FUSED: [1.0, 0.5, 3.0]})
    assert [(row["ms_per_step"], row["times_as_fast"]) for row in rows] == [(4000, 1), (1000, 4)]


def test_driver(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small().save(tmp_path / "small.fire")
    command = [
        "bench",
        "driver",
        str(tmp_path / "small.fire"),
        "--frames",
        "20",
        "--interval-ms",
        "1",
        "--json",
    ]
    assert main(command) in (0, 1)  # 1 on a busy machine
    rows = json.loads(capsys.readouterr().out)
    assert [(row["batch"], row["slots"]) for row in rows] == [(1, 1), (1, 2), (1, 4), (1, 6), (4, 3), (1, 4)]
    assert [row["wrong"] for row in rows] == [0] * 6
    assert all(row["fps"] > 0 and row["cpu_ms"] > 0 for row in rows)
    assert main([*command[:3], "--interval-ms", "0"]) == 2
    assert "must be above 0, the latency not below the interval, not 0 and 30" in capsys.readouterr().err


def test_driver_says_what_it_misses() -> None:
    good = DriverRow("fireflow", 1, 4, 300, 96.0, 100.0, 1.0, 0)
    host = DriverRow("fireflow", 1, 4, 1000, 900.0, 0.0, 0.4, 0)
    other = DriverRow("another", 1, 1, 300, 30.0, 100.0, 9.0, 0)
    assert problems([good, host, other]) == []
    slow, busy = replace(good, fps=94.0), replace(host, cpu_ms=0.6)
    (problem,) = problems([slow, host, other])
    assert "must reach 95% of the ceiling, not 94.0%" in problem
    (problem,) = problems([good, busy, other])
    assert "at most 0.5 ms, not 0.600" in problem
    (problem,) = problems([good, host, replace(other, wrong=2)])
    assert problem == "another: every score must be right, not 2 wrong"


def test_serve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("uvicorn", reason="the service needs uvicorn, starlette and python-multipart")
    small().save(tmp_path / "small.fire")
    command = ["bench", "serve", str(tmp_path / "small.fire"), "--clients", "12", "--queue", "4"]
    assert main([*command, "--seconds", "0.5", "--interval-ms", "2", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["interval_ms"] for row in rows] == [2, 0]
    for row in rows:
        assert set(row["answers"]) <= {"200", "503"}
        assert row["answers"]["200"] > 0
        assert (row["wrong"], row["lost"], row["clients"]) == (0, 0, 12)
    assert main([*command, "--seconds", "0"]) == 2
    assert "seconds: must be above 0" in capsys.readouterr().err
