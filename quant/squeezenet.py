"""The SqueezeNet family in PyTorch, in float or quantized by Brevitas.

Source: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", arXiv:1602.07360, section 3
(Fire modules) and 6 (bypass); SqueezeNet 1.1 as published by its authors in Caffe.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from fireflow.hw.errors import InputError
from fireflow.hw.fields import whole
from fireflow.quant.layers import quant_conv, quant_relu
from fireflow.quant.precision import Policy

Version = Literal["1.0", "1.1"]
Bypass = Literal["none", "simple", "complex"]
MIN_INPUT, MAX_INPUT = 32, 256
MAX_WIDTH = 1 << 16
"""Channels of a layer, and classes."""


@dataclass(frozen=True, slots=True)
class FireWidths:
    """Output channels of the three convolutions of a Fire module."""

    squeeze: int
    expand1x1: int
    expand3x3: int

    def __post_init__(self) -> None:
        for name, width in (
            ("squeeze", self.squeeze),
            ("expand1x1", self.expand1x1),
            ("expand3x3", self.expand3x3),
        ):
            whole(f"fires: {name}", width, 1, MAX_WIDTH)

    @property
    def out_channels(self) -> int:
        """Channels of the concatenated expand branches."""
        return self.expand1x1 + self.expand3x3


@dataclass(frozen=True, slots=True)
class PoolBorder:
    """How a max pool of 3x3 and stride 2 treats the border of its map.

    Args:
        padding: rows and columns added on every side, 0 or 1; they never win.
        ceil: a last window that reaches over the border counts, as in Caffe; False leaves it out.
    """

    padding: int = 0
    ceil: bool = True

    def __post_init__(self) -> None:
        if whole("pool: padding", self.padding) not in (0, 1) or not isinstance(self.ceil, bool):
            raise InputError(f"pool: padding must be 0 or 1 and ceil true or false, not {self}; correct them")

    def side_after(self, side: int) -> int:
        """Side of the map behind the pool; below 1 where no window fits."""
        return (side + 2 * self.padding - 3 + int(self.ceil)) // 2 + 1


PAPER_FIRES = tuple(
    FireWidths(s, e, e)
    for s, e in ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
)
_POOL_BEFORE_FIRE = {"1.0": (2, 5, 9), "1.1": (2, 4, 6)}
_STEM = {"1.0": (96, 7), "1.1": (64, 3)}


@dataclass(frozen=True, slots=True)
class SqueezeNetSpec:
    """Everything that fixes a member of the family, apart from its weights and its bit widths."""

    version: Version = "1.1"
    bypass: Bypass = "none"
    num_classes: int = 1000
    input_size: int = 224
    stem_channels: int = 64
    fires: tuple[FireWidths, ...] = PAPER_FIRES
    head_padding: int = 0
    head_relu: bool = True
    pools: tuple[PoolBorder, ...] = (PoolBorder(),) * 3

    def __post_init__(self) -> None:
        whole("num_classes", self.num_classes, high=MAX_WIDTH)
        whole("input_size", self.input_size)
        whole("stem_channels", self.stem_channels, 1, MAX_WIDTH)
        whole("head_padding", self.head_padding, high=MAX_INPUT)
        if self.bypass not in ("none", "simple", "complex"):
            raise InputError(f"bypass: must be none, simple or complex, not {self.bypass!r:.80}; choose one")
        if not isinstance(self.head_relu, bool):
            raise InputError(f"head_relu: must be true or false, not {self.head_relu!r:.80}; choose one")
        if self.version not in _STEM:
            raise InputError(
                f"version: must be one of {', '.join(_STEM)}, not {self.version!r}; choose one of them"
            )
        if not MIN_INPUT <= self.input_size <= MAX_INPUT:
            raise InputError(
                f"input_size: must be {MIN_INPUT} to {MAX_INPUT}, not {self.input_size}; 224 and 227 are usual"
            )
        if self.num_classes < 2:
            raise InputError(f"num_classes: must be 2 or more, not {self.num_classes}; count the labels")
        if len(self.fires) != len(PAPER_FIRES):
            raise InputError(
                f"fires: must be {len(PAPER_FIRES)} modules, not {len(self.fires)}; fire2 to fire9"
            )
        if len(self.pools) != len(_POOL_BEFORE_FIRE[self.version]):
            raise InputError(f"pools: must be 3, not {len(self.pools)}; behind conv1 and two Fire modules")
        if self.head_side < 1:
            raise InputError(
                f"input_size: must leave a window for every pool, and {self.input_size} does not; use larger pictures"
            )

    @property
    def stem_kernel(self) -> int:
        """Kernel size of conv1."""
        return _STEM[self.version][1]

    def pool_before(self, fire: int) -> str | None:
        """Name of the max pool in front of Fire module `fire` (2..9), if there is one: ``pool1`` follows conv1."""
        return f"pool{fire - 1}" if fire in _POOL_BEFORE_FIRE[self.version] else None

    def border_before(self, fire: int) -> PoolBorder:
        """The border rule of the max pool in front of Fire module `fire`, which has one."""
        return self.pools[_POOL_BEFORE_FIRE[self.version].index(fire)]

    @property
    def head_side(self) -> int:
        """Side of the maps of conv10, which are averaged; below 1 where a pool has no window."""
        side = (self.input_size - self.stem_kernel) // 2 + 1
        for border in self.pools:
            side = border.side_after(side)
            if side < 1:
                return 0
        return side + 2 * self.head_padding

    def bypass_of(self, fire: int) -> Literal["identity", "conv"] | None:
        """What is added to the output of Fire module `fire`: its own input, a 1x1 convolution of it, or nothing."""
        if self.bypass == "none":
            return None
        if self.in_channels(fire) == self.fires[fire - 2].out_channels:
            return "identity"
        return "conv" if self.bypass == "complex" else None

    def in_channels(self, fire: int) -> int:
        """Input channels of Fire module `fire` (2..9)."""
        return self.stem_channels if fire == 2 else self.fires[fire - 3].out_channels

    @property
    def weights(self) -> int:
        """How many the network has, without biases."""
        count = self.stem_channels * 3 * self.stem_kernel**2 + self.fires[-1].out_channels * self.num_classes
        for fire, widths in enumerate(self.fires, 2):
            inputs = self.in_channels(fire)
            count += widths.squeeze * (inputs + widths.expand1x1 + 9 * widths.expand3x3)
            if self.bypass_of(fire) == "conv":
                count += inputs * widths.out_channels
        return count

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary; `from_json` reads it back."""
        return asdict(self)

    @staticmethod
    def from_json(content: dict[str, Any]) -> SqueezeNetSpec:
        """The spec that `to_json` wrote.

        Raises:
            InputError: a field is missing, unknown or wrong.
        """
        try:
            fields = {**content, "fires": tuple(FireWidths(**fire) for fire in content["fires"])}
            if "pools" in content:  # files of before pools could differ have none
                fields["pools"] = tuple(PoolBorder(**border) for border in content["pools"])
            return SqueezeNetSpec(**fields)
        except (KeyError, TypeError) as error:
            raise InputError(
                f"spec: must have the fields of a SqueezeNet ({error}); write it again"
            ) from None


