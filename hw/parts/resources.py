"""What a design takes of an FPGA, and what a part has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
