"""What FINN itself expects a layer to take, by the formulas of its nodes."""

from __future__ import annotations

from fireflow.hw.dataflow.layers.base import Layer
from fireflow.hw.finn.environment import finn
from fireflow.hw.finn.operators import Operator


def finn_estimate(layer: Layer, part: str) -> dict[str, float] | None:
    """LUT, BRAM36, URAM and DSP by FINN's formulas, none of which is for flip-flops; None where it has no formula.

    A matrix product of ours is taken for FINN's MVAU of the same PE and SIMD: one with DSPs for the RTL variant, whose
    LUTs FINN takes for 0, one without for the HLS variant.

    Args:
        layer: of an accelerator.
        part: the FPGA, such as "xc7z020clg400-1".
    """
    if type(layer) not in Operator.of:
        return None  # FINN's DuplicateStreams, Concat and pools have the base's formulas: nothing
    with finn():
        op = Operator.of[type(layer)].estimated(layer)
        found = None if op is None else op.node_res_estimation(part)
    if found is None:
        return None
    return {
        "lut": float(found["LUT"]),
        "bram36": found["BRAM_18K"] / 2,
        "uram": float(found["URAM"]),
        "dsp": float(found["DSP"]),
    }
