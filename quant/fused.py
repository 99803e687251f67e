"""A SqueezeNet in training as one function that a compiler can fuse, for `Recipe.compile`.

A step of the Brevitas network spends most of its time carrying activations to and from memory: every layer rounds,
clamps and scales tensors of float32 one operation after the other. Here what lies between two convolutions is one
expression, and what passes between layers are the integers themselves, exact in 16 bits.

In float32, values and gradients are those of the Brevitas network, whose parameters these are. But the stem pools
before it rounds, so a gradient goes to the largest accumulator where Brevitas takes the first of equal integers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fireflow.quant.layers import is_quantized, largest_integer, scale_parameter
from fireflow.quant.squeezenet import Fire, PoolBorder, SqueezeNet


class FusedSqueezeNet(nn.Module):
    """The function of `network`, float or quantized, on its own parameters.

    Args:
        network: with its scales set.
        dtype: of activations and products; sums within a convolution are float32 in any case.
    """

    def __init__(self, network: SqueezeNet, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype
        self._largest = {m: largest_integer(m) for m in network.modules() if is_quantized(m)}
        self._ranges = {m: scale_parameter(m) for m in self._largest}

    def scores_and_maps(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As `SqueezeNet.scores_and_maps`; the maps are of `dtype`."""
        net = self.network
        if net.pixel_offset is not None:
            pixels = pixels - net.pixel_offset
        sums = [self._convolved(net.conv1, pixels.to(self.dtype), None)]
        if net.spec.pool_before(2):  # rounding keeps order, so it may wait until there are fewer values
            sums = [(_max_pool(sums[0][0], net.spec.border_before(2)), sums[0][1])]
        x = self._activated(net.conv1_act, sums, [net.conv1])
        act: nn.Module = net.conv1_act
        maps = []
        for number, fire in net.fires:
            if number > 2 and net.spec.pool_before(number):
                x = _max_pool(x, net.spec.border_before(number))
            x = self._fire(fire, x, act)
            act = fire.output_act
            scale = self._scale(act)
            maps.append(x if scale is None else (x.float() * scale).to(self.dtype))
        accumulators, unit = self._convolved(net.conv10, x, act)
        head = _scaled(accumulators, unit) + _by_channel(net.conv10.bias)
        maps.append(head.to(self.dtype))
        return (torch.relu(head) if net.spec.head_relu else head).mean((2, 3)), maps

    def _fire(self, fire: Fire, x: Tensor, act: nn.Module) -> Tensor:
        squeezed = self._activated(fire.squeeze_act, [self._convolved(fire.squeeze, x, act)], [fire.squeeze])
        branches = [fire.expand1x1, fire.expand3x3]
        sums = [self._convolved(conv, squeezed, fire.squeeze_act) for conv in branches]
        out = self._activated(fire.expand_act, sums, branches)
        if fire.bypass_kind is None:
            return out
        around = x
        if fire.bypass_kind == "conv":
            around = self._activated(fire.expand_act, [self._convolved(fire.bypass, x, act)], [fire.bypass])
        # An identity shares its scale with the expand branches, and so does the convolution around them.
        total = out.float() + around.float()
        return self._rounded(fire.add_act, total, self._scale(fire.expand_act))

    def _scale(self, layer: nn.Module | None) -> Tensor | None:
        """What one step of a layer's integers stands for; None where there are none."""
        if layer is None or layer not in self._largest:
            return None
        return self._ranges[layer] / self._largest[layer]

    def _convolved(self, conv: nn.Conv2d, x: Tensor, act: nn.Module | None) -> tuple[Tensor, Tensor | None]:
        """Accumulators (N, C, H, W) and what a step of them stands for, (1, C, 1, 1) or (1, 1, 1, 1)."""
        weight, unit = conv.weight, self._scale(conv)
        if unit is not None:
            largest = self._largest[conv]
            weight = torch.clamp(_round(weight / unit), -largest, largest)
            unit = unit.view(1, -1, 1, 1)
            step = self._scale(act)
            unit = unit if step is None else unit * step
        weight = weight.to(self.dtype).contiguous(memory_format=torch.channels_last)
        return functional.conv2d(x, weight, None, conv.stride, conv.padding), unit

    def _activated(
        self, act: nn.Module, sums: list[tuple[Tensor, Tensor | None]], convs: list[nn.Conv2d]
    ) -> Tensor:
        """The activation behind convolutions side by side: integers, or values of a float network."""
        accumulators = torch.cat([part for part, _ in sums], 1)
        bias = _by_channel(torch.cat([conv.bias for conv in convs if conv.bias is not None]))
        units = [unit for _, unit in sums if unit is not None]
        if not units:
            return torch.relu(accumulators.float() + bias).to(self.dtype)
        return self._rounded(act, accumulators.float(), torch.cat(units, 1), bias)

    def _rounded(self, act: nn.Module, x: Tensor, unit: Tensor | None, bias: Tensor | float = 0.0) -> Tensor:
        step = self._scale(act)
        if step is None or unit is None:
            return torch.relu(x + bias).to(self.dtype)
        steps = torch.relu(x * (unit / step) + bias / step)
        return torch.clamp(_round(steps), max=self._largest[act]).to(self.dtype)


def _round(x: Tensor) -> Tensor:
    """Rounds, half to even as Brevitas does; gradients pass straight through."""
    return x + (x.round() - x).detach()


def _by_channel(values: Tensor | None) -> Tensor:
    assert values is not None
    return values.view(1, -1, 1, 1)


def _scaled(accumulators: Tensor, unit: Tensor | None) -> Tensor:
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


def _max_pool(x: Tensor, border: PoolBorder) -> Tensor:
    pooled: Tensor = _MaxPool.apply(x, border.padding, border.ceil)  # type: ignore[no-untyped-call]
    return pooled
