"""Files and folders appear whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fireflow.hw.errors import InputError
from fireflow.hw.files import atomic_directory, atomic_file, read_json, sha256


class Interrupted(BaseException):
    """Stands for a kill in the middle of writing."""


def write_half_a_file(target: Path, error: type[BaseException]) -> None:
    with atomic_file(target) as temporary:
        temporary.write_text("half")
        raise error


def write_half_a_folder(target: Path, error: type[BaseException]) -> None:
    with atomic_directory(target) as temporary:
        (temporary / "new.txt").write_text("half")
        raise error


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_is_written(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with atomic_file(target) as temporary:
        assert temporary.name == target.name  # writers look at the suffix
        temporary.write_text("done")
    assert target.read_text() == "done"
    assert names(target.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, Interrupted])
def test_failed_file_leaves_the_old_one(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error):
        write_half_a_file(target, error)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_folder_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "a.fire"
    for text in ("first", "second"):
        with atomic_directory(target) as temporary:
            (temporary / f"{text}.txt").write_text(text)
    assert names(target) == ["second.txt"]
    assert names(tmp_path) == ["a.fire"]


@pytest.mark.parametrize("error", [ValueError, Interrupted])
def test_failed_folder_leaves_the_old_one(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.fire"
    target.mkdir()
    (target / "old.txt").write_text("old")
    with pytest.raises(error):
        write_half_a_folder(target, error)
    assert names(target) == ["old.txt"]
    assert names(tmp_path) == ["a.fire"]


def test_file_and_folder_are_not_confused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(InputError, match="the output must be a folder, not a file"),
        atomic_directory(tmp_path / "file"),
    ):
        pass
    with (
        pytest.raises(InputError, match="the output must be a file, not a folder"),
        atomic_file(tmp_path / "folder"),
    ):
        pass


def test_sha256(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000
    (tmp_path / "a").write_bytes(data)
    assert sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100000])
def test_not_json(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(InputError, match=r"a\.json: the file must hold JSON"):
        read_json(tmp_path / "a.json")


def test_missing_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: the file must be readable, not No such file"):
        read_json(tmp_path / "none.json")


def test_error_is_one_line() -> None:
    assert str(InputError("a:\n  b")) == "a: b"
