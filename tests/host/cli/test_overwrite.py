"""Outputs that are there already: what took long stays unless --force names it, and other people's files always do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fireflow.host.cli import main
from fireflow.host.records import open_writer
from fireflow.hw.bundle import Bundle, Manifest
from fireflow.hw.dataflow.counts import Counts
from fireflow.hw.golden import Golden
from fireflow.hw.overwrite import Loss, duration, timed
from fireflow.hw.parts import Resources
from fireflow.hw.preprocessing import Preprocessing
from fireflow.pipeline.exporting import check_export
from fireflow.quant.build import load_network
from fireflow.quant.model_file import Model, load_model, save_model
from tests.host.tiny import write_pictures
from tests.hw.networks import squeezenet

Refused = Callable[..., str]
SIZE = 32


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command that must be refused in one line, and gives that."""

    def run(*command: object) -> str:
        capsys.readouterr()
        assert main([str(word) for word in command]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert len(told.err.splitlines()) == 1, told.err
        return told.err

    return run


def contents(folder: Path) -> dict[str, bytes]:
    files = [folder] if folder.is_file() else [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder.parent).as_posix(): path.read_bytes() for path in files}


# --- bundles --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lowered bundle."""
    graph = squeezenet(size=SIZE, classes=3, narrow=8, stages=(((16, 32),),))
    images = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("plain") / "small.fire"
    Bundle(graph, Manifest(Preprocessing(size=SIZE, resize=SIZE)), Golden.record(graph, images)).save(path)
    return path


def build(plain: Path, output: Path, *more: object) -> list[str]:
    command = ["build", plain, "-o", output, "--board", "pynq-z2", "--target-fps", 4000, "--no-rtl", *more]
    return [str(word) for word in command]


@pytest.fixture(scope="module")
def built(plain: Path) -> Path:
    path = plain.with_name("built.fire")
    assert main(build(plain, path)) == 0
    return path


