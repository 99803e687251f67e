"""FINN's Thresholding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fireflow.hw.dataflow.layers.threshold import Threshold
from fireflow.hw.errors import InputError
from fireflow.hw.finn.operators.base import DEEPER_THAN_ANY, FinnNode, Operator, hex_lines, integers
from fireflow.hw.finn.wrappers import tied_top

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array


class Thresholding(Operator, layer=Threshold):
    """Thresholds by binary search."""

    def node(self, layer: Threshold, top: str) -> FinnNode:
        signed = layer.input.signed
        if layer.memory == "uram":
            raise InputError(
                "memory of thresholds must be lut or bram, not 'uram', which starts empty; change it"
            )
        thresholds, bits = layer.stored, layer.bits
        steps = int(thresholds.shape[1])
        attributes = {
            "PE": layer.pe,
            "NumChannels": layer.input.channels,
            "numSteps": steps,
            "ActVal": layer.out_lo,
            "inputDataType": integers(layer.input.bits, signed),
            "weightDataType": integers(bits, signed),
            "outputDataType": integers(layer.output.bits, layer.output.signed),
            "depth_trigger_bram": _bram_depth(layer),
        }
        core = f"{top}_thresholding"
        out_bits = _threshold_bits(layer.out_lo, steps)
        text = tied_top(
            layer, top, core, layer.input.bits, out_bits, layer.out_lo < 0, ("in1_V_TVALID", "in1_V_TDATA")
        )
        images = threshold_images(thresholds, layer.pe, bits, signed, f"{core}_threshs")
        extra = {f"{top}.sv": text, **images}
        node = FinnNode("Thresholding_rtl", core, attributes, (thresholds, integers(bits, signed)), extra)
        # FINN's images are of another layout where out_lo widens the output.
        node.op.generate_params = lambda model, path: None
        return node

    def estimated(self, layer: Threshold) -> Any:
        op = super().estimated(layer)
        # The formula takes 0, by which the RTL has none, for always.
        op.set_nodeattr("depth_trigger_uram", DEEPER_THAN_ANY)
        return op

    def folding(self, layer: Threshold) -> Mapping[str, Any]:
        return {"PE": layer.pe, "depth_trigger_bram": _bram_depth(layer)}


def _bram_depth(layer: Threshold) -> int:
    """Memories of this depth or more lie in block RAM, the others do not."""
    return layer.BRAM_DEPTH if layer.memory == "bram" else DEEPER_THAN_ANY


def _threshold_bits(out_lo: int, steps: int) -> int:
    """Bits of an output of FINN's module."""
    top = steps + out_lo + 1
    return (top - 1).bit_length() if out_lo >= 0 else 1 + (max(-out_lo, top) - 1).bit_length()


def threshold_images(thresholds: Int64Array, pe: int, bits: int, signed: bool, prefix: str) -> dict[str, str]:
    """The memories of a binary search, PREFIX_PE_STAGE.dat, a threshold per line in hexadecimal.

    Stage s compares with one of 2**s thresholds of a channel; channels c, c + PE, c + 2 * PE, ... share memories.
    """
    channels, steps = thresholds.shape
    stages = steps.bit_length()  # ceil(log2(steps + 1))
    full = np.zeros((channels, (1 << stages) - 1), np.int64)  # entries beyond `steps` are never looked at
    full[:, :steps] = thresholds
    images = {}
    for stage in range(stages):
        step = 1 << (stages - stage)
        own = full[:, step // 2 - 1 :: step]  # (channels, 2**stage)
        for lane in range(pe):
            images[f"{prefix}_{lane}_{stage}.dat"] = hex_lines(own[lane::pe].reshape(-1, 1), bits, signed)
    return images
