"""Fits the cost model to counted layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from fireflow.hw.dataflow import cost
from fireflow.hw.dataflow.layers.base import Layer
from fireflow.hw.parts import Resources

PULL = 0.3
"""What the present coefficients weigh in a fit, in samples."""
SMALL = 50
"""A count of a few LUTs weighs no more than one of so many."""


@dataclass(frozen=True)
class Sample:
    """A layer with what a tool counted of it.

    Args:
        variant, family: which coefficients are its own.
        features: what its LUTs and FFs are made of.
        blocks: DSPs and memory primitives that the model expects.
        counted: by the tool.
    """

    variant: str
    family: str
    features: Mapping[str, float]
    blocks: Resources
    counted: Resources

    @classmethod
    def of(cls, layer: Layer, family: str, counted: Resources) -> Sample:
        """A layer of which a tool counted this."""
        return cls(layer.variant, family, layer.features(family), cost.blocks(layer, family), counted)

    @property
    def modelled(self) -> Resources:
        return cost.weighted(self.variant, self.features) + self.blocks


Coefficients = dict[str, dict[str, dict[str, float]]]


def fit(samples: Sequence[Sample], pull: float = PULL) -> Coefficients:
    """Coefficients for `costs.json`: for each variant of layer in `samples`, none negative, least relative squares.

    Few samples cannot tell all features apart: each coefficient is pulled towards the present one, as `pull`
    samples would.
    """
    result: Coefficients = {}
    for kind in sorted({sample.variant for sample in samples}):
        own = [sample for sample in samples if sample.variant == kind]
        names = list(own[0].features)
        matrix = np.array([[sample.features[name] for name in names] for sample in own])
        result[kind] = {}
        for resource in cost.FITTED:
            counts = np.array([getattr(sample.counted, resource) for sample in own], float)
            weights = 1 / (counts + SMALL)
            scaled = matrix * weights[:, None]
            strength = np.sqrt(pull * (scaled**2).mean(axis=0))
            known = cost.fitted().get(kind, {}).get(resource, {})
            present = np.array([known.get(name, 0.0) for name in names])
            rows = np.vstack([scaled, np.diag(strength)])
            solution, _ = nnls(rows, np.append(counts * weights, strength * present))
            solution = np.where(
                matrix.any(axis=0), solution, present
            )  # of what no sample has nothing is learnt
            result[kind][resource] = {
                name: round(float(value), 4) for name, value in zip(names, solution, strict=True) if value > 0
            }
    return result
