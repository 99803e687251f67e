"""Compiled training computes what Brevitas does, values and gradients."""

import pytest
import torch
from torch import Tensor, nn

from quant.calibrate import quantize
from quant.fused import FusedSqueezeNet
from quant.precision import PRESETS
from quant.squeezenet import ARCHITECTURES, FireWidths, SqueezeNet, architecture

SIZE = 48


class PoolAfterStem(nn.Module):
    """The pool of a network whose stem has pooled already."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x if self.calls == 1 else nn.functional.max_pool2d(x, 3, 2, ceil_mode=True)


def made(name: str, policy: str | None) -> tuple[SqueezeNet, Tensor]:
    torch.manual_seed(5)
    fires = tuple(FireWidths(4, 6, 8) for _ in range(8))
    net = SqueezeNet(architecture(name, input_size=SIZE, num_classes=5, stem_channels=6, fires=fires))
    for connection in net.connections():
        nn.init.kaiming_normal_(connection.conv.weight)
        nn.init.normal_(connection.conv.bias, std=0.1)
    net.pixel_offset = torch.full((1, 3, 1, 1), 120.0)
    pixels = 255 * torch.rand(4, 3, SIZE, SIZE)  # whole numbers would tie in the pool of the stem
    return (quantize(net, PRESETS[policy], [pixels]) if policy else net), pixels


def gradients(net: SqueezeNet, scores: Tensor, maps: list[Tensor]) -> dict[str, Tensor]:
    """Of a sum that depends on every score and every place of every map."""
    torch.manual_seed(6)
    total = (scores * torch.randn_like(scores)).sum()
    for m in maps:
        total = total + (m * torch.randn_like(m, memory_format=torch.contiguous_format)).sum()
    net.zero_grad()
    total.backward()
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("policy", [None, "w4a4", "w2a4"])
def test_values_and_gradients_are_those_of_brevitas(name: str, policy: str | None) -> None:
    net, pixels = made(name, policy)
    net.train()
    fused_scores, fused_maps = FusedSqueezeNet(net, torch.float32).scores_and_maps(pixels)
    fused = gradients(net, fused_scores, fused_maps)
    with torch.no_grad():
        torch.testing.assert_close(fused_scores, net(pixels), rtol=1e-4, atol=1e-4)
    # Brevitas rounds before the pool of the stem, so equal integers tie there: compare with the pool first.
    net.conv1, net.pool = nn.Sequential(net.conv1, nn.MaxPool2d(3, 2, ceil_mode=True)), PoolAfterStem()
    scores, maps = net.scores_and_maps(pixels)
    for own, wanted in zip(fused_maps, maps, strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-4)
    for key, wanted in gradients(net, scores, maps).items():
        own = fused[key.replace("conv1.0.", "conv1.")]
        torch.testing.assert_close(own, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()), msg=key)
