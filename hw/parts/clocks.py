"""The clock that the processing system gives the logic: a PLL behind two dividers of six bits each."""

from __future__ import annotations

from fireflow.hw.parts.families import FAMILIES


def divisors(pll_mhz: float, clock_mhz: float) -> tuple[int, int]:
    """Two divisors, 1 to 63, that give the highest clock not above the one that is asked for.

    >>> divisors(1500.0, 200.0), divisors(1000.0, 100.0)
    ((8, 1), (10, 1))
    """
    wanted = pll_mhz / clock_mhz
    pairs = ((a, b) for a in range(1, 64) for b in range(1, 64) if a * b >= wanted * 0.9999)
    return min(pairs, key=lambda pair: (pair[0] * pair[1], pair[1]), default=(63, 63))


def reachable_mhz(family: str, clock_mhz: float) -> float:
    """The highest clock of this family's dividers that is not above the one that is asked for.

    >>> reachable_mhz("xcup", 290.0), reachable_mhz("xc7", 100.0)
    (250.0, 100.0)
    """
    pll_mhz = FAMILIES[family].system.clock.pll_mhz
    first, second = divisors(pll_mhz, clock_mhz)
    return pll_mhz / (first * second)
