"""`fireflow.PictureRun` over `fireflow.open_pictures`: every picture's classes in order, and what had no answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fireflow import DeviceError, PictureRun, open_pictures
from fireflow.host.devices.faults import Fault
from fireflow.host.scores import best
from tests.host.boards import LABELS, accelerator, bundle, graph

COUNT = 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random, path = np.random.default_rng(6), tmp_path_factory.mktemp("pictures")
    for number in range(COUNT):
        pixels = random.integers(0, 256, (4, 5, 3), dtype=np.uint8).repeat(9, 0).repeat(9, 1)
        Image.fromarray(pixels).save(path / f"{number}.png")
    return path


def test_classes_in_order(folder: Path) -> None:
    prepare = bundle().manifest.preprocessing.prepare
    wanted = graph().run(np.stack([prepare(Image.open(folder / f"{n}.png")) for n in range(COUNT)]))
    with accelerator() as (opened, _fpga):
        run = PictureRun(opened, open_pictures(str(folder), bundle()), top=2)
        found = list(run)
        summary = run.summary()
    assert [each.picture.name for each in found] == [str(folder / f"{n}.png") for n in range(COUNT)]
    for each, row in zip(found, wanted, strict=True):
        assert each.guesses == best(row, LABELS, graph().output_scale, 2)
        assert set(each.seconds) == set(summary["ms"])
    assert (run.answered, run.unanswered, summary["pictures"], summary["damaged"]) == (COUNT, [], COUNT, 0)
    assert summary["fps"] == pytest.approx(COUNT / run.seconds, rel=0.01)
    assert (summary["slots"], summary["batch"]) == (opened.slots, opened.batch)


def test_no_more_than_asked_for(folder: Path) -> None:
    with accelerator() as (opened, _fpga):
        run = PictureRun(opened, open_pictures(str(folder), bundle()), limit=3)
        assert len(list(run)) == run.answered == 3


def test_stopped_pictures_are_answered(folder: Path) -> None:
    with accelerator() as (opened, _fpga):
        source = open_pictures(str(folder), bundle(), watch=True)
        run, names = PictureRun(opened, source), []
        for each in run:
            names.append(each.picture.name)
            if len(names) == COUNT:
                source.stop()
    assert names == [str(folder / f"{n}.png") for n in range(COUNT)]
    assert run.unanswered == []


def test_damaged_pictures_are_listed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "b.png").write_bytes((folder / "0.png").read_bytes())
    with accelerator() as (opened, _fpga):
        source = open_pictures(str(tmp_path), bundle())
        run = PictureRun(opened, source)
        assert [each.picture.name for each in run] == [str(tmp_path / "b.png")]
    assert [name for name, _reason in source.damaged] == [str(tmp_path / "a.png")]
    assert run.summary()["damaged"] == 1


def test_what_has_no_answer_is_named(folder: Path) -> None:
    with accelerator(Fault("compute hang", 2), deadline_s=0.2) as (opened, _fpga):
        run, names = PictureRun(opened, open_pictures(str(folder), bundle())), []
        with pytest.raises(DeviceError, match="odma0 must move 1 frames within"):
            names.extend(each.picture.name for each in run)
    assert names == [str(folder / f"{n}.png") for n in range(2)][: len(names)]
    assert run.answered <= 2
    assert run.unanswered[0] == str(folder / f"{run.answered}.png")
