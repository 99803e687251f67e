"""What each layer costs on a part: LUT, FF, BRAM36, URAM, DSP.

DSPs and memory primitives are counted exactly as the RTL instantiates them; LUTs and FFs are sums of features of a
layer (bits that its registers, adders and multiplexers are wide) times coefficients fitted to what Yosys counts.
The coefficients are in `costs.json`, which `hw.dataflow.cost_fit` makes from counted layers, or in the kind's own file.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

from fireflow.hw.dataflow import memory
from fireflow.hw.dataflow.layers.base import Layer
from fireflow.hw.parts import Resources

if TYPE_CHECKING:
    from fireflow.hw.dataflow.network import Dataflow

TABLE = Path(__file__).with_name("costs.json")
FITTED = ("lut", "ff")


def blocks(layer: Layer, family: str) -> Resources:
    """DSPs, block RAMs and UltraRAMs of a layer."""
    kind, words = layer.memory_kind, layer.block_memories(family)
    return Resources(
        bram36=sum(memory.bram36(*each) for each in words) if kind == "bram" else 0,
        uram=sum(memory.uram_blocks(*each) for each in words) if kind == "uram" else 0,
        dsp=layer.dsps(family),
    )


@lru_cache(maxsize=1)
def fitted() -> Mapping[str, Any]:
    """The coefficients in the table: by variant of layer, then "lut" or "ff", then feature."""
    document: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))["coefficients"]
    return document


def coefficients(variant: str) -> Mapping[str, Mapping[str, float]]:
    """The costs of a kernel's features by "lut" or "ff": those of the table, or else of the kind's own file."""
    own = Layer.kinds[variant.partition(".")[0]].coefficients
    return fitted().get(variant) or own[variant]


def cost(layer: Layer, family: str) -> Resources:
    """What a layer takes on a part of family "xc7" or "xcup"."""
    return weighted(layer.variant, layer.features(family)) + blocks(layer, family)


def weighted(variant: str, own: Mapping[str, float]) -> Resources:
    """LUTs and FFs of a variant of layer with these features."""
    table = coefficients(variant)
    return Resources(**{name: sum(table[name].get(key, 0) * own[key] for key in own) for name in FITTED})


def costs(flow: Dataflow, family: str) -> dict[str, Resources]:
    """By layer name."""
    return {layer.name: cost(layer, family) for layer in flow.layers}


def total(parts: Mapping[str, Resources]) -> Resources:
    result = Resources()
    for part in parts.values():
        result = result + part
    return result
