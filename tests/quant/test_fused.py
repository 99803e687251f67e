"""Compiled training computes what Brevitas does, values and gradients."""

import pytest
import torch
from torch import Tensor, nn

from fireflow.quant.loss import map_distance
from fireflow.quant.networks.squeezenet import SqueezeNet
from fireflow.quant.networks.squeezenet.fused import FusedSqueezeNet
from fireflow.quant.networks.squeezenet.spec import ARCHITECTURES
from tests.quant.networks import float_network, narrow_network

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
    net = float_network(name, SIZE) if policy is None else narrow_network(name, policy, SIZE)
    for connection in net.connections():
        nn.init.normal_(connection.conv.bias, std=0.1)
    # Whole numbers would tie in the pool of the stem.
    return net, 255 * torch.rand(4, 3, SIZE, SIZE)


def gradients(net: SqueezeNet, scores: Tensor, maps: list[Tensor]) -> dict[str, Tensor]:
    """Gradients of a sum that depends on every score and every place of every map."""
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
        torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-5 * float(wanted.detach().abs().max()))
    for key, wanted in gradients(net, scores, maps).items():
        own = fused[key.replace("conv1.0.", "conv1.")]
        assert wanted.abs().max() > 0, key
        torch.testing.assert_close(own, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()), msg=key)


def test_sixteen_bits_lose_little() -> None:
    net, pixels = made("squeezenet1_1", "w4a4")
    with torch.no_grad():
        maps = FusedSqueezeNet(net, torch.bfloat16).scores_and_maps(pixels)[1]
        wanted = net.scores_and_maps(pixels)[1]
    assert {m.dtype for m in maps} == {torch.bfloat16}
    assert map_distance(maps, wanted) < 0.02
