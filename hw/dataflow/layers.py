"""The layers of a dataflow accelerator: what each one reads, computes and writes. Timing is `timing.py`'s.

Ports are numbered: input k of a layer is `in{k}_V`, output k `out{k}_V`. Only a Fork has several outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Sequence

import numpy as np

from fireflow.hw import ops
from fireflow.hw.dataflow import memory as memories
from fireflow.hw.dataflow.stream import Stream, divisor
from fireflow.hw.errors import InputError
from fireflow.hw.types import signed_bits

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array


@dataclass(frozen=True, eq=False)
class Layer:
    """Base of the layers.

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

    def check(self) -> None:
        """Raises InputError (without the name) where the streams do not fit the layer."""

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
        """Of what it reads."""
        return self.input.lanes

    @property
    def cycles(self) -> int:
        """Cycles per frame when the layer never waits for data or room: its initiation interval."""
        return max(self.output.words, *(stream.words for stream in self.inputs))

    @property
    def storage(self) -> tuple[tuple[int, int], ...]:
        """(depth, bits) of each memory it has."""
        return ()

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        """The output tensor for a batch: int64 (N, H, W, C) for each input."""
        return arrays[0]

    def _check_memory(self, kind: str) -> None:
        if kind not in memories.KINDS:
            known = ", ".join(memories.KINDS)
            raise InputError(f"memory must be one of {known}, not {kind!r}; change it")

    def parameters(self) -> dict[str, Any]:
        """The plain fields of its kind, without arrays and streams."""
        own = [field.name for field in fields(self) if field.name not in Layer.__dataclass_fields__]
        values = {name: getattr(self, name) for name in own}
        return {name: value for name, value in values.items() if not isinstance(value, np.ndarray)}

    def _expect(self, shape: tuple[int, ...], lanes: int) -> None:
        """The output must be of this shape in words of so many lanes."""
        if self.output.shape != shape or self.output.lanes != lanes:
            raise InputError(
                f"the output must be {shape} in words of {lanes}, not {self.output.shape} in words of "
                f"{self.output.lanes}; check the wiring"
            )


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

    def check(self) -> None:
        self._check_memory(self.memory)
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

    @property
    def cycles(self) -> int:
        from fireflow.hw.dataflow.timing import model  # the window's schedule is what timing knows

        return model(self, "xcup").interval  # of a window the same in every family

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
    def storage(self) -> tuple[tuple[int, int], ...]:
        if self.parallel:  # a line behind each row of registers but the last
            line = (self.input.shape[1] - self.kernel[1]) * self.input.groups
            return ((line, self.input.width),) * (self.kernel[0] - 1)
        return ((self.buffer_words, self.input.width),) if self.kernel != (1, 1) else ()

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


