"""The benchmark on a tiny network: every engine gives the same integers; no test of speed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from host.cli import main
from host.cli.bench import MAX_GROWTH_BYTES, Row, _facts


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


def rows(fast_scores: list[float]) -> list[Row]:
    return [
        Row("interpreter", 1, 1, 1, [0.2], 1, [1, 2]),
        Row("fast", 1, 1, 1, [0.01, 0.02, 0.9], 1, fast_scores),
        Row("qonnx", 1, 1, 1, [0.4], 1, [0.1, 0.2]),
        Row("onnxruntime", 1, 1, 1, [0.01], 1, [0.1, 0.2]),
    ]


def test_ratios_and_failures() -> None:
    stream = [{"images": 64, "peak_bytes": 100}, {"images": 512, "peak_bytes": 100 + MAX_GROWTH_BYTES}]
    facts = _facts(Path("m.fireq"), rows([1, 2]), stream)
    fast = facts["rows"][1]
    assert (fast["ms_per_image"], fast["times_onnxruntime"], fast["faster_than_qonnx"]) == (20.0, 2.0, 20.0)
    assert facts["same_integers"]
    assert not facts["memory_grows"]
    assert not _facts(Path("m.fireq"), rows([1, 3]), stream)["same_integers"]
    stream[1]["peak_bytes"] += 1
    assert _facts(Path("m.fireq"), rows([1, 2]), stream)["memory_grows"]
