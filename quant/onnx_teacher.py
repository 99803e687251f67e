"""Classifiers of any architecture to learn from, as ONNX files that ONNX Runtime computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import Tensor

from fireflow.hw.errors import InputError


class OnnxTeacher:
    """An ONNX classifier of pixels: float32 RGB (N, 3, S, S) of 0..255 -> scores (N, classes) before any softmax.

    Args:
        path: the file. What the classifier does to pixels first, as less their mean, is part of its graph.
        rows: the classes to keep, in order; all by default. One that has as many gives those, in order: a file of this
            kind holds no labels, so that whoever names it as a teacher vouches for the order of its scores.
        among: how many classes `rows` count; a teacher must have these, or those of `rows`.

    Raises:
        InputError: no ONNX file, or not such a classifier.
    """

    def __init__(
        self, path: Path, rows: npt.NDArray[np.int64] | None = None, among: int | None = None
    ) -> None:
        self.path, self._rows = path, rows
        if not path.is_file():
            raise InputError(f"{path}: a teacher must be a file, and there is none; check the path")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its parser has classes of its own for damaged files
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{path}: a teacher must be a whole ONNX file ({reason}); export it again"
            ) from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shapes = [(value.type, value.shape) for value in (*inputs, *outputs)]
        good = (
            len(inputs) == len(outputs) == 1
            and len(shapes[0][1]) == 4
            and shapes[0][1][1] == 3
            and len(shapes[1][1]) == 2
            and isinstance(shapes[1][1][1], int)
            and all(kind == "tensor(float)" and not isinstance(shape[0], int) for kind, shape in shapes)
        )
        if not good:
            raise InputError(
                f"{path}: a teacher must take float pixels (N, 3, S, S) and give float scores (N, classes), N free, "
                f"not {', '.join(f'{kind} {shape}' for kind, shape in shapes)}; export it so"
            )
        self._side = inputs[0].shape[2:]
        self._available = int(outputs[0].shape[1])
        if rows is not None and len(rows) == self._available:
            self._rows = None
        elif rows is not None and among not in (None, self._available):
            raise InputError(
                f"{path}: a teacher must have the {among} classes of the start or the {len(rows)} of the data, "
                f"not {self._available}; give one of the same classes"
            )
        elif rows is not None and rows.max() >= self._available:
            raise InputError(
                f"{path}: a teacher must have the classes of the data, up to number {rows.max()}, not only "
                f"{self._available}; give one of the same data"
            )

    @property
    def classes(self) -> int:
        """How many scores it gives."""
        return self._available if self._rows is None else len(self._rows)

    def check_side(self, side: int) -> None:
        """Raises InputError if it does not take pictures of `side`."""
        if any(isinstance(own, int) and own != side for own in self._side):
            raise InputError(
                f"{self.path}: a teacher must take crops of {side} pixels, not {self._side}; "
                "export it for that size, or for any"
            )

    def scores(self, pixels: Tensor) -> Tensor:
        """Pixels float32 (N, 3, S, S) -> scores float32 (N, classes), on the pixels' device."""
        name = self._session.get_inputs()[0].name
        scores = self._session.run(None, {name: pixels.contiguous().cpu().numpy()})[0]
        picked = scores if self._rows is None else np.ascontiguousarray(scores[:, self._rows])
        return torch.from_numpy(picked).to(pixels.device)
