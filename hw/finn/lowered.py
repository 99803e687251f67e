"""The result of the lowering."""

from __future__ import annotations

from dataclasses import dataclass

from qonnx.core.modelwrapper import ModelWrapper

OUTPUT_SCALE = "fireflow.output_scale"
"""Metadata of the lowered model: real scores are its output times this."""
ACCUMULATOR_LIMIT = 1 << 24
"""Accumulators must stay below this, so that FINN's float32 tensors hold them exactly."""
MAX_BIAS_ERROR = 0.02
"""Distance from an integer at which the bias of the last layer still counts as one, rounded to float32."""
FINN = "finn.custom_op.fpgadataflow"
"""The domain of FINN's hardware layers."""


@dataclass(frozen=True, slots=True)
class LoweredModel:
    """A model of integers, whose tensors have the names of the integer graph.

    Args:
        model: input uint8 (1, H, W, C); every tensor holds integers, in float32 as FINN has it, and is
            annotated with an integer type that holds its exact range.
        output_scale: real scores are the model's output times this.
    """

    model: ModelWrapper
    output_scale: float
