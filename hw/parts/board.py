"""What is known of a board."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from fireflow.hw.parts.resources import Resources


@dataclass(frozen=True)
class Board:
    """A board we build for.

    Args:
        name: as users write it.
        part: the full part number, for the vendor tool.
        family: "xc7" (7-series, DSP48E1) or "xcup" (UltraScale+, DSP48E2), as Yosys names them.
        resources: of the whole part; one LUT is a LUT6.
        clocks_mhz: clocks that designs of this kind commonly reach on it, the default first.
        sources: by field, where the figure is from.
        pynq: the name that a PYNQ image gives it, and other spellings of it.
        finn: its name in FINN's builder; "" where FINN has none.
        open_tools: whether nextpnr and prjxray know its part.
    """

    name: str
    part: str
    family: str
    resources: Resources
    clocks_mhz: tuple[int, ...]
    sources: Mapping[str, str]
    pynq: tuple[str, ...]
    finn: str = ""
    open_tools: bool = False

    @property
    def has_uram(self) -> bool:
        return self.resources.uram > 0
