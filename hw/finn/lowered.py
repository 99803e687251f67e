"""The result of the lowering."""

from __future__ import annotations

from dataclasses import dataclass

from qonnx.core.modelwrapper import ModelWrapper


@dataclass(frozen=True, slots=True)
class LoweredModel:
    """A model of integers.

    Args:
        model: input uint8 (1, H, W, C); every tensor holds integers, in float32 as FINN has it, and is
            annotated with an integer type that holds its exact range.
        names: name in the integer graph -> tensor of the model, the input first, in topological order.
        output_scale: real scores are the model's output times this.
    """

    model: ModelWrapper
    names: dict[str, str]
    output_scale: float
