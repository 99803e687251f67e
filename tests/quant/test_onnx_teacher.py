"""Teachers of any architecture, as ONNX files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fireflow.hw.errors import InputError
from fireflow.quant.loss import Loss
from fireflow.quant.onnx_teacher import OnnxTeacher
from fireflow.quant.recipe import Recipe
from tests.quant.classifiers import WEIGHT, colours
from tests.quant.networks import float_network


def test_scores_and_the_classes_of_the_data(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (5, 3, 8, 8)).float()
    wanted = pixels.mean((2, 3)) @ torch.from_numpy(WEIGHT)
    path = colours(tmp_path / "colours.onnx")
    whole, some = OnnxTeacher(path), OnnxTeacher(path, np.array([3, 1]))
    assert (whole.classes, some.classes) == (4, 2)
    assert OnnxTeacher(path, np.array([7, 1, 8, 2])).classes == 4  # it was trained on the four of the data
    torch.testing.assert_close(whole.scores(pixels), wanted)
    torch.testing.assert_close(some.scores(pixels), wanted[:, [3, 1]])


def test_what_is_no_teacher_is_refused(tmp_path: Path) -> None:
    path = colours(tmp_path / "colours.onnx")
    with pytest.raises(InputError, match="a teacher must be a file"):
        OnnxTeacher(tmp_path / "missing.onnx")
    with pytest.raises(InputError, match="must have the classes of the data, up to number 4, not only 4"):
        OnnxTeacher(path, np.array([0, 4]))
    with pytest.raises(
        InputError, match=r"must take float pixels \(N, 3, S, S\).*N free, not tensor\(float\) \[2, 3"
    ):
        OnnxTeacher(colours(tmp_path / "fixed.onnx", batch=2))
    with pytest.raises(InputError, match=r"must take crops of 9 pixels, not \[8, 8\]"):
        OnnxTeacher(colours(tmp_path / "small.onnx", side=8)).check_side(9)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="a teacher must be a whole ONNX file"):
        OnnxTeacher(path)


def test_it_teaches_beside_a_squeezenet() -> None:
    student, teacher = (float_network("squeezenet1_1", 32, 4) for _ in range(2))
    nn.init.normal_(teacher.conv10.bias)
    pixels, labels = 255 * torch.rand(3, 3, 32, 32), torch.zeros(3, dtype=torch.int64)
    told = torch.randn(1, 3, 4)
    found = Loss(student, [teacher], Recipe(temperature=1.0))(pixels, labels, told)
    with torch.no_grad():
        wanted = (teacher(pixels).softmax(1) + told[0].softmax(1)) / 2
        divergence = (wanted * (wanted.log() - student(pixels).log_softmax(1))).sum(1).mean()
    torch.testing.assert_close(found, divergence)
