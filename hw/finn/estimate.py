"""What FINN itself expects a layer to take, by the formulas of its nodes."""

from __future__ import annotations

from typing import Any

from fireflow.hw.dataflow.layers import Fifo, Layer, MatMul, Threshold, WidthConverter, Window
from fireflow.hw.dataflow.memory import RAM_STYLES
from fireflow.hw.finn.environment import finn
from fireflow.hw.finn.generate import DEEPER_THAN_ANY, FinnNode, finn_node, integers


def finn_estimate(layer: Layer, part: str) -> dict[str, float] | None:
    """LUT, BRAM36, URAM and DSP by FINN's formulas, none of which is for flip-flops; None where it has no formula.

    A matrix product of ours is taken for FINN's MVAU of the same PE and SIMD: one with DSPs for the RTL variant, whose
    LUTs FINN takes for 0, one without for the HLS variant.

    Args:
        layer: of an accelerator.
        part: the FPGA, such as "xc7z020clg400-1".
    """
    if not isinstance(layer, (MatMul, Threshold, Window, Fifo, WidthConverter)):
        return None  # FINN's Pad, DuplicateStreams, Concat and pools have the base's formulas: nothing
    with finn():
        found = _op(layer).node_res_estimation(part)
    return {
        "lut": float(found["LUT"]),
        "bram36": found["BRAM_18K"] / 2,
        "uram": float(found["URAM"]),
        "dsp": float(found["DSP"]),
    }


def _op(layer: MatMul | Threshold | Window | Fifo | WidthConverter) -> Any:
    if isinstance(layer, MatMul):
        op = _lut_product(layer).op if layer.kernel == "lut" else finn_node(layer, "layer").op
        op.set_nodeattr("ram_style", RAM_STYLES[layer.memory])
        return op
    if isinstance(layer, Fifo):
        return _fifo(layer).op
    if isinstance(layer, WidthConverter):
        return _width(layer).op
    op = finn_node(layer, "layer").op
    if isinstance(layer, Threshold):
        op.set_nodeattr(
            "depth_trigger_uram", DEEPER_THAN_ANY
        )  # the formula takes 0, by which the RTL has none, for always
    return op


def _lut_product(layer: MatMul) -> FinnNode:
    attributes = {
        "PE": layer.pe,
        "SIMD": layer.simd,
        "MW": layer.mw,
        "MH": layer.mh,
        "inputDataType": integers(layer.input.bits, layer.input.signed),
        "weightDataType": integers(layer.weight_bits, True),
        "outputDataType": integers(layer.output.bits, True),
        "accDataType": integers(layer.output.bits, True),
        "noActivation": 1,
        "mem_mode": "internal_decoupled",
        "resType": "lut",
    }
    return FinnNode("MVAU_hls", "product", attributes)


def _fifo(layer: Fifo) -> FinnNode:
    stream = layer.input
    attributes = {
        "depth": layer.depth,
        "folded_shape": [1, stream.pixels, stream.groups, stream.lanes],
        "normal_shape": [1, *stream.shape],
        "dataType": integers(stream.bits, stream.signed),
        # Shift registers are what FINN makes of the shallow ones, whatever it is told.
        "ram_style": "auto" if layer.memory == "lut" else RAM_STYLES[layer.memory],
    }
    return FinnNode("StreamingFIFO_rtl", "fifo", attributes)


def _width(layer: WidthConverter) -> FinnNode:
    shape = [1, *layer.input.shape]
    attributes = {
        "inShape": shape,
        "outShape": shape,
        "inWidth": layer.input.width,
        "outWidth": layer.output.width,
        "dataType": integers(layer.input.bits, layer.input.signed),
    }
    return FinnNode("StreamingDataWidthConverter_rtl", "width", attributes)
