"""Names of classes from files, and what the commands do with classes and their names."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fireflow.host.cli import main
from fireflow.hw.bundle import Bundle
from fireflow.hw.classes import folder_class, match_classes
from fireflow.hw.errors import InputError
from fireflow.hw.labels import imagenet, imagenet_names, read_labels
from fireflow.quant.model_file import load_model

NAMES = imagenet_names()
SPRINGER = "n02102040"


def found(folders: Sequence[str], count: int, labels: Sequence[str] = ()) -> tuple[int, ...]:
    """The classes of a network that class folders of these names are."""
    return match_classes("set", [folder_class(name) for name in folders], count, labels).rows


def picture(colour: tuple[int, int, int] = (1, 2, 3), side: int = 12) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, "PNG")
    return file.getvalue()


def folders(path: Path, names: Sequence[str], each: int = 1) -> Path:
    """Class folders, each with pictures of a colour of its own."""
    for number, name in enumerate(names):
        (path / name).mkdir(parents=True)
        for copy in range(each):
            colour = ((250, 20, 20), (20, 20, 250), (20, 250, 20), (250, 250, 20))[(number + copy // 8) % 4]
            (path / name / f"{number}_{copy}.png").write_bytes(picture(colour, 64))
    return path


# --- files of labels ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("names.txt", "cat\ndog, hound\ncow\n"),
        ("names.txt", "\ufeffcat\r\ndog, hound\r\ncow\r\n\r\n"),
        ("names", "0 cat\n1: dog, hound\n2\tcow\n"),
        ("labels.csv", 'class_index,class_name\n2,cow\n0,cat\n1,"dog, hound"\n'),
        (
            "labels.csv",
            'filename,class_index,wnid,class_name\na,0,,cat\nb,0,,cat\nc,2,,cow\nd,1,,"dog, hound"\n',
        ),
        ("labels.csv", 'index,name\n0,cat\n1,"dog, hound"\n2,cow\n'),
        ("names.json", '["cat", "dog, hound", "cow"]'),
        ("names.json", '{"2": "cow", "0": "cat", "1": "dog, hound"}'),
        ("names.txt", '["cat", "dog, hound", "cow"]'),
    ],
)
def test_labels_from_files(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, newline="")
    assert read_labels(str(tmp_path / name), 3) == ("cat", "dog, hound", "cow")


def test_labels_with_wnids(tmp_path: Path) -> None:
    path = tmp_path / "synset_words.txt"
    path.write_text("".join(f"{wnid} {name}\n" for wnid, name in imagenet()))
    assert found([SPRINGER, "tench"], 1000, read_labels(str(path), 1000)) == (217, 0)
    path = tmp_path / "imagenet_class_index.json"
    path.write_text(json.dumps({str(n): list(pair) for n, pair in enumerate(imagenet())}))
    assert found([SPRINGER, "tench"], 1000, read_labels(str(path), 1000)) == (217, 0)
    assert read_labels("imagenet", 1000) == NAMES


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("names.txt", "cat\ndog\n", "labels must be 3, one for each class of the network, not 2"),
        ("names.txt", "", "not 0"),
        (
            "names.txt",
            "1 cat\n2 dog\n3 cow\n",
            "the number before each name must be .* 0 to 2 in order, not 1",
        ),
        ("names.txt", "{0: 'cat', 1: 'dog', 2: 'cow'}", "must be JSON"),
        ("names.txt", "cat\n\ncow\n", "label 1 must be a name of printable characters, not ''"),
        ("names.txt", "cat\n\x1b[2J\ncow\n", "label 1 must be a name of printable characters"),
        ("names.txt", b"\xff\xfec\x00", "must be UTF-8 text"),
        ("names.csv", "cat\ndog\ncow\n", "must have the columns class_index and class_name, not cat"),
        ("names.csv", "index,name\n1,cat\n2,dog\n3,cow\n", "numbered from 0 without a gap, and 0 is missing"),
        ("names.csv", "index,name\n0,cat\n0,dog\n", "line 3: class 0 must be 'cat', not 'dog'"),
        ("names.csv", "index,name\n-1,cat\n", "line 2: index must be a whole number, not '-1'"),
        ("names.json", "[1, 2, 3]", "a label must be a name, not '1'"),
        ("names.json", '"cat"', "must be a JSON list of names, or an object by number"),
        ("names.json", "[" * 100_000, "must be JSON"),
        (
            "names.json",
            '{"' + "9" * 5000 + '": "cat"}',
            "must be a JSON list of names, or an object by number",
        ),
        ("names.csv", f"index,name\n{'9' * 5000},cat\n", "line 2: index must be a whole number"),
        ("names.json", '["cat", "dog", "\\ud800"]', "label 2 must be a name of printable characters"),
    ],
)
def test_files_that_are_no_labels(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=message):
        read_labels(str(path), 3)


def test_labels_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="labels must be readable, not File name too long"):
        read_labels("x" * 5000, 3)
    for asked in (tmp_path, tmp_path / "none.txt", Path("/dev/zero")):
        with pytest.raises(InputError, match="labels must be `imagenet` or a file"):
            read_labels(str(asked), 3)
    with pytest.raises(InputError, match=r"imagenet: labels must be 10, .* not 1000"):
        read_labels("imagenet", 10)


# --- commands -------------------------------------------------------------------------------------


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command: its status, parsed output and stderr."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def command(*parts: object) -> tuple[int, Any, str]:
        capsys.readouterr()
        status = main([*map(str, parts), "--json"])
        printed = capsys.readouterr()
        return status, json.loads(printed.out) if status == 0 else None, printed.err

    return command


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network of four classes, without labels."""
    from tests.host.tiny import write_weights

    return write_weights(tmp_path_factory.mktemp("classes") / "tiny.npz")


