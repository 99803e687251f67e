"""Whether a design fits: what of a board it may use, and what is too much."""

from __future__ import annotations

from typing import Mapping

from fireflow.hw.errors import InputError
from fireflow.hw.parts import RESOURCES, Resources

BUDGET = 0.8
"""Share of each resource that may be used: what is left lets placement and routing succeed."""


def check_budget(budget: float) -> None:
    """Raises InputError unless it is a share."""
    if not 0 < budget <= 1:
        raise InputError(f"budget must be a share above 0 and at most 1, not {budget}; change it")


def room(available: Resources, budget: float, limits: Mapping[str, float] | None = None) -> Resources:
    """What may be used.

    Args:
        available: of the part.
        budget: share of each resource.
        limits: shares of single resources, where they are below `budget`.
    """
    shares = {name: min(budget, (limits or {}).get(name, budget)) for name in RESOURCES}
    return Resources(**{name: getattr(available, name) * shares[name] for name in RESOURCES})


def excess(used: Resources, allowed: Resources) -> dict[str, float]:
    """How much each resource that is over what may be used is over it."""
    return {
        name: getattr(used, name) - getattr(allowed, name)
        for name in RESOURCES
        if getattr(used, name) > getattr(allowed, name)
    }


def fits(used: Resources, allowed: Resources) -> bool:
    """Whether no resource is over what may be used.

    >>> fits(Resources(lut=80, dsp=1), Resources(lut=80)), fits(Resources(lut=80), Resources(lut=80))
    (False, True)
    """
    return not excess(used, allowed)


def shares(used: Resources, available: Resources) -> dict[str, float]:
    """The share used of each resource that the part has."""
    return {
        name: getattr(used, name) / getattr(available, name) for name in RESOURCES if getattr(available, name)
    }


def missing(used: Resources, available: Resources) -> tuple[str, ...]:
    """Resources that are used although the part has none."""
    return tuple(name for name in RESOURCES if getattr(used, name) and not getattr(available, name))
