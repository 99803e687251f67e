"""Weight files of others in the commands: what is assumed is said once, and options say what no file does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from fireflow.host.cli import main
from fireflow.quant.model_file import load_model
from tests.host.tiny import SPEC
from tests.quant.weight_files import caffemodel, onnx_model, random_arrays

ASSUMED = (
    "net.onnx: preprocessing assumed as torchvision's because its tensors are named as torchvision's; "
    "--preprocessing says otherwise"
)


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """An ONNX file with torchvision's names for pictures of 48 pixels."""
    model = onnx_model(random_arrays(SPEC), SPEC)
    model.graph.initializer[0].name = model.graph.node[0].input[1] = "features.0.weight"
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = 48
    onnx.save(model, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def run(capsys: pytest.CaptureFixture[str], *command: object) -> tuple[Any, list[str]]:
    """The JSON that a command prints, and its lines on stderr."""
    capsys.readouterr()
    status = main([*map(str, command), "--json"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return json.loads(captured.out), [line.removeprefix("fireflow: ") for line in captured.err.splitlines()]


def test_quantize_says_what_it_assumes(
    net: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("quantize", net, "-o", tmp_path / "a.fireq", "--policy", "w4a4", "--data", pictures)
    facts, lines = run(capsys, *command, "--calibration-images", 4)
    assert lines.count(ASSUMED) == 1
    assert facts["card"]["assumed"] == [ASSUMED]
    record = load_model(tmp_path / "a.fireq").preprocessing
    assert (record.size, record.source_order) == (48, "RGB")


def test_train_says_what_it_assumes(
    net: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("train", net, "-o", tmp_path / "run", "--data", pictures, "--steps", 1, "--batch-size", 4)
    facts, lines = run(capsys, *command, "--policy", "float", "--accelerator", "cpu")
    assert lines.count(ASSUMED) == 1
    assert facts["card"]["assumed"] == [ASSUMED]


def test_options_leave_nothing_to_assume(
    net: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--mean", 120, 110, 100, "--scale", 0.02, "--color-order", "BGR", "--squash", "--resize", 54)
    facts, lines = run(capsys, "evaluate", net, "--data", pictures, *options)
    assert (facts["engine"], lines) == ("torch", [])
    facts, lines = run(
        capsys, "evaluate", net, "--data", pictures, *options, "--input-size", 56, "--resize", 56
    )
    assert lines == ["net.onnx: --input-size is obeyed against what the file tells: input size 56, not 48"]


def test_a_caffe_file_without_a_data_layer_that_tells(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(caffemodel(random_arrays(SPEC), SPEC))
    _facts, lines = run(capsys, "evaluate", path, "--data", pictures, "--input-size", 48, "--resize", 54)
    (line,) = lines
    assert line.startswith(
        "net.caffemodel: preprocessing assumed as SqueezeNet's authors have it because its data layer"
    )


def test_a_quantized_model_in_another_frame(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fast simulator and Brevitas agree on pictures cut otherwise, at another size too."""
    for options in (("--resize", 48), ("--squash", "--resize", 60), ("--input-size", 56)):
        found = [
            run(capsys, "evaluate", model, "--data", pictures, *options, "--engine", engine)[0]
            for engine in ("fast", "brevitas")
        ]
        assert [facts["engine"] for facts in found] == ["fast", "brevitas"]
        assert found[0]["top1"] == found[1]["top1"]
    assert main(["evaluate", str(model), "--data", str(pictures), "--std", "2", "2", "2"]) == 2
    assert "--std is for float weights" in capsys.readouterr().err


def test_a_difference_from_onnx_runtime_stops_every_command(
    net: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fireflow.quant import agreement

    real = agreement._by_engine
    monkeypatch.setattr(agreement, "_by_engine", lambda *args: real(*args) + np.float64(0.1))
    (tmp_path / "out").mkdir()
    data = ("--data", pictures)
    for command in (
        ("evaluate", net, *data),
        ("quantize", net, "-o", tmp_path / "out" / "a.fireq", *data),
        ("train", net, "-o", tmp_path / "out" / "run", *data, "--steps", 1),
    ):
        capsys.readouterr()
        assert main([str(word) for word in command]) == 2
        assert "must be those of ONNX Runtime up to rounding" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []
