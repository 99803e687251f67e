"""Requantization: a search among the thresholds of a channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Sequence

import numpy as np

from fireflow.hw import ops
from fireflow.hw.dataflow import memory as memories
from fireflow.hw.dataflow.layers.base import Layer, Words
from fireflow.hw.dataflow.layers.maker import Assembly, Maker, Source
from fireflow.hw.dataflow.timing import StreamModel, word_by_word
from fireflow.hw.errors import InputError
from fireflow.hw.types import signed_bits

if TYPE_CHECKING:
    from fireflow.hw.graph import Node
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class Threshold(Layer):
    """out = out_lo + number of thresholds of the channel with x >= t: FINN's Thresholding.

    thresholds: int64 (C, T), not decreasing along T. memory: "bram" puts those of its search's steps that are
    `BRAM_DEPTH` words or more into block RAM.
    """

    thresholds: Int64Array
    out_lo: int = 0
    memory: str = "lut"

    BRAM_DEPTH: ClassVar[int] = 128
    held = "thresholds"

    def check(self) -> None:
        self._check_memory()
        if self.thresholds.shape[0] != self.input.channels:
            raise InputError(
                f"thresholds must be for {self.input.channels} channels, not {self.thresholds.shape[0]}; "
                "check the wiring"
            )
        self._expect(self.input.shape, self.input.lanes)

    @property
    def pe(self) -> int:
        return self.input.lanes

    @property
    def stored(self) -> Int64Array:
        """As the memories hold them: a threshold outside the input's range is met always or never, as at its end."""
        result: Int64Array = np.clip(self.thresholds, self.input.lo, self.input.hi + 1)
        return result

    @property
    def bits(self) -> int:
        """Width of a stored threshold: FINN saturates the input into their type, which so holds one below them all."""
        lo, hi = int(self.stored.min()) - 1, int(self.stored.max())
        return signed_bits(lo, hi) if self.input.signed else max(1, hi.bit_length())

    @property
    def stages(self) -> int:
        """Steps of its binary search."""
        return int(self.thresholds.shape[1]).bit_length()

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        return ops.Threshold(self.thresholds, self.out_lo).eval(arrays)

    def timing(self, family: str) -> StreamModel:
        return word_by_word(self.output.words, 2 * self.stages + 2)

    @property
    def storage(self) -> tuple[Words, ...]:
        steps = ((self.input.groups << stage, self.bits) for stage in range(self.stages))
        return tuple(step for step in steps for _ in range(self.pe))

    @property
    def _deep(self) -> tuple[Words, ...]:
        return tuple(words for words in self.storage if words[0] >= self.BRAM_DEPTH)

    @property
    def default_memory(self) -> str:
        """A memory for each of its lanes: only the deep ones could be worth a block RAM."""
        return memories.rom_kind(*self._deep[-1]) if self._deep else "lut"

    def block_memories(self, family: str) -> tuple[Words, ...]:
        return () if self.memory == "lut" else self._deep

    def features(self, family: str) -> dict[str, float]:
        small = [words for words in self.storage if self.memory == "lut" or words[0] < self.BRAM_DEPTH]
        pointer = self.stages + max(0, (self.input.groups - 1).bit_length())
        return {
            "layer": 1,
            "lanes": self.pe,
            "stage_bits": self.pe * self.stages * self.bits,
            "pointer_bits": self.stages * pointer * self.pe,
            "output_bits": self.output.width,
            "rom_luts": sum(memories.rom_luts(*words) for words in small),
            "choice_luts": self._choice_luts(self.storage),
        }

    @property
    def in_finn(self) -> bool:
        return True


class ThresholdMaker(Maker, op=ops.Threshold):
    """A Threshold of the graph."""

    lanes_field = "pe"
    fields = ("pe", "memory")
    memories = ("lut", "bram")

    def make(self, build: Assembly, node: Node, fold: Any, sources: Sequence[Source]) -> Source:
        op, stream = node.op, sources[0].stream
        assert isinstance(op, ops.Threshold)
        table = np.broadcast_to(op.thresholds, (stream.channels, op.thresholds.shape[1]))
        layer = Threshold(
            node.name, (sources[0].name,), (stream,), build.output(node, fold), table, op.out_lo
        )
        return build.append(layer, fold.memory)