ON_CPU = ("--batch-size", 4, "--accelerator", "cpu", "--devices", 1)


def test_evaluate_and_quantize_know_labels_from_a_file(tiny: Path, tmp_path: Path, run: Any) -> None:
    data = folders(tmp_path / "set", ["ant", "bee", "cat", "dog"], each=2)
    turned = tmp_path / "turned.txt"
    turned.write_text("dog\ncat\nbee\nant\n")
    status, _facts, error = run("evaluate", tiny, "--data", data)
    assert status == 2
    assert "not ant, bee, cat, dog; being as many does not make them the same" in error
    quantize = ("quantize", tiny, "--policy", "w4a4", "--data", data, "-o")
    status, _facts, error = run(*quantize, tmp_path / "plain.fireq")
    assert status == 0
    assert "labels: the network has none; --labels FILE names its classes" in error
    assert load_model(tmp_path / "plain.fireq").labels == ()
    status, _facts, error = run(*quantize, tmp_path / "named.fireq", "--labels", turned)
    assert (status, load_model(tmp_path / "named.fireq").labels) == (0, ("dog", "cat", "bee", "ant"))
    assert "labels" not in error

    bundle = tmp_path / "named.fire"
    assert run("lower", tmp_path / "named.fireq", "-o", bundle)[0] == 0
    opened = Bundle.load(bundle)
    replace(opened, manifest=replace(opened.manifest, labels=())).save(tmp_path / "plain.fire")
    by_number = folders(tmp_path / "numbers", ["3", "2", "1", "0"], each=2)  # the same pictures: ant is 3
    for name in ("named.fireq", "named.fire", "plain.fireq", "plain.fire"):
        command = ["evaluate", tmp_path / name] + ["--engine", "brevitas"] * name.endswith(".fireq")
        option = ["--labels", turned] * name.startswith("plain")
        status, facts, _error = run(*command, "--data", data, *option)
        assert (status, facts["classes"]) == (0, "4 of 4 by name")
        status, numbers, _error = run(*command, "--data", by_number)
        assert (status, numbers["classes"]) == (0, "4 of 4 by number")
        assert facts["top1"] == numbers["top1"]
    assert run("evaluate", tiny, "--data", data, "--labels", turned)[1]["classes"] == "4 of 4 by name"
    status, _facts, error = run("evaluate", tiny, "--data", data, "--labels", "imagenet")
    assert (status, "imagenet: labels must be 4" in error) == (2, True)


