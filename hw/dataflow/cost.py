"""What each layer costs on a part: LUT, FF, BRAM36, URAM, DSP.

DSPs and memory primitives are counted exactly as the RTL instantiates them; LUTs and FFs are sums of features of a
layer (bits that its registers, adders and multiplexers are wide) times coefficients fitted to what Yosys counts.
The coefficients are in `costs.json`; `hw.dataflow.fit` makes them from counted layers.
"""

from __future__ import annotations

import json
from functools import lru_cache, singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from fireflow.hw.dataflow import memory
from fireflow.hw.dataflow.layers import (
    Add,
    Concat,
    Fifo,
    Fork,
    Head,
    Layer,
    MatMul,
    MaxPool,
    Pad,
    Threshold,
    WidthConverter,
    Window,
)
from fireflow.hw.dataflow.products import product
from fireflow.hw.errors import InputError
from fireflow.hw.parts import FAMILIES, Resources

if TYPE_CHECKING:
    from fireflow.hw.dataflow.network import Dataflow

TABLE = Path(__file__).with_name("costs.json")
FITTED = ("lut", "ff")


def finn_lanes(family: str, weight_bits: int, activation_bits: int, narrow: bool) -> int:
    """Products that one DSP of FINN's MVAU computes at once (mvu.sv, NUM_LANES).

    >>> finn_lanes("xcup", 4, 4, True), finn_lanes("xc7", 4, 4, False), finn_lanes("xc7", 6, 8, True)
    (4, 3, 2)
    """
    weight_bits, activation_bits = max(2, weight_bits), max(2, activation_bits)
    wide = FAMILIES[family].factor_bits
    if wide == weight_bits:
        return 1
    return 1 + (wide - (not narrow) - weight_bits) // (weight_bits + activation_bits - 1)


def dsps(layer: MatMul, family: str) -> int:
    """How many a matrix product takes. Raises InputError for operands that are too wide for one."""
    if layer.kernel == "lut":
        return 0
    if layer.kernel == "finn":
        lanes = finn_lanes(family, layer.weight_bits, layer.input.bits, layer.narrow)
        if lanes < 1:
            raise InputError(
                f"{layer.name}: operands must fit a DSP, not have {layer.weight_bits} and {layer.input.bits} bits; "
                "use fewer bits"
            )
    else:
        lanes = product(layer, family).lanes
    return memory.ceil_div(layer.pe, lanes) * layer.simd


