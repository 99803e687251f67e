"""A training run is what it was made from: no other goes on from it, takes its name or replaces it unasked."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open

import fireflow.pipeline.training_run
from fireflow.host.cli import main
from fireflow.quant.build import load_network
from fireflow.quant.checkpoint import CHECKPOINT, steps_done
from fireflow.quant.model_file import load_model, save_model
from fireflow.quant.run_record import RUN_RECORD, RunRecord
from tests.host.tiny import RECORD, write_pictures, write_weights
from tests.quant.classifiers import colours

Run = Callable[..., int]
FIXED = ("--batch-size", 2, "--accelerator", "cpu", "--devices", 1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights and pictures, and others of each kind."""
    folder = tmp_path_factory.mktemp("files")
    made = {"start": write_weights(folder / "start.npz"), "data": write_pictures(folder / "data", 6)}
    made["other_start"] = write_weights(folder / "other.npz", conv10_bias=lambda bias: bias + 1)
    made["other_data"] = write_pictures(folder / "other_data", 6, seed=1)
    made["less_data"] = write_pictures(folder / "less_data", 5)
    made["two"] = write_pictures(folder / "two", 2)
    made["held_out"] = write_pictures(folder / "held_out", 1)
    made["relabelled"] = write_pictures(folder / "relabelled", 6)
    labels = made["relabelled"] / "labels.csv"
    labels.write_text(labels.read_text().replace("0.png,0,n00000000,class 0", "0.png,1,n00000001,class 1"))
    made["onnx"] = colours(folder / "colours.onnx")
    made["record"] = folder / "record.json"
    made["record"].write_text(json.dumps(replace(RECORD, mean=(1.0, 2.0, 3.0)).to_json()))
    made["policy"] = folder / "policy.json"
    made["policy"].write_text(
        json.dumps({"name": "w4a4", "default": {"weight": 4, "activation": 4}, "layers": {}})
    )
    return made


