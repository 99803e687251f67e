"""FINN's ConvolutionInputGenerator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fireflow.hw.dataflow.layers.window import Window
from fireflow.hw.dataflow.memory import RAM_STYLES
from fireflow.hw.finn.operators.base import FinnNode, Operator, integers


class ConvolutionInputGenerator(Operator, layer=Window):
    """The windows of a convolution."""

    def node(self, layer: Window, top: str) -> FinnNode:
        height, width, channels = layer.input.shape
        attributes = {
            "ConvKernelDim": list(layer.kernel),
            "Stride": list(layer.stride),
            "Dilation": [1, 1],
            "IFMDim": [height, width],
            "OFMDim": list(layer.output.shape[:2]),
            "IFMChannels": channels,
            "SIMD": layer.input.lanes,
            "inputDataType": integers(layer.input.bits, layer.input.signed),
            "outputDataType": integers(layer.input.bits, layer.input.signed),
            "parallel_window": int(layer.parallel),
            "is1D": int(1 in (height, width)),
            "ram_style": RAM_STYLES[layer.memory],
        }
        node = FinnNode("ConvolutionInputGenerator_rtl", top, attributes)
        # FINN declares these parameters behind the ports that use them, which slang refuses.
        node.changes = {
            "[IN_WIDTH_PADDED-1:0] in0": f"[{layer.input.tdata_bits - 1}:0] in0",
            "[OUT_WIDTH_PADDED-1:0] out0": f"[{layer.output.tdata_bits - 1}:0] out0",
        }
        return node

    def folding(self, layer: Window) -> Mapping[str, Any]:
        style = {"ram_style": RAM_STYLES[layer.memory]}
        return {"SIMD": layer.input.lanes, "parallel_window": int(layer.parallel), **style}
