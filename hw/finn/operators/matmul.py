"""FINN's MVAU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fireflow.hw.dataflow.layers.matmul import MatMul
from fireflow.hw.dataflow.memory import RAM_STYLES
from fireflow.hw.errors import InputError
from fireflow.hw.finn.operators.base import FinnNode, Operator, hex_lines, integers
from fireflow.hw.finn.wrappers import mvau_top
from fireflow.hw.types import signed_bits

MIN_OPERAND_BITS = 2
"""FINN's multiplier wants at least this many bits on either side."""


class Mvau(Operator, layer=MatMul):
    """A matrix product."""

    def node(self, layer: MatMul, top: str) -> FinnNode:
        weight_bits = max(MIN_OPERAND_BITS, layer.weight_bits)
        act_bits = max(MIN_OPERAND_BITS, layer.input.bits)
        acc_bits = _accumulator_bits(layer, weight_bits, act_bits)
        if act_bits - layer.input.signed > 17 or weight_bits > 25:
            raise InputError(
                f"operands must fit a DSP's 25 x 18 bits, not {weight_bits} x {act_bits}; use fewer bits"
            )
        attributes = {
            "PE": layer.pe,
            "SIMD": layer.simd,
            "MW": layer.mw,
            "MH": layer.mh,
            "inputDataType": integers(act_bits, layer.input.signed),
            "weightDataType": integers(weight_bits, True),
            "outputDataType": integers(acc_bits, True),
            "noActivation": 1,
            "mem_mode": "internal_decoupled",
        }
        image = f"{top}_weights.dat"
        text = mvau_top(layer, top, act_bits, acc_bits, weight_bits, image)
        weight = (layer.weight.T, integers(weight_bits, True))
        node = FinnNode(
            "MVAU_rtl", f"{top}_mvau", attributes, weight, {f"{top}.sv": text, image: weight_image(layer)}
        )
        # FINN packs weights one by one in Python, seconds for a large layer; it rounds their memory up to bytes, gives
        # it an AXI-lite port, and leaves it to Vivado's block design to connect it. `mvau_top` has it beside the MVAU.
        node.op.generate_params = lambda model, path: None
        node.op.generate_infra_hdl = lambda part: None
        node.library = ("memstream/hdl/memstream.sv",)
        return node

    def estimated(self, layer: MatMul) -> Any:
        """A product of ours is taken for FINN's MVAU of the same PE and SIMD: RTL with DSPs, HLS without."""
        node = _lut_product(layer) if layer.kernel == "lut" else self.node(layer, "layer")
        node.op.set_nodeattr("ram_style", RAM_STYLES[layer.memory])
        return node.op

    def choice(self, layer: MatMul) -> Mapping[str, Any]:
        """FINN's RTL multiplies in DSPs alone."""
        return {"preferred_impl_style": "hls", "resType": "lut"} if layer.kernel == "lut" else {}

    def folding(self, layer: MatMul) -> Mapping[str, Any]:
        memory = {"mem_mode": "internal_decoupled", "ram_style": RAM_STYLES[layer.memory]}
        return {"PE": layer.pe, "SIMD": layer.simd, **memory}


def _accumulator_bits(layer: MatMul, weight_bits: int, act_bits: int) -> int:
    """Enough for every partial sum, and for what FINN's multiplier asks for: one whole product."""
    ends = layer.weight[:, :, None] * np.array([layer.input.lo, layer.input.hi, 0])  # (MH, MW, 3)
    lo, hi = int(ends.min(2).sum(1).min()), int(ends.max(2).sum(1).max())
    return max(signed_bits(lo, hi), weight_bits + act_bits, layer.output.bits)


def weight_image(layer: MatMul) -> str:
    """The memory of the weights, a hexadecimal word per line.

    Word nf * SF + sf holds weight[nf * PE + pe, sf * SIMD + simd] as its element pe * SIMD + simd.
    """
    bits = max(MIN_OPERAND_BITS, layer.weight_bits)
    folds = layer.weight.reshape(layer.mh // layer.pe, layer.pe, layer.mw // layer.simd, layer.simd)
    return hex_lines(folds.transpose(0, 2, 1, 3).reshape(-1, layer.pe * layer.simd), bits, True)


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