def weight_memories(layer: MatMul, family: str) -> tuple[tuple[int, int], ...]:
    """(depth, bits) of each memory of weights: one for each position of our chains, FINN's in one."""
    if layer.kernel == "finn":
        return layer.storage
    chain = product(layer, family).chain
    return ((layer.folds, layer.pe * layer.simd // chain * layer.weight_bits),) * chain


@singledispatch
def features(layer: Layer, family: str) -> dict[str, float]:
    """What the LUTs and FFs of a layer are made of, without its DSPs, block RAMs and UltraRAMs."""
    raise InputError(f"{layer.name}: costs must be known of {layer.kind}, not missing; add its features")


def _choices(layer: Layer, words: Sequence[tuple[int, int]]) -> float:
    """LUTs behind block RAMs that are not deep enough."""
    return (
        sum(memory.bram_choices(*each) for each in words) if getattr(layer, "memory", "") == "bram" else 0.0
    )


@features.register
def _matmul(layer: MatMul, family: str) -> dict[str, float]:
    products = layer.pe * layer.simd
    sf, nf = layer.mw // layer.simd, layer.mh // layer.pe
    roms = weight_memories(layer, family) if layer.memory == "lut" else ()
    common: dict[str, float] = {
        "layer": 1,
        "accumulator_bits": layer.pe * layer.output.bits,
        "input_bits": layer.input.width,
        "counter_bits": sf.bit_length() + nf.bit_length() + layer.folds.bit_length(),
        "rom_luts": sum(memory.rom_luts(*rom) for rom in roms),
        "choice_luts": _choices(layer, weight_memories(layer, family)),
        "weight_bits": products * layer.weight_bits,
    }
    if layer.kernel == "finn":
        replay = (1 << max(1, (sf - 1).bit_length()), layer.input.width) if nf > 1 else (0, 0)
        sums = layer.pe * (layer.simd - 1) * (layer.weight_bits + layer.input.bits)
        return {
            **common,
            "products": products,
            "sum_bits": sums,
            "ram_luts": memory.ram_luts(*replay, family),
        }
    return {**common, **_ours(layer, family, sf, nf)}


def _ours(layer: MatMul, family: str, sf: int, nf: int) -> dict[str, float]:
    """Of `matmul.sv`, beside what every matrix unit has."""
    shared = product(layer, family)
    chain, groups = shared.chain, layer.simd // shared.chain
    digits = (layer.weight_bits + 1) // 2
    worst = (1 << (layer.weight_bits - 1)) * ((1 << layer.input.bits) - 1)
    widths = [1 + (worst * (k + 1)).bit_length() for k in range(chain)]  # of the sum behind each position
    lane_bits = min(shared.spacing, widths[-1])
    step = 1 if layer.kernel == "dsp" else digits
    waits = [k * step for k in range(chain)]  # cycles until an activation's place in the chain has its turn
    ring = (max(32, 1 << (1 + (sf - 1).bit_length())), layer.input.width) if nf > 1 else (0, 0)
    cycles = chain * step + (groups - 1).bit_length() + 4
    queue = (1 << max(1, ((cycles + 3) // sf + 1).bit_length()), layer.pe * layer.output.bits)
    result: dict[str, float] = {
        "tree_bits": layer.pe * (groups - 1) * lane_bits,
        "shift_luts": sum(wait > 2 for wait in waits) * groups * layer.input.bits,
        "delay_bits": sum(wait for wait in waits if wait <= 2) * groups * layer.input.bits,
        "address_bits": chain * step * layer.folds.bit_length(),
        "flag_bits": cycles,
        "ring_luts": memory.ram_luts(*ring, family),
        "queue_luts": memory.ram_luts(*queue, family),
    }
    if layer.kernel == "lut":
        adders = sum(
            digits * width - digits * (digits - 1) for width in widths
        )  # digit d leaves 2 d bits as they are
        result.update(
            digit_bits=layer.pe * groups * adders,
            sum_bits=layer.pe * groups * digits * sum(widths),
            multiple_bits=layer.simd * (layer.input.bits + 2) if digits > 1 else 0,
        )
    return result


@features.register
def _threshold(layer: Threshold, family: str) -> dict[str, float]:
    small = [words for words in layer.storage if layer.memory == "lut" or words[0] < Threshold.BRAM_DEPTH]
    pointer = layer.stages + max(0, (layer.input.groups - 1).bit_length())
    return {
        "layer": 1,
        "lanes": layer.pe,
        "stage_bits": layer.pe * layer.stages * layer.bits,
        "pointer_bits": layer.stages * pointer * layer.pe,
        "output_bits": layer.output.width,
        "rom_luts": sum(memory.rom_luts(*words) for words in small),
        "choice_luts": _choices(layer, layer.storage),
    }


@features.register
def _window(layer: Window, family: str) -> dict[str, float]:
    words = layer.storage if layer.memory == "lut" else ()
    return {
        "layer": 1,
        "parallel": float(layer.parallel),
        "input_bits": layer.input.width,
        "window_bits": layer.output.width if layer.parallel else 0,
        "counter_bits": layer.input.words.bit_length() + layer.buffer_words.bit_length(),
        "ram_luts": sum(memory.ram_luts(*each, family) for each in words),
        "choice_luts": _choices(layer, layer.storage),
    }


@features.register
def _max_pool(layer: MaxPool, family: str) -> dict[str, float]:
    words = layer.storage if layer.memory == "lut" else ()
    slots = max(0, layer.kernel[1] - 2) // layer.stride[1] + 1
    return {
        "layer": 1,
        "input_bits": layer.input.width,
        "delay_bits": slots * layer.input.width * layer.input.groups,
        "counter_bits": layer.input.words.bit_length(),
        "ram_luts": sum(memory.ram_luts(*each, family) for each in words),
        "choice_luts": _choices(layer, layer.storage),
    }


@features.register
def _head(layer: Head, family: str) -> dict[str, float]:
    words = layer.storage if layer.memory == "lut" else ()
    span = max(abs(int(layer.bias.min())), abs(int(layer.bias.max()))).bit_length() + 1
    return {
        "layer": 1,
        "input_bits": layer.input.width,
        "sum_bits": layer.output.width,
        "counter_bits": layer.input.words.bit_length(),
        "rom_luts": memory.rom_luts(layer.input.groups, layer.lanes * span),
        "ram_luts": sum(memory.ram_luts(*each, family) for each in words),
        "choice_luts": _choices(layer, layer.storage),
    }


@features.register
def _fifo(layer: Fifo, family: str) -> dict[str, float]:
    words = layer.storage if layer.memory == "lut" else ()
    return {
        "layer": 1,
        "bits": layer.input.width,
        "register_bits": layer.input.width if layer.depth == 2 else 0,
        "counter_bits": layer.depth.bit_length(),
        "ram_luts": sum(memory.ram_luts(*each, family) for each in words),
        "choice_luts": _choices(layer, layer.storage),
    }


@features.register(Pad)
@features.register(Fork)
@features.register(Concat)
@features.register(Add)
def _plain(layer: Layer, family: str) -> dict[str, float]:
    return {
        "layer": 1,
        "input_bits": sum(stream.width for stream in layer.inputs),
        "output_bits": layer.outputs * layer.output.width,
        "counter_bits": layer.output.words.bit_length()
        if isinstance(layer, Pad)
        else layer.output.groups.bit_length(),
    }


@features.register
def _width(layer: WidthConverter, family: str) -> dict[str, float]:
    source, sink = layer.input, layer.output
    wider = sink.lanes > source.lanes
    return {
        "layer": 1,
        "wider_bits": sink.width if wider else 0,
        "narrower_bits": 0 if wider else source.width,
        "counter_bits": (max(source.lanes, sink.lanes) // min(source.lanes, sink.lanes)).bit_length(),
    }


def blocks(layer: Layer, family: str) -> Resources:
    """DSPs, block RAMs and UltraRAMs of a layer."""
    kind = getattr(layer, "memory", "lut")
    words = layer.storage if kind != "lut" else ()
    if isinstance(layer, MatMul) and words:
        words = weight_memories(layer, family)
    if isinstance(layer, Threshold):
        words = tuple(each for each in words if each[0] >= Threshold.BRAM_DEPTH)
    return Resources(
        bram36=sum(memory.bram36(*each) for each in words) if kind == "bram" else 0,
        uram=sum(memory.uram_blocks(*each) for each in words) if kind == "uram" else 0,
        dsp=dsps(layer, family) if isinstance(layer, MatMul) else 0,
    )


@lru_cache(maxsize=1)
def coefficients() -> Mapping[str, Any]:
    """By variant of layer, then "lut" or "ff", then feature."""
    document: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))["coefficients"]
    return document


def variant(layer: Layer) -> str:
    """What has coefficients of its own: a kind of layer, of a MatMul also the kernel ("MatMul.dsp")."""
    return f"{layer.kind}.{layer.kernel}" if isinstance(layer, MatMul) else layer.kind


def cost(layer: Layer, family: str) -> Resources:
    """What a layer takes on a part of family "xc7" or "xcup"."""
    return weighted(variant(layer), features(layer, family)) + blocks(layer, family)


def weighted(kind: str, own: Mapping[str, float]) -> Resources:
    """LUTs and FFs of a variant of layer with these features."""
    table = coefficients()[kind]
    return Resources(**{name: sum(table[name].get(key, 0) * own[key] for key in own) for name in FITTED})


def costs(flow: Dataflow, family: str) -> dict[str, Resources]:
    """By layer name."""
    return {layer.name: cost(layer, family) for layer in flow.layers}


def total(parts: Mapping[str, Resources]) -> Resources:
    result = Resources()
    for part in parts.values():
        result = result + part
    return result
