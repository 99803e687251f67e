"""Classes of data are found among those of a network by what they are, and refused by name where that is unclear."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fireflow.hw.classes import ClassMatch, ImageClass, classes_of, folder_class, match_classes
from fireflow.hw.errors import InputError
from fireflow.hw.labels import imagenet, imagenet_names
from fireflow.quant.data import head_rows, open_images
from fireflow.quant.head import head_of_data, labels_of_data, new_head
from fireflow.quant.model_file import load_model
from fireflow.quant.zoo import shipped_path

NAMES = imagenet_names()
WNIDS = tuple(wnid for wnid, _name in imagenet())
IMAGENETTE = (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)
TEN = tuple(NAMES[row] for row in IMAGENETTE)
SHORT = tuple(name.split(",")[0] for name in TEN)
TENCH, SPRINGER = "n01440764", "n02102040"


def found(folders: Sequence[str], count: int, labels: Sequence[str] = ()) -> ClassMatch:
    """What class folders of these names are in a network."""
    return match_classes("set", [folder_class(name) for name in folders], count, labels)


def table(rows: Sequence[tuple[int, str]], count: int, labels: Sequence[str] = ()) -> ClassMatch:
    """What the classes of a labels.csv with class_index and class_name are in a network."""
    return match_classes("set", [ImageClass(name, index) for index, name in rows], count, labels)


def test_the_table_is_that_of_the_models_and_of_the_data(data_folder: Path) -> None:
    assert list(WNIDS) == sorted(set(WNIDS))
    for name in ("squeezenet1_1-w4a4-imagenet", "squeezenet1_1-w4a4s6-imagenet"):
        assert load_model(shipped_path(name)).labels == NAMES
    for name in ("ilsvrc2012_valrs1000_299q92.zip", "imagenet_sample1000_sq256q95.zip"):
        classes = open_images(data_folder / name).classes
        assert [(c.wnid, c.name) for c in classes] == list(imagenet())


@pytest.mark.parametrize(
    ("folders", "labels", "rows", "how"),
    [
        ([TENCH, SPRINGER], NAMES, (0, 217), "2 of 2 by wnid"),
        ([SPRINGER, TENCH], NAMES, (217, 0), "2 of 2 by wnid"),
        ([WNIDS[row] for row in IMAGENETTE], TEN, tuple(range(10)), "10 of 10 by wnid"),
        (WNIDS, NAMES, tuple(range(1000)), "1000 of 1000 by wnid"),
        ([SPRINGER], SHORT, (1,), "1 of 1 by wnid"),
        ([f"{TENCH}-tench", f"{SPRINGER}_English_springer"], NAMES, (0, 217), "2 of 2 by wnid"),
        (
            [SPRINGER, TENCH],
            [f"{w} {n}" for w, n in zip(WNIDS, NAMES, strict=True)],
            (217, 0),
            "2 of 2 by wnid",
        ),
        ([TENCH, "goldfish"], NAMES, (0, 1), "2 of 2, 1 by wnid and 1 by name"),
        (TEN, TEN, tuple(range(10)), "10 of 10 by name"),
        (TEN, NAMES, IMAGENETTE, "10 of 10 by name"),
        (SHORT, NAMES, IMAGENETTE, "10 of 10 by name"),
        (TEN, SHORT, tuple(range(10)), "10 of 10 by name"),
        ([n.upper().replace(" ", "_") for n in SHORT], NAMES, IMAGENETTE, "10 of 10 by name"),
        ([n.replace(", ", "_") for n in TEN], NAMES, IMAGENETTE, "10 of 10 by name"),
        (["Tinca tinca", "petrol-pump", "carpenters kit"], NAMES, (0, 571, 477), "3 of 3 by name"),
        (["0_tench", "217-English_springer"], NAMES, (0, 217), "2 of 2 by name"),
        (["001.cat", "002.dog"], ("cat", "dog", "cow"), (0, 1), "2 of 2 by name"),
        (["C", "C#", "c++"], ("C++", "C", "C#", "D"), None, "c++"),
        (["C", "C#", "C++"], ("C++", "C", "C#", "D"), (1, 2, 0), "3 of 3 by name"),
        (["maillot", "maillot, tank suit"], NAMES, (638, 639), "2 of 2 by name"),
        (["missile"], NAMES, (657,), "1 of 1 by name"),  # though 744 is "projectile, missile"
        (["n04008634-missile"], NAMES, (744,), "1 of 1 by wnid"),
        (["0", "217"], NAMES, (0, 217), "2 of 2 by number"),
        (["9", "10", "007"], NAMES, (9, 10, 7), "3 of 3 by number"),
        (["3", "1"], ("1", "2", "3"), (2, 0), "2 of 2 by name"),
        (["03", "01"], ("1", "2", "3"), (2, 0), "2 of 2 by name"),
        (["10_c", "1_b", "0_a"], ("0_a", "1_b", "10_c"), (2, 1, 0), "3 of 3 by name"),
    ],
)
def test_folders_and_labels(
    folders: Sequence[str], labels: Sequence[str], rows: tuple[int, ...] | None, how: str
) -> None:
    if rows is None:  # "c++" is C, C# or C++ where spelling does not count
        with pytest.raises(InputError, match="c\\+\\+ \\(classes 0, 1, 2\\)"):
            found(folders, len(labels), labels)
        return
    match = found(folders, len(labels), labels)
    assert (match.rows, str(match), match.assumed_imagenet) == (rows, how, False)


@pytest.mark.parametrize(
    ("folders", "labels", "message"),
    [
        (["cat_a", "cat_b"], NAMES, "not cat_a, cat_b; name the folders"),
        ([TENCH, "n00000001"], NAMES, "not n00000001; name the folders"),
        ([WNIDS[1]], TEN, f"not {WNIDS[1]}; "),
        ([f"pet {n}" for n in range(10)], TEN, "pet 7 and 2 more; being as many does not make them the same"),
        ([*SHORT, "photos"], NAMES, "not photos; "),
        (["crane", "tench"], NAMES, r"crane \(classes 134, 517\)"),
        (["maillot"], NAMES, r"maillot \(classes 638, 639\)"),
        (["Tench", "tench"], NAMES, r"Tench and tench \(class 0\)"),
        (["tench", TENCH], NAMES, rf"tench and {TENCH} \(class 0\)"),
        (["7", "007"], NAMES, r"7 and 007 \(class 7\)"),
        ([str(n) for n in range(1, 11)], TEN, "among the network's 10 .* not 10; being as many"),
        (["tench", "5"], NAMES, "not 5; "),
        (["class_0", "class_1"], NAMES, "not class_0, class_1; "),
        (["4x4", "mp3"], NAMES, "not 4x4, mp3; "),
        (["0", "1"], ("1", "2", "3"), "not 0; "),
        (["1_tench", "217_English_springer"], NAMES, "not 1_tench has number 1 and is class 0; "),
        (["1_cat", "0_dog"], ("cat", "dog"), "1_cat has number 1 and is class 0, 0_dog has number 0 and is"),
        ([f"{TENCH}-English springer"], NAMES, f"is class 217 by name and 0 by wnid {TENCH}"),
        (["???"], ("!!!", "a"), r"not \?\?\?; "),
    ],
)
def test_folders_that_no_label_is(folders: Sequence[str], labels: Sequence[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        found(folders, len(labels), labels)


@pytest.mark.parametrize("count", [2, 10, 1000])
def test_a_network_without_labels_knows_numbers(count: int) -> None:
    assert found(["1", "000"], count).rows == (1, 0)
    assert found(["01_dog", "00_cat"], count).rows == (1, 0)
    assert table([(0, "my cat"), (1, "my dog")], count).rows == (0, 1)
    assert str(found(["1", "0"], count)) == "2 of 2 by number"
    with pytest.raises(InputError, match=rf"below the {count} classes of the network, not {count}"):
        found([str(number) for number in range(1, count + 1)], count)  # counted from 1
    foreign = [f"kind {number}" for number in range(count)]
    with pytest.raises(InputError, match=r"not kind 0, kind 1.*; being as many does not make them the same"):
        found(foreign, count)


def test_a_thousand_classes_without_labels_may_be_imagenets_which_is_told() -> None:
    for folders in ([TENCH, SPRINGER], ["tench", "English_springer"]):
        match = found(folders, 1000)
        assert (match.rows, match.assumed_imagenet) == ((0, 217), True)
        for count in (10, 999, 1001):
            with pytest.raises(InputError, match=f"known by number in a network of {count} classes"):
                found(folders, count)
    with pytest.raises(InputError, match="not n00000001; "):
        found([TENCH, "n00000001"], 1000)
    # Where numbers say another order than ImageNet's, one of the two is wrong.
    assert not match_classes("set", [ImageClass("tench", 0, TENCH)], 1000).assumed_imagenet
    with pytest.raises(InputError, match=r"tench has number 1 and is 0 in ImageNet"):
        match_classes("set", [ImageClass("tench", 1, TENCH)], 1000)
    with pytest.raises(InputError, match=r"1_tench has number 1 and is 0 in ImageNet"):
        found(["1_tench", "2_goldfish"], 1000)


def test_columns_of_labels_csv_must_agree() -> None:
    assert table([(0, "tench"), (217, "English springer")], 1000, NAMES).rows == (0, 217)
    assert table([(0, "tench"), (217, "English springer")], 10, TEN).rows == (0, 1), "of ImageNet's numbers"
    assert table([(1, "one"), (3, "three")], 2, ("one", "three")).rows == (0, 1), (
        "of the numbers before a cut"
    )
    assert table([(134, "crane"), (517, "crane"), (0, "tench")], 1000, NAMES).rows == (134, 517, 0)
    assert table([(0, "0"), (217, "217")], 1000, NAMES).rows == (0, 217), "only numbers"
    assert table([(0, "tench"), (5, "5")], 1000, NAMES).rows == (0, 5), "a name is missing"
    for rows, message in (
        ([(0, "tench"), (3, "electric ray")], "electric ray has number 3 and is class 5; correct"),
        ([(0, "goldfish"), (1, "tench")], "goldfish has number 0 and is class 1, tench has number 1 and is"),
        ([(0, "my cat"), (1, "my dog")], "not my cat, my dog; "),
        ([(0, "tench"), (1, "my dog")], "not my dog; "),
        ([(3, "crane"), (0, "tench")], r"crane \(classes 134, 517\)"),
    ):
        with pytest.raises(InputError, match=message):
            table(rows, 1000, NAMES)
    cranes = [ImageClass("crane", index, WNIDS[index]) for index in (134, 517)]
    assert match_classes("set", cranes, 1000, NAMES).rows == (134, 517)
    wrong = ImageClass("tench", 217, TENCH)
    with pytest.raises(InputError, match="tench has number 217 and is class 0"):
        match_classes("set", [wrong], 1000, NAMES)


def test_lists_of_imagenet_in_other_spellings_are_imagenets() -> None:
    other = [name.split(",")[0] for name in NAMES]
    other[134] = "crane bird"
    assert found(WNIDS, 1000, other).rows == tuple(range(1000))
    own = [f"own {number}" for number in range(1000)]
    with pytest.raises(InputError, match=f"not {TENCH}; "):
        found([TENCH], 1000, own)
    turned = NAMES[::-1]  # another order than ImageNet's: by name
    assert found([TENCH, SPRINGER], 1000, turned).rows == (999, 782)


def test_messages_are_one_line_of_plain_signs() -> None:
    with pytest.raises(InputError) as refused:
        found(["\x1b[31mred", "a\nb", "x" * 500], 3, ("a", "b", "c"))
    text = str(refused.value)
    assert text.isprintable()
    assert len(text) < 500
    with pytest.raises(InputError) as refused:
        found([f"kind {n}" for n in range(5000)], 1000, NAMES)
    assert "and 4992 more" in str(refused.value)
    assert len(str(refused.value)) < 700


def random_names(random: random.Random) -> list[str]:
    """Folders of some classes of ImageNet, each named in one of the ways that are clear."""
    rows = random.sample([row for row in range(1000) if row not in (134, 517, 638, 639, 836, 837)], 12)
    ways: list[Callable[[int], str]] = [
        lambda row: WNIDS[row],
        lambda row: NAMES[row],
        lambda row: NAMES[row].upper().replace(" ", "_"),
        lambda row: f"{WNIDS[row]}-{NAMES[row].split(',')[0]}",
    ]
    numbers = random.random() < 0.2
    return [str(row) if numbers else random.choice(ways)(row) for row in rows]


@pytest.mark.parametrize("seed", range(40))
def test_order_and_names_of_folders_never_change_what_a_class_is(seed: int) -> None:
    rng = random.Random(seed)
    names = random_names(rng)
    rows = dict(zip(names, found(names, 1000, NAMES).rows, strict=True))
    for name, row in rows.items():
        assert name.split("-")[0] in (WNIDS[row], str(row)) or name.lower().startswith(NAMES[row][:3].lower())
    shuffled = rng.sample(names, len(names))
    assert found(shuffled, 1000, NAMES).rows == tuple(rows[name] for name in shuffled)
    # The same network with its rows in another order: each class moves with its label.
    order = rng.sample(range(1000), 1000)
    if not names[0].isdigit():
        moved = found(names, 1000, [NAMES[row] for row in order]).rows
        assert [order[row] for row in moved] == [rows[name] for name in names]


def test_classes_of_a_teacher() -> None:
    own = classes_of(TEN)
    assert match_classes("teacher", own, 1000, SHORT + NAMES[10:1000]).rows[0] == 0
    assert match_classes("teacher", own, 1000, NAMES).rows == IMAGENETTE
    assert [c.wnid for c in own] == [WNIDS[row] for row in IMAGENETTE]


# --- data sets ------------------------------------------------------------------------------------


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


def test_two_wnid_folders_are_rows_0_and_217(tmp_path: Path) -> None:
    images = open_images(folders(tmp_path / "set", [SPRINGER, TENCH]))
    assert head_rows(images).tolist() == [0, 217]
    assert images.labels_among(1000, NAMES).tolist() == [0, 217]
    model = load_model(shipped_path("squeezenet1_1-w4a4-imagenet"))
    cut, match = head_of_data(model, images)
    assert match.rows == (0, 217)
    assert cut.labels == (NAMES[0], NAMES[217])
    whole = model.network.conv10.weight
    assert np.array_equal(cut.network.conv10.weight.detach(), whole.detach()[[0, 217]])


def test_two_classes_of_one_name_stay_two(tmp_path: Path) -> None:
    images = open_images(folders(tmp_path / "set", ["n02012849", "n03126707", TENCH]))
    for labels in (NAMES, ()):  # ImageNet's, and taken to be
        model = replace(load_model(shipped_path("squeezenet1_1-w4a4-imagenet")), labels=labels)
        cut, match = head_of_data(model, images)
        assert match.rows == (0, 134, 517)
        assert cut.labels == ("tench, Tinca tinca", "n02012849 crane", "n03126707 crane")
        assert str(images.match(3, cut.labels)) == "3 of 3 by wnid"


def test_numbered_folders_stand_in_their_order(tmp_path: Path) -> None:
    images = open_images(folders(tmp_path / "set", [str(number) for number in range(12)]))
    assert [c.index for c in images.classes] == list(range(12))
    assert images.labels_among(12).tolist() == [int(Path(name).parts[0]) for name in images.names]


@pytest.mark.parametrize("column", ["wnid", "class_name"])
def test_a_class_of_labels_csv_has_one_name(tmp_path: Path, column: str) -> None:
    path = folders(tmp_path / "set", ["a"], each=2)
    (path / "labels.csv").write_text(f"filename,class_index,{column}\na/0_0.png,3,one\na/0_1.png,3,other\n")
    with pytest.raises(InputError, match=r"labels.csv line 3: class 3 must be one, not other; correct one"):
        open_images(path)


def write_table(path: Path, rows: Sequence[tuple[str, int, str, str]]) -> Path:
    path.mkdir()
    for name, *_ in rows:
        (path / name).write_bytes(picture())
    with open(path / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows([("filename", "class_index", "wnid", "class_name"), *rows])
    return path


def test_labels_that_data_gives(tmp_path: Path) -> None:
    """Folders of as many classes give none; a table that numbers and names each class of the network does."""
    as_many = open_images(folders(tmp_path / "folders", ["cat", "cow", "dog"]))
    numbered = open_images(folders(tmp_path / "numbered", ["0_cat", "1_cow", "2_dog"]))
    rows = [(f"{n}.png", n, "", name) for n, name in enumerate(("gas pump", "church", "tench"))]
    named = open_images(write_table(tmp_path / "table", rows))
    assert labels_of_data([as_many, numbered], 3) is None
    told = labels_of_data([as_many, named], 3)
    assert told is not None
    assert told.names == ("gas pump", "church", "tench")
    assert labels_of_data([named], 4) is None
    shifted = open_images(write_table(tmp_path / "shifted", [(f, n + 1, w, c) for f, n, w, c in rows]))
    assert labels_of_data([shifted], 3) is None
    known = open_images(folders(tmp_path / "wnids", [TENCH, SPRINGER]))
    assert labels_of_data([known], 2) is None
    told = labels_of_data([known], 1000)
    assert told is not None
    assert told.names == NAMES
    foreign = open_images(folders(tmp_path / "foreign", [TENCH, "n00000001"]))
    assert labels_of_data([foreign], 1000) is None
    other_order = open_images(write_table(tmp_path / "order", [("0.png", 1, TENCH, "tench")]))
    assert labels_of_data([other_order], 1000) is None


def test_a_new_head_is_seeded_and_takes_the_names_of_the_data(tmp_path: Path) -> None:
    images = open_images(folders(tmp_path / "set", ["cat_b", "cat_a", "cat_c"]))
    start = load_model(shipped_path("squeezenet1_1-w4a4-imagenet"))
    one, again, other = (new_head(start, images, seed) for seed in (1, 1, 2))
    assert one.labels == ("cat_a", "cat_b", "cat_c")
    assert one.network.policy is None
    heads = [model.network.conv10.weight.detach().numpy() for model in (one, again, other)]
    assert heads[0].shape == (3, 512, 1, 1)
    np.testing.assert_array_equal(heads[0], heads[1])
    assert not np.array_equal(heads[0], heads[2])
    assert np.isclose(heads[0].std(), start.network.conv10.weight.detach().numpy().std(), rtol=0.1)
    twice = write_table(tmp_path / "twice", [("0.png", 0, "", "cat"), ("1.png", 1, "", "cat")])
    with pytest.raises(InputError, match="must have names of their own, not twice 'cat'"):
        new_head(start, open_images(twice), 0)
