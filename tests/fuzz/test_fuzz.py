"""Every reader of what comes from outside takes its own files, and refuses by name whatever is made of them."""

from __future__ import annotations

import importlib.util
import random
import resource
import struct
import time
from pathlib import Path

import pytest

from fireflow.hw.errors import InputError
from scripts.fuzz import fuzz
from tests.fuzz import mutators
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

CHANGED, LEAST, SLOWEST_S, MEMORY_MIB = 300, 60, 5.0, 512
# One of each kind of container; the others run guided in `make fuzz`.
GUIDED = ("policy", "png", "bundle", "arrays", "npz", "fasm")


@pytest.mark.parametrize("target", TARGETS.values(), ids=str)
@pytest.mark.filterwarnings("ignore")  # of libraries about damaged files
def test_changed_inputs(target: Target) -> None:
    for data in target.seeds():
        assert target.run(data), "its own input must be taken"
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = slowest = 0.0
    for data in target.changed(seed=7, count=max(LEAST, int(CHANGED * min(1.0, target.weight)))):
        start = time.thread_time()  # of a busy machine only what this thread took
        taken += target.run(data)
        slowest = max(slowest, time.thread_time() - start)
    assert slowest < SLOWEST_S
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024 < MEMORY_MIB
    assert taken > 0, "changes that are all refused try nothing behind the first check"


@pytest.mark.parametrize("name", GUIDED)
def test_guided(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed, it has no wheel for this Python")
    found = fuzz(name, 400, 1, tmp_path)
    assert (found.inputs, found.defect) == (400, "")
    assert found.memory_mib < MEMORY_MIB


def test_a_defect_is_found(tmp_path: Path) -> None:
    def read(data: bytes) -> object:
        if len(data) < 3:
            raise InputError("x: must be longer, not short; write more")
        return {}[data[0]] if data[0] != ord("a") else None

    def two_lines(_data: bytes) -> object:
        raise ValueError("a\nb")

    target = Target("x", read, lambda: (b"abc",))
    inputs = [data for data in target.changed(seed=1, count=200) if len(data) > 2 and data[0] != ord("a")]
    assert inputs
    with pytest.raises(KeyError):
        target.run(inputs[0])
    with pytest.raises(AssertionError, match="must be one line"):
        Target("y", two_lines, tuple, refusals=(ValueError,)).run(b"")


MUTATORS = (mutators.raw, mutators.json_value, mutators.member(), mutators.png, mutators.arrays)


@pytest.mark.parametrize("mutate", MUTATORS)
def test_mutators_take_anything_and_repeat(mutate: mutators.Mutate) -> None:
    for seed in range(200):
        data = random.Random(seed).randbytes(seed % 40)
        assert mutate(data, random.Random(seed)) == mutate(data, random.Random(seed))


def test_a_member_without_a_name() -> None:
    """Found by fuzzing: Python's own zipfile fails when it asks whether that is a folder."""
    entry = struct.pack("<4s6H3I2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, 0, 0, 0, 0, 0)[:30]
    central = struct.pack("<4s4B4H3I5H2I", b"PK\1\2", 20, 0, 20, 0, 0, 0, 0, 33, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(central), len(entry), 0)
    for name in ("training zip", "run zip"):
        assert not TARGETS[name].run(entry + central + end)
