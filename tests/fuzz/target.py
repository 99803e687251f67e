"""A reader, what it may be given, and how it may refuse it."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fireflow.hw.errors import InputError
from tests.fuzz import mutators

Seeds = Callable[[], Sequence[bytes]]


@dataclass(frozen=True)
class Target:
    """
    Args:
        name: for people, and of its corpus.
        read: takes the bytes as a user's file or request, and gives what it likes; what it raises, unless it is one of
            `refusals`, is a defect.
        seeds: whole inputs that it takes.
        mutate: how one input is made of another.
        refusals: exceptions that refuse an input by name.
        weight: inputs that it gets beside a weight of 1.
    """

    name: str
    read: Callable[[bytes], object]
    seeds: Seeds
    mutate: mutators.Mutate = mutators.raw
    refusals: tuple[type[Exception], ...] = (InputError,)
    weight: float = 1.0

    def __str__(self) -> str:
        return self.name

    def run(self, data: bytes) -> bool:
        """Whether the reader takes it; raises what is a defect."""
        try:
            self.read(data)
        except self.refusals as error:
            text = str(error)
            assert text.strip(), "a refusal must say what is wrong"
            assert len(text.splitlines()) == 1, f"a refusal must be one line, not {text!r}"
            return False
        return True

    def changed(self, seed: int, count: int) -> Sequence[bytes]:
        """`count` inputs, each some changes away from one that is taken; the same for the same seed."""
        draw, seeds = random.Random(seed), self.seeds()
        inputs = []
        for _ in range(count):
            data = draw.choice(seeds)
            for _ in range(draw.choice((1, 1, 2, 3, 6))):
                data = self.mutate(data, draw)
            inputs.append(data)
        return inputs


@cache
def scratch() -> Path:
    """A folder in memory where there is one; files there cost no disk."""
    base = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = tempfile.TemporaryDirectory(prefix="fireflow-fuzz-", dir=base)
    _kept.append(folder)
    return Path(folder.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []


def as_file(name: str, data: bytes) -> Path:
    """The bytes as a file of this name."""
    path = scratch() / name
    path.write_bytes(data)
    return path