@pytest.fixture
def changed(built: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the built bundle with more in it."""

    def make(took: dict[str, float] | None = None, steps: Any = None, **parts: Any) -> Path:
        bundle, path, extra = Bundle.load(built), tmp_path / "copy.fire", {}
        card = {**bundle.manifest.card}
        if took is None:
            card.pop("took")
        else:
            card["took"] = took
        if steps is not None:
            (tmp_path / "b.bit").write_bytes(b"bits")
            (tmp_path / "b.json").write_text(json.dumps({"steps": steps}))
            (tmp_path / "r.log").write_text("a report")
            extra = {"copy.bit": tmp_path / "b.bit", "bitstream.json": tmp_path / "b.json"}
            extra["reports/r.log"] = tmp_path / "r.log"
        replace(bundle, manifest=replace(bundle.manifest, card=card), **parts).save(path, None, extra)
        return path

    return make


def test_lower_keeps_what_was_built(refused: Refused, built: Path, model: Path) -> None:
    before = contents(built)
    told = refused("lower", model, "-o", built)
    assert "must not be replaced unasked, since it holds the folding and Verilog of a build that took" in told
    assert "choose another -o, or lose that with --force" in told
    assert contents(built) == before


HOUR = {"route": {"seconds": 3600.0}, "pack": {"seconds": 300.0}}
CASES: list[tuple[dict[str, Any], str | None]] = [
    ({"took": {"build": 3.0}}, None),
    ({"took": {"build": 3.0}, "steps": HOUR}, "holds a bitstream that took 65 min;"),
    ({"took": {"build": 3.0}, "steps": {}}, "holds a bitstream;"),
    ({"took": {"build": 3.0}, "steps": {"route": {"seconds": 9.0}}}, None),
    ({"took": {"build": 3.0}, "steps": {"route": {}}}, "holds a bitstream;"),
    (
        {"took": {"build": 3.0, "verify": 9000.0}, "verification": {"images": 1}},
        "verify --rtl that took 2.5 hours;",
    ),
    ({"took": {"build": 3.0, "verify": 9.0}, "verification": {"images": 1}}, None),
    ({"took": {"build": 3.0}, "verification": {"images": 1}}, "the result of verify --rtl;"),
    (
        {
            "took": {"build": 3.0, "resources": 600.0},
            "counts": Counts("Yosys", {"a": Resources()}, {"a": None}),
        },
        "the counts of resources that took 10 min;",
    ),
]


@pytest.mark.parametrize(("parts", "lost"), CASES, ids=lambda value: str(value)[:40])
def test_a_build_replaces_only_what_was_quick(
    changed: Callable[..., Path],
    plain: Path,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    parts: dict[str, Any],
    lost: str | None,
) -> None:
    path = changed(**parts)
    before = contents(path)
    monkeypatch.setattr("fireflow.plan", reached)
    command = build(plain, path)
    if lost is not None:
        assert lost in refused(*command)
        assert contents(path) == before
        command.append("--force")
    with pytest.raises(Reached):
        main(command)
    told = capsys.readouterr().err
    assert (
        told == "" if lost is None else f"will be replaced, and with it {lost[6:].rstrip(';')}"[:20] in told
    )


class Reached(BaseException):
    pass


def reached(*_arguments: object, **_named: object) -> None:
    raise Reached


@pytest.mark.parametrize(
    ("took", "lost"), [({"build": 100.0}, " that took 2 min"), (None, ";"), ({"build": 3.0}, None)]
)
def test_another_folding_is_asked_for(
    changed: Callable[..., Path],
    plain: Path,
    capsys: pytest.CaptureFixture[str],
    took: dict[str, float] | None,
    lost: str | None,
) -> None:
    path = changed(took)
    other = build(plain, path)
    other[other.index("4000")] = "1000"
    if lost is not None:
        before = contents(path)
        assert main([*other, "--json"]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert f"since it holds the folding and Verilog of a build{lost}" in told.err
        assert contents(path) == before
        assert main(build(plain, path)) == 0, "the same folding is no loss"
        assert contents(path)["copy.fire/hardware.json"] == before["copy.fire/hardware.json"]
        other.append("--force")
    assert main(other) == 0


def test_a_bitstream_is_lost_by_name(
    changed: Callable[..., Path], plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = changed({"build": 3.0}, HOUR)
    assert main([*build(plain, path), "--force"]) == 0
    assert "will be replaced, and with it a bitstream that took 65 min" in capsys.readouterr().err
    assert not (path / "copy.bit").exists()
    assert Bundle.load(path).manifest.card["took"]["build"] > 0


def test_a_build_in_place_keeps_a_bitstream_too(changed: Callable[..., Path], refused: Refused) -> None:
    path = changed({"build": 3.0}, HOUR)
    assert "a bitstream that took 65 min" in refused(*build(path, path))


def test_what_is_added_to_a_bundle_keeps_the_rest(
    changed: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`resources` and `verify --rtl` write the bundle anew; its bitstream and reports are still in it."""
    path = changed({"build": 3.0}, HOUR)
    before = contents(path)
    monkeypatch.setattr(
        "fireflow.hw.rtl.count.count_layers",
        lambda layers, *_, **__: {layer.name: Resources() for layer in layers},
    )
    assert main(["resources", str(path)]) == 0
    after = contents(path)
    assert set(after) == {*before, "copy.fire/resources.json"}
    for name in ("copy.bit", "bitstream.json", "reports/r.log"):
        assert after[f"copy.fire/{name}"] == before[f"copy.fire/{name}"]
    took = Bundle.load(path).manifest.card["took"]
    assert took["build"] == 3.0
    assert took["resources"] >= 0


def test_a_new_build_forgets_what_the_last_took(built: Path) -> None:
    bundle = timed(timed(Bundle.load(built), "build", 5), "verify", 70)
    assert bundle.manifest.card["took"] == {"build": 5, "verify": 70}
    assert timed(bundle, "build", 6).manifest.card["took"] == {"build": 6}


def test_files_of_others_in_a_bundle(
    plain: Path, model: Path, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copytree(plain, tmp_path / "mine.fire"))
    (path / "notes.txt").write_text("mine")
    for command in (["lower", model, "-o", path], build(plain, path)):
        assert "holds notes.txt, no part of the bundle" in refused(*command)
    assert (path / "notes.txt").read_text() == "mine"
    other = tmp_path / "other.fire"
    other.mkdir()
    (other / "manifest.json").write_text('{"name": "an extension of a browser", "files": {}}')
    for command in (["lower", model, "-o", other], build(plain, other), ["lower", model, "-o", model]):
        assert "must be" in refused(*command)
    assert [file.name for file in other.iterdir()] == ["manifest.json"]
    monkeypatch.setattr("fireflow.plan", reached)
    with pytest.raises(Reached):  # a lowered bundle is replaced as ever
        main(build(plain, Path(shutil.copytree(plain, tmp_path / "plain.fire"))))


# --- models ---------------------------------------------------------------------------------------

CARDS: list[tuple[dict[str, Any], str | None]] = [
    ({"made_by": "fireflow quantize", "seconds": 10.0}, None),
    ({"made_by": "fireflow quantize", "seconds": 100.0}, "a network by fireflow quantize that took 2 min"),
    ({"made_by": "fireflow train", "seconds": 5700.0}, "a network by fireflow train that took 95 min"),
    ({"made_by": "fireflow train"}, "a network by fireflow train;"),
    ({"made_by": "fireflow train", "seconds": 3.0}, None),
    ({"made_by": "fireflow average"}, None),
    ({}, "a network of unknown origin;"),
]


@pytest.mark.parametrize(("card", "lost"), CARDS, ids=lambda value: str(value)[:40])
def test_models_that_took_long_stay(
    refused: Refused,
    weights: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    card: dict[str, Any],
    lost: str | None,
) -> None:
    path, network = tmp_path / "m.fireq", load_network(weights)
    save_model(replace(network, card=card), path)
    source = tmp_path / "source.fireq"
    save_model(network, source)
    before = path.read_bytes()
    monkeypatch.setattr("fireflow.quant.precision.load_policy", reached)
    monkeypatch.setattr("fireflow.pipeline.averaging.new_card", reached)
    for command in (
        ["quantize", weights, "-o", path, "--data", pictures],
        ["average", source, source, "-o", path],
    ):
        words = [str(word) for word in command]
        if lost is not None:
            assert lost in refused(*words)
            words.append("--force")
        with pytest.raises(Reached):
            main(words)
    assert path.read_bytes() == before


def test_a_command_does_not_replace_what_it_reads(
    refused: Refused, weights: Path, pictures: Path, tmp_path: Path
) -> None:
    mean = tmp_path / "mean.fireq"
    save_model(replace(load_network(weights), card={"made_by": "fireflow average"}), mean)
    for command in (["quantize", mean, "-o", mean, "--data", pictures], ["average", mean, mean, "-o", mean]):
        assert "holds what this command reads" in refused(*command)


@pytest.mark.parametrize("content", [b"", b"my own file", b"FIREARR1 and more"])
def test_files_of_others_are_no_outputs(
    refused: Refused, weights: Path, model: Path, built: Path, pictures: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "export").mkdir()
    names = ("m.fireq", "a.qonnx.onnx", "page.html", "out.jsonl", "out.csv", "export/a.golden.npz")
    for name in (*names, "export/MODEL_CARD.md"):
        (tmp_path / name).write_bytes(content or b"x")
    commands = {
        "m.fireq": ["quantize", weights, "--data", pictures, "--force"],
        "a.qonnx.onnx": ["export", model],
        "page.html": ["report", built],
        "out.jsonl": ["run", built, pictures, "--force"],
        "out.csv": ["run", built, pictures, "--force"],
        "export/a.golden.npz": ["export", model],
    }
    for name, command in commands.items():
        output = "export/a.qonnx.onnx" if name.startswith("export") else name
        assert f"{tmp_path / name}: must" in refused(*command, "-o", tmp_path / output)
        assert (tmp_path / name).read_bytes() == (content or b"x")
    (tmp_path / "export" / "a.golden.npz").unlink()
    told = refused("export", model, "-o", tmp_path / "export" / "a.qonnx.onnx")
    assert "MODEL_CARD.md: must be a card of fireflow to be replaced" in told
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "MODEL_CARD.md").write_text("my card")
    told = refused(
        "train", weights, "-o", tmp_path / "run", "--data", pictures, "--policy", "float", "--steps", 1
    )
    assert "MODEL_CARD.md: must be a card of fireflow to be replaced" in told