@dataclass(frozen=True, eq=False)
class MatMul(Layer):
    """A matrix product per pixel.

    (H, W, MW) -> (H, W, MH), exact accumulators.

    Args:
        weight: int64 (MH, MW); MW runs over (KH, KW, C).
        weight_bits: width of a stored weight, signed.
        pe: outputs computed at once; divides MH.
        simd: inputs multiplied at once; divides MW.
        memory: what holds the weights; UltraRAM cannot: a bitstream does not initialize it.
        kernel: "finn": FINN's MVAU; "dsp": ours, several products in a DSP; "lut": ours, without DSPs.
    """

    weight: Int64Array
    weight_bits: int
    pe: int
    simd: int
    memory: str = "lut"
    kernel: str = "finn"

    KERNELS: ClassVar[tuple[str, ...]] = ("finn", "dsp", "lut")

    def check(self) -> None:
        self._check_memory(self.memory)
        if self.kernel not in self.KERNELS:
            raise InputError(
                f"kernel must be one of {', '.join(self.KERNELS)}, not {self.kernel!r}; change it"
            )
        divisor("PE", self.pe, "MH", self.mh)
        divisor("SIMD", self.simd, "MW", self.mw)
        if self.memory == "uram":
            raise InputError(
                "memory of weights must be lut or bram, not 'uram', which starts empty; change it"
            )
        if self.input.channels != self.mw or self.input.lanes != self.simd:
            raise InputError(
                f"the input must be {self.mw} channels in words of {self.simd}, not {self.input.channels} "
                f"in words of {self.input.lanes}; check the wiring"
            )
        self._expect((*self.input.shape[:-1], self.mh), self.pe)

    @property
    def mh(self) -> int:
        return int(self.weight.shape[0])

    @property
    def mw(self) -> int:
        return int(self.weight.shape[1])

    @property
    def folds(self) -> int:
        """Cycles of a pixel."""
        return (self.mh // self.pe) * (self.mw // self.simd)

    @property
    def cycles(self) -> int:
        return self.input.pixels * self.folds

    @property
    def storage(self) -> tuple[tuple[int, int], ...]:
        return ((self.folds, self.pe * self.simd * self.weight_bits),)

    @property
    def narrow(self) -> bool:
        """No weight is the most negative one, so that sign-extension needs no bit in the DSP packing."""
        return bool(self.weight.min() > -(1 << (self.weight_bits - 1)))

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        result: Int64Array = arrays[0] @ self.weight.T
        return result


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

    def check(self) -> None:
        self._check_memory(self.memory)
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
        """Of a stored threshold: FINN saturates the input into their type, so it also holds a number below them all."""
        lo, hi = int(self.stored.min()) - 1, int(self.stored.max())
        return signed_bits(lo, hi) if self.input.signed else max(1, hi.bit_length())

    @property
    def stages(self) -> int:
        """Steps of its binary search."""
        return int(self.thresholds.shape[1]).bit_length()

    @property
    def storage(self) -> tuple[tuple[int, int], ...]:
        steps = ((self.input.groups << stage, self.bits) for stage in range(self.stages))
        return tuple(step for step in steps for _ in range(self.pe))

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        return ops.Threshold(self.thresholds, self.out_lo).eval(arrays)


@dataclass(frozen=True, eq=False)
class MaxPool(Layer):
    """Maximum over a window; padded positions (top, left, bottom, right) never win.

    memory: what holds the maxima of a row.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    memory: str = "lut"

    def check(self) -> None:
        self._check_memory(self.memory)
        top, left, bottom, right = self.padding
        height, width, channels = self.input.shape
        rows = (height + top + bottom - self.kernel[0]) // self.stride[0] + 1
        columns = (width + left + right - self.kernel[1]) // self.stride[1] + 1
        self._expect((rows, columns, channels), self.input.lanes)

    @property
    def storage(self) -> tuple[tuple[int, int], ...]:
        open_rows = (
            max(0, self.kernel[0] - 2) // self.stride[0] + 1
        )  # windows that a row lies in, but the last
        return ((self.output.shape[1] * self.input.groups, open_rows * self.input.width),)

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        return ops.MaxPool(self.kernel, self.stride, self.padding).eval(arrays)


@dataclass(frozen=True, eq=False)
class Fork(Layer):
    """The same stream on `copies` output ports."""

    copies: int

    @property
    def outputs(self) -> int:
        return self.copies

    def check(self) -> None:
        self._expect(self.input.shape, self.input.lanes)


@dataclass(frozen=True, eq=False)
class Concat(Layer):
    """Channels side by side: for each pixel the words of the first input, then of the next.

    An input may be narrower than the output: its elements are extended.
    """

    def check(self) -> None:
        channels = sum(stream.channels for stream in self.inputs)
        if len(self.inputs) != 2:
            raise InputError(f"inputs must be two, not {len(self.inputs)}; concatenate them two by two")
        if len({(stream.shape[:2], stream.lanes) for stream in self.inputs}) != 1:
            raise InputError("inputs must agree in pixels and lanes; fold them alike")
        self._expect((*self.input.shape[:2], channels), self.input.lanes)

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        return np.concatenate(list(arrays), axis=-1)


@dataclass(frozen=True, eq=False)
class Add(Layer):
    """The sum of two streams, element by element."""

    def check(self) -> None:
        if len({(stream.shape, stream.lanes) for stream in self.inputs}) != 1 or len(self.inputs) != 2:
            raise InputError("inputs must be two of one shape and number of lanes; fold them alike")
        self._expect(self.input.shape, self.input.lanes)

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        return arrays[0] + arrays[1]


@dataclass(frozen=True, eq=False)
class Head(Layer):
    """out[c] = sum over all pixels of f(x + bias[c]), with f = max(0, .) if `relu`.

    (H, W, C) -> (C,) in words of the input's lanes, emitted while the last pixel passes. bias: int64 (C,).
    memory: what holds the sums.
    """

    bias: Int64Array
    relu: bool
    memory: str = "lut"

    def check(self) -> None:
        self._check_memory(self.memory)
        if self.bias.shape != (self.input.channels,):
            raise InputError(
                f"bias must be {self.input.channels} numbers, not of shape {self.bias.shape}; check the wiring"
            )
        self._expect((self.input.channels,), self.input.lanes)

    @property
    def storage(self) -> tuple[tuple[int, int], ...]:
        return ((self.input.groups, self.output.width),)

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        terms = arrays[0] + self.bias
        result: Int64Array = (np.maximum(terms, 0) if self.relu else terms).sum(axis=(1, 2))
        return result


@dataclass(frozen=True, eq=False)
class WidthConverter(Layer):
    """The same elements in wider or narrower words; one number of lanes divides the other."""

    def check(self) -> None:
        if max(self.input.lanes, self.output.lanes) % min(self.input.lanes, self.output.lanes):
            raise InputError(
                f"the wider word must be a multiple of the narrower, not {self.input.lanes} lanes to "
                f"{self.output.lanes}; go through their least common multiple"
            )
        self._expect(self.input.shape, self.output.lanes)


@dataclass(frozen=True, eq=False)
class Fifo(Layer):
    """Room for `depth` words, the last of them in a register: two registers, or a RAM in front of one.

    memory: what the RAM is.
    """

    depth: int
    memory: str = "lut"

    def check(self) -> None:
        self._check_memory(self.memory)
        if self.depth < 2:
            raise InputError(f"depth must be at least 2, not {self.depth}; change it")
        self._expect(self.input.shape, self.input.lanes)

    @property
    def storage(self) -> tuple[tuple[int, int], ...]:
        return ((self.depth - 1, self.input.width),) if self.depth > 2 else ()
