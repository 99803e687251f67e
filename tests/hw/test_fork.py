"""A simulator in a process that was forked while it had threads."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest
from numpy.testing import assert_array_equal

from fireflow.hw.simulator import Simulator
from tests.hw.networks import squeezenet
from tests.hw.random_graphs import pictures

GRAPH = squeezenet(32, 10)
IMAGES = pictures(GRAPH, 6)
# Far beyond what the work takes: a child that hangs is ended then, and the test fails.
PATIENCE_S = 60


def in_a_fork(work: Callable[[], None]) -> int:
    """The status of a child that did the work; 0 is good."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    for _turn in range(PATIENCE_S * 20):
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_runs_in_a_fork_and_in_the_parent(threads: int) -> None:
    expected = GRAPH.run(IMAGES)
    simulator = Simulator(GRAPH, threads=threads)
    assert_array_equal(simulator.run(IMAGES), expected)

    def again() -> None:
        assert_array_equal(simulator.run(IMAGES), expected)
        assert in_a_fork(lambda: assert_array_equal(simulator.run(IMAGES), expected)) == 0

    assert in_a_fork(again) == 0
    assert_array_equal(simulator.run(IMAGES), expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forks_while_other_threads_run() -> None:
    expected = GRAPH.run(IMAGES)
    simulator = Simulator(GRAPH, threads=2)
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            simulator.run(IMAGES)

    runner = threading.Thread(target=busy)
    runner.start()
    try:
        statuses = [
            in_a_fork(lambda: assert_array_equal(simulator.run(IMAGES), expected)) for _turn in range(5)
        ]
    finally:
        stop.set()
        runner.join()
    assert statuses == [0] * 5
