"""FINN's StreamingFIFO, for its estimate alone: the RTL is ours."""

from __future__ import annotations

from typing import Any

from fireflow.hw.dataflow.layers.fifo import Fifo
from fireflow.hw.dataflow.memory import RAM_STYLES
from fireflow.hw.finn.operators.base import FinnNode, Operator, integers


class StreamingFifo(Operator, layer=Fifo):
    """Room for words."""

    def estimated(self, layer: Fifo) -> Any:
        stream = layer.input
        attributes = {
            "depth": layer.depth,
            "folded_shape": [1, stream.pixels, stream.groups, stream.lanes],
            "normal_shape": [1, *stream.shape],
            "dataType": integers(stream.bits, stream.signed),
            # Shift registers are what FINN makes of the shallow ones, whatever it is told.
            "ram_style": "auto" if layer.memory == "lut" else RAM_STYLES[layer.memory],
        }
        return FinnNode("StreamingFIFO_rtl", "fifo", attributes).op
