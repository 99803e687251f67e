"""What a finalized Brevitas network computes at every tensor, as integers, for comparison with later stages."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fireflow.quant.finalize import accumulator_scale, integer_weight
from fireflow.quant.layers import bits_of, scale_of
from fireflow.quant.networks.base import Block, Connection, Network, pool_behind

Int64Array = npt.NDArray[np.int64]
_BATCH = 4


@dataclass(frozen=True, slots=True)
class BrevitasTrace:
    """Integers of every tensor, and how far the floats they were rounded from lay from a rounding boundary.

    Args:
        tensors: int64 (N, H, W, C), and (N, classes) for ``scores``; named as in the integer graph.
        margins: for each activation, how close (in steps of the activation) its input came to the middle between two
            integers, where float error could turn the rounding: float64, one a value.
    """

    tensors: dict[str, Int64Array]
    margins: dict[str, npt.NDArray[np.float64]]


def brevitas_trace(
    network: Network, images: npt.NDArray[np.uint8], dtype: torch.dtype = torch.float32
) -> BrevitasTrace:
    """Run a finalized network.

    Args:
        network: finalized (see `quant.finalize`).
        images: uint8 (N, S, S, 3) RGB.
        dtype: the float type to compute in. Brevitas trains in float32; float64 has no rounding to speak of.
    """
    network = copy.deepcopy(network).eval().to(dtype)
    recorder = _Recorder(network)
    parts: list[dict[str, npt.NDArray[Any]]] = []
    for start in range(0, len(images), _BATCH):
        pixels = torch.from_numpy(images[start : start + _BATCH]).permute(0, 3, 1, 2).to(dtype)
        parts.append(recorder.run(pixels))
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    margins = {name.removeprefix("margin:"): a for name, a in joined.items() if name.startswith("margin:")}
    return BrevitasTrace({n: a for n, a in joined.items() if not n.startswith("margin:")}, margins)


class _Recorder:
    """Hooks that turn what flows through a network into integers."""

    def __init__(self, network: Network) -> None:
        self.network, self.head = network, network.head.name
        self.names: dict[int, str] = {}  # id of a tensor -> its name, for the tensors of the current run
        self.units: dict[str, Tensor] = {}  # what one step of an activation or a join stands for
        self.kept: list[Tensor] = []  # keeps those ids unique
        self.found: dict[str, npt.NDArray[Any]] = {}
        self.scales = {c.name: accumulator_scale(c) for c in network.connections()}
        for connection in network.connections():
            connection.conv.register_forward_hook(self._conv(connection.name))
        for path, module in network.named_modules():
            if isinstance(module, nn.MaxPool2d):
                module.register_forward_hook(self._pool)
            elif isinstance(module, Block):
                module.register_forward_hook(self._block(path))
            elif path.endswith("_act"):
                module.register_forward_hook(self._act(path.removesuffix("_act").replace("_", ".")))

    @torch.no_grad()
    def run(self, pixels: Tensor) -> dict[str, npt.NDArray[Any]]:
        self.names, self.kept, self.found = {}, [], {}
        scores = self.network(pixels).double()
        positions = int(np.prod(self.found[self.head].shape[1:3]))
        self.found["scores"] = (
            torch.round(scores * positions / self.scales[self.head]).to(torch.int64).numpy()
        )
        return self.found

    def _keep(self, name: str, tensor: Tensor) -> None:
        self.names[id(tensor)] = name
        self.kept.append(tensor)

    def _conv(self, name: str) -> Any:
        def hook(module: nn.Conv2d, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            assert module.bias is not None
            scale = self.scales[name].view(1, -1, 1, 1)
            bias = module.bias.double().view(1, -1, 1, 1)
            self.found[name] = _integers((output.double() - bias) / scale)
            if name == self.head:
                self.found[f"{name}.bias"] = _integers(output.double() / scale)
                if self.network.spec.head_relu:
                    self.found[f"{name}.relu"] = np.maximum(self.found[f"{name}.bias"], 0)
            self._keep(name, output)

        return hook

    def _act(self, own: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            name = self.names.get(id(inputs[0]), own) + ".act"
            scale = scale_of(module).double()
            self.found[name] = _integers(output.double() / scale)
            levels = inputs[0].double() / scale
            margin = (levels - torch.floor(levels) - 0.5).abs()
            self.found[f"margin:{name}"] = margin.permute(0, 2, 3, 1).numpy()
            self.units[name] = scale
            self._keep(name, output)

        return hook

    def _pool(self, _module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        source = self.names[id(inputs[0])]
        self.found[pool_behind(source)] = _integers(output.double() / self.units[source])

    def _block(self, path: str) -> Any:
        def hook(module: Block, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            name = module.output_name(path)
            self.units[name] = scale_of(module.output_act).double()
            self._keep(name, output)
            self.found[name] = _integers(output.double() / self.units[name])

        return hook


def _integers(values: Tensor) -> Int64Array:
    """(N, C, H, W) floats -> (N, H, W, C) int64."""
    return torch.round(values).to(torch.int64).permute(0, 2, 3, 1).contiguous().numpy()


@dataclass(frozen=True, slots=True)
class RoundingDifferences:
    """How often float32 rounds an activation otherwise than float64, and how many of those lie on a boundary.

    Args:
        activations: values compared.
        differing: those whose integers differ.
        on_boundary: those of them whose exact value lies within float32's error of the middle between two integers,
            or whose image has such a value in an earlier tensor, from which they follow.
    """

    activations: int
    differing: int
    on_boundary: int


def rounding_differences(
    network: Network, single: BrevitasTrace, double: BrevitasTrace
) -> RoundingDifferences:
    """Compare the activations of one network in float32 and float64 (from `brevitas_trace`)."""
    bounds = {f"{c.name}.act": _error_bound(c) for c in network.connections() if c.output_act is not None}
    compared = differing = explained = 0
    followers = np.zeros(len(single.tensors["scores"]), dtype=bool)  # images with a boundary value further up
    for name, exact in double.tensors.items():
        if name not in double.margins:
            continue
        wrong = single.tensors[name] != exact
        compared, differing = compared + wrong.size, differing + int(wrong.sum())
        per_image = followers.reshape(-1, 1, 1, 1)
        close = double.margins[name] <= bounds.get(name, 0.0)
        explained += int((wrong & (close | per_image)).sum())
        followers |= (wrong & close).any(axis=(1, 2, 3))
    return RoundingDifferences(compared, differing, explained)


def _error_bound(connection: Connection) -> npt.NDArray[np.float64]:
    """Largest error of a float32 convolution with bias, in steps of the activation behind it: (O,).

    A sum of n products is off by at most ``(n + 2) * 2**-24 * sum(|w| * |x|)``, whatever the order (Higham,
    "Accuracy and Stability of Numerical Algorithms", section 3.1).
    """
    weight = integer_weight(connection).double().abs()
    largest = 255 if connection.input_act is None else 2 ** bits_of(connection.input_act) - 1
    assert connection.conv.bias is not None
    assert connection.output_act is not None
    scale = accumulator_scale(connection)
    total = weight.sum(dim=(1, 2, 3)) * largest + connection.conv.bias.detach().double().abs() / scale
    terms = weight[0].numel() + 3
    bound = terms * 2.0**-24 * total * scale / scale_of(connection.output_act).double()
    return bound.numpy()
