"""Every kind of bad input: exit code 2, one line that says what to do, and no output left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, numpy_helper

from fireflow.host.cli import main
from fireflow.quant.build import load_network, with_input_size
from fireflow.quant.model_file import save_model
from tests.host.tiny import write_pictures, write_weights

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Refused:
    """Runs a command that must be refused; gives its line on stderr. The folder `out` must stay empty."""
    out = tmp_path / "out"
    out.mkdir()

    def run(*command: object) -> str:
        capsys.readouterr()
        status = main([str(word) for word in command])
        captured = capsys.readouterr()
        assert status == 2, captured
        assert captured.out == ""
        lines = captured.err.splitlines()
        assert len(lines) == 1, captured.err
        assert lines[0].startswith("fireflow: ")
        assert ";" in lines[0], "the fix is missing"
        assert list(out.iterdir()) == [], "something was left behind"
        return lines[0].removeprefix("fireflow: ")

    return run


# --- weights --------------------------------------------------------------------------------------


@pytest.fixture
def quantize(refused: Refused, pictures: Path, tmp_path: Path) -> Callable[..., str]:
    def run(weights: Path, *options: object) -> str:
        return refused("quantize", weights, "-o", tmp_path / "out" / "m.fireq", "--data", pictures, *options)

    return run


def test_truncated_weights(quantize: Refused, weights: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.npz"
    cut.write_bytes(weights.read_bytes()[:1000])
    assert str(cut) in quantize(cut)


def test_weights_of_another_architecture(quantize: Refused, tmp_path: Path) -> None:
    path = write_weights(tmp_path / "w.npz", fire3_squeeze_weight=lambda array: array[:, :-1])
    assert "fire3.squeeze.weight: must be (channels, 8, 1, 1)" in quantize(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(quantize: Refused, tmp_path: Path, value: float) -> None:
    def spoil(array: np.ndarray) -> np.ndarray:
        array[1, 0, 0, 0] = value
        return array

    path = write_weights(tmp_path / "w.npz", conv10_weight=spoil)
    assert f"conv10.weight[1, 0, 0, 0]: weights must be finite, not {value}" in quantize(path)


def test_missing_weights(quantize: Refused, tmp_path: Path) -> None:
    assert "none.npz" in quantize(tmp_path / "none.npz")


def test_more_than_six_weight_bits(quantize: Refused, weights: Path, tmp_path: Path) -> None:
    assert "weights have 2 to 6 bits" in quantize(weights, "--policy", "w7a4")
    policy = tmp_path / "policy.json"
    content = {"name": "p", "default": {"weight": 4, "activation": 4}}
    content["layers"] = {"conv10": {"weight": 8, "activation": 4}}
    policy.write_text(json.dumps(content))
    assert "layers.conv10.weight" in quantize(weights, "--policy", policy)


def test_unknown_policy(quantize: Refused, weights: Path) -> None:
    assert "policy: must be one of w6a6" in quantize(weights, "--policy", "int4")


def test_input_size_out_of_range(quantize: Refused, weights: Path) -> None:
    assert "input_size: must be 32 to 256, not 16" in quantize(weights, "--input-size", 16)


def test_resize_below_the_input(quantize: Refused, weights: Path) -> None:
    assert "resize must be at least size=48, not 40" in quantize(weights, "--resize", 40)


def test_quantizing_twice(quantize: Refused, model: Path) -> None:
    assert "must be a float network, not w4a4" in quantize(model)


def test_output_of_another_name(refused: Refused, weights: Path, pictures: Path, tmp_path: Path) -> None:
    line = refused("quantize", weights, "-o", tmp_path / "out" / "m.onnx", "--data", pictures)
    assert "the output must be called NAME.fireq, not m.onnx" in line


def test_an_output_stays_when_its_replacement_fails(quantize: Refused, tmp_path: Path, model: Path) -> None:
    old = tmp_path / "old.fireq"
    shutil.copy(model, old)
    assert main(["quantize", str(tmp_path / "none.npz"), "-o", str(old), "--data", str(tmp_path)]) == 2
    assert old.read_bytes() == model.read_bytes()


# --- models ---------------------------------------------------------------------------------------


def test_unknown_model(refused: Refused, tmp_path: Path) -> None:
    for command in (["export"], ["lower"]):
        line = refused(*command, "squeezenet9", "-o", tmp_path / "out" / _output(command[0]))
        assert "not 'squeezenet9'" in line
    assert "not 'squeezenet9'" in refused("verify", "squeezenet9")
    assert "not 'squeezenet9'" in refused("bench", "simulator", "squeezenet9")
    assert "not 'squeezenet9'" in refused("bench", "training", "squeezenet9")


def test_networks_that_have_no_mean(refused: Refused, weights: Path, model: Path, tmp_path: Path) -> None:
    plain, other = tmp_path / "plain.fireq", tmp_path / "other.fireq"
    network = load_network(weights)
    save_model(network, plain)
    save_model(with_input_size(network, 64), other)
    output = ("-o", tmp_path / "out" / "mean.fireq")
    assert "networks: must be at least two, not 1" in refused("average", plain, *output)
    assert "must be a float network, not w4a4" in refused("average", plain, model, *output)
    assert f"other.fireq: architecture must be that of {plain}" in refused("average", plain, other, *output)
    shifted = replace(network.preprocessing, mean=(1.0, 2.0, 3.0))
    for changed, what in (
        (replace(network, preprocessing=shifted), "preprocessing"),
        (replace(network, labels=("a", "b", "c", "d")), "labels"),
    ):
        save_model(changed, other)
        assert f"other.fireq: {what} must be that of {plain}" in refused("average", plain, other, *output)
    assert "the share must be a number above 0, not '0'" in refused("average", plain, f"{plain}=0", *output)
    assert "none.fireq" in refused("average", plain, tmp_path / "none.fireq", *output)
    assert "must be called NAME.fireq" in refused(
        "average", plain, plain, "-o", tmp_path / "out" / "mean.npz"
    )


def _output(command: str) -> str:
    return "m.fire" if command == "lower" else "m.qonnx.onnx"


@pytest.mark.parametrize("command", ["export", "lower"])
def test_damaged_model(refused: Refused, model: Path, tmp_path: Path, command: str) -> None:
    damaged = tmp_path / "damaged.fireq"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    assert "damaged.fireq" in refused(command, damaged, "-o", tmp_path / "out" / _output(command))


def test_float_model(refused: Refused, weights: Path, tmp_path: Path) -> None:
    line = refused("export", weights, "-o", tmp_path / "out" / "m.qonnx.onnx")
    assert "must be a quantized .fireq file, not tiny.npz" in line


# --- QONNX ----------------------------------------------------------------------------------------


@pytest.fixture
def lower(refused: Refused, qonnx: Path, tmp_path: Path) -> Callable[[Callable[[ModelProto], None]], str]:
    """Lowers the exported network after a change of it."""

    def run(change: Callable[[ModelProto], None]) -> str:
        proto = onnx.load(qonnx)
        change(proto)
        changed = tmp_path / "changed.qonnx.onnx"
        onnx.save(proto, changed)
        return refused("lower", changed, "-o", tmp_path / "out" / "m.fire")

    return run


def node_of(proto: ModelProto, output: str) -> NodeProto:
    return next(node for node in proto.graph.node if node.output[0] == output)


def set_constant(proto: ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == name)
    array = change(numpy_helper.to_array(tensor)).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(array, name))


def test_unsupported_node(lower: Callable[..., str]) -> None:
    def change(proto: ModelProto) -> None:
        node_of(proto, "conv10.relu").op_type = "Sigmoid"

    line = lower(change)
    assert "conv10.relu" in line
    assert "not Sigmoid" in line


def test_unequal_concat_scales(lower: Callable[..., str]) -> None:
    def change(proto: ModelProto) -> None:
        scale = node_of(proto, "fire4.expand3x3.act").input[1]
        set_constant(proto, scale, lambda array: array * 2)

    assert "fire4.concat" in lower(change)


def test_too_many_weight_bits_in_qonnx(lower: Callable[..., str]) -> None:
    def change(proto: ModelProto) -> None:
        weight = node_of(proto, "fire2.squeeze").input[1]
        set_constant(proto, node_of(proto, weight).input[3], lambda array: np.full_like(array, 8))

    line = lower(change)
    assert "fire2.squeeze" in line
    assert "8" in line


def test_truncated_qonnx(refused: Refused, qonnx: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.qonnx.onnx"
    cut.write_bytes(qonnx.read_bytes()[:2000])
    assert "cut.qonnx.onnx" in refused("lower", cut, "-o", tmp_path / "out" / "m.fire")


def test_output_folder_of_other_things(refused: Refused, qonnx: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken.fire"
    taken.mkdir()
    (taken / "thesis.txt").write_text("mine")
    assert "must be a bundle or an empty folder" in refused("lower", qonnx, "-o", taken)
    assert [path.name for path in taken.iterdir()] == ["thesis.txt"]


# --- bundles --------------------------------------------------------------------------------------


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copied.fire"))


def test_changed_byte(refused: Refused, copied: Path, pictures: Path) -> None:
    for file in sorted(copied.iterdir()):
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert file.name in refused("simulate", copied, pictures)
        assert file.name in refused("evaluate", copied, "--data", pictures)
        file.write_bytes(content)


def test_missing_file(refused: Refused, copied: Path, pictures: Path) -> None:
    for name in ("graph.arrays", "manifest.json"):
        (copied / name).unlink()
        assert name in refused("simulate", copied, pictures)


def test_newer_schema(refused: Refused, copied: Path, pictures: Path) -> None:
    manifest = copied / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema": 99}))
    assert "schema must be at most 1, not 99; use a newer fireflow" in refused("simulate", copied, pictures)


def test_path_that_leaves_the_folder(refused: Refused, copied: Path, pictures: Path) -> None:
    from fireflow.hw.contents import render, seal

    manifest = copied / "manifest.json"
    document = json.loads(manifest.read_text())
    del document["sha256"]
    document["files"]["../secret"] = document["files"].pop("graph.json")
    manifest.write_bytes(render(seal(document)))
    line = refused("simulate", copied, pictures)
    assert "files must lie inside the bundle, not at '../secret'" in line


def test_no_bundle_at_all(refused: Refused, pictures: Path, model: Path, tmp_path: Path) -> None:
    assert "must be a folder .fire" in refused("simulate", tmp_path / "none.fire", pictures)
    assert "must be a folder .fire" in refused("simulate", model, pictures)


# --- pictures -------------------------------------------------------------------------------------


def test_a_picture_that_is_none(refused: Refused, bundle: Path, pictures: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    assert "bad.png: must be a picture that can be decoded" in refused(
        "simulate", bundle, pictures / "images" / "0.png", bad
    )
    assert "bad.png" in refused("evaluate", bundle, "--data", bad)


def test_a_picture_that_is_not_there(refused: Refused, bundle: Path, tmp_path: Path) -> None:
    assert "none.png" in refused("simulate", bundle, tmp_path / "none.png")
    assert "none.png" in refused("evaluate", bundle, "--data", tmp_path / "none.png")


def test_an_empty_folder(refused: Refused, bundle: Path, weights: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "empty: must hold at least one picture, not none" in refused("simulate", bundle, empty)
    assert "empty: must hold at least one image, not none" in refused("evaluate", bundle, "--data", empty)
    output = tmp_path / "out" / "m"
    assert "must hold at least one" in refused("train", weights, "-o", output, "--data", empty)


def test_a_folder_of_damaged_pictures(refused: Refused, bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.png").write_bytes(b"no picture")
    assert "a.png" in refused("simulate", bundle, folder)


def test_an_array_of_the_wrong_shape(refused: Refused, bundle: Path, tmp_path: Path) -> None:
    for array in (
        np.zeros((54, 54), np.uint8),
        np.zeros((54, 54, 3), np.float32),
        np.zeros((0, 3, 3), np.uint8),
    ):
        np.save(tmp_path / "a.npy", array)
        assert "a.npy" in refused("simulate", bundle, tmp_path / "a.npy")


def test_images_without_labels(refused: Refused, bundle: Path, tmp_path: Path) -> None:
    plain = write_pictures(tmp_path / "plain", 2, labelled=False)
    assert "images must have labels" in refused("evaluate", bundle, "--data", plain)


def test_engines_that_do_not_fit(refused: Refused, bundle: Path, weights: Path, pictures: Path) -> None:
    assert "runs .fireq files" in refused("evaluate", bundle, "--data", pictures, "--engine", "brevitas")
    assert "runs in torch" in refused("evaluate", weights, "--data", pictures, "--engine", "fast")


def test_a_bundle_says_how_pictures_are_prepared(refused: Refused, bundle: Path, pictures: Path) -> None:
    for option in (("--resize", 64), ("--input-size", 64)):
        message = refused("evaluate", bundle, "--data", pictures, *option)
        assert f"{option[0]} is for weights and .fireq files" in message
    message = refused("evaluate", bundle, "--data", pictures, "--preprocessing", "caffe")
    assert "--preprocessing is for networks that do not say it themselves, and this one does" in message


# --- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "{pictures}=0"], "the share must be a number above 0, not '0'"),
        (["--data", "{pictures}", "--learning-rate", "-1"], "learning-rate: "),
        (["--data", "{pictures}", "--temperature", "0"], "temperature: "),
        (["--data", "{pictures}", "--distillation", "2"], "distillation: "),
        (["--data", "{pictures}", "--start-share", "1"], "start-share: Input should be less than 1"),
        (["--data", "{pictures}", "--start-share", "0.5"], "start-share: integers have no mean"),
        (["--data", "{pictures}", "--epochs", "0"], "epochs: "),
        (["--data", "{pictures}", "--epochs", "nan"], "epochs: "),
        (
            ["--data", "{pictures}", "--decode-size", "40"],
            "decode size: must be at least the input size 48, not 40",
        ),
        (["--data", "{pictures}", "--teacher", "{model}"], "teacher: must be a float network, not w4a4"),
        (["--data", "{pictures}", "--onnx-teacher", "{pictures}"], "a teacher must be a file"),
        (["--data", "{pictures}", "--calibration-images", "0"], "calibration images: must be at least 1"),
        (["--data", "{pictures}", "--exclude", "{pictures}"], "must hold at least one image"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_training_options(
    refused: Refused,
    weights: Path,
    model: Path,
    pictures: Path,
    tmp_path: Path,
    options: list[str],
    message: str,
) -> None:
    given = [option.format(pictures=pictures, model=model) for option in options]
    assert message in refused("train", weights, "-o", tmp_path / "out" / "run", "--policy", "w4a4", *given)
