"""Pictures from folders, zips and arrays; the cache of decoded ones; random crops."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fireflow.hw.cache import LOCKS
from fireflow.hw.errors import InputError
from fireflow.hw.preprocessing import Preprocessing
from fireflow.quant import data
from fireflow.quant.data import DamagedImage, ImageClass, from_arrays, head_rows, open_images
from fireflow.quant.decoded import augment, decode_to_array

Members = Mapping[str, bytes | str]
Writer = Callable[[Path, Members], Path]


def picture(value: int, size: tuple[int, int] = (10, 8), mode: str = "RGB", format: str = "PNG") -> bytes:
    """A file of one grey level."""
    file = io.BytesIO()
    Image.new(mode, size, (value,) * len(mode) if len(mode) > 1 else value).save(file, format)
    return file.getvalue()


def write_zip(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_folder(path: Path, members: Members) -> Path:
    for name, content in members.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


LABELS = """filename,class_index,wnid,class_name,split
b.png,217,n02102040,"spaniel, dog",val
n/a.png,0,n01440764,tench,train
"""
LABELLED: dict[str, bytes | str] = {
    "images/n/a.png": picture(10),
    "images/b.png": picture(20),
    "labels.csv": LABELS,
    "README.txt": "words",
}


@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_labels_csv(tmp_path: Path, write: Writer) -> None:
    images = open_images(write(tmp_path / "set", LABELLED))
    assert images.names == ("images/b.png", "images/n/a.png")
    assert images.labels == (1, 0)
    assert images.classes == (
        ImageClass("tench", 0, "n01440764"),
        ImageClass("spaniel, dog", 217, "n02102040"),
    )
    assert images.class_names == ("tench", "spaniel, dog")
    assert images.columns == {"split": ("val", "train")}
    assert (len(images), images[0].mode, images[0].size) == (2, "RGB", (10, 8))
    assert [image.getpixel((0, 0)) for image in (images[0], images[1])] == [(20,) * 3, (10,) * 3]
    np.testing.assert_array_equal(head_rows(images), [0, 217])
    np.testing.assert_array_equal(images.labels_among(1000), [217, 0])
    with pytest.raises(
        InputError, match=r"class indices must be below the 100 classes of the network, not 217"
    ):
        images.labels_among(100)
    with pytest.raises(
        InputError, match=r"below the 2 classes of the network, not 217; being as many does not make"
    ):
        images.labels_among(2)


@pytest.mark.parametrize("write", [write_zip, write_folder])
@pytest.mark.parametrize("around", ["", "images/", "a/b/"])
def test_class_folders(tmp_path: Path, write: Writer, around: str) -> None:
    files = {
        "n02102040/x.jpg": picture(1, format="JPEG"),
        "cat/deep/y.png": picture(2),
        "cat/.hidden.png": b"",
    }
    images = open_images(write(tmp_path / "set", {around + name: content for name, content in files.items()}))
    assert sorted(zip(images.names, images.labels or (), strict=True)) == [
        (f"{around}cat/deep/y.png", 0),
        (f"{around}n02102040/x.jpg", 1),
    ]
    assert images.classes == (ImageClass("cat"), ImageClass("n02102040", None, "n02102040"))


@pytest.mark.parametrize("write", [write_zip, write_folder])
@pytest.mark.parametrize("around", ["", "images/"])
def test_pictures_without_labels(tmp_path: Path, write: Writer, around: str) -> None:
    members: dict[str, bytes | str] = {f"{around}{name}.png": picture(3) for name in ("b", "a")}
    members |= {"notes.txt": "words", "__MACOSX/a.png": b"x"}
    images = open_images(write(tmp_path / "set", members))
    assert sorted(images.names) == [f"{around}a.png", f"{around}b.png"]
    assert (images.labels, images.classes) == (None, ())
    with pytest.raises(InputError, match="images must have labels"):
        images.labels_among(10)


def test_one_picture(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(picture(7, mode="L"))
    images = open_images(tmp_path / "photo.png")
    assert (images.names, images[0].mode) == (("photo.png",), "RGB")
    (tmp_path / "words.png").write_text("words")
    with pytest.raises(
        InputError, match=r"words.png: must be a picture that can be decoded, not damaged \(no known"
    ):
        open_images(tmp_path / "words.png")


def test_arrays() -> None:
    array = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    images = from_arrays(array, [1, 0], ["cat", "dog"])
    assert (images.labels, images.class_names) == ((1, 0), ("cat", "dog"))
    np.testing.assert_array_equal(np.asarray(images[1]), array[1])
    cases: list[tuple[Any, list[int] | None, str]] = [
        (array.astype(np.float32), None, r"must be uint8 of shape \(N, H, W, 3\), not float32"),
        (array[..., :1], None, r"must be uint8 of shape \(N, H, W, 3\), not uint8 \(2, 3, 4, 1\)"),
        (array, [1], "labels: must be 2, one per image, not 1"),
        (array, [0, 2], "labels: must be 0 to 1, not 2"),
    ]
    for bad, labels, message in cases:
        with pytest.raises(InputError, match=message):
            from_arrays(bad, labels, ["cat", "dog"])


def test_damaged_pictures_are_skipped_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "MAX_PIXELS", 1000)
    whole = picture(9, (20, 20), format="JPEG")
    members = {
        "cat/cut.jpg": whole[: len(whole) // 2],
        "cat/good.jpg": whole,
        "dog/bomb.png": picture(1, (40, 40)),
        "dog/strip.png": picture(1, (1, 101)),
        "dog/good.png": picture(5),
        "dog/words.png": b"words",
    }
    images = open_images(write_zip(tmp_path / "set.zip", members))
    with pytest.raises(DamagedImage, match=r"set.zip: cat/cut.jpg: must be a picture that can be decoded"):
        images[0]
    assert [name for name, _ in images.damaged] == ["cat/cut.jpg"]
    good = images.verify()
    assert good.names == ("cat/good.jpg", "dog/good.png")
    assert good.labels == (0, 1)
    reasons = dict(images.damaged)
    assert list(reasons) == ["cat/cut.jpg", "dog/bomb.png", "dog/strip.png", "dog/words.png"]
    assert reasons["dog/bomb.png"] == "40x40 is more than 1000 pixels"
    assert reasons["dog/strip.png"] == "1x101 is longer than 100 times its shorter side"
    for _ in range(2):  # decoded, then from the cache
        fresh = open_images(tmp_path / "set.zip")
        decoded = decode_to_array(fresh, 8, tmp_path / "cache")
        assert decoded.names == good.names
        assert decoded.labels is not None
        np.testing.assert_array_equal(decoded.labels, [0, 1])
        np.testing.assert_array_equal(decoded.images.reshape(2, -1), [[9] * 192, [5] * 192])
        assert dict(decoded.damaged) == reasons == dict(fresh.damaged)


def test_damaged_zip_member(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", {"a.png": picture(1), "b.png": picture(2)})
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    images = open_images(path)
    assert len(images.verify()) == 1
    assert images.damaged[0][0] == "a.png"


def test_file_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "MAX_FILE_BYTES", 50)
    for write in (write_zip, write_folder):
        images = open_images(write(tmp_path / write.__name__, {"a.png": picture(1)}))
        with pytest.raises(DamagedImage, match="bytes are more than 50"):
            images[0]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, r"must hold at least one image, not none"),
        ({"notes.txt": "words"}, r"must hold at least one image, not none"),
        (
            LABELLED | {"labels.csv": "filename,wnid\nb.png,n1\n"},
            r"must have a column class_index, not only filename, wn",
        ),
        (
            LABELLED | {"labels.csv": "class_index\n1\n"},
            r"labels.csv: must have a column filename, not only class_index",
        ),
        (LABELLED | {"labels.csv": ""}, r"must have a column filename"),
        (LABELLED | {"labels.csv": b"\xff\xfe\x00"}, r"must be a table of comma-separated UTF-8 text"),
        (LABELLED | {"labels.csv": "filename,class_index\n"}, r"must hold at least one image, not none"),
        (
            LABELLED | {"labels.csv": "filename,class_index\nz.png,1\n"},
            r"line 2: filename must be a file in images/, not",
        ),
        (
            LABELLED | {"labels.csv": "filename,class_index\n../b.png,1\n"},
            r"line 2: filename must be a file in images/",
        ),
        (
            LABELLED | {"labels.csv": "filename,class_index\nb.png,-1\n"},
            r"line 2: class_index must be a whole number, ",
        ),
        (
            LABELLED | {"labels.csv": "filename,class_index\nb.png\n"},
            r"line 2: class_index must be a whole number, not ''",
        ),
        (
            LABELLED | {"labels.csv": "filename,class_index,wnid\nb.png,1,n1\nn/a.png,1,n2\n"},
            r"line 3: class 1 must be n1, not n2",
        ),
    ],
)
@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_wrong_sets(tmp_path: Path, write: Writer, members: Members, message: str) -> None:
    (tmp_path / "folder").mkdir()
    path = write(tmp_path / ("set.zip" if write is write_zip else "folder"), members)
    with pytest.raises(InputError, match=message):
        open_images(path)


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "x/../../a.png", "..\\a.png"])
def test_names_that_leave_the_zip(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "set.zip", {name: picture(1)})
    with pytest.raises(InputError, match=r"set.zip: names must stay inside, not"):
        open_images(path)
    assert sorted(os.listdir(tmp_path)) == ["set.zip"]


def test_wrong_paths(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"nothing: images must be in a folder, a zip or an image file, and it is not"
    ):
        open_images(tmp_path / "nothing")
    whole = write_zip(tmp_path / "set.zip", LABELLED).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut.zip: must be a whole zip file"):
        open_images(tmp_path / "cut.zip")


def test_without_and_select(tmp_path: Path) -> None:
    images = open_images(write_zip(tmp_path / "set.zip", LABELLED))
    left = images.without({"elsewhere/a.JPEG"})
    assert (left.names, left.labels, left.columns) == (("images/b.png",), (1,), {"split": ("val",)})
    assert left.classes == images.classes
    with pytest.raises(InputError, match="at least one image"):
        images.without(images.names)


def test_head_rows_by_wnid(tmp_path: Path) -> None:
    folders = {"n02102040/x.png": picture(1), "n01440764/y.png": picture(2)}
    images = open_images(write_zip(tmp_path / "some.zip", folders))
    np.testing.assert_array_equal(head_rows(images), [0, 217])
    other = open_images(write_zip(tmp_path / "other.zip", {"cat/x.png": picture(1)}))
    with pytest.raises(
        InputError, match=r"classes must be known by number in a network of 1000 .*, not cat;"
    ):
        head_rows(other)


def test_zip_in_threads_and_processes(tmp_path: Path) -> None:
    images = open_images(write_zip(tmp_path / "set.zip", {f"{n}.png": picture(n) for n in range(40)}))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: images[n].getpixel((0, 0)), range(40)))
    assert found == [(n,) * 3 for n in range(40)]
    again = pickle.loads(pickle.dumps(images))
    assert again[3].getpixel((0, 0)) == (3,) * 3


def entries(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.name != LOCKS]


def test_decode_to_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    path = write_zip(tmp_path / "set.zip", {f"{n}.png": picture(n, (30 + n, 20)) for n in range(5)})
    record = Preprocessing(size=12, resize=16)
    decoded = decode_to_array(open_images(path), record)
    assert decoded.images.shape == (5, 12, 12, 3)
    assert (decoded.labels, decoded.damaged) == (None, ())
    images = open_images(path)
    for row in range(5):
        np.testing.assert_array_equal(decoded.images[row], record.prepare(images[row]))
    cache = tmp_path / "home" / "fireflow" / "images"
    (entry,) = entries(cache)
    before = entry.stat().st_mtime_ns
    # Mean and std do not change pixels; a size, other pictures, another order or other content do.
    again = decode_to_array(images, Preprocessing(size=12, resize=16, mean=(1.0, 2.0, 3.0)))
    np.testing.assert_array_equal(again.images, decoded.images)
    assert [e.stat().st_mtime_ns for e in entries(cache)] == [before]
    decode_to_array(images, 12)
    decode_to_array(images.select([1, 0]), record)
    write_zip(path, {f"{n}.png": picture(n + 1, (30 + n, 20)) for n in range(5)})
    changed = decode_to_array(open_images(path), record)
    assert changed.images[0, 0, 0, 0] == 1
    assert len(entries(cache)) == 4


def test_decode_leaves_nothing_behind(tmp_path: Path) -> None:
    images = open_images(write_zip(tmp_path / "set.zip", {"a.png": b"words", "b.png": b"more words"}))
    with pytest.raises(
        InputError, match=r"at least one picture must be whole, not none of 2 \(.*no known image"
    ):
        decode_to_array(images, 8, tmp_path / "cache")
    assert entries(tmp_path / "cache") == []


def test_augment() -> None:
    rng = np.random.default_rng(0)
    batch = torch.from_numpy(rng.integers(0, 256, (64, 32, 32, 3), dtype=np.uint8))
    crops = augment(batch, 24, torch.Generator().manual_seed(5))
    assert (crops.shape, crops.dtype) == ((64, 3, 24, 24), torch.float32)
    assert torch.equal(crops, crops.round())
    assert crops.min() >= 0
    assert crops.max() <= 255
    assert torch.equal(crops, augment(batch, 24, torch.Generator().manual_seed(5)))
    assert not torch.equal(crops, augment(batch, 24, torch.Generator().manual_seed(6)))


def test_augment_of_everything_is_the_picture_or_its_mirror() -> None:
    batch = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8))
    crops = augment(batch, 16, torch.Generator().manual_seed(0), scale=(1.0, 1.0), ratio=(1.0, 1.0))
    pixels = batch.permute(0, 3, 1, 2).float()
    same = [torch.equal(a, b) for a, b in zip(crops, pixels, strict=True)]
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(crops, pixels, strict=True)]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 10 < sum(same) < 30


def test_augment_crops_inside() -> None:
    """On a ramp, the values of a crop show where it lies: of the area asked for, anywhere in the picture."""
    ramp = torch.arange(64, dtype=torch.uint8).repeat(64, 1)  # grows to the right
    batch = torch.stack([ramp, ramp.T, ramp], dim=2).repeat(200, 1, 1, 1)
    crops = augment(batch, 32, torch.Generator().manual_seed(1), scale=(0.25, 0.5))
    across, down = (crops[:, channel].amax((1, 2)) - crops[:, channel].amin((1, 2)) for channel in (0, 1))
    area = (across + 2) * (down + 2) / 64**2
    assert area.min() > 0.22
    assert area.max() < 0.55
    assert (across > down + 5).any()
    assert (down > across + 5).any()
    assert crops[:, 1].amin((1, 2)).max() > 25
    assert crops[:, 1].amax((1, 2)).min() < 40


def test_find_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREFLOW_DATA", str(tmp_path))
    assert data.find_data_folder() == tmp_path
    monkeypatch.setenv("FIREFLOW_DATA", str(tmp_path / "nothing"))
    assert data.find_data_folder() is None


def test_real_sets(data_folder: Path) -> None:
    """Imagenette numbers its classes as ImageNet does, and shares ten pictures with the validation images."""
    train, val = (open_images(data_folder / f"imagenette224_{split}.zip") for split in ("train", "val"))
    imagenet = open_images(data_folder / "ilsvrc2012_valrs1000_299q92.zip")
    assert (len(train), len(val), len(imagenet)) == (9469, 3925, 1000)
    assert [c.index for c in imagenet.classes] == list(range(1000))
    assert train.classes == val.classes
    np.testing.assert_array_equal(head_rows(train), [0, 217, 482, 491, 497, 566, 569, 571, 574, 701])
    np.testing.assert_array_equal(head_rows(train, 1000, imagenet.class_names), head_rows(train))
    assert len(train.without(imagenet.names)) == 9460
    assert len(val.without(imagenet.names)) == 3924
    assert val[0].size == (224, 224)
