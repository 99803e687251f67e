"""What a synthesis tool counted of an accelerator's layers, beside what our model and FINN's formulas expect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence

from fireflow.hw import fields
from fireflow.hw.errors import InputError
from fireflow.hw.parts import RESOURCES, Resources

FINN_RESOURCES = ("lut", "bram36", "uram", "dsp")
"""Those that FINN has formulas for."""
Estimate = Optional[Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class Counts:
    """Resources layer by layer.

    Args:
        tool: what counted, with its version.
        counted: by layer, FIFOs included.
        finn: by layer, what FINN expects of `FINN_RESOURCES`; None for a kind of layer that it has no formula for.
    """

    tool: str
    counted: Mapping[str, Resources]
    finn: Mapping[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        layers = {
            name: {
                "counted": own.to_json(),
                "finn": None if self.finn[name] is None else dict(self.finn[name] or {}),
            }
            for name, own in self.counted.items()
        }
        return {"tool": self.tool, "layers": layers}

    @classmethod
    def from_json(cls, document: Any) -> Counts:
        """What `to_json` gave. Raises InputError where a field is missing or of another kind."""
        try:
            tool, layers = fields.text("counts: tool", document["tool"]), document["layers"]
            counted: dict[str, Resources] = {}
            finn: dict[str, Estimate] = {}
            for name, own in fields.mapping("counts: layers", layers).items():
                place = f"counts: {fields.text('counts: layers', name)}"
                counted[name] = Resources.from_json(place, own["counted"])
                estimate = own["finn"]
                finn[name] = (
                    None
                    if estimate is None
                    else {
                        key: float(fields.number(f"{place}: {key}", estimate[key])) for key in FINN_RESOURCES
                    }
                )
        except (KeyError, TypeError) as error:
            raise InputError(f"counts: fields must be complete ({error!r}); count again") from None
        return cls(tool, counted, finn)

    def finn_total(self) -> dict[str, float]:
        """The sum over the layers that FINN has formulas for."""
        known = [own for own in self.finn.values() if own is not None]
        return {name: sum(own[name] for own in known) for name in FINN_RESOURCES}


@dataclass(frozen=True)
class Error:
    """How far a model is from the counts of one resource.

    Args:
        counted, modelled: the sums over all layers.
        off: the sum of the absolute differences, layer by layer.
    """

    counted: float
    modelled: float
    off: float

    @property
    def total(self) -> float | None:
        """The relative error of the sum: positive where the model has too much; None without a count."""
        return (self.modelled - self.counted) / self.counted if self.counted else None

    @property
    def mean(self) -> float | None:
        """The relative error of a layer, weighted by its count; None without a count."""
        return self.off / self.counted if self.counted else None


def errors(pairs: Sequence[tuple[Resources, Resources]]) -> dict[str, Error]:
    """The errors of pairs (counted, modelled), by resource."""
    result = {}
    for name in RESOURCES:
        values = [(getattr(counted, name), getattr(modelled, name)) for counted, modelled in pairs]
        off = sum(abs(a - b) for a, b in values)
        result[name] = Error(sum(a for a, _ in values), sum(b for _, b in values), off)
    return result
