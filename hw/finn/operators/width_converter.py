"""FINN's StreamingDataWidthConverter, for its estimate alone: the RTL is ours."""

from __future__ import annotations

from typing import Any

from fireflow.hw.dataflow.layers.width_converter import WidthConverter
from fireflow.hw.finn.operators.base import FinnNode, Operator, integers


class StreamingDataWidthConverter(Operator, layer=WidthConverter):
    """The same elements in other words."""

    def estimated(self, layer: WidthConverter) -> Any:
        shape = [1, *layer.input.shape]
        attributes = {
            "inShape": shape,
            "outShape": shape,
            "inWidth": layer.input.width,
            "outWidth": layer.output.width,
            "dataType": integers(layer.input.bits, layer.input.signed),
        }
        return FinnNode("StreamingDataWidthConverter_rtl", "width", attributes).op
