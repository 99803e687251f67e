"""Networks that know nothing yet, to train from nothing."""

from __future__ import annotations

import torch
from torch import nn

from fireflow.hw.picture_options import PictureOptions, with_size
from fireflow.hw.preprocessing import TORCHVISION
from fireflow.quant.build import pixel_mean
from fireflow.quant.model_file import Model
from fireflow.quant.networks import architecture

_PIXEL_DEVIATION = 64.0
"""About the standard deviation of pixels of photos."""
_BIAS = 0.05
"""Not 0: a step of training is a share of a tensor's own size."""


@torch.no_grad()
def fresh_model(name: str, seed: int = 0, pictures: PictureOptions | None = None) -> Model:
    """An architecture with random weights, which keep the size of what flows through: float, on centred pixels.

    Its classes are as many as were published, and have no names: training gives it those of its data, as a new head.

    Args:
        name: one of `architectures()`.
        seed: of the weights.
        pictures: size and frame of its pictures, where they are not those that are usual for it.

    Raises:
        InputError: there is no such architecture, or it cannot take such pictures.

    Source: He et al., "Delving Deep into Rectifiers", arXiv:1502.01852.
    """
    record = with_size(TORCHVISION, architecture(name).input_size)
    record = (pictures or PictureOptions()).reframed(name, record)
    spec = architecture(name, input_size=record.size)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        network = spec.build().eval()
        for connection in network.connections():
            nn.init.kaiming_normal_(connection.conv.weight, nonlinearity="relu")
            assert connection.conv.bias is not None
            nn.init.normal_(connection.conv.bias, std=_BIAS)
            if connection.input_act is None:
                connection.conv.weight.div_(_PIXEL_DEVIATION)
    network.pixel_offset = pixel_mean(record)
    return Model(network, record, card={"name": name})
