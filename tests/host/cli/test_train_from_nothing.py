"""An architecture's name as the start of training: random weights, the classes of the data, and on to Verilog."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import fireflow
from fireflow import InputError, PictureOptions, architectures, fresh_model, load_model, train
from tests.host.tiny import write_pictures

SIDE = 64
STARTS = ["plain", "squeezenet1_1"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures") / "data", 16)


@pytest.fixture(scope="module", params=STARTS)
def trained(request: pytest.FixtureRequest, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(
        request.param, folder, pictures, policy="w4a4", recipe={"steps": 3, "batch_size": 4},
        calibration_images=8, preprocessing=PictureOptions(size=SIDE), accelerator="cpu",
    )  # fmt: skip
    assert json.loads((folder / "run.json").read_text())["made_from"]["start"]["file"] == request.param
    return folder / "model.fireq"


def test_it_has_the_classes_of_the_data(trained: Path) -> None:
    model = load_model(trained)
    assert model.labels == tuple(f"class {number}" for number in range(4))
    assert (model.network.spec.num_classes, model.network.spec.input_size) == (4, SIDE)
    (started,) = [
        line for line in (trained.parent / "MODEL_CARD.md").read_text().splitlines() if "file:" in line
    ]
    assert started.strip("- ").removeprefix("file: ") in STARTS


def test_every_stage_computes_what_brevitas_does(trained: Path, pictures: Path) -> None:
    found = fireflow.verify(trained, images=pictures)
    assert found.passed
    assert "values that differ from interpreter: 0" in found.render()


def test_it_is_built_for_a_board(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.fire"
    bundle = fireflow.lower(trained)
    fireflow.build(bundle, fireflow.plan(bundle, board="PYNQ-Z2"), out)
    assert list((out / "rtl").glob("*.sv"))


@pytest.mark.parametrize("start", STARTS)
def test_it_learns(start: str, pictures: Path, tmp_path: Path) -> None:
    losses: dict[int, float] = {}
    train(
        start, tmp_path / "run", pictures, policy="float", accelerator="cpu", preprocessing=PictureOptions(size=SIDE),
        recipe={"steps": 60, "batch_size": 8, "learning_rate": 5e-3, "crop_scale": (0.9, 1.0)},
        report=lambda step, _steps, loss: losses.update({step: loss}),
    )  # fmt: skip
    assert losses[60] < 0.7 * math.log(4)  # of chance


def test_what_is_no_architecture(pictures: Path, tmp_path: Path) -> None:
    assert set(STARTS) <= set(architectures())
    with pytest.raises(InputError, match=r"model: must be a file or one of .*, not 'squeezenet1_2'"):
        train("squeezenet1_2", tmp_path / "run", pictures)
    assert fresh_model("squeezenet1_1").network.policy is None
