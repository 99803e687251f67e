"""The commands on good input: what they write, print and return."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image

import fireflow
import fireflow.host.cli.training_progress
from fireflow.host.cli import COMMANDS, INTERNAL_ERROR, arguments, main, train_arguments
from fireflow.host.cli.arguments import split_share
from fireflow.host.scores import best, ranks
from fireflow.hw.bundle import Bundle
from fireflow.hw.card import render_card
from fireflow.hw.errors import InputError
from fireflow.hw.table import table
from fireflow.quant.model_file import load_model
from fireflow.quant.processes import emulates_bf16
from fireflow.quant.recipe import Precision
from tests.quant.classifiers import colours


@pytest.fixture
def run_json(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command with --json; gives the parsed output."""

    def run(*command: object, status: int = 0) -> Any:
        capsys.readouterr()
        assert main([*map(str, command), "--json"]) == status
        return json.loads(capsys.readouterr().out)

    return run


def test_help_needs_numpy_only() -> None:
    heavy = ["torch", "brevitas", "onnx", "qonnx", "finn", "onnxruntime", "PIL", "rich", "pydantic"]
    program = f"""
import sys
from fireflow.host.cli import COMMANDS, main
for command in COMMANDS:
    assert main([command, "--help"]) == 0
assert main(["--help"]) == 0
loaded = set({heavy}) & set(sys.modules)
assert not loaded, loaded
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=host_root())
    assert result.returncode == 0, result.stderr
    assert all(command in result.stdout for command in COMMANDS)


def host_root() -> Path:
    return Path(fireflow.__file__).parent.parent


def test_usage_errors_are_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["fly"]) == 2
    assert main(["simulate", "x.fire", "y.png", "--threads", "0"]) == 2
    assert "above 0, not '0'" in capsys.readouterr().err


def test_quantize(model: Path, weights: Path, pictures: Path, tmp_path: Path, run_json: Any) -> None:
    command = (
        "quantize",
        weights,
        "--policy",
        "w6a6",
        "--data",
        pictures,
        "--equalize",
        "--no-bias-correction",
    )
    facts = run_json(*command, "-o", tmp_path / "a.fireq")
    card = facts["card"]
    assert card["policy"]["name"] == "w6a6"
    assert card["recipe"] == {"equalize": True, "bias_correction": False}
    assert card["calibration"]["images"] == 12
    assert len(card["calibration"]["fingerprint"]) == 64
    assert card["weights"]["file"] == "tiny.npz"
    assert {"python", "numpy", "torch", "brevitas"} <= set(card["tools"])
    assert facts["size_bytes"] == (tmp_path / "a.fireq").stat().st_size


def test_how_pictures_are_cut_goes_with_the_network(
    weights: Path, pictures: Path, tmp_path: Path, run_json: Any
) -> None:
    command = ("quantize", weights, "--policy", "w4a4", "--data", pictures, "--calibration-images", 4)
    for name, options, resize in (("all", ("--resize", 48), 48), ("middle", ("--resize", 60), 60)):
        path = tmp_path / f"{name}.fireq"
        run_json(*command, *options, "-o", path)
        assert load_model(path).preprocessing.resize == resize


def test_export(qonnx: Path, model: Path) -> None:
    names = {path.name for path in qonnx.parent.iterdir()}
    assert names == {"tiny.qonnx.onnx", "tiny.golden.npz", "MODEL_CARD.md"}
    with np.load(qonnx.with_name("tiny.golden.npz"), allow_pickle=False) as golden:
        assert golden["image"].shape == (3, 48, 48, 3)
        assert golden["fire2.squeeze.act"].dtype == np.uint8
        assert golden["scores"].shape == (3, 4)
    assert "w4a4" in (qonnx.parent / "MODEL_CARD.md").read_text()


def test_bundle_has_what_the_export_had(qonnx: Path, bundle: Path) -> None:
    loaded = Bundle.load(bundle)
    assert loaded.manifest.labels == ("class 0", "class 1", "class 2", "class 3")
    assert loaded.manifest.preprocessing is not None
    assert loaded.manifest.preprocessing.size == 48
    assert loaded.manifest.card["lowered_from"]["file"] == "tiny.qonnx.onnx"
    assert loaded.manifest.tools["finn-plus"]
    assert len(loaded.golden.images) == 2
    with np.load(qonnx.with_name("tiny.golden.npz"), allow_pickle=False) as golden:
        assert_array_equal(loaded.golden.images, golden["image"][:2])
        assert_array_equal(loaded.golden.scores, golden["scores"][:2])


def test_lower_takes_a_model_too(bundle: Path, model: Path, tmp_path: Path, run_json: Any) -> None:
    facts = run_json("lower", model, "-o", tmp_path / "b.fire")
    assert facts["classes"] == 4
    assert facts["weight_bytes"] > 0
    images = Bundle.load(bundle).golden.images
    assert_array_equal(
        Bundle.load(tmp_path / "b.fire").graph.run(images), Bundle.load(bundle).graph.run(images)
    )


def test_simulate(bundle: Path, pictures: Path, run_json: Any, capsys: pytest.CaptureFixture[str]) -> None:
    picture = pictures / "images" / "3.png"
    fast = run_json("simulate", bundle, picture, "--top", 2)
    slow = run_json("simulate", bundle, picture, "--top", 2, "--engine", "interpreter")
    assert fast == slow
    first, second = fast["images"][0]["top"]
    assert first["integer"] >= second["integer"]
    assert first["label"].startswith("class ")
    folder = run_json("simulate", bundle, pictures, "--batch", 5, "--threads", 2)
    assert len(folder["images"]) == 12
    assert next(i for i in folder["images"] if i["image"] == str(picture))["top"][:2] == [first, second]
    assert main(["simulate", str(bundle), str(picture)]) == 0
    assert first["label"] in capsys.readouterr().out


def test_simulate_takes_arrays(bundle: Path, tmp_path: Path, run_json: Any) -> None:
    np.save(tmp_path / "a.npy", np.full((54, 54, 3), 90, np.uint8))
    assert len(run_json("simulate", bundle, tmp_path / "a.npy")["images"][0]["top"]) == 4


def test_simulate_skips_what_is_damaged_in_a_folder(
    bundle: Path, pictures: Path, tmp_path: Path, run_json: Any
) -> None:
    (tmp_path / "good.png").write_bytes((pictures / "images" / "0.png").read_bytes())
    (tmp_path / "bad.png").write_bytes(b"no picture")
    facts = run_json("simulate", bundle, tmp_path)
    assert [Path(i["image"]).name for i in facts["images"]] == ["good.png"]
    assert [Path(name).name for name in facts["damaged"]] == ["bad.png"]


def test_evaluate_agrees_between_engines(
    bundle: Path, qonnx: Path, model: Path, weights: Path, pictures: Path, run_json: Any
) -> None:
    facts = [
        run_json("evaluate", bundle, "--data", pictures),
        run_json("evaluate", bundle, "--data", pictures, "--engine", "interpreter", "--batch", 5),
        run_json("evaluate", qonnx, "--data", pictures, "--threads", 2),
        run_json("evaluate", model, "--data", pictures, "--engine", "brevitas"),
    ]
    assert [f["engine"] for f in facts] == ["fast", "interpreter", "fast", "brevitas"]
    assert len({(f["top1"], f["top5"], f["images"]) for f in facts}) == 1
    assert facts[0]["images"] == 12
    assert facts[0]["top5"] == 100.0  # of four classes
    assert run_json("evaluate", weights, "--data", pictures)["engine"] == "torch"


def test_evaluate_counts_and_names_damaged_pictures(
    bundle: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in pictures.rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(pictures)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes() if path.name != "5.png" else b"no picture")
    assert main(["evaluate", str(bundle), "--data", str(tmp_path), "--json"]) == 0
    captured = capsys.readouterr()
    facts = json.loads(captured.out)
    assert facts["images"] == 11
    assert facts["damaged"] == ["images/5.png"]
    assert "images/5.png" in captured.err


def test_average_is_the_mean_of_the_weights(
    weights: Path, pictures: Path, tmp_path: Path, run_json: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = []
    for seed in (1, 2):
        runs.append(tmp_path / str(seed) / "model.fireq")
        command = ("train", weights, "-o", runs[-1].parent, "--data", pictures, "--policy", "float")
        run_json(
            *command, "--steps", 2, "--seed", seed, "--batch-size", 4, "--accelerator", "cpu", "--devices", 1
        )
    facts = run_json("average", runs[0], f"{runs[1]}=3", "-o", tmp_path / "mean.fireq")
    networks = [load_model(path).network for path in (*runs, facts["output"])]
    one, other, mean = (dict(network.named_parameters()) for network in networks)
    for name, weight in mean.items():
        assert not torch.equal(one[name], other[name])
        expected = (0.25 * one[name].double() + 0.75 * other[name].double()).float()
        assert torch.equal(weight, expected), name
    assert networks[0].pixel_offset is not None
    torch.testing.assert_close(networks[2].pixel_offset, networks[0].pixel_offset, rtol=0, atol=0)
    assert [(run["share"], run["recipe"]["seed"]) for run in facts["card"]["networks"]] == [
        (1.0, 1),
        (3.0, 2),
    ]
    assert run_json("evaluate", facts["output"], "--data", pictures)["images"] == 12

    again = tmp_path / "again"
    command = ("train", runs[0], "-o", again, "--data", pictures, "--policy", "float")
    run_json(*command, "--steps", 1, "--batch-size", 4, "--accelerator", "cpu", "--devices", 1)
    capsys.readouterr()
    assert main(["average", str(runs[0]), str(again / "model.fireq"), "-o", str(tmp_path / "b.fireq")]) == 0
    assert "trained from different weights" in capsys.readouterr().err


def test_evaluate_holds_one_batch_at_a_time(
    bundle: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []

    def score(images: np.ndarray) -> np.ndarray:
        held.append(len(images))
        return np.zeros((len(images), 4), np.int64)

    monkeypatch.setattr("fireflow.pipeline.evaluating.engine_of", lambda *_: score)
    found = fireflow.evaluate(bundle, pictures, batch=5)
    assert held == [5, 5, 2]
    assert found.top1 == 25.0  # of equal scores the first class comes first


def test_evaluate_takes_some_of_the_images(bundle: Path, pictures: Path, run_json: Any) -> None:
    assert run_json("evaluate", bundle, "--data", pictures, "--limit", 5)["images"] == 5


def test_train_float_then_quantized(weights: Path, pictures: Path, tmp_path: Path, run_json: Any) -> None:
    common = ("--batch-size", 4, "--accelerator", "cpu", "--devices", 1)
    command = ("train", weights, "-o", tmp_path / "float", "--data", f"{pictures}=2", "--policy", "float")
    card = run_json(*command, "--steps", 2, "--start-share", 0.5, "--crop-size", 32, *common)["card"]
    assert card["recipe"]["distillation"] == 0.0
    assert card["recipe"]["start_share"] == 0.5
    assert card["recipe"]["crop_size"] == 32
    assert card["teachers"] == []
    assert card["data"][0]["share"] == 2.0

    start = tmp_path / "float" / "model.fireq"
    command = ("train", start, "-o", tmp_path / "quantized", "--data", pictures, "--policy", "w3a4")
    facts = run_json(*command, "--epochs", 0.5, *common)
    assert facts["card"]["recipe"]["steps"] == 2
    assert facts["card"]["recipe"]["distillation"] == 1.0
    assert facts["card"]["teachers"][0]["file"] == "model.fireq"
    assert {"model.fireq", "MODEL_CARD.md", "checkpoint.safetensors"} <= {
        path.name for path in (tmp_path / "quantized").iterdir()
    }

    first = (tmp_path / "quantized" / "model.fireq").stat().st_size
    again = run_json(*command, "--epochs", 0.5, *common)  # resumes at the end of the run
    assert again["size_bytes"] == first

    command = ("train", facts["output"], "-o", tmp_path / "w2", "--data", pictures, "--policy", "w2a4")
    run_json(*command, "--teacher", start, "--steps", 1, *common)
    evaluated = run_json(
        "evaluate", tmp_path / "w2" / "model.fireq", "--data", pictures, "--engine", "brevitas"
    )
    assert evaluated["images"] == 12


def test_train_tells_a_log_file_how_far_it_is(
    weights: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(fireflow.host.cli.training_progress, "SECONDS_A_LINE", 0.0)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False}, raising=False)
    command = ("train", weights, "-o", tmp_path / "out", "--data", pictures, "--policy", "float")
    recipe = ("--steps", 11, "--precision", "bf16-mixed", "--batch-size", 2)
    assert main([str(part) for part in (*command, *recipe, "--accelerator", "cpu", "--devices", 1)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "this CPU has no instructions for bf16" in line]
    told = [line for line in lines if " of 11 steps" in line]
    assert told[:2] == ["0 of 11 steps", "1 of 11 steps, 0 min left"]
    assert re.fullmatch(r"10 of 11 steps, loss \d+\.\d{4}, \d+ min left", told[10])
    assert re.fullmatch(r"11 of 11 steps, loss \d+\.\d{4}", told[11])
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert not emulates_bf16("cpu")


def test_train_cuts_the_head_and_leaves_out_pictures(weights: Path, tmp_path: Path, run_json: Any) -> None:
    data = tmp_path / "data"
    from_labels = "filename,class_index,wnid,class_name\n0.png,1,n1,one\n1.png,3,n3,three\n2.png,1,n1,one\n"
    (data / "images").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (40, 40), (80 * number, 9, 9)).save(data / "images" / f"{number}.png")
    (data / "labels.csv").write_text(from_labels)
    held_out = tmp_path / "held_out"
    held_out.mkdir()
    (held_out / "2.png").write_bytes((data / "images" / "2.png").read_bytes())
    command = ("train", weights, "-o", tmp_path / "out", "--data", data, "--head", "data", "--policy", "w4a4")
    options = ("--exclude", held_out, "--steps", 1, "--batch-size", 2, "--accelerator", "cpu", "--devices", 1)
    teacher = colours(tmp_path / "colours.onnx")
    card = run_json(*command, *options, "--onnx-teacher", teacher)["card"]
    assert [taught_by["file"] for taught_by in card["teachers"]] == [weights.name, "colours.onnx"]
    assert card["data"][0]["images"] == 2
    assert card["excluded"] == ["held_out"]
    facts = run_json("evaluate", tmp_path / "out" / "model.fireq", "--data", data, "--engine", "brevitas")
    assert facts["images"] == 3


def test_verify_finds_no_difference(model: Path, run_json: Any) -> None:
    facts = run_json("verify", model, "--count", 1)
    assert facts["passed"]
    assert facts["differing"] == 0


def test_models_and_doctor(run_json: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for model in run_json("models"):
        assert model["bytes"] < 1_000_000
    tools = {row["tool"]: row for row in run_json("doctor")["tools"]}
    assert tools["numpy"]["version"] == np.__version__
    assert main(["doctor"]) == 0
    assert "finn-plus" in capsys.readouterr().out


def test_an_interrupt_ends_quietly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("fireflow.host.cli.doctor.run", interrupted)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_missing_part_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def needs_torch(*_: object) -> int:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("fireflow.host.cli.doctor.run", needs_torch)
    assert main(["doctor"]) == 2
    expected = "fireflow: doctor: this command needs the quant part, and torch is not installed; "
    assert capsys.readouterr().err == f"{expected}pip install 'fireflow[quant]'\n"


def test_our_own_mistakes_are_not_called_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise ModuleNotFoundError("No module named 'fireflow.hw.nothing'", name="fireflow.hw.nothing")

    monkeypatch.setattr("fireflow.host.cli.doctor.run", broken)
    assert main(["doctor"]) == INTERNAL_ERROR


def test_best_and_ranks_break_ties_alike() -> None:
    scores = np.random.default_rng(0).integers(0, 4, (50, 9))
    order = np.array([[guess.index for guess in best(row, (), 1.0, 9)] for row in scores])
    for label in range(9):
        assert_array_equal(ranks(scores, np.full(50, label)), np.argmax(order == label, axis=1))


def test_shares() -> None:
    assert split_share("a/b.zip") == (Path("a/b.zip"), 1.0)
    assert split_share("a=b/c=2.5") == (Path("a=b/c"), 2.5)
    for bad in ("a=0", "a=-1", "a=x", "a=nan", "a=inf"):
        with pytest.raises(InputError, match="the share must be a number above 0"):
            split_share(bad)


def test_tables_and_cards() -> None:
    assert table(("a", "n"), [("x", 1), ("yy", 10)]) == "a    n\nx    1\nyy  10"
    card = {"name": "tiny", "data": [{"data": "a.zip", "images": 3}], "excluded": ["b", "c"]}
    assert render_card(card) == "# tiny\n\n- data:\n  - data: a.zip\n  - images: 3\n- excluded: b, c\n"


def test_train_offers_the_precisions_of_a_recipe() -> None:
    assert get_args(Precision) == arguments.PRECISIONS


@pytest.mark.parametrize(("teacher", "parts"), [("a.npz=caffe", ("a.npz", "caffe")), ("a=b.npz", "a=b.npz")])
def test_a_teacher_may_see_pictures_in_its_own_way(teacher: str, parts: object) -> None:
    assert train_arguments.teacher(teacher) == parts
