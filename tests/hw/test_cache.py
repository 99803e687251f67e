"""A cache that several processes fill at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fireflow.hw.cache import LOCKS, made_once


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "made"


def test_made_by_one_of_many(folder: Path) -> None:
    # A lock belongs to an open file, so that threads which open their own stand for processes.
    started, together = [], threading.Barrier(4)

    def make(temporary: Path) -> None:
        started.append(temporary)
        threading.Event().wait(0.2)  # the others meet the lock
        (temporary / "whole").write_text("made")

    def want(_number: int) -> str:
        together.wait()
        return (made_once(folder, "whole", make) / "whole").read_text()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(want, range(4))) == ["made"] * 4
    assert len(started) == 1


def test_a_failure_leaves_nothing_and_the_next_makes_it(folder: Path) -> None:
    def fail(temporary: Path) -> None:
        (temporary / "whole").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made_once(folder, "whole", fail)
    assert [path.name for path in folder.parent.iterdir()] == [LOCKS]
    made_once(folder, "whole", lambda temporary: (temporary / "whole").touch())
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_what_is_not_whole_is_made_anew(folder: Path) -> None:
    folder.mkdir()
    (folder / "left").touch()
    made_once(folder, "whole", lambda temporary: (temporary / "whole").touch())
    assert [path.name for path in folder.iterdir()] == ["whole"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def changed(path: Path) -> None:
    path.write_bytes(b"Made")


def zeroed(path: Path) -> None:
    """What some file systems leave of a file that was not on the disk yet: its size."""
    path.write_bytes(bytes(path.stat().st_size))


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [cut, emptied, changed, zeroed, removed])
@pytest.mark.parametrize("name", ["whole", "part/other"])
def test_a_damaged_entry_is_made_again(folder: Path, damage: Callable[[Path], None], name: str) -> None:
    made = []

    def make(temporary: Path) -> None:
        made.append(temporary)
        (temporary / "whole").write_text("made")
        (temporary / "part").mkdir()
        (temporary / "part" / "other").write_text("made")

    made_once(folder, "whole", make)
    made_once(folder, "whole", make)
    assert len(made) == 1
    damage(folder / name)
    made_once(folder, "whole", make)
    made_once(folder, "whole", make)
    assert len(made) == 2
    assert (folder / name).read_text() == "made"


@pytest.mark.parametrize(
    "seal", ["", "{", "[]", "null", '{"whole": 3}', '{"whole": [4, 5, 6]}', '{"other": [1, "a"]}', "{}"]
)
def test_a_damaged_seal_is_none(folder: Path, seal: str) -> None:
    made = []

    def make(temporary: Path) -> None:
        made.append(temporary)
        (temporary / "whole").write_text("made")

    made_once(folder, "whole", make)
    (folder.parent / LOCKS / "made.json").write_text(seal)
    made_once(folder, "whole", make)
    made_once(folder, "whole", make)
    assert len(made) == 2


def test_a_machine_that_stopped_before_there_were_seals(folder: Path) -> None:
    folder.mkdir()
    (folder / "whole").touch()
    made_once(folder, "whole", lambda temporary: (temporary / "whole").write_text("made"))
    assert (folder / "whole").read_text() == "made"
