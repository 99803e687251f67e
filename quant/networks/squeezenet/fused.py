"""A SqueezeNet in training as one function that a compiler can fuse: see `quant.fused`.

The stem pools before it rounds, so a gradient goes to the largest accumulator where Brevitas takes the first of equal
integers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fireflow.quant.fused import Fused, by_channel, max_pool, scaled
from fireflow.quant.networks.squeezenet.spec import PoolBorder

if TYPE_CHECKING:
    from fireflow.quant.networks.squeezenet.network import Fire, SqueezeNet


class FusedSqueezeNet(Fused):
    """The function of a SqueezeNet, float or quantized, on its own parameters."""

    network: SqueezeNet

    def scores_and_maps(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As `SqueezeNet.scores_and_maps`; the maps are of `dtype`."""
        net = self.network
        if net.pixel_offset is not None:
            pixels = pixels - net.pixel_offset
        sums = [self.convolved(net.conv1, pixels.to(self.dtype), None)]
        if net.spec.pool_before(2):  # rounding keeps order, so it may wait until there are fewer values
            sums = [(_pooled(sums[0][0], net.spec.border_before(2)), sums[0][1])]
        x = self.activated(net.conv1_act, sums, [net.conv1])
        act: nn.Module = net.conv1_act
        maps = []
        for number, fire in net.fires:
            if number > 2 and net.spec.pool_before(number):
                x = _pooled(x, net.spec.border_before(number))
            x = self._fire(fire, x, act)
            act = fire.output_act
            scale = self.scale(act)
            maps.append(x if scale is None else (x.float() * scale).to(self.dtype))
        accumulators, unit = self.convolved(net.conv10, x, act)
        head = scaled(accumulators, unit) + by_channel(net.conv10.bias)
        maps.append(head.to(self.dtype))
        return (torch.relu(head) if net.spec.head_relu else head).mean((2, 3)), maps

    def _fire(self, fire: Fire, x: Tensor, act: nn.Module) -> Tensor:
        squeezed = self.activated(fire.squeeze_act, [self.convolved(fire.squeeze, x, act)], [fire.squeeze])
        branches = [fire.expand1x1, fire.expand3x3]
        sums = [self.convolved(conv, squeezed, fire.squeeze_act) for conv in branches]
        out = self.activated(fire.expand_act, sums, branches)
        if fire.bypass_kind is None:
            return out
        around = x
        if fire.bypass_kind == "conv":
            around = self.activated(fire.expand_act, [self.convolved(fire.bypass, x, act)], [fire.bypass])
        # An identity shares its scale with the expand branches, and so does the convolution around them.
        total = out.float() + around.float()
        return self.rounded(fire.add_act, total, self.scale(fire.expand_act))


def _pooled(x: Tensor, border: PoolBorder) -> Tensor:
    return max_pool(x, border.padding, border.ceil)
