"""A bundle that several processes replace while others read it, and that is there whenever one of them is killed."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fireflow.hw import exchange
from fireflow.hw.bundle import Bundle, Manifest
from fireflow.hw.files import atomic_directory
from fireflow.hw.golden import Golden
from fireflow.hw.graph import Graph, Node
from fireflow.hw.ops import Conv, GlobalSum
from fireflow.hw.types import TensorType

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
SAVES = 40


def bundle(number: int) -> Bundle:
    """One whose files all differ from those of another number."""
    weight = np.random.default_rng(number).integers(-7, 8, (3, 1, 1, 3))
    nodes = (Node("conv", Conv(weight, weight_bits=4), ("image",)), Node("scores", GlobalSum(), ("conv",)))
    graph = Graph(f"net{number}", "image", TensorType((4, 4, 3), 0, 255), nodes, 1.0)
    images = np.random.default_rng(number).integers(0, 256, (1, 4, 4, 3), dtype=np.uint8)
    return Bundle(graph, Manifest(card={"number": number}), Golden.record(graph, images))


def child(work: Callable[[], None]) -> int:
    """The process that does the work; it ends with 0 if nothing was raised."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def ended(processes: list[int]) -> list[int]:
    return [os.waitpid(process, 0)[1] for process in processes]


def check(path: Path) -> None:
    """It is of one writer from end to end."""
    found = Bundle.load(path)
    number = found.manifest.card["number"]
    assert found.graph.name == f"net{number}"
    np.testing.assert_array_equal(found.graph.run(found.golden.images), found.golden.scores)


def save_often(path: Path, number: int, times: int) -> None:
    own = bundle(number)
    for _time in range(times):
        own.save(path)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("can_exchange", [True, False])
def test_every_save_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool) -> None:
    if not can_exchange:
        monkeypatch.setattr(exchange, "_renameat2", lambda: None)
    path = tmp_path / "net.fire"
    savers = [child(lambda number=number: save_often(path, number, SAVES)) for number in range(3)]  # type: ignore[misc]
    assert ended(savers) == [0, 0, 0]
    check(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.fire"]


@pytest.mark.timeout(300)
@pytest.mark.skipif(exchange._renameat2() is None, reason="this system cannot exchange two names")
def test_readers_find_a_whole_bundle_at_any_time(tmp_path: Path) -> None:
    path, stop = tmp_path / "net.fire", tmp_path / "stop"
    bundle(9).save(path)

    def read() -> None:
        count = 0
        while not stop.exists() or count == 0:
            check(path)
            count += 1

    savers = [child(lambda number=number: save_often(path, number, SAVES)) for number in range(3)]  # type: ignore[misc]
    readers = [child(read) for _number in range(2)]
    saved = ended(savers)
    stop.touch()
    assert (saved, ended(readers)) == ([0, 0, 0], [0, 0])


@pytest.mark.timeout(300)
@pytest.mark.skipif(exchange._renameat2() is None, reason="this system cannot exchange two names")
def test_a_killed_process_leaves_a_bundle(tmp_path: Path) -> None:
    path = tmp_path / "net.fire"
    bundle(9).save(path)
    waits = np.random.default_rng(3).uniform(0.0, 0.08, 25)
    for wait in waits:
        saver = child(lambda: save_often(path, 5, 10_000))
        time.sleep(wait)
        os.kill(saver, signal.SIGKILL)
        os.waitpid(saver, 0)
        check(path)


def test_a_process_that_stops_between_two_steps_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every rename is a place to be killed at: in front of each and behind it the folder is whole."""
    target, seen = tmp_path / "folder", []
    with atomic_directory(target) as folder:
        (folder / "file").write_text("old")
    real_rename, real_exchange = os.rename, exchange.exchange

    def look() -> None:
        seen.append((target / "file").read_text())

    def rename(*names: str) -> None:
        look()
        real_rename(*names)
        look()

    def swap(first: Path, second: Path) -> bool:
        look()
        done = real_exchange(first, second)
        look()
        return done

    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(exchange, "exchange", swap)
    if exchange._renameat2() is None:
        pytest.skip("this system cannot exchange two names")
    with atomic_directory(target) as folder:
        (folder / "file").write_text("new")
    assert seen[-1] == "new"
    assert set(seen) == {"old", "new"}