def test_exports_and_pages_are_quick(qonnx: Path, built: Path, tmp_path: Path) -> None:
    check_export(qonnx, qonnx.with_name("tiny.golden.npz"), qonnx.with_name("MODEL_CARD.md"))
    for _ in range(2):
        assert main(["report", str(built), "-o", str(tmp_path / "page.html")]) == 0


# --- results --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_results_stay_until_there_are_new_ones(
    refused: Refused, built: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        Image.new("RGB", (40, 40), (80 * number, 9, 9)).save(pictures / f"{number}.png")
    out = tmp_path / f"out.{suffix}"
    command = ["run", str(built), str(pictures), "-o", str(out), "--top", "2"]
    assert main(command) == 0
    before = out.read_text()
    refused(*command[:2], tmp_path / "none", *command[3:])
    assert out.read_text() == before, "a run that failed emptied the results of the one before"
    assert main([*command, "--limit", "1"]) == 0
    first = out.read_text()
    assert 0 < len(first) < len(before)
    out.write_text(first + first.splitlines()[-1][:5])  # the program was killed there
    assert "holds results of" in refused(*command)
    slow = before.splitlines()
    if suffix == "csv":
        slow = [line if "ms" in line else line.rsplit(",", 1)[0] + ",40000" for line in slow]
    else:
        slow = [json.dumps({**json.loads(line), "ms": {"total": 40000}}) for line in slow]
    out.write_text("\n".join(slow) + "\n")
    assert "holds results of 3 pictures that took 2 min" in refused(*command)
    assert main([*command, "--force"]) == 0
    assert len(out.read_text().splitlines()) == len(before.splitlines())
    capsys.readouterr()


def test_no_results_are_an_empty_file(tmp_path: Path) -> None:
    with open_writer(str(tmp_path / "a.csv")):
        pass
    assert (tmp_path / "a.csv").read_text().startswith("picture,rank,")


def test_durations() -> None:
    assert [duration(s) for s in (9.4, 65, 3900, 9000)] == ["9 s", "1 min", "65 min", "2.5 hours"]
    assert not Loss("x", 60.0).matters
    assert Loss("x", 60.1).matters
    assert Loss("x").matters
    assert Loss("x", 1.0, always=True).matters


def test_the_cards_of_this_version_tell_the_time(weights: Path, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "p", 4)
    command = [
        "train",
        str(weights),
        "-o",
        str(tmp_path / "run"),
        "--data",
        str(pictures),
        "--policy",
        "float",
    ]
    assert (
        main([*command, "--steps", "1", "--batch-size", "2", "--accelerator", "cpu", "--devices", "1"]) == 0
    )
    made: Model = load_model(tmp_path / "run" / "model.fireq")
    assert made.card["seconds"] > 0
