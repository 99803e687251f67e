"""What every kind of layer has in common: what it reads, computes and writes, its time, its cost and its Verilog.

Ports are numbered: input k of a layer is `in{k}_V`, output k `out{k}_V`. Only a Fork has several outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Mapping, Sequence

import numpy as np

from fireflow.hw.dataflow import memory as memories
from fireflow.hw.dataflow.timing import word_by_word
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.hw.dataflow.kernel import Kernel
    from fireflow.hw.dataflow.stream import Stream
    from fireflow.hw.dataflow.timing import StreamModel
    from fireflow.hw.types import Int64Array

Words = memories.Words


@dataclass(frozen=True, eq=False)
class Layer:
    """Base of the layers; a subclass is a frozen dataclass and registers itself under its class name.

    Args:
        name: unique; the integer graph's name for the layer that computes its tensor, that name with a suffix
            for the helpers around it (`fire2.expand3x3.pad`).
        sources: for each input the layer it comes from, or the accelerator's input.
        inputs: the stream of each input.
        output: the stream written, on every output port alike.
    """

    name: str
    sources: tuple[str, ...]
    inputs: tuple[Stream, ...]
    output: Stream

    kinds: ClassVar[dict[str, type[Layer]]] = {}
    coefficients: ClassVar[Mapping[str, Mapping[str, Mapping[str, float]]]] = {}
    """By variant, as in `costs.json`: what a kind costs that is not in that table."""
    held: ClassVar[str] = "rows"
    """What its memories hold, in a word."""
    computes: ClassVar[bool] = False
    """Whether it does arithmetic of the network, rather than bring words where they are needed."""
    accumulates: ClassVar[bool] = False
    """Whether it gives sums, wider than what the layers behind make of them: they should not wait there."""
    gives_at_the_end: ClassVar[bool] = False
    """Whether it gives all words of a frame while the last pixel passes, and then pauses."""
    passes_on: ClassVar[bool] = False
    """Whether it changes words alone, so that what is direct through it is what comes before it."""
    takes_directly: ClassVar[str] = ""
    """What it takes from the layer in front of it without a FIFO between them, if that gives this directly."""

    def __init_subclass__(cls) -> None:
        cls.kinds[cls.__name__] = cls

    def __post_init__(self) -> None:
        try:
            if not self.sources or len(self.sources) != len(self.inputs):
                raise InputError(
                    f"sources must be one per input stream, not {len(self.sources)} for {len(self.inputs)}; "
                    "check the wiring"
                )
            self.check()
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from None

    # -- what it computes -----------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises InputError (without the name) where the streams do not fit the layer."""

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        """The output tensor for a batch: int64 (N, H, W, C) for each input."""
        return arrays[0]

    @property
    def kind(self) -> str:
        return type(self).__name__

    @property
    def outputs(self) -> int:
        """How many output ports; more than one only at a Fork."""
        return 1

    @property
    def input(self) -> Stream:
        return self.inputs[0]

    @property
    def lanes(self) -> int:
        """Elements in a word that it reads."""
        return self.input.lanes

    def parameters(self) -> dict[str, Any]:
        """The plain fields of its kind, without arrays and streams."""
        own = [field.name for field in fields(self) if field.name not in Layer.__dataclass_fields__]
        values = {name: getattr(self, name) for name in own}
        return {name: value for name, value in values.items() if not isinstance(value, np.ndarray)}

    # -- time -----------------------------------------------------------------------------------------------

    def timing(self, family: str) -> StreamModel:
        """When it reads and writes its words, on a family of parts, whose multipliers make chains of other lengths.

        Here of a layer that takes a step for each word.
        """
        return word_by_word(self.output.words, 1, len(self.inputs))

    @property
    def gives_directly(self) -> str:
        """What whoever reads it may take without a FIFO between them; empty where a FIFO can stand."""
        return ""

    @property
    def capacity(self) -> int:
        """Words that it holds back for whoever reads it."""
        return 1

    @property
    def ahead(self) -> int:
        """Words of a frame that it gives before it reads any of it."""
        return 0

    # -- cost -----------------------------------------------------------------------------------------------

    @property
    def storage(self) -> tuple[Words, ...]:
        """(depth, bits) of each memory it has."""
        return ()

    @property
    def memory_kind(self) -> str:
        """What its memories are made of, "lut", "bram" or "uram"; empty where it has none."""
        return str(getattr(self, "memory", ""))

    @property
    def default_memory(self) -> str:
        """Where it keeps its words if nobody says: in LUTs, or in block RAM where that saves many."""
        return memories.buffer_kind(*self.storage[0]) if self.storage else "lut"

    @property
    def variant(self) -> str:
        """What has coefficients of its own: the kind of layer, and of some kinds more."""
        return self.kind

    def features(self, family: str) -> dict[str, float]:
        """What its LUTs and FFs are made of, without its DSPs, block RAMs and UltraRAMs."""
        raise InputError(f"{self.name}: costs must be known of {self.kind}, not missing; add its features")

    def memories(self, family: str) -> tuple[Words, ...]:
        """(depth, bits) of each memory as the RTL has it."""
        return self.storage

    def block_memories(self, family: str) -> tuple[Words, ...]:
        """Those that are block RAM or UltraRAM."""
        return self.memories(family) if self.memory_kind in ("bram", "uram") else ()

    def dsps(self, family: str) -> int:
        """DSP slices that it instantiates. Raises InputError for operands that are too wide for one."""
        return 0

    def _ram_luts(self, family: str) -> float:
        words = self.storage if self.memory_kind == "lut" else ()
        return sum(memories.ram_luts(*each, family) for each in words)

    def _choice_luts(self, words: Sequence[Words]) -> float:
        """LUTs behind block RAMs that are not deep enough."""
        return sum(memories.bram_choices(*each) for each in words) if self.memory_kind == "bram" else 0.0

    def _plain_features(self, counter_bits: int) -> dict[str, float]:
        """Those of a layer that only passes words on."""
        return {
            "layer": 1,
            "input_bits": sum(stream.width for stream in self.inputs),
            "output_bits": self.outputs * self.output.width,
            "counter_bits": counter_bits,
        }

    # -- Verilog --------------------------------------------------------------------------------------------

    @property
    def in_finn(self) -> bool:
        """Whether FINN's RTL computes it, and not ours."""
        return False

    def rtl(self, family: str) -> Kernel:
        """Our module that computes it, with its parameters, on a family of parts.

        Raises:
            InputError: a layer or a shape for which there is none.
        """
        raise InputError(f"{self.name}: a layer must have a kernel of ours, not be {self.kind}; FINN has one")

    # -- checks ---------------------------------------------------------------------------------------------

    def _check_memory(self) -> None:
        if self.memory_kind not in memories.KINDS:
            known = ", ".join(memories.KINDS)
            raise InputError(f"memory must be one of {known}, not {getattr(self, 'memory', '')!r}; change it")

    def _expect(self, shape: tuple[int, ...], lanes: int) -> None:
        """The output must be of this shape in words of so many lanes."""
        if self.output.shape != shape or self.output.lanes != lanes:
            raise InputError(
                f"the output must be {shape} in words of {lanes}, not {self.output.shape} in words of "
                f"{self.output.lanes}; check the wiring"
            )
