"""A network in training as one function that a compiler can fuse, for `Recipe.compile`.

A step of the Brevitas network spends most of its time carrying activations to and from memory: every layer rounds,
clamps and scales tensors of float32 one operation after the other. Here what lies between two convolutions is one
expression, and what passes between layers are the integers themselves, exact in 16 bits.

In float32, values and gradients are those of the Brevitas network, whose parameters these are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fireflow.quant.layers import is_quantized, largest_integer, scale_parameter


class Fused(nn.Module):
    """Base of networks in this form; a subclass has `scores_and_maps` as its network does, the maps of `dtype`.

    Args:
        network: float or quantized, with its scales set. The parameters are its own.
        dtype: of activations and products; sums within a convolution are float32 in any case.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype
        self._largest = {m: largest_integer(m) for m in network.modules() if is_quantized(m)}
        self._ranges = {m: scale_parameter(m) for m in self._largest}

    def scale(self, layer: nn.Module | None) -> Tensor | None:
        """What one step of a layer's integers stands for; None where there are none."""
        if layer is None or layer not in self._largest:
            return None
        return self._ranges[layer] / self._largest[layer]

    def convolved(self, conv: nn.Conv2d, x: Tensor, act: nn.Module | None) -> tuple[Tensor, Tensor | None]:
        """Accumulators (N, C, H, W) and what a step of them stands for, (1, C, 1, 1) or (1, 1, 1, 1)."""
        weight, unit = conv.weight, self.scale(conv)
        if unit is not None:
            largest = self._largest[conv]
            weight = torch.clamp(_round(weight / unit), -largest, largest)
            unit = unit.view(1, -1, 1, 1)
            step = self.scale(act)
            unit = unit if step is None else unit * step
        weight = weight.to(self.dtype).contiguous(memory_format=torch.channels_last)
        return functional.conv2d(x, weight, None, conv.stride, conv.padding), unit

    def activated(
        self, act: nn.Module, sums: list[tuple[Tensor, Tensor | None]], convs: list[nn.Conv2d]
    ) -> Tensor:
        """The activation behind convolutions side by side: integers, or values of a float network."""
        accumulators = torch.cat([part for part, _ in sums], 1)
        bias = by_channel(torch.cat([conv.bias for conv in convs if conv.bias is not None]))
        units = [unit for _, unit in sums if unit is not None]
        if not units:
            return torch.relu(accumulators.float() + bias).to(self.dtype)
        return self.rounded(act, accumulators.float(), torch.cat(units, 1), bias)

    def rounded(self, act: nn.Module, x: Tensor, unit: Tensor | None, bias: Tensor | float = 0.0) -> Tensor:
        """The activation of `x` steps of `unit`, plus `bias`: integers, or values of a float network."""
        step = self.scale(act)
        if step is None or unit is None:
            return torch.relu(x + bias).to(self.dtype)
        steps = torch.relu(x * (unit / step) + bias / step)
        return torch.clamp(_round(steps), max=self._largest[act]).to(self.dtype)


def _round(x: Tensor) -> Tensor:
    """Rounds, half to even as Brevitas does; gradients pass straight through."""
    return x + (x.round() - x).detach()


def by_channel(values: Tensor | None) -> Tensor:
    """(C,) -> (1, C, 1, 1)."""
    assert values is not None
    return values.view(1, -1, 1, 1)


def scaled(accumulators: Tensor, unit: Tensor | None) -> Tensor:
    """What accumulators stand for, in float32."""
    return accumulators.float() if unit is None else accumulators.float() * unit


def _window(padding: int, ceil: bool) -> tuple[list[int], list[int], list[int], list[int], bool]:
    """Kernel, stride, padding, dilation and ceil mode of a max pool of the family."""
    return [3, 3], [2, 2], [padding, padding], [1, 1], ceil


@torch.library.custom_op("fireflow::max_pool_backward", mutates_args=())
def _max_pool_backward(gradient: Tensor, x: Tensor, indices: Tensor, padding: int, ceil: bool) -> Tensor:
    window = _window(padding, ceil)
    result: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(gradient, x, *window, indices)
    return result


@_max_pool_backward.register_fake
def _(_gradient: Tensor, x: Tensor, _indices: Tensor, _padding: int, _ceil: bool) -> Tensor:
    return torch.empty_like(x)


class _MaxPool(torch.autograd.Function):
    """A max pool whose gradient is torch's own kernel: the code made for it on a CPU takes three times as long."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, padding: int, ceil: bool) -> Tensor:
        """(N, C, H, W) -> (N, C, h, w)."""
        pooled: Tensor
        pooled, indices = torch.ops.aten.max_pool2d_with_indices(x, *_window(padding, ceil))
        ctx.save_for_backward(x, indices)
        ctx.border = padding, ceil
        return pooled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """(N, C, h, w) -> (N, C, H, W)."""
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        spread: Tensor = _max_pool_backward(gradient, *ctx.saved_tensors, *ctx.border)
        return spread, None, None


def max_pool(x: Tensor, padding: int, ceil: bool) -> Tensor:
    """A max pool of 3x3 and stride 2: (N, C, H, W) -> (N, C, h, w); `ceil` rounds sizes up."""
    pooled: Tensor = _MaxPool.apply(x, padding, ceil)  # type: ignore[no-untyped-call]
    return pooled