def command(files: dict[str, Path], folder: Path, **changes: Any) -> list[str]:
    """The arguments of a run with labels and a teacher; `changes` are options by name, None leaves one out."""
    start = changes.pop("start", "start")
    options: dict[str, Any] = {"data": "{data}", "teacher": "{start}", "policy": "w4a4", "steps": 2}
    options |= {"distillation": 0.5, "calibration-images": 4}
    options |= {name.replace("_", "-"): value for name, value in changes.items()}
    words: list[Any] = ["train", files[start], "-o", folder, *FIXED]
    for name, value in options.items():
        for one in value if isinstance(value, list) else [value]:
            if one is True:
                words.append(f"--{name}")
            elif one is not None:
                words += [f"--{name}", *(str(one).split(" "))]
    return [str(word).format(**files) for word in words]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """How a sum is split among threads shows in its last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def finished(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to the end; tests copy it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(command(files, folder)) == 0
    return folder


@pytest.fixture(scope="module")
def killed(files: dict[str, Path], finished: Path) -> Path:
    """A run with one of its two steps done."""
    folder = finished.with_name("killed")

    class Killed(BaseException):
        pass

    def save_then_die(*arguments: Any) -> None:
        save(*arguments)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        from fireflow.quant.checkpoint import save_checkpoint as save

        patch.setattr("fireflow.quant.train.save_checkpoint", save_then_die)
        with pytest.raises(Killed):
            main(command(files, folder, checkpoint_every=1))
    assert steps_done(folder) == (1, 2)
    return folder


def bytes_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


OTHER: list[tuple[str, dict[str, Any], str]] = [
    ("start", {"start": "other_start"}, "start must be start.npz ("),
    ("data", {"data": "{other_data}"}, "data must be data (6 pictures, "),
    ("less data", {"data": "{less_data}"}, "data must be data (6 pictures, "),
    ("more data", {"data": ["{data}", "{other_data}"]}, "data must be data (6 pictures, "),
    ("labels", {"data": "{relabelled}"}, "data must be data (6 pictures, "),
    ("share", {"data": ["{data}=2"]}, "with share 1, not data (6 pictures, "),
    ("exclude", {"exclude": "{held_out}"}, "data must be data (6 pictures, "),
    ("policy", {"policy": "w3a4"}, "policy.name must be w4a4, not w3a4"),
    ("float", {"policy": "float", "calibration_images": None}, "policy must be w4a4, not float"),
    ("head", {"head": "data", "data": "{two}"}, "network.num_classes must be 4, not 2"),
    ("teacher", {"teacher": "{other_start}"}, "teachers must be start.npz ("),
    ("teachers", {"teacher": ["{start}", "{other_start}"]}, "teachers must be start.npz ("),
    ("onnx teacher", {"onnx_teacher": "{onnx}"}, "teachers must be start.npz ("),
    ("equalize", {"equalize": True}, "calibration.equalize must be False, not True"),
    ("calibration", {"calibration_images": 5}, "calibration.pictures must be 4, not 5"),
    ("decode size", {"decode_size": 60}, "data must be data (6 pictures, "),
    ("resize", {"resize": 60}, "preprocessing.resize must be 54, not 60"),
    ("input size", {"input_size": 64}, "network.input_size must be 48, not 64"),
    (
        "preprocessing",
        {"preprocessing": "{record}"},
        "preprocessing.mean must be 120.0, 110.0, 100.0, not 1.0, 2.0",
    ),
    ("steps", {"steps": 3}, "recipe.steps must be 2, not 3"),
    ("seed", {"seed": 1}, "recipe.seed must be 0, not 1"),
    ("rate", {"learning_rate": 0.01}, "recipe.learning_rate must be 0.002, not 0.01"),
    ("scale rate", {"scale_learning_rate": 0.01}, "recipe.scale_learning_rate must be 0.001, not 0.01"),
    ("distillation", {"distillation": 0.25}, "recipe.distillation must be 0.5, not 0.25"),
    ("temperature", {"temperature": 3}, "recipe.temperature must be 2.0, not 3.0"),
    ("features", {"features": 1}, "recipe.features must be 0.0, not 1.0"),
    ("crops", {"crop_scale": "0.5 1"}, "recipe.crop_scale must be 0.35, 1.0, not 0.5, 1.0"),
    ("crop size", {"crop_size": 32}, "recipe.crop_size must be none, not 32"),
    ("first size", {"first_size": 32}, "recipe.first_size must be none, not 32"),
    ("average", {"average": 0.5}, "recipe.average must be 0.0, not 0.5"),
    ("precision", {"precision": "bf16-mixed"}, "recipe.precision must be 32-true, not bf16-mixed"),
]


@pytest.mark.parametrize(("kind", "changes", "what"), OTHER, ids=[kind for kind, _changes, _what in OTHER])
@pytest.mark.parametrize("whole", [True, False], ids=["finished", "killed"])
def test_another_run_is_refused(
    files: dict[str, Path],
    finished: Path,
    killed: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    changes: dict[str, Any],
    what: str,
    whole: bool,
) -> None:
    monkeypatch.setattr("fireflow.quant.build.to_quantized", never)
    monkeypatch.setattr("fireflow.quant.train.train", never)
    folder = finished if whole else killed
    before = bytes_of(folder)
    every = {} if whole else {"checkpoint_every": 1}
    assert main(command(files, folder, **every, **changes)) == 2
    line = capsys.readouterr().err
    assert len(line.splitlines()) == 1
    assert line.startswith(f"fireflow: {folder}: a run must go on as it began: ")
    assert what in line
    steps = "2 of 2 steps and model.fireq that took" if whole else "1 of 2 steps"
    assert f"choose another -o, or --restart, which loses {steps}" in line
    assert bytes_of(folder) == before


def never(*_arguments: Any, **_named: Any) -> None:
    raise AssertionError("it went on")


def test_what_a_run_was_made_from_can_be_read(finished: Path, files: dict[str, Path]) -> None:
    record = json.loads((finished / RUN_RECORD).read_text())
    made_from = record["made_from"]
    assert made_from["start"]["file"] == "start.npz"
    assert made_from["start"]["sha256"] == hashlib.sha256(files["start"].read_bytes()).hexdigest()
    assert made_from["preprocessing"] == RECORD.to_json()
    assert made_from["recipe"]["steps"] == 2
    assert "start_share" not in made_from["recipe"]
    assert {"torch", "numpy", "brevitas"} <= set(record["tools"])
    assert record["seconds"] > 0
    assert record["finished_at"] >= record["began_at"]


def test_the_same_command_goes_on(
    files: dict[str, Path], killed: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(killed, tmp_path / "killed"))
    assert main([*command(files, folder, checkpoint_every=1), "--json"]) == 0
    card = json.loads(capsys.readouterr().out)["card"]
    assert card == load_model(folder / "model.fireq").card
    whole = load_model(finished / "model.fireq").network.state_dict()
    for name, tensor in load_model(folder / "model.fireq").network.state_dict().items():
        assert torch.equal(tensor, whole[name]), name


def test_a_finished_run_tells_of_itself(
    files: dict[str, Path], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again, elsewhere, later: the same card, from the record. Names and places of files do not count."""
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    copies = {name: Path(shutil.move(shutil.copytree(path, tmp_path / "a" / name), tmp_path / f"moved_{name}"))
              for name, path in files.items() if path.is_dir()}  # fmt: skip
    copies |= {name: path for name, path in files.items() if path.is_file()}
    copies["start"] = Path(shutil.copy(files["start"], tmp_path / "renamed.npz"))
    monkeypatch.setattr(
        fireflow.pipeline.training_run,
        "tool_versions",
        lambda: {"torch": "99.0", "numpy": "99.0", "python": "9"},
    )
    before = load_model(folder / "model.fireq").card
    assert main(command(copies, folder)) == 0
    assert load_model(folder / "model.fireq").card == before
    assert before["start"]["file"] == "start.npz"


