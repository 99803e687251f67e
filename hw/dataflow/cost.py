"""What each layer costs on a part: LUT, FF, BRAM36, URAM, DSP.

DSPs and memory primitives are counted exactly as the RTL instantiates them; LUTs and FFs are sums of features of a
layer (bits that its registers, adders and multiplexers are wide) times coefficients fitted to what Yosys counts.
The coefficients are in `costs.json`; `fit` makes them from measured layers, `errors` shows how far off they are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache, singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from hw.boards import Resources
from hw.dataflow import memory
from hw.dataflow.layers import (
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
from hw.dataflow.products import FACTOR_BITS, product
from hw.errors import InputError

if TYPE_CHECKING:
    from hw.dataflow.network import Dataflow
    from hw.types import Array

TABLE = Path(__file__).with_name("costs.json")
FITTED = ("lut", "ff")
PULL = 0.3
"""What the present coefficients weigh in a fit, in samples."""


def finn_lanes(family: str, weight_bits: int, activation_bits: int, narrow: bool) -> int:
    """Products that one DSP of FINN's MVAU computes at once (mvu.sv, NUM_LANES).

    >>> finn_lanes("xcup", 4, 4, True), finn_lanes("xc7", 4, 4, False), finn_lanes("xc7", 6, 8, True)
    (4, 3, 2)
    """
    weight_bits, activation_bits = max(2, weight_bits), max(2, activation_bits)
    wide = FACTOR_BITS[family]
    if wide == weight_bits:
        return 1
    return 1 + (wide - (not narrow) - weight_bits) // (weight_bits + activation_bits - 1)


def dsps(layer: MatMul, family: str) -> int:
    if layer.kernel == "lut":
        return 0
    if layer.kernel == "finn":
        lanes = finn_lanes(family, layer.weight_bits, layer.input.bits, layer.narrow)
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


@features.register
def _matmul(layer: MatMul, family: str) -> dict[str, float]:
    products = layer.pe * layer.simd
    sf, nf = layer.mw // layer.simd, layer.mh // layer.pe
    roms = weight_memories(layer, family) if layer.memory == "lut" else ()
    common = {
        "layer": 1,
        "accumulator_bits": layer.pe * layer.output.bits,
        "input_bits": layer.input.width,
        "counter_bits": sf.bit_length() + nf.bit_length() + layer.folds.bit_length(),
        "rom_luts": sum(memory.rom_luts(*rom) for rom in roms),
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
    shared = product(layer, family)
    replay = (max(32, 2 * sf), layer.input.width) if nf > 1 else (0, 0)
    chains = layer.simd // shared.chain
    own = {
        "chains": layer.pe * chains,  # partial sums that the adder tree takes
        "chain_bits": layer.pe * chains * (layer.weight_bits + layer.input.bits + shared.chain.bit_length()),
        "delay_bits": layer.input.width
        * (shared.chain + 1)
        / 2,  # an activation waits for its place in the chain
        "address_bits": shared.chain * layer.folds.bit_length(),
        "ram_luts": memory.ram_luts(*replay, family),
    }
    digits = (layer.weight_bits + 1) // 2
    if layer.kernel == "lut":
        own.update(products=products, product_bits=products * digits * layer.input.bits)
    return {**common, **own}


@features.register
def _threshold(layer: Threshold, family: str) -> dict[str, float]:
    small = [words for words in layer.storage if layer.memory == "lut" or words[0] < Threshold.BRAM_DEPTH]
    pointer = layer.stages + max(0, (layer.input.groups - 1).bit_length())
    return {
        "layer": 1,
        "lanes": layer.pe,
        "stage_bits": layer.pe * layer.stages * layer.input.bits,
        "pointer_bits": layer.stages * pointer * layer.pe,
        "output_bits": layer.output.width,
        "rom_luts": sum(memory.rom_luts(*words) for words in small),
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
    }


@features.register
def _head(layer: Head, family: str) -> dict[str, float]:
    words = layer.storage if layer.memory == "lut" else ()
    span = int(np.abs(layer.bias).max()).bit_length() + 1
    return {
        "layer": 1,
        "input_bits": layer.input.width,
        "sum_bits": layer.output.width,
        "counter_bits": layer.input.words.bit_length(),
        "rom_luts": memory.rom_luts(layer.input.groups, layer.lanes * span),
        "ram_luts": sum(memory.ram_luts(*each, family) for each in words),
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
    }


@features.register(Pad)
@features.register(Fork)
@features.register(Concat)
@features.register(Add)
@features.register(WidthConverter)
def _plain(layer: Layer, family: str) -> dict[str, float]:
    narrow, wide = sorted((layer.input.width, layer.output.width))
    return {
        "layer": 1,
        "input_bits": sum(stream.width for stream in layer.inputs),
        "output_bits": layer.outputs * layer.output.width,
        "ratio_bits": wide - narrow,
        "counter_bits": layer.output.words.bit_length()
        if isinstance(layer, Pad)
        else layer.output.groups.bit_length(),
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
        uram=sum(memory.uram(*each) for each in words) if kind == "uram" else 0,
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
    table, own = coefficients()[variant(layer)], features(layer, family)
    counts = {name: sum(table[name].get(key, 0) * own[key] for key in own) for name in FITTED}
    return Resources(**counts) + blocks(layer, family)


def costs(flow: Dataflow, family: str) -> dict[str, Resources]:
    """By layer name."""
    return {layer.name: cost(layer, family) for layer in flow.layers}


def total(parts: Mapping[str, Resources]) -> Resources:
    result = Resources()
    for part in parts.values():
        result = result + part
    return result


@dataclass(frozen=True, eq=False)
class Sample:
    """A layer with what a tool counted of it."""

    layer: Layer
    family: str
    counted: Resources


def fit(samples: Sequence[Sample], pull: float = PULL) -> dict[str, dict[str, dict[str, float]]]:
    """Coefficients for `costs.json`: for each variant of layer in `samples`, none negative, least relative squares.

    Counts of a few LUTs weigh no more than those of many: residuals are relative to the count plus 50. Few samples
    cannot tell all features apart: each coefficient is pulled towards the present one, as `pull` samples would.
    """
    result: dict[str, dict[str, dict[str, float]]] = {}
    for kind in sorted({variant(sample.layer) for sample in samples}):
        own = [sample for sample in samples if variant(sample.layer) == kind]
        rows = [features(sample.layer, sample.family) for sample in own]
        names = list(rows[0])
        matrix = np.array([[row[name] for name in names] for row in rows])
        result[kind] = {}
        for resource in FITTED:
            counts = np.array([getattr(sample.counted, resource) for sample in own], float)
            weights = 1 / (counts + 50)
            scaled = matrix * weights[:, None]
            strength = np.sqrt(pull * (scaled**2).mean(axis=0))
            present = np.array(
                [coefficients().get(kind, {}).get(resource, {}).get(name, 0.0) for name in names]
            )
            solution = _non_negative(
                np.vstack([scaled, np.diag(strength)]), np.append(counts * weights, strength * present)
            )
            result[kind][resource] = {
                name: round(float(value), 4) for name, value in zip(names, solution) if value > 0
            }
    return result


def _non_negative(matrix: Array, target: Array) -> Array:
    """argmin |matrix @ x - target| with x >= 0, by the active set method of Lawson and Hanson (1974)."""
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0] = 1
    matrix = matrix / scale
    columns = matrix.shape[1]
    x, active = np.zeros(columns), np.zeros(columns, bool)
    for _ in range(10 * columns):
        gradient = matrix.T @ (target - matrix @ x)
        gradient[active] = -np.inf
        best = int(np.argmax(gradient))
        if gradient[best] <= 1e-10:
            break
        active[best] = True
        while True:
            trial = np.zeros(columns)
            trial[active] = np.linalg.lstsq(matrix[:, active], target, rcond=None)[0]
            if (trial[active] > 0).all():
                break
            falling = active & (trial <= 0)
            step = (x[falling] / (x[falling] - trial[falling])).min()
            x = x + step * (trial - x)
            active &= x > 1e-12
        x = trial
    result: Array = x / scale
    return result


def errors(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """By kind and resource the mean relative error of the model, weighted by the counts: sum |e| / sum count."""
    result: dict[str, dict[str, float]] = {}
    for kind in sorted({variant(sample.layer) for sample in samples}):
        own = [sample for sample in samples if variant(sample.layer) == kind]
        result[kind] = {}
        for resource in ("lut", "ff", "bram36", "dsp"):
            counted = [getattr(sample.counted, resource) for sample in own]
            guessed = [getattr(cost(sample.layer, sample.family), resource) for sample in own]
            off = sum(abs(a - b) for a, b in zip(counted, guessed))
            result[kind][resource] = off / max(1.0, sum(counted))
    return result
