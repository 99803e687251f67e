"""Our matrix unit, matmul.sv, for a MatMul layer: its parameters and the memories of its weights."""

from __future__ import annotations

import numpy as np

from fireflow.hw.dataflow.layers import MatMul
from fireflow.hw.dataflow.memory import RAM_STYLES
from fireflow.hw.dataflow.products import product
from fireflow.hw.errors import InputError
from fireflow.hw.packing import pack_bits
from fireflow.hw.parts import FAMILIES
from fireflow.hw.rtl.kernels import Kernel
from fireflow.hw.tools.axi_stream import Port


def matmul_kernel(layer: MatMul, family: str) -> Kernel:
    """The kernel that computes a MatMul of kernel "dsp" or "lut".

    Args:
        layer: its activations are unsigned.
        family: "xc7" or "xcup".

    Raises:
        InputError: signed activations, or activations too wide for a DSP.
    """
    if layer.input.signed or layer.input.bits > 17:
        raise InputError(
            f"{layer.name}: activations must be unsigned and at most 17 bits wide, not {layer.input.lo}.."
            f"{layer.input.hi}; choose kernel 'finn'"
        )
    shared = product(layer, family)
    image = f"{layer.name}.weights"
    parameters: dict[str, int | str] = {
        "MW": layer.mw,
        "MH": layer.mh,
        "PE": layer.pe,
        "SIMD": layer.simd,
        "WEIGHT_BITS": layer.weight_bits,
        "ACT_BITS": layer.input.bits,
        "SUM_BITS": layer.output.bits,
        "DSP": FAMILIES[family].dsp_version if layer.kernel == "dsp" else 0,
        "LANES": shared.lanes,
        "SPACING": shared.spacing,
        "CHAIN": shared.chain,
        "RAM_STYLE": RAM_STYLES[layer.memory],
        "IMAGE": image,
    }
    ports = (Port("in0_V", layer.input.tdata_bits),), (Port("out0_V", layer.output.tdata_bits),)
    images = {f"{image}_{k}.dat": text for k, text in enumerate(weight_images(layer, shared.chain))}
    return Kernel("matmul", parameters, *ports, 0, ("lut_rom", "multiply_dsp", "multiply_lut"), images)


def weight_images(layer: MatMul, chain: int) -> list[str]:
    """For each position of the chains its ROM, a hexadecimal word per line.

    Word nf * SF + sf of position k holds weight[nf * PE + pe, sf * SIMD + g * chain + k] as element g * PE + pe.
    """
    nf, sf, groups = layer.mh // layer.pe, layer.mw // layer.simd, layer.simd // chain
    folds = layer.weight.reshape(nf, layer.pe, sf, groups, chain).transpose(4, 0, 2, 3, 1)
    words = folds.reshape(chain, nf * sf, groups * layer.pe)  # (chain, DEPTH, elements)
    packed = pack_bits(words, layer.weight_bits, True)[..., ::-1]
    digits = -(-words.shape[2] * layer.weight_bits // 4)
    return [
        "".join(row.tobytes().hex()[-digits:] + "\n" for row in np.ascontiguousarray(own)) for own in packed
    ]
