"""Deploying without a command line: what a board says is checked, and what cannot be copied is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fireflow import InputError, deploy
from fireflow.host.deployment import board_test
from fireflow.host.remote import RemoteBoard
from tests.host.boards import bundle

FACTS = {
    "device": "virtual",
    "images": 3,
    "differing": 0,
    "wrong": 0,
    "fps": 12.5,
    "clock_mhz": 199.998,
    "clock_asked_mhz": 200,
    "more": "is not looked at",
}


def test_a_self_test_in_numbers() -> None:
    found = board_test("board", f"Welcome\n{json.dumps(FACTS)}\n")
    assert (found.device, found.images, found.fps, found.clock_mhz) == ("virtual", 3, 12.5, 199.998)
    assert found.passed
    for name in ("differing", "wrong"):
        assert not board_test("board", json.dumps({**FACTS, name: 1})).passed


def test_a_bundle_must_lie_in_a_folder() -> None:
    with pytest.raises(
        InputError, match="small: must lie in a folder to be copied, and it does not; save it"
    ):
        deploy(bundle(), "me@board", device="virtual")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "3",
        "{}",
        "{",
        '{"device": 5}',
        '{"device": "a", "images": NaN}',
        '{"device": "\\u001b[2J"}',
        "[" * 200,
    ],
)
def test_a_self_test_that_says_something_else(line: str) -> None:
    with pytest.raises(InputError, match=r"board: the self test"):
        board_test("board", f"Welcome\n{line}\n")


class Silly(RemoteBoard):
    """A board whose answers are wrong."""

    def __init__(self, answer: str) -> None:
        super().__init__(["ssh", "board"])
        self.answer, self.fed = answer, 0

    def ask(self, command: str, limit_s: float | None = None) -> str:
        return self.answer

    def feed(self, command: str, source: Any, limit_s: float) -> None:
        self.fed += len(source.read())


@pytest.mark.parametrize("answer", ["", "\n\n", "a", "-5", "9" * 30, "1e9", "0 0 0", "\x00", "99999999999"])
def test_answers_that_are_no_answers(tmp_path: Path, answer: str) -> None:
    (tmp_path / "file").write_bytes(b"content")
    board = Silly(answer)
    with pytest.raises(InputError, match="a/file: the copy must have the hash"):
        board.copy({"a/file": tmp_path / "file"})
    assert board.fed == 7
