"""When to look at a DMA that tells nobody that it is through."""

from __future__ import annotations

_SHORTEST_S, _LONGEST_S = 5e-5, 5e-3
_PART, _LATE_PART = 0.75, 0.125
_SLOWER = 0.1


class Pace:
    """How long transfers really take, learned from those that ended.

    >>> pace = Pace()
    >>> pace.left(0.001, expected_s=0.004)
    0.003
    >>> pace.learn(0.0035, expected_s=0.004)
    >>> pace.left(0.001, expected_s=0.004)
    0.0025
    """

    def __init__(self) -> None:
        self._longer_s = 0.0

    def left(self, elapsed_s: float, expected_s: float) -> float:
        """Seconds until a transfer should end, below zero if it is late; `expected_s` is what the design says."""
        return expected_s + self._longer_s - elapsed_s

    def learn(self, took_s: float, expected_s: float) -> None:
        """A transfer was seen to be through."""
        change = took_s - expected_s - self._longer_s
        # A late look is no slow device: what takes longer is believed little by little.
        self._longer_s += change if change < 0 else _SLOWER * change


def pause(left_s: float) -> float:
    """How long to sleep before the next look, in seconds.

    Every look costs the processor, and a late one leaves the accelerator idle. So each sleep covers a part of what
    is left: the looks become frequent towards the end, and what ends early is still seen.

    >>> [round(1000 * pause(left_s), 3) for left_s in (0.004, 0.001, 0.0, -0.002)]
    [3.0, 0.75, 0.05, 0.25]
    """
    wanted = _PART * left_s if left_s > 0 else -_LATE_PART * left_s
    return min(_LONGEST_S, max(_SHORTEST_S, wanted))
