"""Narrow SqueezeNets with random weights, and pictures for them."""

from __future__ import annotations

import torch
from torch import nn

from fireflow.quant.calibrate import pixel_batches, quantize
from fireflow.quant.networks import architecture
from fireflow.quant.networks.squeezenet import FireWidths, SqueezeNet
from fireflow.quant.precision import PRESETS, Policy

NARROW = tuple(
    FireWidths(s, e, e) for s, e in ((4, 8), (4, 8), (6, 8), (6, 8), (6, 12), (6, 12), (8, 12), (8, 12))
)


def float_network(name: str, size: int = 40, classes: int = 7) -> SqueezeNet:
    """Architecture `name` with few channels, on centred pixels; always the same weights."""
    torch.manual_seed(0)
    spec = architecture(name, input_size=size, num_classes=classes, stem_channels=8, fires=NARROW)
    network = SqueezeNet(spec).eval()
    for connection in network.connections():
        nn.init.kaiming_normal_(connection.conv.weight)
    network.pixel_offset = torch.tensor([123.0, 117.0, 104.0]).view(1, 3, 1, 1)
    return network


def narrow_network(name: str, policy: str | Policy = "w4a4", size: int = 40, classes: int = 7) -> SqueezeNet:
    """The same, calibrated but not finalized; `policy` may be the name of a preset."""
    chosen = policy if isinstance(policy, Policy) else PRESETS[policy]
    return quantize(float_network(name, size, classes), chosen, list(pixel_batches(random_pixels(4, size))))


def random_pixels(count: int, size: int) -> torch.Tensor:
    """Smooth pictures, uint8 (count, size, size, 3); always the same."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randint(0, 256, (count, 3, 6, 6), generator=generator).float()
    smooth = nn.functional.interpolate(coarse, size, mode="bilinear").round().to(torch.uint8)
    return smooth.permute(0, 2, 3, 1).contiguous()
