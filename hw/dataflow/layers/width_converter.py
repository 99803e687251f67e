"""The same elements in wider or narrower words."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fireflow.hw.dataflow.kernel import Kernel, ports
from fireflow.hw.dataflow.layers.base import Layer
from fireflow.hw.dataflow.timing import StepModel, StreamModel
from fireflow.hw.errors import InputError


@dataclass(frozen=True, eq=False)
class WidthConverter(Layer):
    """The same elements in wider or narrower words; one number of lanes divides the other."""

    passes_on = True
    takes_directly = "windows"

    def check(self) -> None:
        if max(self.input.lanes, self.output.lanes) % min(self.input.lanes, self.output.lanes):
            raise InputError(
                f"the wider word must be a multiple of the narrower, not {self.input.lanes} lanes to "
                f"{self.output.lanes}; go through their least common multiple"
            )
        self._expect(self.input.shape, self.output.lanes)

    def timing(self, family: str) -> StreamModel:
        narrows = self.input.words < self.output.words
        most, least = sorted((self.input.words, self.output.words), reverse=True)
        many = np.arange(most, dtype=np.int64)
        ratio = most // least
        take, give = (many[::ratio], many) if narrows else (many, many[ratio - 1 :: ratio])
        return StepModel(len(many), (take,), give, 1)

    def features(self, family: str) -> dict[str, float]:
        source, sink = self.input, self.output
        wider = sink.lanes > source.lanes
        return {
            "layer": 1,
            "wider_bits": sink.width if wider else 0,
            "narrower_bits": 0 if wider else source.width,
            "counter_bits": (max(source.lanes, sink.lanes) // min(source.lanes, sink.lanes)).bit_length(),
        }

    def rtl(self, family: str) -> Kernel:
        parameters: dict[str, int | str] = {
            "IN_LANES": self.input.lanes,
            "OUT_LANES": self.output.lanes,
            "ELEM_BITS": self.input.bits,
        }
        return Kernel("stream_width", parameters, ports("in", self.inputs), ports("out", (self.output,)))


def steps_between(lanes: int, wanted: int) -> tuple[int, ...]:
    """The lanes of each word on the way from words of `lanes` to words of `wanted`, both ends included.

    Where neither divides the other, by way of a word that both divide.

    >>> steps_between(2, 6), steps_between(4, 4), steps_between(2, 3)
    ((2, 6), (4,), (2, 6, 3))
    """
    if lanes == wanted:
        return (lanes,)
    common = lanes * wanted // math.gcd(lanes, wanted)
    return (lanes, wanted) if common in (lanes, wanted) else (lanes, common, wanted)
