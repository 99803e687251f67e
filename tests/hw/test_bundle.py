"""A bundle comes back as it was saved, or is refused with the name of the file that is wrong."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fireflow.hw import golden as golden_module
from fireflow.hw.bundle import Bundle, Manifest
from fireflow.hw.contents import render, seal
from fireflow.hw.errors import InputError
from fireflow.hw.files import sha256
from fireflow.hw.golden import Golden, tensor_digest
from fireflow.hw.preprocessing import Preprocessing
from fireflow.hw.simulator import Simulator
from tests.hw.networks import squeezenet
from tests.hw.random_graphs import pictures

FILES = ("manifest.json", "graph.json", "graph.arrays", "golden.npz")
GRAPH = squeezenet(32, 10)
MANIFEST = Manifest(
    preprocessing=Preprocessing(32, 40, mean=(123, 117, 104), source_order="BGR"),
    labels=tuple("abcdefghij"),
    card={"accuracy": 0.5, "data": "none"},
    tools={"fireflow": "0"},
)


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden.record(GRAPH, pictures(GRAPH, 2))


@pytest.fixture
def saved(tmp_path: Path, golden: Golden) -> Path:
    path = tmp_path / "net.fire"
    Bundle(GRAPH, MANIFEST, golden).save(path)
    return path


def rewrite(path: Path, change: dict[str, Any]) -> None:
    """Changes the manifest and makes its hash fit."""
    document = json.loads((path / "manifest.json").read_text())
    document.pop("sha256")
    document.update(change)
    (path / "manifest.json").write_bytes(render(seal(document)))


def listed(path: Path) -> dict[str, Any]:
    files: dict[str, Any] = json.loads((path / "manifest.json").read_text())["files"]
    return files


def test_round_trip(saved: Path, golden: Golden) -> None:
    assert sorted(file.name for file in saved.iterdir()) == sorted(FILES)
    loaded = Bundle.load(saved)
    assert loaded.manifest == MANIFEST
    assert loaded.graph.types == GRAPH.types
    assert loaded.graph.output_scale == GRAPH.output_scale
    assert_array_equal(loaded.golden.images, golden.images)
    assert_array_equal(loaded.graph.run(golden.images), golden.scores)
    assert loaded.golden.digests == golden.digests


def test_manifest_describes_input_and_output(saved: Path) -> None:
    document = json.loads((saved / "manifest.json").read_text())
    assert document["schema"] == 1
    assert document["input"]["shape"] == [32, 32, 3]
    assert document["input"]["dtype"] == "uint8"
    assert document["input"]["packing"]["bits"] == 8
    assert document["output"]["shape"] == [10]
    assert document["bits"]["weights"]["conv10"] == 4
    assert document["bits"]["tensors"]["fire2.squeeze.act"] == 4


def test_saving_again_gives_the_same_files(saved: Path) -> None:
    before = {name: sha256(saved / name) for name in FILES}
    Bundle.load(saved).save(saved)
    assert {name: sha256(saved / name) for name in FILES} == before


def test_self_test(saved: Path) -> None:
    loaded = Bundle.load(saved)
    simulator = Simulator(loaded.graph)
    check = loaded.verify_golden(simulator.run, simulator.trace)
    assert check.passed
    assert check.images == 2
    assert loaded.verify_golden(loaded.graph.run, loaded.graph.trace).passed


def test_self_test_finds_a_wrong_result(saved: Path) -> None:
    loaded = Bundle.load(saved)

    def wrong(images: Any) -> Any:
        scores = loaded.graph.run(images)
        scores[0, 3] += 1
        return scores

    def also_wrong(images: Any) -> Any:
        return {**loaded.graph.trace(images), "pool1": np.zeros((2, 1, 1, 1), np.int64)}

    check = loaded.verify_golden(wrong, also_wrong)
    assert not check.passed
    assert (check.differing_scores, check.differing_tensors) == (1, ("pool1",))


def test_digest_depends_on_shape_and_values_only() -> None:
    array = np.arange(6).reshape(2, 3)
    assert (
        tensor_digest(array)
        == tensor_digest(array.astype(np.uint8))
        == tensor_digest(np.asfortranarray(array))
    )
    assert tensor_digest(array) != tensor_digest(array.reshape(3, 2))
    assert tensor_digest(array) != tensor_digest(array + 1)


@pytest.mark.parametrize("name", FILES)
def test_changed_bytes(saved: Path, name: str) -> None:
    data = (saved / name).read_bytes()
    for place in {0, 1, len(data) // 3, len(data) // 2, len(data) - 2, len(data) - 1}:
        changed = bytearray(data)
        changed[place] ^= 0x01
        (saved / name).write_bytes(changed)
        with pytest.raises(InputError, match=name):
            Bundle.load(saved)
    (saved / name).write_bytes(data)
    Bundle.load(saved)


@pytest.mark.parametrize("name", FILES)
def test_missing_and_cut_files(saved: Path, name: str) -> None:
    data = (saved / name).read_bytes()
    (saved / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=name):
        Bundle.load(saved)
    (saved / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: the file must be (there|readable)"):
        Bundle.load(saved)


def test_newer_schema(saved: Path) -> None:
    rewrite(saved, {"schema": 2})
    with pytest.raises(InputError, match="schema must be at most 1, not 2; use a newer fireflow"):
        Bundle.load(saved)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "sub/../../secret", "..\\secret", "C:/secret", "."]
)
def test_paths_that_leave_the_folder(saved: Path, name: str) -> None:
    secret = saved.parent / "secret"
    secret.write_text("x")
    rewrite(saved, {"files": {**listed(saved), name: {"sha256": sha256(secret), "size_bytes": 1}}})
    with pytest.raises(InputError, match="files must lie inside the bundle, not at"):
        Bundle.load(saved)


def test_links_that_leave_the_folder(saved: Path) -> None:
    outside = saved.parent / "outside"
    (saved / "golden.npz").rename(outside)
    os.symlink(outside, saved / "golden.npz")
    with pytest.raises(InputError, match=r"files must lie inside the bundle, not at 'golden\.npz'"):
        Bundle.load(saved)


def test_files_that_are_not_listed(saved: Path) -> None:
    files = listed(saved)
    rewrite(saved, {"files": {name: files[name] for name in files if name != "golden.npz"}})
    with pytest.raises(InputError, match=r"must list golden\.npz"):
        Bundle.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"files": 3},
        {"files": {"graph.json": 3}},
        {"labels": ["a"]},
        {"labels": 3},
        {"preprocessing": {"size": 32}},
        {"card": 3},
        {"output_scale": 0.5},
        {"name": "other"},
        {"input": {}},
        {"bits": None},
        {"schema": "1"},
        {"schema": None},
    ],
)
def test_manifest_that_lies(saved: Path, change: dict[str, Any]) -> None:
    rewrite(saved, change)
    with pytest.raises(InputError):
        Bundle.load(saved)


@pytest.mark.parametrize("text", ["", "[]", "null", "3", "{}"])
def test_manifest_that_is_none(saved: Path, text: str) -> None:
    (saved / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json: "):
        Bundle.load(saved)


def test_golden_vectors_of_another_network(tmp_path: Path, golden: Golden) -> None:
    for change in ({"images": golden.images[:, :16]}, {"scores": golden.scores[:, :3]}, {"digests": {}}):
        Bundle(GRAPH, MANIFEST, replace(golden, **change)).save(tmp_path / "a.fire")
        with pytest.raises(InputError, match=r"images must be uint8|golden\.npz"):
            Bundle.load(tmp_path / "a.fire")


def test_golden_vectors_that_would_fill_the_memory(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden_module, "MAX_GOLDEN_BYTES", 1000)
    with pytest.raises(InputError, match=r"golden\.npz: must hold golden vectors \(\d+ bytes when unpacked"):
        Bundle.load(saved)


def test_golden_vectors_with_an_impossible_shape(saved: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776, 32, 32, 3), }\n"
    bad = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(saved / "golden.npz", "w") as archive:
        archive.writestr("images.npy", bad)
    size = (saved / "golden.npz").stat().st_size
    record = {"sha256": sha256(saved / "golden.npz"), "size_bytes": size}
    rewrite(saved, {"files": {**listed(saved), "golden.npz": record}})
    with pytest.raises(InputError, match=r"golden\.npz: must hold golden vectors"):
        Bundle.load(saved)


def test_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.fire: a bundle must be a folder \.fire"):
        Bundle.load(tmp_path / "none.fire")
    with pytest.raises(InputError, match=r"manifest\.json: the file must be readable"):
        Bundle.load(tmp_path)


def test_saves_over_nothing_but_a_bundle(tmp_path: Path, golden: Golden) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="the output must be a bundle or an empty folder"):
        Bundle(GRAPH, MANIFEST, golden).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_half_written_output_is_never_left(
    saved: Path, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: sha256(saved / name) for name in FILES}

    def full(*args: Any, **options: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez_compressed", full)
    for path in (saved, saved.parent / "new.fire"):
        with pytest.raises(OSError, match="no space left"):
            Bundle(GRAPH, Manifest(), golden).save(path)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    assert {name: sha256(saved / name) for name in FILES} == before


def test_labels_must_fit(golden: Golden) -> None:
    with pytest.raises(InputError, match=r"squeezenet: labels must be one per class \(10\), not 2"):
        Bundle(GRAPH, Manifest(labels=("a", "b")), golden)
