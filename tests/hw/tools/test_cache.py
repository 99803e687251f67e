"""A cache that several processes fill at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hw.tools.cache import LOCKS, made_once


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