def test_other_versions_do_not_go_on(
    files: dict[str, Path],
    killed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = Path(shutil.copytree(killed, tmp_path / "killed"))
    record = RunRecord.load(folder)
    assert record is not None
    for tool in ("torch", "numpy", "brevitas"):
        replace(record, tools={**record.tools, tool: "0.1"}).save(folder)
        assert main(command(files, folder, checkpoint_every=1)) == 2
        assert f"{tool} must be 0.1, not {record.tools[tool]}" in capsys.readouterr().err
    others = {**record.tools, "python": "3.0.0", "torch": record.tools["torch"].partition("+")[0] + "+rocm9"}
    replace(record, tools=others).save(folder)
    assert main(command(files, folder, checkpoint_every=1)) == 0


def test_another_start_share_needs_no_training(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = {"policy": "float", "calibration_images": None}
    assert main(command(files, tmp_path / "run", **run)) == 0
    made = load_model(tmp_path / "run" / "model.fireq")
    written = (tmp_path / "run" / CHECKPOINT).stat().st_mtime_ns
    assert main(command(files, tmp_path / "run", **run, start_share=0.5)) == 0
    assert (tmp_path / "run" / CHECKPOINT).stat().st_mtime_ns == written, "it trained again"
    mixed = load_model(tmp_path / "run" / "model.fireq")
    assert mixed.card["recipe"] == {**made.card["recipe"], "start_share": 0.5}
    assert {**mixed.card, "recipe": None} == {**made.card, "recipe": None}
    start = load_network(files["start"]).network.state_dict()
    for name, tensor in mixed.network.state_dict().items():
        expected = (made.network.state_dict()[name] + start[name]) / 2
        torch.testing.assert_close(tensor, expected)


def test_restart_begins_anew_and_says_what_is_lost(
    files: dict[str, Path], finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    record = RunRecord.load(folder)
    assert record is not None
    replace(record, seconds=3900.0).save(folder)
    # What is refused later, by training itself, has lost nothing yet.
    before = bytes_of(folder)
    other = {"start": "other_start", "seed": 3}
    assert main([*command(files, folder, **other, mixup=0.5), "--restart"]) == 2
    assert bytes_of(folder) == before
    capsys.readouterr()
    assert main([*command(files, folder, **other), "--restart"]) == 0
    lost = "begun anew; lost 2 of 2 steps and model.fireq that took 65 min"
    assert f"fireflow: {folder}: {lost}" in capsys.readouterr().err
    card = load_model(folder / "model.fireq").card
    assert card["start"]["file"] == "other.npz"
    assert card["recipe"]["seed"] == 3
    assert card["seconds"] < 3900
    assert steps_done(folder) == (2, 2)
    one, other_one = (load_model(f / "model.fireq").network.state_dict() for f in (folder, finished))
    assert not torch.equal(one["conv10.bias"], other_one["conv10.bias"])


@pytest.mark.parametrize("origin", ["other", "quantized", "trained elsewhere", "damaged"])
def test_a_model_of_another_origin_stays(
    files: dict[str, Path],
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    origin: str,
) -> None:
    folder = tmp_path / "run"
    if origin == "trained elsewhere":
        folder.mkdir()
        shutil.copy(finished / "model.fireq", folder)
    else:
        shutil.copytree(finished, folder)
        trained = load_model(folder / "model.fireq")
        if origin == "damaged":
            (folder / "model.fireq").write_bytes(b"my own file")
        else:
            card = {"made_by": "fireflow quantize"} if origin == "quantized" else {}
            save_model(replace(trained, card=card), folder / "model.fireq")
    before = bytes_of(folder)
    with monkeypatch.context() as patch:
        patch.setattr("fireflow.quant.train.train", never)
        for more in ([], ["--restart"]):
            assert main([*command(files, folder), *more]) == 2
            assert "model.fireq: must be of the run in its folder" in capsys.readouterr().err
            assert bytes_of(folder) == before
    assert main([*command(files, folder), "--force"]) == 0
    assert load_model(folder / "model.fireq").card["made_by"] == "fireflow train"


def test_a_checkpoint_of_another_program(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import save_file

    folder = tmp_path / "run"
    folder.mkdir()
    save_file({"weight": torch.ones(3)}, folder / CHECKPOINT)
    before = bytes_of(folder)
    for more in ([], ["--restart"]):
        assert main([*command(files, folder), *more]) == 2
        assert "must be a checkpoint of fireflow train, not without 'step'" in capsys.readouterr().err
        assert bytes_of(folder) == before


def test_a_run_without_its_checkpoint(
    files: dict[str, Path], finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    (folder / CHECKPOINT).unlink()
    before = bytes_of(folder)
    assert main(command(files, folder)) == 2
    line = capsys.readouterr().err
    assert "checkpoint.safetensors: must be there for the run to go on" in line
    assert "--restart, which loses model.fireq that took" in line
    assert bytes_of(folder) == before
    # Nothing is lost where neither is there: a run that was killed before its first checkpoint.
    (folder / "model.fireq").unlink()
    assert main(command(files, folder, start="other_start")) == 0
    assert load_model(folder / "model.fireq").card["start"]["file"] == "other.npz"


def as_an_earlier_version(folder: Path) -> None:
    """Takes away what earlier versions did not write."""
    from safetensors.torch import save_file

    (folder / RUN_RECORD).unlink()
    path = folder / CHECKPOINT
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del metadata["network"]
    save_file(tensors, path, metadata=metadata)


def test_runs_of_earlier_versions(
    files: dict[str, Path],
    finished: Path,
    killed: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    as_an_earlier_version(folder)
    before = bytes_of(folder)
    for changes, what in (
        ({"start": "other_start"}, "start must be start.npz"),
        ({"policy": "w3a4"}, "policy.name must be w4a4, not w3a4"),
        ({"data": "{other_data}"}, "data must be data (6 pictures"),
        ({"teacher": "{other_start}"}, "teachers must be start.npz"),
        ({"seed": 1}, "recipe.seed must be 0, not 1"),
    ):
        assert main(command(files, folder, **changes)) == 2
        assert what in capsys.readouterr().err
        assert bytes_of(folder) == before
    card = load_model(folder / "model.fireq").card
    assert main(command(files, folder)) == 0
    again = load_model(folder / "model.fireq").card
    assert {**again, "seconds": None} == {**card, "seconds": None}

    folder = Path(shutil.copytree(killed, tmp_path / "killed"))
    as_an_earlier_version(folder)
    assert main(command(files, folder, checkpoint_every=1)) == 0
    assert "begun by an earlier version, which did not record from what" in capsys.readouterr().err
    card = load_model(folder / "model.fireq").card
    assert card["recorded"] == "when the run went on; an earlier version began it"


def test_bits_belong_to_a_checkpoint(
    files: dict[str, Path], finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even where the record is gone or made to fit: tensors of w3a4 and w4a4 have the same shapes."""
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    (folder / "model.fireq").unlink()
    (folder / RUN_RECORD).unlink()
    assert main(command(files, folder, policy="w3a4")) == 2
    assert "must be of the same network and bit widths" in capsys.readouterr().err


def full(*_arguments: Any, **_named: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.fireq")


@pytest.mark.parametrize("where", ["model", "checkpoint", "last checkpoint"])
def test_a_full_disk_loses_nothing(
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    where: str,
) -> None:
    from safetensors.torch import save_file

    folder, saved = tmp_path / "run", []
    words = command(files, folder, policy="float", calibration_images=None, checkpoint_every=1)

    def no_room(*arguments: Any, **named: Any) -> None:
        saved.append(1)
        if where == "checkpoint" or len(saved) == 2:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        save_file(*arguments, **named)

    with monkeypatch.context() as patch:
        if where == "model":
            patch.setattr("fireflow.quant.model_file.write_arrays", full)
        else:
            patch.setattr("fireflow.quant.checkpoint.save_file", no_room)
        assert main(words) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "must be written whole, not fail with 'No space left on device'" in line
    kept = {"model": "2 of 2 steps are kept", "checkpoint": "no step was kept"}.get(
        where, "1 of 2 steps are kept"
    )
    assert line.endswith(f"make room and give the same command again: {kept}")
    assert not (folder / "model.fireq").exists()
    if where == "model":
        with monkeypatch.context() as patch:
            patch.setattr("fireflow.quant.train.draw_batch", never)  # no step is done again
            assert main(words) == 0
        assert load_model(folder / "model.fireq").card["recipe"]["steps"] == 2