def test_evaluate_prints_how_classes_were_found(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = folders(tmp_path / "set", ["2", "0"])
    assert main(["evaluate", str(tiny), "--data", str(data)]) == 0
    assert "2 of 2 by number" in capsys.readouterr().out


def test_own_classes_are_refused_as_rows_and_learned_as_new(tiny: Path, tmp_path: Path, run: Any) -> None:
    data = folders(tmp_path / "set", ["red things", "blue things"], each=6)
    command = ("train", tiny, "-o", tmp_path / "out", "--data", data, "--policy", "float", *ON_CPU)
    status, _facts, error = run(*command, "--head", "data", "--steps", 1)
    assert (status, "not blue things, red things; " in error) == (2, True)
    status, _facts, error = run(*command, "--steps", 1)  # keeps its own four
    assert (status, "not blue things, red things; " in error) == (2, True)
    status, _facts, error = run(*command, "--head", "new", "--labels", "imagenet", "--steps", 1)
    assert (status, "leave out --labels" in error) == (2, True)
    status, facts, _error = run(*command, "--head", "new", "--steps", 60, "--learning-rate", 0.01)
    assert (status, facts["card"]["recipe"]["distillation"]) == (0, 0.0)
    model = tmp_path / "out" / "model.fireq"
    assert load_model(model).labels == ("blue things", "red things")
    status, facts, _error = run("evaluate", model, "--data", data)
    assert (facts["classes"], facts["top1"]) == ("2 of 2 by name", 100.0)


def test_train_cuts_the_head_of_numbered_folders(tiny: Path, tmp_path: Path, run: Any) -> None:
    data = folders(tmp_path / "set", ["3", "1"], each=2)
    command = ("train", tiny, "-o", tmp_path / "out", "--data", data, "--head", "data", "--policy", "float")
    status, _facts, error = run(*command, "--learning-rate", "1e-12", "--steps", 1, *ON_CPU)
    assert (status, "head: classes 2 of 2 by number" in error) == (0, True)
    trained = load_model(tmp_path / "out" / "model.fireq")
    assert trained.labels == ("1", "3")
    with np.load(tiny) as arrays:
        head = trained.network.conv10.weight.detach().numpy()
        np.testing.assert_allclose(head, arrays["conv10.weight"][[1, 3]], rtol=1e-6)


def test_a_teacher_of_other_labels_is_brought_into_order(tiny: Path, tmp_path: Path, run: Any) -> None:
    from fireflow.pipeline.classes import Notes, aligned
    from fireflow.quant.build import load_network
    from fireflow.quant.model_file import Model

    network, notes = load_network(tiny), Notes()
    labels = ("ant", "bee", "cat", "dog")
    own = Model(network.network, network.preprocessing, labels)
    teacher = Model(network.network, network.preprocessing, ("dog", "Cat", "bee", "ant"))
    turned = aligned(teacher, tiny, own, None, notes).network.conv10.weight.detach()
    np.testing.assert_array_equal(turned, network.network.conv10.weight.detach().flip(0))
    foreign = Model(network.network, network.preprocessing, ("a", "b", "c", "d"))
    with pytest.raises(InputError, match=r"teacher .*tiny.npz: classes must be among the network's 4"):
        aligned(foreign, tiny, own, None, notes)


def subset(data_folder: Path, target: Path, name_of: Callable[[dict[str, str]], str] | None) -> Path:
    """Forty validation pictures, in class folders or, without `name_of`, with a labels.csv."""
    with zipfile.ZipFile(data_folder / "ilsvrc2012_valrs1000_299q92.zip") as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("labels.csv").decode(), newline="")))
        rows = [row for row in rows if row["class_name"] not in ("crane", "maillot")][7::25]
        for row in rows:
            folder = target if name_of is None else target / name_of(row)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / row["filename"]).write_bytes(archive.read(f"images/{row['filename']}"))
    if name_of is None:
        with open(target / "labels.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return target


def test_real_pictures_count_alike_however_their_classes_are_named(
    data_folder: Path, tmp_path: Path, run: Any
) -> None:
    bundle = tmp_path / "net.fire"
    assert run("lower", "squeezenet1_1-w4a4-imagenet", "-o", bundle)[0] == 0
    ways: dict[str, Callable[[dict[str, str]], str] | None] = {
        "table": None,
        "wnid": lambda row: row["wnid"],
        "name": lambda row: row["class_name"],
        "number": lambda row: row["class_index"],
    }
    facts = {}
    for way, name_of in ways.items():
        data = subset(data_folder, tmp_path / way, name_of)
        facts[way] = run("evaluate", bundle, "--data", data)[1]
    assert [facts[way]["classes"] for way in ways] == [
        "40 of 40 by wnid",
        "40 of 40 by wnid",
        "40 of 40 by name",
        "40 of 40 by number",
    ]
    assert len({(fact["top1"], fact["top5"], fact["images"]) for fact in facts.values()}) == 1
    assert facts["table"]["top1"] > 40, "most are right, so the rows are"


def test_a_refused_command_says_one_line(tiny: Path, tmp_path: Path, run: Any) -> None:
    """What was taken of labels is told only by a command that does its work."""
    rows = [(f"{n}.png", n, "", f"kind {n}") for n in range(4)]
    data = tmp_path / "set"
    data.mkdir()
    for name, *_ in rows:
        (data / name).write_bytes(picture(side=48))
    lines = [f"{name},{number},{called}" for name, number, _wnid, called in rows]
    (data / "labels.csv").write_text("\n".join(["filename,class_index,class_name", *lines]))
    command = ("quantize", tiny, "--data", data, "-o", tmp_path / "a.fireq")
    status, _facts, error = run(*command, "--calibration-images", 0)
    assert (status, len(error.splitlines())) == (2, 1)
    status, _facts, error = run(*command)
    assert (status, "taken from the class_index and class_name of" in error) == (0, True)
    assert load_model(tmp_path / "a.fireq").labels == ("kind 0", "kind 1", "kind 2", "kind 3")
