"""Zeros around the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

import numpy as np

from fireflow.hw.dataflow.layers.base import Layer
from fireflow.hw.dataflow.timing import StepModel, StreamModel

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class Pad(Layer):
    """Zeros around the picture: FINN's FMPadding. pads: (top, left, bottom, right)."""

    pads: tuple[int, int, int, int]

    def check(self) -> None:
        height, width, channels = self.input.shape
        top, left, bottom, right = self.pads
        self._expect((height + top + bottom, width + left + right, channels), self.input.lanes)

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        top, left, bottom, right = self.pads
        return np.pad(arrays[0], ((0, 0), (top, bottom), (left, right), (0, 0)))

    @property
    def ahead(self) -> int:
        """FINN's padding starts at once with its zeros."""
        top, left, _bottom, _right = self.pads
        return (top * self.output.shape[1] + left) * self.output.groups

    @property
    def gives_directly(self) -> str:
        return "picture"

    def timing(self, family: str) -> StreamModel:
        top, left, _, _ = self.pads
        height, width, _ = self.input.shape
        rows = np.arange(top, top + height)[:, None, None]
        columns = np.arange(left, left + width)[:, None]
        groups = self.input.groups
        take = (rows * self.output.shape[1] + columns) * groups + np.arange(groups)
        give = np.arange(self.output.words, dtype=np.int64)
        return StepModel(len(give), (take.astype(np.int64).ravel(),), give, 1)

    def features(self, family: str) -> dict[str, float]:
        return self._plain_features(self.output.words.bit_length())

    @property
    def in_finn(self) -> bool:
        return True
