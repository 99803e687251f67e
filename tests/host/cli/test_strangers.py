"""Every command on somebody else's QONNX file: what it does not say is said by option, or lies beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from fireflow.host.arrays import ArrayInput
from fireflow.host.cli import main
from fireflow.hw.bundle import Bundle, Manifest
from fireflow.hw.errors import InputError
from fireflow.hw.labels import read_labels
from fireflow.hw.preprocessing import Preprocessing
from fireflow.pipeline.inputs import QONNX, WEIGHTS, kind_of
from tests.hw.finn.disguises import DISGUISES
from tests.hw.finn.engine import engine_scores
from tests.hw.finn.qonnx_builder import Builder

SIZE, CLASSES = 12, 5
PLAIN = {"size": SIZE, "resize": SIZE}


def network(folder: Path, shape: tuple[int, int, int] = (3, SIZE, SIZE), name: str = "net.onnx") -> Path:
    """As another exporter names things: the input is no "image", the output no "scores"."""
    builder = Builder(1, shape)
    first = builder.act(builder.conv("conv1", "image", 6, kernel=3), scale=8.0)
    builder.head(builder.act(builder.conv("conv2", first, 6, kernel=3)))
    model = builder.model()
    for disguise in ("slashes", "initializers_as_inputs"):
        DISGUISES[disguise](model, np.random.default_rng(0))
    path = folder / name
    onnx.save(model, str(path))
    return path


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    return network(tmp_path)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(3).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    (tmp_path / "pictures" / "1").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "pictures" / "1" / "noise.png")
    return tmp_path / "pictures" / "1" / "noise.png"


def said(folder: Path, **record: Any) -> list[str]:
    """Options for a record and labels."""
    (folder / "p.json").write_text(json.dumps({**PLAIN, **record}))
    (folder / "l.txt").write_text("".join(f"class {index}\n" for index in range(CLASSES)))
    return ["--preprocessing", str(folder / "p.json"), "--labels", str(folder / "l.txt")]


def test_a_qonnx_file_is_told_by_its_quantizers(stranger: Path, tmp_path: Path) -> None:
    assert kind_of(stranger) == QONNX
    model = onnx.load(str(stranger))
    for node in model.graph.node:
        if node.op_type == "Quant":
            node.op_type, node.domain = "Identity", ""
    onnx.save(model, str(tmp_path / "float.onnx"))
    assert kind_of(tmp_path / "float.onnx") == WEIGHTS
    (tmp_path / "torn.onnx").write_bytes(stranger.read_bytes()[:-9] + b"\xff" * 9)
    assert kind_of(tmp_path / "torn.onnx") == WEIGHTS


def test_verify_compares_every_stage(stranger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(stranger), "--count", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["passed"]
    rows = {row["tensor"]: row["differing"] for row in document["rows"]}
    model = onnx.load(str(stranger))
    assert set(rows) >= {model.graph.output[0].name, model.graph.node[-3].input[0]}
    assert rows[model.graph.output[0].name] == {"QONNX": None, "FINN": 0, "interpreter": 0, "simulator": 0}
    acts = [n.output[0] for n in model.graph.node if n.op_type == "Quant" and n.output[0] in rows]
    assert len(acts) == 2
    assert all(rows[name]["QONNX"] == 0 for name in acts)


def test_all_commands_with_options(
    stranger: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, options = str(tmp_path / "net.fire"), said(tmp_path)
    assert main(["lower", str(stranger), "-o", bundle]) == 0
    assert "does not say what its input is; whole pixels 0 to 255" in capsys.readouterr().err
    pixels = np.asarray(Image.open(picture))[None]
    scores = engine_scores(stranger, np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32))[0]
    best = int(scores.argmax())

    assert main(["simulate", bundle, str(picture), *options, "--json"]) == 0
    (top,) = json.loads(capsys.readouterr().out)["images"]
    assert top["top"][0]["label"] == f"class {best}"
    assert top["top"][0]["score"] == pytest.approx(float(scores[best]), rel=1e-5)

    results = tmp_path / "results.jsonl"
    assert main(["run", bundle, str(picture), *options, "-o", str(results)]) == 0
    capsys.readouterr()
    assert f'"class {best}"' in results.read_text().splitlines()[0]

    data = ["--data", str(picture.parents[1])]
    assert main(["verify", str(stranger), *options[:2], "--images", str(picture), "--count", "1"]) == 0
    assert main(["simulate", bundle, str(picture)]) == 2
    assert "say it with --preprocessing NAME or FILE.json" in capsys.readouterr().err
    assert main(["evaluate", bundle, *data]) == 2
    assert "say it with --preprocessing NAME or FILE.json" in capsys.readouterr().err
    assert main(["serve", bundle, "--port", "0"]) == 2
    assert "say it with --preprocessing NAME or FILE.json" in capsys.readouterr().err


def test_what_the_file_is_lowered_with_stays_in_the_bundle(
    stranger: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, options = str(tmp_path / "net.fire"), said(tmp_path, std=[64.0] * 3, source_order="BGR")
    assert main(["lower", str(stranger), "-o", bundle, *options, "--images", str(picture)]) == 0
    assert "whole pixels" not in capsys.readouterr().err
    loaded = Bundle.load(bundle)
    assert loaded.manifest.labels == tuple(f"class {index}" for index in range(CLASSES))
    assert len(loaded.golden.images) == 2
    assert main(["simulate", bundle, str(picture), "--json"]) == 0
    (top,) = json.loads(capsys.readouterr().out)["images"]
    pixels = np.asarray(Image.open(picture))[None, ..., ::-1].astype(np.float32) / 64
    scores = engine_scores(stranger, np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))[0]
    assert top["top"][0]["score"] == pytest.approx(float(scores.max()), rel=1e-5)
    for command in (["simulate", bundle, str(picture)], ["run", bundle, str(picture)]):
        assert main([*command, *options[:2]]) == 2
        message = (
            "--preprocessing is for networks that do not say it themselves, and this one does; leave it out"
        )
        assert message in capsys.readouterr().err


def test_a_bundle_cannot_take_what_belongs_into_its_first_layer(
    stranger: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(tmp_path / "net.fire")
    assert main(["lower", str(stranger), "-o", bundle]) == 0
    for record, message in (
        ({"std": [255.0] * 3}, "in a bundle, mean, std and colour order are part of the first layer"),
        ({"size": 11}, f"the preprocessing's size must be {SIZE}, the input's, not 11"),
    ):
        assert main(["simulate", bundle, str(picture), *said(tmp_path, **record)]) == 2
        assert message in capsys.readouterr().err


def test_files_beside_the_network(
    stranger: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.preprocessing.json").write_text(json.dumps(PLAIN))
    (tmp_path / "net.labels.json").write_text(json.dumps([f"name {index}" for index in range(CLASSES)]))
    bundle = str(tmp_path / "net.fire")
    assert main(["lower", str(stranger), "-o", bundle]) == 0
    assert "net.onnx: with net.preprocessing.json and net.labels.json beside it" in capsys.readouterr().err
    assert main(["simulate", bundle, str(picture), "--json"]) == 0
    assert '"label": "name ' in capsys.readouterr().out
    (tmp_path / "net.labels.txt").write_text("a\nb\n")
    assert main(["lower", str(stranger), "-o", bundle]) == 2
    assert (
        "one file beside it must hold the labels, not net.labels.txt, net.labels.json"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 14), (5, 8, 8)])
def test_networks_that_take_no_pictures(
    shape: tuple[int, int, int], picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, bundle = network(tmp_path, shape), str(tmp_path / "net.fire")
    assert main(["lower", str(path), "-o", bundle]) == 0
    arrays = np.random.default_rng(0).integers(0, 256, (2, *shape[1:], shape[0]), dtype=np.uint8)
    scores = engine_scores(path, np.ascontiguousarray(arrays.transpose(0, 3, 1, 2), np.float32))
    one, several = tmp_path / "one.npy", tmp_path / "several.npy"
    np.save(one, arrays[0])
    np.save(several, arrays)
    capsys.readouterr()
    assert main(["simulate", bundle, str(one), "--json"]) == 0
    (top,) = json.loads(capsys.readouterr().out)["images"]
    assert top["top"][0]["index"] == int(scores[0].argmax())
    results = tmp_path / "results.csv"
    assert main(["run", bundle, str(several), "-o", str(results)]) == 0
    assert len(results.read_text().splitlines()) > 2
    assert main(["verify", str(path), "--images", str(several), "--count", "2"]) == 0
    capsys.readouterr()
    for command in (["simulate", bundle, str(picture)], ["serve", bundle, "--port", "0"]):
        assert main(command) == 2
        message = (
            "pictures are prepared for square inputs of three colours only: give uint8 arrays of shape ("
        )
        assert message in capsys.readouterr().err
    assert main(["lower", str(path), "-o", bundle, *said(tmp_path)[:2]]) == 2
    assert "pictures are prepared for square inputs of three colours, not for (" in capsys.readouterr().err
    np.save(one, arrays[0][:-1])
    assert main(["simulate", bundle, str(one)]) == 2
    assert "the input's, not uint8 of shape (" in capsys.readouterr().err


def test_array_inputs() -> None:
    grey = ArrayInput((4, 6, 1))
    assert grey.prepare(np.zeros((4, 6), np.uint8)).shape == (4, 6, 1)
    for wrong in (np.zeros((6, 4, 1), np.uint8), np.zeros((4, 6, 1), np.float32)):
        with pytest.raises(
            InputError, match=r"^image: must be uint8 of shape \(4, 6, 1\), the input's, not "
        ):
            grey.prepare(wrong)


@pytest.mark.parametrize(
    ("name", "text"),
    [("l.txt", "a\nb c\n"), ("l.json", '["a", "b c"]'), ("l.csv", 'index,name\n0,a\n1,"b c"\n')],
)
def test_labels(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert read_labels(str(tmp_path / name), 2) == ("a", "b c")
    with pytest.raises(InputError, match=r"labels must be 3, one for each class of the network, not 2"):
        read_labels(str(tmp_path / name), 3)


def test_what_cannot_be_lowered_is_named_by_the_command(
    stranger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(str(stranger))
    for node in model.graph.node:
        if node.op_type == "Quant":
            node.op_type, node.domain = "Identity", ""
            del node.input[1:], node.attribute[:]
    onnx.save(model, str(tmp_path / "float.onnx"))
    for command in (["lower", "-o", str(tmp_path / "x.fire")], ["verify"]):
        assert main([command[0], str(tmp_path / "float.onnx"), *command[1:]]) == 2
        assert (
            "must be a .fireq file or an ONNX file with quantizers (QONNX), not float.onnx"
            in capsys.readouterr().err
        )


def test_labels_for_a_file_that_only_says_its_preprocessing(
    stranger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, options = onnx.load(str(stranger)), said(tmp_path)
    said_itself = Manifest(Preprocessing.from_json(PLAIN), card={"name": "ours"}).to_json()
    onnx.helper.set_model_props(model, {"fireflow": json.dumps(said_itself)})
    onnx.save(model, str(stranger))
    bundle = str(tmp_path / "net.fire")
    assert main(["lower", str(stranger), "-o", bundle, *options[2:]]) == 0
    assert Bundle.load(bundle).manifest.labels[0] == "class 0"
    assert main(["lower", str(stranger), "-o", bundle, *options]) == 2
    assert "--preprocessing is for networks that do not say it themselves" in capsys.readouterr().err
