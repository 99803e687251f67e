"""FINN's FMPadding."""

from __future__ import annotations

from typing import Any

from fireflow.hw.dataflow.layers.pad import Pad
from fireflow.hw.finn.operators.base import FinnNode, Operator, integers
from fireflow.hw.finn.wrappers import tied_top


class FmPadding(Operator, layer=Pad):
    """Zeros around the picture."""

    def node(self, layer: Pad, top: str) -> FinnNode:
        core = f"{top}_fmpadding"
        attributes = {
            "ImgDim": list(layer.input.shape[:2]),
            "Padding": list(layer.pads),
            "NumChannels": layer.input.channels,
            "SIMD": layer.input.lanes,
            "inputDataType": integers(layer.input.bits, layer.input.signed),
        }
        text = tied_top(layer, top, core, layer.input.bits, layer.input.bits, layer.input.signed)
        return FinnNode("FMPadding_rtl", core, attributes, extra={f"{top}.sv": text})

    def estimated(self, layer: Pad) -> Any:
        """Nothing: FINN's has the formulas of the base."""
        return None