ARCHITECTURES: dict[str, SqueezeNetSpec] = {
    "squeezenet1_0": (_v1_0 := SqueezeNetSpec("1.0", stem_channels=96, head_padding=1, input_size=227)),
    "squeezenet1_1": SqueezeNetSpec("1.1"),
    "squeezenet1_0_simple_bypass": replace(_v1_0, bypass="simple"),
    "squeezenet1_0_complex_bypass": replace(_v1_0, bypass="complex"),
}


def architecture(name: str, **changes: Any) -> SqueezeNetSpec:
    """The spec called `name`, with fields changed.

    Raises:
        InputError: there is no such architecture.
    """
    if name not in ARCHITECTURES:
        raise InputError(
            f"architecture: must be one of {', '.join(ARCHITECTURES)}, not {name!r}; choose one of them"
        )
    return replace(ARCHITECTURES[name], **changes)


class Fire(nn.Module):
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


@dataclass(frozen=True, slots=True)
class Connection:
    """A convolution, the activation whose output it reads (None: pixels) and the one behind it (None: scores)."""

    name: str
    conv: nn.Conv2d
    input_act: nn.Module | None
    output_act: nn.Module | None


class SqueezeNet(nn.Module):
    """A SqueezeNet on raw RGB pixels (float tensor of 0..255, NCHW): float with `policy=None`, else quantized.

    `pixel_offset` (1, 3, 1, 1) is subtracted from the pixels: training runs on centred pixels because that is well
    conditioned, and `quant.finalize` folds it into the bias of conv1 afterwards, so that the accelerator sees uint8.
    """

    pixel_offset: Tensor | None

    def __init__(self, spec: SqueezeNetSpec, policy: Policy | None = None) -> None:
        super().__init__()
        self.spec, self.policy = spec, policy
        self.register_buffer("pixel_offset", None, persistent=False)
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
        return [(number, self.get_submodule(f"fire{number}")) for number in range(2, 10)]  # type: ignore[misc]

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

    def forward(self, x: Tensor) -> Tensor:
        """Pixels (N, 3, H, W) -> class scores (N, classes), as `scores_and_maps`."""
        return self.scores_and_maps(x)[0]

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
