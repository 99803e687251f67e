"""The boards: part, resources and clocks, with the source of each figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

from fireflow.hw import fields
from fireflow.hw.errors import InputError

LABELS = {"lut": "LUT", "ff": "FF", "bram36": "BRAM36", "uram": "URAM", "dsp": "DSP"}
"""What people call each resource."""
RESOURCES = tuple(LABELS)


@dataclass(frozen=True)
class Resources:
    """Counts of a part or of a design. bram36: in RAMB36; a RAMB18 is a half."""

    lut: float = 0
    ff: float = 0
    bram36: float = 0
    uram: float = 0
    dsp: float = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(*(getattr(self, name) + getattr(other, name) for name in RESOURCES))

    def __mul__(self, factor: float) -> Resources:
        return Resources(*(getattr(self, name) * factor for name in RESOURCES))

    def to_json(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in RESOURCES}

    @classmethod
    def from_json(cls, place: str, document: Any) -> Resources:
        """What `to_json` gave; kinds that it lacks are 0. Raises InputError, which names the place."""
        given = fields.mapping(place, document)
        unknown = set(given) - set(RESOURCES)
        if unknown:
            raise InputError(
                f"{place} must be of {', '.join(RESOURCES)}, not {min(unknown)!r:.80}; correct it"
            )
        return cls(**{name: fields.number(f"{place}: {name}", value) for name, value in given.items()})


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
    """

    name: str
    part: str
    family: str
    resources: Resources
    clocks_mhz: tuple[int, ...]
    sources: Mapping[str, str]

    @property
    def dsp_a_bits(self) -> int:
        """Width of the multiplier's wide operand, which limits how many products a DSP packs."""
        return 27 if self.family == "xcup" else 25

    @property
    def has_uram(self) -> bool:
        return self.resources.uram > 0


_DS190 = "AMD DS190, Zynq-7000 SoC Data Sheet: Overview, table of programmable logic, Z-7020"
_DS891 = "AMD DS891, Zynq UltraScale+ MPSoC Data Sheet: Overview, table of programmable logic, "
_DS987 = "AMD DS987, Kria K26 SOM Data Sheet, table of programmable logic resources"
_CLOCKS_7 = "PYNQ's default FCLK0 of 100 MHz"
_CLOCKS_UP = "300 MHz is what AMD clocks its DPU with on this family; 200 MHz leaves room for timing closure"


def _board(
    name: str, part: str, family: str, resources: Resources, clocks: tuple[int, ...], where: str, of: str
) -> Board:
    by_clock = _CLOCKS_7 if family == "xc7" else _CLOCKS_UP
    return Board(name, part, family, resources, clocks, {"resources": where, "clocks": by_clock, "part": of})


_Z7020 = Resources(lut=53_200, ff=106_400, bram36=140, uram=0, dsp=220)
BOARDS: tuple[Board, ...] = (
    _board("PYNQ-Z1", "xc7z020clg400-1", "xc7", _Z7020, (100,), _DS190, "Digilent PYNQ-Z1 reference manual"),
    _board("PYNQ-Z2", "xc7z020clg400-1", "xc7", _Z7020, (100,), _DS190, "TUL PYNQ-Z2 user manual"),
    _board(
        "Ultra96-V2",
        "xczu3eg-sbva484-1-e",
        "xcup",
        Resources(lut=70_560, ff=141_120, bram36=216, uram=0, dsp=360),
        (300, 200),
        _DS891 + "ZU3EG",
        "Avnet Ultra96-V2 hardware user guide (industrial boards: -1-i)",
    ),
    _board(
        "KV260",
        "xck26-sfvc784-2LV-c",
        "xcup",
        Resources(lut=117_120, ff=234_240, bram36=144, uram=64, dsp=1_248),
        (300, 200),
        _DS987,
        "AMD UG1089, Kria KV260 user guide",
    ),
    _board(
        "ZCU104",
        "xczu7ev-ffvc1156-2-e",
        "xcup",
        Resources(lut=230_400, ff=460_800, bram36=312, uram=96, dsp=1_728),
        (300, 200),
        _DS891 + "ZU7EV",
        "AMD UG1267, ZCU104 user guide",
    ),
)


def board(name: str) -> Board:
    """The board of this name, whatever its case and hyphens. Raises InputError, listing the names.

    >>> board("pynq-z2").part
    'xc7z020clg400-1'
    """
    wanted = _plain(name)
    for candidate in BOARDS:
        if _plain(candidate.name) == wanted or (candidate.name == "Ultra96-V2" and wanted == "ultra96"):
            return candidate
    names = ", ".join(candidate.name for candidate in BOARDS)
    raise InputError(f"board: must be one of {names}, not {name!r}; choose one")


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
