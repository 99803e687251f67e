"""How the products of our matrix unit share multipliers: what `matmul.sv` is built with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fireflow.hw.dataflow.memory import LUTS_PER_BRAM36, bram36
from fireflow.hw.dataflow.stream import divisors
from fireflow.hw.parts import FAMILIES

if TYPE_CHECKING:
    from fireflow.hw.dataflow.layers.matmul import MatMul

PRODUCT_BITS = 48
LONGEST_CHAIN = {"dsp": 16, "lut": 8}
SHORTEST_CHAIN = 4
ADDER_LUTS = 15
"""About what a chain more costs for each output: an adder of the tree."""


@dataclass(frozen=True)
class Product:
    """How products share multipliers.

    Args:
        lanes: weights that share a DSP with one activation.
        spacing: bits from one to the next in the DSP's operand and in its sum.
        chain: products added one after the other before an adder tree takes over; divides SIMD.
    """

    lanes: int
    spacing: int
    chain: int


def finn_lanes(family: str, weight_bits: int, activation_bits: int, narrow: bool) -> int:
    """Products that one DSP of FINN's MVAU computes at once (mvu.sv, NUM_LANES).

    >>> finn_lanes("xcup", 4, 4, True), finn_lanes("xc7", 4, 4, False), finn_lanes("xc7", 6, 8, True)
    (4, 3, 2)
    """
    weight_bits, activation_bits = max(2, weight_bits), max(2, activation_bits)
    wide = FAMILIES[family].factor_bits
    if wide == weight_bits:
        return 1
    return 1 + (wide - (not narrow) - weight_bits) // (weight_bits + activation_bits - 1)


def product(layer: MatMul, family: str) -> Product:
    """The most lanes whose spacing holds the sum of a chain that is not too short, and the best such chain."""
    weight_bits, act_bits = max(2, layer.weight_bits), max(2, layer.input.bits)
    wide = FAMILIES[family].factor_bits - weight_bits - (not layer.narrow)
    worst = ((1 << (weight_bits - 1)) - layer.narrow) * ((1 << act_bits) - 1)
    if layer.kernel == "lut":
        return Product(1, PRODUCT_BITS, _chain(layer, LONGEST_CHAIN["lut"]))
    for lanes in range(6, 1, -1):
        spacing = wide // (lanes - 1)
        most = ((1 << max(0, spacing - 1)) - 1) // worst
        if most >= min(SHORTEST_CHAIN, layer.simd):
            return Product(lanes, spacing, _chain(layer, min(most, LONGEST_CHAIN["dsp"])))
    return Product(1, PRODUCT_BITS, _chain(layer, LONGEST_CHAIN["dsp"]))


def _chain(layer: MatMul, most: int) -> int:
    """A long chain saves adders; where each of its positions has a block RAM, a shorter one may pack better."""
    lengths = [length for length in divisors(layer.simd) if length <= most]
    if layer.memory == "lut":
        return lengths[-1]

    def price(length: int) -> float:
        groups = layer.simd // length
        memories = length * bram36(layer.folds, layer.pe * groups * layer.weight_bits)
        return memories * LUTS_PER_BRAM36 + layer.pe * groups * ADDER_LUTS

    return min(reversed(lengths), key=price)
