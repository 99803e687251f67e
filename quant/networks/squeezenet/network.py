"""The SqueezeNet family in PyTorch, in float or quantized by Brevitas.

Source: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", arXiv:1602.07360, section 3
(Fire modules) and 6 (bypass); SqueezeNet 1.1 as published by its authors in Caffe.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fireflow.quant.layers import quant_conv, quant_relu
from fireflow.quant.networks.base import Block, Connection, Network
from fireflow.quant.networks.squeezenet.files import SqueezeNetFiles
from fireflow.quant.networks.squeezenet.fused import FusedSqueezeNet
from fireflow.quant.networks.squeezenet.spec import ARCHITECTURES, FIRE_NUMBERS, FireWidths, SqueezeNetSpec
from fireflow.quant.precision import Policy


class Fire(Block):
    """Squeeze 1x1, then expand 1x1 and 3x3 side by side, with an optional bypass around them.

    The two expand branches and, where there is one, the bypass share one activation quantizer: a concat or a sum of
    integers means something only if both sides have the same scale.
    """

    def __init__(
        self,
        name: str,
        in_channels: int,
        widths: FireWidths,
        bypass: str | None,
        policy: Policy | None,
        shared_act: nn.Module | None,
    ) -> None:
        super().__init__()
        self.squeeze = quant_conv(f"{name}.squeeze", in_channels, widths.squeeze, 1, policy)
        self.squeeze_act = quant_relu(f"{name}.squeeze", policy)
        self.expand1x1 = quant_conv(f"{name}.expand1x1", widths.squeeze, widths.expand1x1, 1, policy)
        self.expand3x3 = quant_conv(
            f"{name}.expand3x3", widths.squeeze, widths.expand3x3, 3, policy, padding=1
        )
        self.expand_act = shared_act if shared_act is not None else quant_relu(f"{name}.expand1x1", policy)
        self.bypass_kind = bypass
        if bypass == "conv":
            self.bypass = quant_conv(f"{name}.bypass", in_channels, widths.out_channels, 1, policy)
        if bypass is not None:
            self.add_act = quant_relu(f"{name}.add", policy)

    @property
    def output_act(self) -> nn.Module:
        """The quantizer that fixes the scale of this module's output."""
        act = self.expand_act if self.bypass_kind is None else self.add_act
        assert isinstance(act, nn.Module)
        return act

    def output_name(self, path: str) -> str:
        """``fire2.concat``, or ``fire3.add.act`` with a bypass."""
        return f"{path}.concat" if self.bypass_kind is None else f"{path}.add.act"

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, expand1x1 + expand3x3, H, W)."""
        squeezed = self.squeeze_act(self.squeeze(x))
        branches = [self.expand_act(self.expand1x1(squeezed)), self.expand_act(self.expand3x3(squeezed))]
        out = torch.cat(branches, dim=1)
        if self.bypass_kind is None:
            return out
        around = self.expand_act(self.bypass(x)) if self.bypass_kind == "conv" else x
        summed: Tensor = self.add_act(out + around)
        return summed


class SqueezeNet(Network):
    """A SqueezeNet; see `Network`."""

    name, title = "squeezenet", "SqueezeNet"
    spec_type, architectures, files = SqueezeNetSpec, ARCHITECTURES, SqueezeNetFiles()
    spec: SqueezeNetSpec

    def __init__(self, spec: SqueezeNetSpec, policy: Policy | None = None) -> None:
        super().__init__(spec, policy)
        stem, kernel = spec.stem_channels, spec.stem_kernel
        self.conv1 = quant_conv("conv1", 3, stem, kernel, policy, stride=2)
        self.conv1_act = quant_relu("conv1", policy)
        output_act = self.conv1_act
        for number, widths in enumerate(spec.fires, start=2):
            bypass = spec.bypass_of(number)
            shared = output_act if bypass == "identity" else None
            fire = Fire(f"fire{number}", spec.in_channels(number), widths, bypass, policy, shared)
            self.add_module(f"fire{number}", fire)
            output_act = fire.output_act
        self.pool, self.middle_pool, self.last_pool = (
            nn.MaxPool2d(3, 2, padding=border.padding, ceil_mode=border.ceil) for border in spec.pools
        )
        last = spec.fires[-1].out_channels
        self.conv10 = quant_conv(
            "conv10", last, spec.num_classes, 1, policy, padding=spec.head_padding, per_channel=False
        )

    @property
    def fires(self) -> list[tuple[int, Fire]]:
        """The Fire modules with their numbers, in order."""
        return [(number, self.get_submodule(f"fire{number}")) for number in FIRE_NUMBERS]  # type: ignore[misc]

    def scores_and_maps(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Pixels (N, 3, H, W) -> class scores (N, classes), and the outputs (N, C, h, w) of every Fire and of conv10.

        Scores are zero or more each where a ReLU precedes the mean, as in all published networks.
        """
        if self.pixel_offset is not None:
            x = x - self.pixel_offset
        x = self.conv1_act(self.conv1(x))
        maps: list[Tensor] = []
        pools = iter((self.pool, self.middle_pool, self.last_pool))
        for number, fire in self.fires:
            if self.spec.pool_before(number):
                x = next(pools)(x)
            x = fire(x)
            maps.append(x)
        maps.append(self.conv10(x))
        head = torch.relu(maps[-1]) if self.spec.head_relu else maps[-1]
        scores = functional.adaptive_avg_pool2d(head, 1)
        return scores.flatten(1), maps

    def connections(self) -> Iterator[Connection]:
        """Every convolution with the activations around it, in order."""
        yield Connection("conv1", self.conv1, None, self.conv1_act)
        previous = self.conv1_act
        for number, fire in self.fires:
            name = f"fire{number}"
            yield Connection(f"{name}.squeeze", fire.squeeze, previous, fire.squeeze_act)
            yield Connection(f"{name}.expand1x1", fire.expand1x1, fire.squeeze_act, fire.expand_act)
            yield Connection(f"{name}.expand3x3", fire.expand3x3, fire.squeeze_act, fire.expand_act)
            if fire.bypass_kind == "conv":
                yield Connection(f"{name}.bypass", fire.bypass, previous, fire.expand_act)
            previous = fire.output_act
        yield Connection("conv10", self.conv10, previous, None)

    @property
    def tied(self) -> str | None:
        """The sums of a simple bypass."""
        return "a simple bypass" if self.spec.bypass == "simple" else None

    def fused(self, dtype: torch.dtype) -> FusedSqueezeNet:
        """Integers between layers, one expression from convolution to convolution."""
        return FusedSqueezeNet(self, dtype)

    def joined(self, kind: str, operands: Sequence[str]) -> str | None:
        """``fire2.concat`` and ``fire3.add``: a sum has operands in either order, one of them the module's."""
        inside = next((n for n in operands if n.endswith((".concat", "expand1x1.act"))), operands[0])
        return super().joined(kind, [inside])
