"""Largest value of a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from fireflow.hw import ops
from fireflow.hw.dataflow.kernel import Kernel, ports
from fireflow.hw.dataflow.layers.base import Layer, Words
from fireflow.hw.dataflow.layers.maker import Assembly, Maker, Source
from fireflow.hw.dataflow.memory import KINDS, RAM_STYLES
from fireflow.hw.dataflow.timing import StepModel, StreamModel
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.hw.graph import Node
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class MaxPool(Layer):
    """Maximum over a window; padded positions (top, left, bottom, right) never win.

    memory: what holds the maxima of a row.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    memory: str = "lut"

    computes = True

    @property
    def op(self) -> ops.MaxPool:
        return ops.MaxPool(self.kernel, self.stride, self.padding)

    def check(self) -> None:
        self._check_memory()
        rows, columns = self.op.ends(self.input.shape)
        self._expect((len(rows), len(columns), self.input.channels), self.input.lanes)

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        return self.op.eval(arrays)

    def timing(self, family: str) -> StreamModel:
        """A step for each input word; a window's maximum comes with the last word of the window that lies inside."""
        groups, width = self.input.groups, self.input.shape[1]
        rows, columns = self.op.ends(self.input.shape)
        pixel = (rows - 1)[:, None] * width + columns - 1
        give = (pixel.ravel()[:, None] * groups + np.arange(groups)).ravel().astype(np.int64)
        each = np.arange(self.input.words, dtype=np.int64)
        return StepModel(len(each), (each,), give, 2)

    @property
    def storage(self) -> tuple[Words, ...]:
        # Windows that a row lies in, but the last.
        open_rows = max(0, self.kernel[0] - 2) // self.stride[0] + 1
        return ((self.output.shape[1] * self.input.groups, open_rows * self.input.width),)

    def features(self, family: str) -> dict[str, float]:
        slots = max(0, self.kernel[1] - 2) // self.stride[1] + 1
        return {
            "layer": 1,
            "input_bits": self.input.width,
            "delay_bits": slots * self.input.width * self.input.groups,
            "counter_bits": self.input.words.bit_length(),
            "ram_luts": self._ram_luts(family),
            "choice_luts": self._choice_luts(self.storage),
        }

    def rtl(self, family: str) -> Kernel:
        top, left, bottom, right = self.padding
        height, width, channels = self.input.shape
        axes = (("height", height, top, bottom), ("width", width, left, right))
        for (axis, size, before, after), ends, window, stride in zip(
            axes, self.op.ends(self.input.shape), self.kernel, self.stride
        ):
            if len(np.unique(ends)) < len(ends):
                raise InputError(
                    f"{self.name}: the windows must end at different places of the {axis} {size}, not two of size "
                    f"{window} at stride {stride} with padding {before} and {after} behind the border; pad less"
                )
        parameters: dict[str, int | str] = {
            "CHANNELS": channels,
            "LANES": self.lanes,
            "HEIGHT": height,
            "WIDTH": width,
            "ELEM_BITS": self.input.bits,
            "SIGNED": int(self.input.signed),
            "KERNEL_H": self.kernel[0],
            "KERNEL_W": self.kernel[1],
            "STRIDE_H": self.stride[0],
            "STRIDE_W": self.stride[1],
            "PAD_TOP": top,
            "PAD_LEFT": left,
            "PAD_BOTTOM": bottom,
            "PAD_RIGHT": right,
            "RAM_STYLE": RAM_STYLES[self.memory],
        }
        streams = ports("in", self.inputs), ports("out", (self.output,))
        return Kernel("max_pool", parameters, *streams, helpers=("window_max",))


class MaxPoolMaker(Maker, op=ops.MaxPool):
    """A MaxPool of the graph."""

    fields = ("lanes", "memory")
    memories = KINDS

    def make(self, build: Assembly, node: Node, fold: Any, sources: Sequence[Source]) -> Source:
        op, source = node.op, sources[0]
        assert isinstance(op, ops.MaxPool)
        kernel, stride = (op.kernel[0], op.kernel[1]), (op.stride[0], op.stride[1])
        top, left, bottom, right = op.padding
        output, padding = build.output(node, fold), (top, left, bottom, right)
        layer = MaxPool(node.name, (source.name,), (source.stream,), output, kernel, stride, padding)
        return build.append(layer, fold.memory)
