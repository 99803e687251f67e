"""Which convolution of an imported graph is which layer of a SqueezeNet, by how they are connected.

Names differ between exporters and change with fine-tuning; the connections do not. Following them also shows
what a list of weights cannot: pools in the wrong place, other operations in between, the sums of a bypass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw.errors import InputError
from hw.preprocessing import Preprocessing
from quant.family import Raw
from quant.precision import FIRE_NUMBERS
from quant.squeezenet import SqueezeNetSpec

_INPUT = "the input"


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution: weight OIHW; stride and dilation (height, width); padding (top, left, bottom, right)."""

    weight: npt.NDArray[Any]
    bias: npt.NDArray[Any] | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    groups: int = 1
    dilation: tuple[int, ...] = (1, 1)


@dataclass(frozen=True, slots=True)
class Pool:
    """A max pool: kernel and stride (height, width)."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of an imported graph.

    `kind` is "conv", "concat", "add", "pool" (a `pool` of None is no max pool), "same" (without weights, and
    channels stay), or the file's own name of an operation that no SqueezeNet has. `inputs` and `outputs` name
    tensors; a step may overwrite its input.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    conv: Conv | None = None
    pool: Pool | None = None


@dataclass
class _Wires:
    """Steps by name, and for each what it reads, through pools and steps that change no channel."""

    convs: dict[str, Conv] = field(default_factory=dict)
    reads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    concats: list[str] = field(default_factory=list)
    adds: list[str] = field(default_factory=list)
    pooled: dict[str, Pool] = field(default_factory=dict)

    def conv_readers(self, step: str) -> list[str]:
        return [name for name in self.convs if self.reads[name] == (step,)]


def name_layers(path: Path, source: str, steps: Iterable[Step], preprocessing: Preprocessing | None) -> Raw:
    """Gives every convolution its name in our naming.

    Args:
        path: for messages.
        source: the kind of file.
        steps: in an order of execution.
        preprocessing: as the file tells it.

    Raises:
        InputError: this is not how a SqueezeNet is connected.
    """
    wires = _connect(path, steps)
    stem = wires.conv_readers(_INPUT)
    if len(stem) != 1:
        raise _wrong(path, "one convolution must read the image", _listed(stem))
    layers, current, behind = {"conv1": stem[0]}, stem[0], {stem[0]: "conv1"}
    bypassed = []
    for number in FIRE_NUMBERS:
        fire = f"fire{number}"
        branches = _fire(path, fire, wires, current)
        layers |= {f"{fire}.{branch}": step for branch, step in branches.items()}
        source_step, current = current, _concat(path, fire, wires, branches)
        around = branches.get("bypass", source_step)
        sums = [add for add in wires.adds if set(wires.reads[add]) == {current, around}]
        if sums:
            current = sums[0]
            bypassed.append(number)
        elif "bypass" in branches:
            raise _wrong(path, f"{fire}: a bypass must be added to the expand branches", branches["bypass"])
        behind[current] = fire
    head = wires.conv_readers(current)
    if len(head) != 1:
        raise _wrong(path, "conv10: one convolution must read fire9", _listed(head))
    layers["conv10"] = head[0]
    left = [name for name in wires.convs if name not in layers.values()]
    if left or len(bypassed) != len(wires.adds):
        raise _wrong(
            path, "must have no convolution or sum but those of a SqueezeNet", _listed([*left, *wires.adds])
        )
    for layer, step in layers.items():
        _check_geometry(path, layer, step, wires.convs[step])
    bypass = _bypass(path, layers, bypassed, wires)
    _check_pools(path, wires, layers, behind)
    arrays = {}
    for layer, step in layers.items():
        conv = wires.convs[step]
        arrays[f"{layer}.weight"] = conv.weight
        missing_bias = np.zeros(len(conv.weight), np.float32)
        arrays[f"{layer}.bias"] = missing_bias if conv.bias is None else conv.bias
    head_padding = wires.convs[head[0]].padding[0]
    return Raw(arrays, source, preprocessing, head_padding=head_padding, simple_bypass=bypass)


def _connect(path: Path, steps: Iterable[Step]) -> _Wires:
    wires = _Wires()
    origin: dict[str, str] = {}
    for step in steps:
        reads = tuple(origin.get(tensor, _INPUT) for tensor in step.inputs)
        name = step.name
        if name in wires.reads:
            raise _wrong(path, "every operation must have a name of its own", f"two of {name!r}")
        if step.kind == "conv":
            assert step.conv is not None
            wires.convs[name] = step.conv
        elif step.kind in ("concat", "add"):
            (wires.concats if step.kind == "concat" else wires.adds).append(name)
        elif step.kind in ("pool", "same"):
            if step.pool is not None:
                if reads[0] in wires.pooled:
                    raise _wrong(path, f"{name}: one pool must follow a layer", "two")
                wires.pooled[reads[0]] = step.pool
            origin.update(dict.fromkeys(step.outputs, reads[0]))
            continue
        else:
            raise _wrong(path, f"{name}: operations must be those of a SqueezeNet", step.kind)
        wires.reads[name] = reads
        origin.update(dict.fromkeys(step.outputs, name))
    return wires


def _fire(path: Path, fire: str, wires: _Wires, source: str) -> dict[str, str]:
    """The convolutions of a Fire that reads step `source`, by branch."""
    readers = wires.conv_readers(source)
    squeezes = [name for name in readers if wires.conv_readers(name)]
    bypasses = [name for name in readers if not wires.conv_readers(name)]
    expands = wires.conv_readers(squeezes[0]) if squeezes else []
    if len(squeezes) != 1 or len(bypasses) > 1 or len(expands) != 2:
        found = f"{_listed(readers)} read by {_listed(expands)}"
        raise _wrong(
            path, f"{fire}: must be one squeeze convolution that two expand convolutions read", found
        )
    by_kernel = {wires.convs[name].weight.shape[2:]: name for name in expands}
    if set(by_kernel) != {(1, 1), (3, 3)}:
        found = _listed([str(wires.convs[name].weight.shape) for name in expands])
        raise _wrong(path, f"{fire}: expand convolutions must have kernels 1x1 and 3x3", f"weights {found}")
    branches = {"squeeze": squeezes[0], "expand1x1": by_kernel[1, 1], "expand3x3": by_kernel[3, 3]}
    return branches | ({"bypass": bypasses[0]} if bypasses else {})


def _concat(path: Path, fire: str, wires: _Wires, branches: dict[str, str]) -> str:
    wanted = (branches["expand1x1"], branches["expand3x3"])
    for name in wires.concats:
        if wires.reads[name] == wanted:
            return name
    found = [str(wires.reads[name]) for name in wires.concats if set(wires.reads[name]) & set(wanted)]
    raise _wrong(path, f"{fire}: expand1x1 and expand3x3 must be concatenated in this order", _listed(found))


def _bypass(path: Path, layers: dict[str, str], bypassed: list[int], wires: _Wires) -> bool:
    """Whether the sums are those of a simple bypass; a complex one shows in its convolutions."""
    if not bypassed or any(layer.endswith(".bypass") for layer in layers):
        wanted = list(FIRE_NUMBERS) if bypassed else []
    else:
        stem = wires.convs[layers["conv1"]].weight.shape[2]
        spec = SqueezeNetSpec("1.0" if stem == 7 else "1.1", bypass="simple")
        wanted = [n for n in FIRE_NUMBERS if spec.bypass_of(n)]
    if bypassed != wanted:
        raise _wrong(path, f"bypasses must be around fires {wanted}", str(bypassed))
    return bool(bypassed) and not any(layer.endswith(".bypass") for layer in layers)


def _check_geometry(path: Path, layer: str, step: str, conv: Conv) -> None:
    stride = (2, 2) if layer == "conv1" else (1, 1)
    pad = 1 if layer.endswith("expand3x3") else 0
    paddings = [(pad,) * 4] + ([(1,) * 4] if layer == "conv10" else [])
    rules: dict[str, tuple[object, Sequence[object]]] = {
        "stride": (conv.stride, [stride]),
        "padding": (conv.padding, paddings),
        "groups": (conv.groups, [1]),
        "dilation": (conv.dilation, [(1, 1)]),
    }
    for what, (value, allowed) in rules.items():
        if value not in allowed:
            raise _wrong(
                path, f"{layer} ({step}): {what} must be {_listed(map(str, allowed), ' or ')}", str(value)
            )


def _check_pools(path: Path, wires: _Wires, layers: dict[str, str], behind: dict[str, str]) -> None:
    version = "1.0" if wires.convs[layers["conv1"]].weight.shape[2] == 7 else "1.1"
    wanted = ["conv1", "fire4", "fire8"] if version == "1.0" else ["conv1", "fire3", "fire5"]
    found = [behind.get(step, step) for step in wires.pooled]
    if sorted(found) != sorted(wanted):
        raise _wrong(path, f"max pools must follow {_listed(wanted)} in SqueezeNet {version}", _listed(found))
    for step, pool in wires.pooled.items():
        if pool != Pool((3, 3), (2, 2)):
            raise _wrong(path, f"pool behind {behind[step]}: must be 3x3 with stride 2", str(pool))


def _listed(names: Iterable[str], separator: str = ", ") -> str:
    return separator.join(names) or "none"


def _wrong(path: Path, rule: str, value: str) -> InputError:
    return InputError(f"{path}: {rule}, not {value}; give a SqueezeNet 1.0 or 1.1")
