"""The record of a training run: what it compares, and what it refuses to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fireflow.hw.errors import InputError
from fireflow.quant.decoded import DecodedImages
from fireflow.quant.run_record import RUN_RECORD, RunRecord, pictures_of_run, record_of_card


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"schema": 2}', '{"schema": 1, "scripts": {}}', "no JSON", '"text"']
)
def test_a_record_of_another_kind(tmp_path: Path, text: str) -> None:
    (tmp_path / RUN_RECORD).write_text(text)
    with pytest.raises(InputError, match=r"run\.json: "):
        RunRecord.load(tmp_path)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert RunRecord.load(tmp_path) is None
    record = RunRecord(
        {"recipe": {"steps": 2}}, {"torch": "2"}, {"excluded": ["a"]}, "then", None, 1.5, False
    )
    record.save(tmp_path)
    assert RunRecord.load(tmp_path) == record


@pytest.mark.parametrize("card", [{}, {"recipe": None}, {"recipe": [], "data": 3, "policy": "float"}])
def test_any_card_can_be_compared(card: dict[str, Any]) -> None:
    wanted = RunRecord({"recipe": {"steps": 2}, "policy": "float", "data": []}, {}, {}, "now")
    assert len(record_of_card(card).differences(wanted)) == ("data" in card)


def test_pictures_are_told_apart() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(5)

    def facts(pixels: Any, labels: Any) -> dict[str, Any]:
        return pictures_of_run(DecodedImages(pixels, tuple("abcde"), labels, (), ()))

    wanted = facts(pixels, labels)
    assert facts(pixels.copy(), labels.copy()) == wanted
    one = pixels.copy()
    one[3, 1, 2, 0] ^= 1
    others = [
        facts(one, labels),
        facts(pixels[::-1], labels),
        facts(pixels, labels[::-1]),
        facts(pixels, None),
    ]
    others.append(facts(pixels.reshape(5, 4, 16, 3), labels))
    assert all(other != wanted for other in others)
