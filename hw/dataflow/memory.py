"""How many primitives a memory of so many words of so many bits becomes."""

from __future__ import annotations

RAM_STYLES = {"lut": "distributed", "bram": "block", "uram": "ultra"}
"""What Vivado and Yosys call each kind of memory."""
KINDS = tuple(RAM_STYLES)
LUTS_PER_BRAM36 = 400
"""What a RAMB36 is worth where nobody says how scarce it is: about the ratio that the smaller parts have."""
_RAMB36 = ((512, 72), (1024, 36), (2048, 18), (4096, 9), (8192, 4), (16384, 2), (32768, 1))
_URAM = (4096, 72)
ROM_LUT_DEPTH = 64  # a LUT6 is 64 constant bits
RAM_LUTS = {"xc7": 4 / 3, "xcup": 8 / 7}
"""LUTs per bit of a 64-word RAM with a read and a write port: RAM64M holds 3 bits in 4 LUTs, RAM64M8 7 in 8."""


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def bram36(depth: int, width: int) -> float:
    """RAMB36 with one read and one write port, halves being RAMB18; the best of all aspect ratios.

    Whole words lie side by side in primitives of one shape; what is left of the width may take a RAMB18.

    >>> bram36(1024, 36), bram36(512, 36), bram36(1024, 40), bram36(4096, 72)
    (1.0, 0.5, 1.5, 8.0)
    """
    best = float("inf")
    for words, bits in _RAMB36:
        full, rest = divmod(width, bits)
        # A RAMB18 has the same words at half the width, or half the words at the same width, if not the widest.
        columns = full + (0.0 if not rest else 0.5 if rest <= bits // 2 else 1.0)
        rows, remainder = divmod(depth, words)
        last = 0.0
        if remainder:
            halves = remainder <= words // 2 and bits < _RAMB36[0][1]
            last = 0.5 * ceil_div(width, bits) if halves else columns
        best = min(best, columns * rows + min(last, columns))
    return best


def uram(depth: int, width: int) -> int:
    return ceil_div(depth, _URAM[0]) * ceil_div(width, _URAM[1])


def rom_luts(depth: int, width: int) -> float:
    """LUTs of a memory that is never written, as Yosys makes them: a power of two of blocks, and no two bits in a LUT.

    >>> rom_luts(32, 10), rom_luts(64, 10), rom_luts(65, 10), rom_luts(512, 10)
    (10.0, 10.0, 20.0, 112.0)
    """
    if depth <= 1:
        return 0.0
    blocks = 1 << (ceil_div(depth, ROM_LUT_DEPTH) - 1).bit_length()
    return width * blocks * (1.0 if blocks <= 4 else 1.4)  # a slice's own multiplexers choose one of four


def ram_luts(depth: int, width: int, family: str) -> float:
    """LUTs of a memory that is written and read at once."""
    if depth <= 1:
        return 0.0
    if depth <= 32:  # RAM32M: 6 bits in 4 LUTs; RAM32M16: 14 in 8
        return width * RAM_LUTS[family] / 2
    blocks = ceil_div(depth, 64)
    return width * (blocks * RAM_LUTS[family] + _muxes(blocks))


def _muxes(blocks: int) -> float:
    """LUTs per bit that choose one of so many outputs; the first four go through the slice's own multiplexers."""
    return 0.0 if blocks == 1 else (blocks - 1) / 4 + 0.25


def buffer_kind(depth: int, width: int, luts_per_bram36: float = LUTS_PER_BRAM36) -> str:
    """ "bram" for a memory that is written and read where it saves LUTs worth more than it costs, else "lut"."""
    return "bram" if ram_luts(depth, width, "xc7") > luts_per_bram36 * bram36(depth, width) else "lut"


def rom_kind(depth: int, width: int, luts_per_bram36: float = LUTS_PER_BRAM36) -> str:
    """The same for a memory that is never written."""
    return "bram" if rom_luts(depth, width) > luts_per_bram36 * bram36(depth, width) else "lut"
