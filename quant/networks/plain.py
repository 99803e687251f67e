"""A plain chain of 3x3 convolutions, each behind a max pool: the smallest network that is worth an accelerator.

``conv1`` has stride 2; ``conv2`` and what follows pad by one. The last convolution is 1x1 and gives the classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fireflow.hw.errors import InputError
from fireflow.hw.fields import whole
from fireflow.quant.fused import Fused, by_channel, max_pool, scaled
from fireflow.quant.layers import quant_conv, quant_relu
from fireflow.quant.networks.base import MAX_WIDTH, Connection, Network, NetworkSpec
from fireflow.quant.precision import Policy, PolicyLayers

_MOST_LAYERS = 6


@dataclass(frozen=True, slots=True)
class PlainSpec(NetworkSpec):
    """Everything that fixes a plain network.

    Args:
        widths: channels of each convolution but the last.
    """

    network: ClassVar[str] = "plain"
    widths: tuple[int, ...] = (16, 32, 64, 128)

    def __post_init__(self) -> None:
        self.check_common()
        if not 1 <= len(self.widths) <= _MOST_LAYERS:
            raise InputError(
                f"widths: must be 1 to {_MOST_LAYERS}, not {len(self.widths)}; one a convolution"
            )
        for width in self.widths:
            whole("widths", width, 1, MAX_WIDTH)
        if (self.input_size - 1) // 2 < 2 ** (len(self.widths) + 1) - 1:
            raise InputError(
                f"input_size: must leave a window for every pool, and {self.input_size} does not; use larger pictures"
            )

    @property
    def weights(self) -> int:
        """How many the network has, without biases."""
        pairs = pairwise((3, *self.widths))
        return 9 * sum(one * other for one, other in pairs) + self.widths[-1] * self.num_classes

    @property
    def layers(self) -> PolicyLayers:
        """The convolutions."""
        names = tuple(f"conv{number}" for number in range(1, len(self.widths) + 2))
        return PolicyLayers(names, ", ".join(names), ("conv1", "conv*"))

    @classmethod
    def fields_from_json(cls, content: Mapping[str, Any]) -> dict[str, Any]:
        """The widths as a tuple."""
        return {**content, "widths": tuple(content["widths"])}


class Plain(Network):
    """A plain chain of convolutions; see `Network`."""

    name, title, spec_type = "plain", "plain network", PlainSpec
    architectures: ClassVar[Mapping[str, NetworkSpec]] = {"plain": PlainSpec(head_relu=False)}
    spec: PlainSpec

    def __init__(self, spec: PlainSpec, policy: Policy | None = None) -> None:
        super().__init__(spec, policy)
        inputs = 3
        for number, width in enumerate(spec.widths, start=1):
            stride, padding = (2, 0) if number == 1 else (1, 1)
            conv = quant_conv(f"conv{number}", inputs, width, 3, policy, stride=stride, padding=padding)
            self.add_module(f"conv{number}", conv)
            self.add_module(f"conv{number}_act", quant_relu(f"conv{number}", policy))
            inputs = width
        self.pool = nn.MaxPool2d(3, 2)
        name = f"conv{len(spec.widths) + 1}"
        self.add_module(name, quant_conv(name, inputs, spec.num_classes, 1, policy, per_channel=False))

    def connections(self) -> Iterator[Connection]:
        """``conv1`` to the last, which has no activation behind it."""
        previous: nn.Module | None = None
        for number in range(1, len(self.spec.widths) + 2):
            conv = self.get_submodule(f"conv{number}")
            assert isinstance(conv, nn.Conv2d)
            last = number > len(self.spec.widths)
            act = None if last else self.get_submodule(f"conv{number}_act")
            yield Connection(f"conv{number}", conv, previous, act)
            previous = act

    def scores_and_maps(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The maps are what each pool reads and what the last convolution gives."""
        if self.pixel_offset is not None:
            x = x - self.pixel_offset
        maps: list[Tensor] = []
        for layer in self.connections():
            if len(maps) > 0:
                x = self.pool(x)
            x = layer.conv(x) if layer.output_act is None else layer.output_act(layer.conv(x))
            maps.append(x)
        head = torch.relu(x) if self.spec.head_relu else x
        return nn.functional.adaptive_avg_pool2d(head, 1).flatten(1), maps

    def fused(self, dtype: torch.dtype) -> _FusedPlain:
        """Integers between layers, one expression from convolution to convolution."""
        return _FusedPlain(self, dtype)


class _FusedPlain(Fused):
    network: Plain

    def scores_and_maps(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As `Plain.scores_and_maps`; the maps are of `dtype`."""
        offset = self.network.pixel_offset
        x = (pixels if offset is None else pixels - offset).to(self.dtype)
        maps: list[Tensor] = []
        *hidden, last = self.network.connections()
        for layer in hidden:
            if layer.input_act is not None:
                x = max_pool(x, padding=0, ceil=False)
            assert layer.output_act is not None
            x = self.activated(
                layer.output_act, [self.convolved(layer.conv, x, layer.input_act)], [layer.conv]
            )
            step = self.scale(layer.output_act)
            maps.append(x if step is None else (x.float() * step).to(self.dtype))
        x = max_pool(x, padding=0, ceil=False)
        head = scaled(*self.convolved(last.conv, x, last.input_act)) + by_channel(last.conv.bias)
        maps.append(head.to(self.dtype))
        return (torch.relu(head) if self.network.spec.head_relu else head).mean((2, 3)), maps
