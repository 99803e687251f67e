"""How many primitives a memory of so many words of so many bits becomes."""

from __future__ import annotations

from functools import lru_cache
from typing import Tuple

from fireflow.hw.parts import FAMILIES

Words = Tuple[int, int]
"""A memory: how many words, and their bits."""
RAM_STYLES = {"lut": "distributed", "bram": "block", "uram": "ultra"}
"""What Vivado and Yosys call each kind of memory."""
KINDS = tuple(RAM_STYLES)
LUTS_PER_BRAM36 = 400
"""What a RAMB36 is worth where nobody says how scarce it is: about the ratio that the smaller parts have."""
LUTS_PER_URAM = 100
"""What an UltraRAM is worth: parts that have them have many, and weights cannot lie there."""
_RAMB36 = ((512, 72), (1024, 36), (2048, 18), (4096, 9), (8192, 4), (16384, 2), (32768, 1))
_URAM = (4096, 72)
ROM_LUT_DEPTH = 64  # a LUT6 is 64 constant bits


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def bram36(depth: int, width: int) -> float:
    """RAMB36 with one read and one write port, halves being RAMB18; the best of all aspect ratios.

    Whole words lie side by side in primitives of one shape; what is left of the width may take a RAMB18.

    >>> bram36(1024, 36), bram36(512, 36), bram36(1024, 40), bram36(4096, 72)
    (1.0, 0.5, 1.5, 8.0)
    """
    return _bram36(depth, width)[0]


def bram_choices(depth: int, width: int) -> float:
    """LUTs that choose among block RAMs whose words follow each other.

    >>> bram_choices(1024, 36), bram_choices(1296, 36)
    (0.0, 36.0)
    """
    rows = _bram36(depth, width)[1]
    return float(width * (0 if rows == 1 else 1 if rows <= 4 else ceil_div(rows - 1, 3)))


@lru_cache(maxsize=None)
def _bram36(depth: int, width: int) -> tuple[float, int]:
    """The fewest primitives, and how many rows of words they make, few before many."""
    best = float("inf"), 1
    for words, bits in _RAMB36:
        full, rest = divmod(width, bits)
        # A RAMB18 has the same words at half the width, or half the words at the same width, if not the widest.
        columns = full + (0.0 if not rest else 0.5 if rest <= bits // 2 else 1.0)
        rows, remainder = divmod(depth, words)
        last = 0.0
        if remainder:
            halves = remainder <= words // 2 and bits < _RAMB36[0][1]
            last = 0.5 * ceil_div(width, bits) if halves else columns
        best = min(best, (columns * rows + min(last, columns), rows + (remainder > 0)))
    return best


def uram_blocks(depth: int, width: int) -> int:
    return ceil_div(depth, _URAM[0]) * ceil_div(width, _URAM[1])


def rom_luts(depth: int, width: int) -> float:
    """LUTs of a memory that is never written: `lut_rom.sv`, as Yosys makes it.

    >>> rom_luts(32, 10), rom_luts(64, 10), rom_luts(65, 10), rom_luts(512, 10)
    (10.0, 10.0, 20.0, 112.0)
    """
    if depth <= 1:
        return 0.0
    blocks = 1 << (ceil_div(depth, ROM_LUT_DEPTH) - 1).bit_length()
    return width * blocks * (1.0 if blocks <= 4 else 1.4)  # a slice's own multiplexers choose one of four


def ram_luts(depth: int, width: int, family: str) -> float:
    """LUTs of a memory that is written and read at once, as Yosys makes them.

    >>> ram_luts(32, 6, "xc7"), ram_luts(64, 8, "xcup"), ram_luts(128, 3, "xc7")
    (4.0, 16.0, 11.0)
    """
    if depth <= 1:
        return 0.0
    ram = FAMILIES[family].lut_ram
    if depth <= 32:
        return float(ram.luts * ceil_div(width, ram.bits_of_32))
    blocks = ceil_div(depth, 64)
    choice = (
        0.0 if blocks == 1 else 1.0 if blocks <= 4 else (blocks - 1) / 2
    )  # LUTs per bit that choose a block
    return blocks * ram.luts * ceil_div(width, ram.bits_of_64) + choice * width


def buffer_kind(depth: int, width: int, uram: bool = False) -> str:
    """What holds a memory that is written and read: "bram" where it saves LUTs worth more than it costs, else "lut".

    Args:
        depth, width: words, and their bits.
        uram: the part has UltraRAM; then that, which nothing else can use, where it saves enough.
    """
    luts, blocks = ram_luts(depth, width, "xc7"), LUTS_PER_BRAM36 * bram36(depth, width)
    if uram and min(luts, blocks) > LUTS_PER_URAM * uram_blocks(depth, width):
        return "uram"
    return "bram" if luts > blocks else "lut"


def rom_kind(depth: int, width: int) -> str:
    """What holds a memory that is never written."""
    return "bram" if rom_luts(depth, width) > LUTS_PER_BRAM36 * bram36(depth, width) else "lut"
