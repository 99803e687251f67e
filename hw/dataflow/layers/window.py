"""The windows of a convolution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Sequence

import numpy as np

from fireflow.hw.dataflow.layers.base import Layer, Words
from fireflow.hw.dataflow.maxplus import ANYTIME, earliest
from fireflow.hw.dataflow.timing import StepModel, StreamModel, Times
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class Window(Layer):
    """The windows of a convolution, one after the other: FINN's ConvolutionInputGenerator.

    (H, W, C) -> (OH, OW, KH * KW * C), channels fastest. A word of the output has the input's lanes, or, if
    `parallel`, the whole window (which then wants all channels in an input word). memory: what holds the rows.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    parallel: bool = False
    memory: str = "lut"

    takes_directly = "picture"

    def check(self) -> None:
        self._check_memory()
        height, width, channels = self.input.shape
        area = self.kernel[0] * self.kernel[1]
        if self.parallel and self.input.lanes != channels:
            raise InputError(
                f"a parallel window must read all {channels} channels at once, not {self.input.lanes}; "
                f"set its lanes to {channels}"
            )
        rows = (height - self.kernel[0]) // self.stride[0] + 1
        columns = (width - self.kernel[1]) // self.stride[1] + 1
        lanes = area * channels if self.parallel else self.input.lanes
        self._expect((rows, columns, area * channels), lanes)

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        rows, columns, _ = self.output.shape
        parts = [
            arrays[0][:, i : i + rows * self.stride[0] : self.stride[0]][
                :, :, j : j + columns * self.stride[1] : self.stride[1]
            ][:, :rows, :columns]
            for i in range(self.kernel[0])
            for j in range(self.kernel[1])
        ]
        return np.concatenate(parts, axis=-1)  # KH * KW times (N, OH, OW, C)

    @property
    def gives_directly(self) -> str:
        """Behind a parallel window a FIFO can stand: it is silent for whole rows where it strides, then bursts."""
        return "" if self.parallel else "windows"

    @property
    def corners(self) -> Int64Array:
        """The first pixel of each window."""
        rows, columns, _ = self.output.shape
        down = np.arange(rows, dtype=np.int64)[:, None] * self.stride[0] * self.input.shape[1]
        return (down + np.arange(columns) * self.stride[1]).ravel()

    def timing(self, family: str) -> StreamModel:
        if not self.parallel and self.kernel != (1, 1):
            return WindowModel(self)
        groups = self.input.groups
        reach = (self.kernel[0] - 1) * self.input.shape[1] + self.kernel[1] - 1
        give = ((self.corners + reach)[:, None] * groups + np.arange(groups)).ravel().astype(np.int64)
        each = np.arange(self.input.words, dtype=np.int64)
        return StepModel(len(each), (each,), give, 1, overlap=False)

    @property
    def buffer_words(self) -> int:
        """Words in FINN's memory of the window (get_buffer_depth); if parallel, registers included."""
        width, groups = self.input.shape[1], self.input.groups
        (kernel_h, kernel_w), (stride_h, stride_w) = self.kernel, self.stride
        if self.parallel or self.kernel == (1, 1):
            return ((kernel_h - 1) * width + kernel_w - 1) * groups + 2
        area = kernel_h * kernel_w
        extra = max(0, stride_w - 1 - area) + max(0, (stride_h - 1) * width - area)
        return ((kernel_h - 1) * width + kernel_w + extra) * groups

    @property
    def storage(self) -> tuple[Words, ...]:
        if self.parallel:  # a line behind each row of registers but the last
            line = (self.input.shape[1] - self.kernel[1]) * self.input.groups
            return ((line, self.input.width),) * (self.kernel[0] - 1)
        return ((self.buffer_words, self.input.width),) if self.kernel != (1, 1) else ()

    def features(self, family: str) -> dict[str, float]:
        return {
            "layer": 1,
            "parallel": float(self.parallel),
            "input_bits": self.input.width,
            "window_bits": self.output.width if self.parallel else 0,
            "counter_bits": self.input.words.bit_length() + self.buffer_words.bit_length(),
            "ram_luts": self._ram_luts(family),
            "choice_luts": self._choice_luts(self.storage),
        }

    @property
    def in_finn(self) -> bool:
        return True


@dataclass(frozen=True, eq=False)
class WindowModel(StreamModel):
    """FINN's window generator around one memory, a word of the window per cycle."""

    window: Window

    @property
    def words_in(self) -> tuple[int, ...]:
        return (self.window.input.words,)

    @cached_property
    def element(self) -> Int64Array:
        """For each output word, which input word it is."""
        width, groups = self.window.input.shape[1], self.window.input.groups
        kernel_h, kernel_w = self.window.kernel
        inside = (np.arange(kernel_h)[:, None] * width + np.arange(kernel_w)).ravel() * groups
        offsets = (inside[:, None] + np.arange(groups)).ravel()  # (KH * KW * groups,)
        result: Int64Array = (self.window.corners[:, None] * groups + offsets).ravel()
        return result

    @cached_property
    def free(self) -> Int64Array:
        """For each output word, below which input word nothing is needed any more once it was fetched."""
        words = self.window.input.words
        following = np.append(self.window.corners[1:] * self.window.input.groups, words)
        ahead = np.append(self.element[1:], words).reshape(len(following), -1)
        result: Int64Array = np.minimum(following[:, None], ahead).ravel()
        return result

    def paced(self, work: int) -> int:
        """It fills its memory between frames, while the product is still busy with the last pixel."""
        source, out = self.window.input, self.window.output
        pixel = max(out.groups, work)
        kernel_h, kernel_w = self.window.kernel
        fill = ((kernel_h - 1) * source.shape[1] + kernel_w) * source.groups
        row = max(out.shape[1] * pixel, self.window.stride[0] * source.shape[1] * source.groups)
        return int(out.shape[0] * row + max(0, fill - pixel))

    def early(
        self, avail: Sequence[Int64Array], taken: Int64Array | None = None, after: Times | None = None
    ) -> Times:
        # Input word j overwrites word j - depth: it has to wait for the fetch after which that one is free.
        element, depth = self.element, self.window.buffer_words
        index = np.arange(depth, self.window.input.words, dtype=np.int64)
        waits = np.searchsorted(self.free, index - depth, side="right")
        lower = avail[0].copy()
        if after is not None:
            lower[0] = max(lower[0], int(after.state[0]) + 1)
        room = np.full(len(element), ANYTIME, np.int64)
        if taken is not None:
            room[1:] = taken[:-1]
        accept = earliest(lower)
        fetch = earliest(np.maximum(accept[element] + 1, room))
        while True:
            again = lower.copy()
            again[depth:] = np.maximum(again[depth:], fetch[waits] + 1)
            accept = earliest(again)
            later = earliest(np.maximum(accept[element] + 1, room))
            if np.array_equal(later, fetch):
                break
            fetch = later
        visible = fetch + 1
        left = visible if taken is None else taken
        return Times((accept,), visible, np.array([max(int(left[-1]), int(accept[-1]))]))

    def needed(self, port: int, outputs: Int64Array) -> Int64Array:
        reach = np.maximum.accumulate(self.element) + 1
        return np.where(outputs > 0, reach[np.clip(outputs, 1, len(reach)) - 1], 0)
