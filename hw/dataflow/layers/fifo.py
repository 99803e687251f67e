"""Room for words between two layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable

from fireflow.hw.dataflow.kernel import Kernel, ports
from fireflow.hw.dataflow.layers.base import Layer, Words
from fireflow.hw.dataflow.memory import RAM_STYLES
from fireflow.hw.dataflow.timing import StreamModel, word_by_word
from fireflow.hw.errors import InputError


@dataclass(frozen=True, eq=False)
class Fifo(Layer):
    """Room for `depth` words, the last of them in a register: two registers, or a RAM in front of one.

    memory: what the RAM is.
    """

    depth: int
    memory: str = "lut"

    held = "words"

    def check(self) -> None:
        self._check_memory()
        if self.depth < 2:
            raise InputError(f"depth must be at least 2, not {self.depth}; change it")
        self._expect(self.input.shape, self.input.lanes)

    @property
    def capacity(self) -> int:
        return self.depth

    @property
    def storage(self) -> tuple[Words, ...]:
        return ((self.depth - 1, self.input.width),) if self.depth > 2 else ()

    def timing(self, family: str) -> StreamModel:
        return word_by_word(self.output.words, 1 if self.depth == 2 else 2)

    def features(self, family: str) -> dict[str, float]:
        return {
            "layer": 1,
            "bits": self.input.width,
            "register_bits": self.input.width if self.depth == 2 else 0,
            "counter_bits": self.depth.bit_length(),
            "ram_luts": self._ram_luts(family),
            "choice_luts": self._choice_luts(self.storage),
        }

    def rtl(self, family: str) -> Kernel:
        parameters: dict[str, int | str] = {
            "DEPTH": self.depth,
            "BITS": self.input.width,
            "RAM_STYLE": RAM_STYLES[self.memory],
        }
        return Kernel("stream_fifo", parameters, ports("in", self.inputs), ports("out", (self.output,)))


def fifos(layers: Iterable[Layer]) -> tuple[Fifo, ...]:
    """Those of some layers that are FIFOs."""
    return tuple(layer for layer in layers if isinstance(layer, Fifo))
