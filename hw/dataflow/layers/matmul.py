"""A matrix product for each pixel: FINN's MVAU, or our matrix unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Sequence

import numpy as np

from fireflow.hw.dataflow import memory as memories
from fireflow.hw.dataflow.kernel import Kernel, ports
from fireflow.hw.dataflow.layers.base import Layer, Words
from fireflow.hw.dataflow.maxplus import ANYTIME, earliest, latest
from fireflow.hw.dataflow.products import Product, finn_lanes, product
from fireflow.hw.dataflow.stream import divisor
from fireflow.hw.dataflow.timing import StreamModel, Times
from fireflow.hw.errors import InputError
from fireflow.hw.packing import pack_bits
from fireflow.hw.parts import FAMILIES

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array


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
    held = "weights"
    computes = True
    accumulates = True
    takes_directly = "windows"

    def check(self) -> None:
        self._check_memory()
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

    def eval(self, arrays: Sequence[Int64Array]) -> Int64Array:
        result: Int64Array = arrays[0] @ self.weight.T
        return result

    @property
    def mh(self) -> int:
        return int(self.weight.shape[0])

    @property
    def mw(self) -> int:
        return int(self.weight.shape[1])

    @property
    def sf(self) -> int:
        """Words of a pixel that it reads."""
        return self.mw // self.simd

    @property
    def nf(self) -> int:
        """Words of a pixel that it gives."""
        return self.mh // self.pe

    @property
    def folds(self) -> int:
        """Cycles of a pixel."""
        return self.sf * self.nf

    @property
    def narrow(self) -> bool:
        """No weight is the most negative one, so that sign-extension needs no bit in the DSP packing."""
        return bool(self.weight.min() > -(1 << (self.weight_bits - 1)))

    def product(self, family: str) -> Product:
        """How the products of our unit share multipliers."""
        return product(self, family)

    def timing(self, family: str) -> StreamModel:
        pixels, sf, nf = self.input.pixels, self.sf, self.nf
        if self.kernel == "finn":
            # mvu.sv: 3 stages of the DSP, an adder tree over SIMD, a register; then the output queue and its register.
            # memstream.sv: the first weights come 5 cycles after reset, the others in time.
            depth = 3 + (self.simd - 1).bit_length() + (self.simd == 1) + 1
            fetch, room = (2 if nf > 1 else 0), max(2, 1 << (sf - 1).bit_length())
            return MatMulModel(pixels, sf, nf, depth + 2, fetch, room, start=5)
        # matmul.sv: a read of the weights, the chain, an adder tree over chains, an adder, the queue and its register.
        shared = self.product(family)
        digits, blocks = (self.weight_bits + 1) // 2, 2 if self.memory == "bram" else 1
        chain = blocks + (shared.chain + 2 if self.kernel == "dsp" else shared.chain * digits + (digits > 1))
        tree = (self.simd // shared.chain - 1).bit_length()
        return MatMulModel(pixels, sf, nf, chain + tree + 3, int(nf > 1), max(32, 2 << (sf - 1).bit_length()))

    # -- cost -----------------------------------------------------------------------------------------------

    @property
    def variant(self) -> str:
        return f"{self.kind}.{self.kernel}"

    @property
    def storage(self) -> tuple[Words, ...]:
        return ((self.folds, self.pe * self.simd * self.weight_bits),)

    @property
    def default_memory(self) -> str:
        return memories.rom_kind(*self.storage[0])

    def memories(self, family: str) -> tuple[Words, ...]:
        """One for each position of our chains, FINN's weights in one."""
        if self.kernel == "finn":
            return self.storage
        chain = self.product(family).chain
        return ((self.folds, self.pe * self.simd // chain * self.weight_bits),) * chain

    def dsps(self, family: str) -> int:
        if self.kernel == "lut":
            return 0
        if self.kernel == "finn":
            lanes = finn_lanes(family, self.weight_bits, self.input.bits, self.narrow)
            if lanes < 1:
                raise InputError(
                    f"{self.name}: operands must fit a DSP, not have {self.weight_bits} and {self.input.bits} bits; "
                    "use fewer bits"
                )
        else:
            lanes = self.product(family).lanes
        return memories.ceil_div(self.pe, lanes) * self.simd

    def features(self, family: str) -> dict[str, float]:
        products, sf, nf = self.pe * self.simd, self.sf, self.nf
        words = self.memories(family)
        common: dict[str, float] = {
            "layer": 1,
            "accumulator_bits": self.pe * self.output.bits,
            "input_bits": self.input.width,
            "counter_bits": sf.bit_length() + nf.bit_length() + self.folds.bit_length(),
            "rom_luts": sum(memories.rom_luts(*rom) for rom in words) if self.memory == "lut" else 0,
            "choice_luts": self._choice_luts(words),
            "weight_bits": products * self.weight_bits,
        }
        if self.kernel == "finn":
            replay = (1 << max(1, (sf - 1).bit_length()), self.input.width) if nf > 1 else (0, 0)
            sums = self.pe * (self.simd - 1) * (self.weight_bits + self.input.bits)
            return {
                **common,
                "products": products,
                "sum_bits": sums,
                "ram_luts": memories.ram_luts(*replay, family),
            }
        return {**common, **self._features_of_ours(family)}

    def _features_of_ours(self, family: str) -> dict[str, float]:
        """What `matmul.sv` has beside what every matrix unit has."""
        shared = self.product(family)
        chain, groups = shared.chain, self.simd // shared.chain
        digits = (self.weight_bits + 1) // 2
        worst = (1 << (self.weight_bits - 1)) * ((1 << self.input.bits) - 1)
        # How wide the sum behind each position is.
        widths = [1 + (worst * (k + 1)).bit_length() for k in range(chain)]
        lane_bits = min(shared.spacing, widths[-1])
        step = 1 if self.kernel == "dsp" else digits
        waits = [
            k * step for k in range(chain)
        ]  # cycles until an activation's place in the chain has its turn
        ring = (max(32, 1 << (1 + (self.sf - 1).bit_length())), self.input.width) if self.nf > 1 else (0, 0)
        cycles = chain * step + (groups - 1).bit_length() + 4
        queue = (1 << max(1, ((cycles + 3) // self.sf + 1).bit_length()), self.pe * self.output.bits)
        result: dict[str, float] = {
            "tree_bits": self.pe * (groups - 1) * lane_bits,
            "shift_luts": sum(wait > 2 for wait in waits) * groups * self.input.bits,
            "delay_bits": sum(wait for wait in waits if wait <= 2) * groups * self.input.bits,
            "address_bits": chain * step * self.folds.bit_length(),
            "flag_bits": cycles,
            "ring_luts": memories.ram_luts(*ring, family),
            "queue_luts": memories.ram_luts(*queue, family),
        }
        if self.kernel == "lut":
            # Digit d leaves 2 d bits as they are.
            adders = sum(digits * width - digits * (digits - 1) for width in widths)
            result.update(
                digit_bits=self.pe * groups * adders,
                sum_bits=self.pe * groups * digits * sum(widths),
                multiple_bits=self.simd * (self.input.bits + 2) if digits > 1 else 0,
            )
        return result

    # -- Verilog --------------------------------------------------------------------------------------------

    @property
    def in_finn(self) -> bool:
        return self.kernel == "finn"

    def rtl(self, family: str) -> Kernel:
        """Our matrix unit. Raises InputError for signed activations, or activations too wide for a DSP."""
        if self.in_finn:
            return super().rtl(family)
        if self.input.signed or self.input.bits > 17:
            raise InputError(
                f"{self.name}: activations must be unsigned and at most 17 bits wide, not {self.input.lo}.."
                f"{self.input.hi}; choose kernel 'finn'"
            )
        shared = self.product(family)
        image = f"{self.name}.weights"
        parameters: dict[str, int | str] = {
            "MW": self.mw,
            "MH": self.mh,
            "PE": self.pe,
            "SIMD": self.simd,
            "WEIGHT_BITS": self.weight_bits,
            "ACT_BITS": self.input.bits,
            "SUM_BITS": self.output.bits,
            "DSP": FAMILIES[family].dsp_version if self.kernel == "dsp" else 0,
            "LANES": shared.lanes,
            "SPACING": shared.spacing,
            "CHAIN": shared.chain,
            "RAM_STYLE": memories.RAM_STYLES[self.memory],
            "IMAGE": image,
        }
        streams = ports("in", self.inputs), ports("out", (self.output,))
        images = {f"{image}_{k}.dat": text for k, text in enumerate(self.weight_images(shared.chain))}
        helpers = ("lut_rom", "multiply_dsp", "multiply_lut")
        return Kernel("matmul", parameters, *streams, helpers=helpers, images=images)

    def weight_images(self, chain: int) -> list[str]:
        """For each position of the chains its ROM, a hexadecimal word per line.

        Word nf * SF + sf of position k holds weight[nf * PE + pe, sf * SIMD + g * chain + k] as element g * PE + pe.
        """
        groups = self.simd // chain
        folds = self.weight.reshape(self.nf, self.pe, self.sf, groups, chain).transpose(4, 0, 2, 3, 1)
        words = folds.reshape(chain, self.nf * self.sf, groups * self.pe)  # (chain, DEPTH, elements)
        packed = pack_bits(words, self.weight_bits, True)[..., ::-1]
        digits = -(-words.shape[2] * self.weight_bits // 4)
        return [
            "".join(row.tobytes().hex()[-digits:] + "\n" for row in np.ascontiguousarray(own))
            for own in packed
        ]


@dataclass(frozen=True, eq=False)
class MatMulModel(StreamModel):
    """A matrix product: for each pixel, its SF words once into a buffer, replayed for each of NF groups of outputs.

    Args:
        pixels, sf, nf: of a frame.
        latency: cycles from the last product of an output to its being offered.
        fetch: cycles from taking a word to multiplying it.
        capacity: words that the buffer holds.
        start: cycles after reset before the first product.
    """

    pixels: int
    sf: int
    nf: int
    latency: int
    fetch: int
    capacity: int
    start: int = 0

    @property
    def words_in(self) -> tuple[int, ...]:
        return (self.pixels * self.sf,)

    @property
    def work(self) -> int:
        return self.sf * self.nf

    @property
    def interval(self) -> int:
        return self.pixels * self.work

    def early(
        self, avail: Sequence[Int64Array], taken: Int64Array | None = None, after: Times | None = None
    ) -> Times:
        work, lower = self.work, avail[0]
        first = self.start if after is None else int(after.state[0])
        if self.nf == 1:
            lower = np.concatenate([np.maximum(lower[:1], first), lower[1:]])
        ready = earliest(lower) + self.fetch
        # A pixel may start when its word s is there by the s-th cycle.
        starts = (ready.reshape(self.pixels, self.sf) - np.arange(self.sf)).max(axis=1)
        starts[0] = max(starts[0], first)
        starts = earliest(starts, work)
        if self.nf == 1:  # a word is taken in the cycle in which it is multiplied
            accept = ready
            done = accept.reshape(self.pixels, self.sf)[:, -1:]
            return Times((accept,), done.ravel() + self.latency, np.array([accept[-1] + 1]))
        return self._times(starts, avail[0], after)

    def _times(self, starts: Int64Array, avail: Int64Array, after: Times | None) -> Times:
        words, capacity = self.pixels * self.sf, self.capacity
        # A word's place is free for another once it was read for the last group.
        freed = (starts[:, None] + (self.nf - 1) * self.sf + np.arange(self.sf)).ravel()
        lower = avail.copy()
        if words > capacity:
            lower[capacity:] = np.maximum(lower[capacity:], freed[:-capacity])
        head = min(capacity, words)
        if after is not None:
            lower[:head] = np.maximum(lower[:head], after.state[1 : 1 + head])
        done = starts[:, None] + np.arange(1, self.nf + 1) * self.sf - 1  # (pixels, NF)
        state = np.concatenate([starts[-1:] + self.work, freed[-head:]])
        return Times((earliest(lower),), done.ravel() + self.latency, state)

    def needed(self, port: int, outputs: Int64Array) -> Int64Array:
        return np.minimum(-(-outputs // self.nf), self.pixels) * self.sf

    def late(self, demand: Int64Array, period: int) -> Times | None:
        work = self.work
        before = np.arange(1, self.nf + 1) * self.sf - 1 + self.latency
        upper = (demand.reshape(self.pixels, self.nf) - before).min(axis=1)
        starts = latest(upper, work)
        upper[-1] = min(upper[-1], starts[0] + period - work)
        starts = latest(upper, work)
        accept = (starts[:, None] + np.arange(self.sf)).ravel() - self.fetch
        return Times((accept,), (starts[:, None] + before).ravel(), np.array([ANYTIME]))
