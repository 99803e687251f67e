"""What fixes a SqueezeNet: widths, bypasses, borders, and the names of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from fireflow.hw.errors import InputError
from fireflow.hw.fields import whole
from fireflow.quant.networks.base import MAX_INPUT, MAX_WIDTH, NetworkSpec
from fireflow.quant.precision import PolicyLayers

Version = Literal["1.0", "1.1"]
Bypass = Literal["none", "simple", "complex"]
FIRE_NUMBERS = range(2, 10)
"""Every SqueezeNet has these Fire modules."""
LAYERS = PolicyLayers(
    (
        "conv1",
        *(
            f"fire{n}.{part}"
            for n in FIRE_NUMBERS
            for part in ("squeeze", "expand1x1", "expand3x3", "bypass", "add")
        ),
        "conv10",
    ),
    "conv1, conv10 and squeeze, expand1x1, expand3x3, bypass, add of fire2 to fire9",
    ("*.squeeze", "fire2.*"),
    tuple((f"fire{n}.expand1x1", f"fire{n}.expand3x3") for n in FIRE_NUMBERS),
)
"""What a policy can name. Bypasses and their sums are in some architectures only."""


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
class SqueezeNetSpec(NetworkSpec):
    """Everything that fixes a member of the family, apart from its weights and its bit widths."""

    network: ClassVar[str] = "squeezenet"
    version: Version = "1.1"
    bypass: Bypass = "none"
    stem_channels: int = 64
    fires: tuple[FireWidths, ...] = PAPER_FIRES
    head_padding: int = 0
    pools: tuple[PoolBorder, ...] = (PoolBorder(),) * 3

    def __post_init__(self) -> None:
        self.check_common()
        whole("stem_channels", self.stem_channels, 1, MAX_WIDTH)
        whole("head_padding", self.head_padding, high=MAX_INPUT)
        if self.bypass not in ("none", "simple", "complex"):
            raise InputError(f"bypass: must be none, simple or complex, not {self.bypass!r:.80}; choose one")
        if self.version not in _STEM:
            raise InputError(
                f"version: must be one of {', '.join(_STEM)}, not {self.version!r}; choose one of them"
            )
        if len(self.fires) != len(FIRE_NUMBERS):
            raise InputError(
                f"fires: must be {len(FIRE_NUMBERS)} modules, not {len(self.fires)}; fire2 to fire9"
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

    @property
    def layers(self) -> PolicyLayers:
        """The same for all members."""
        return LAYERS

    @classmethod
    def fields_from_json(cls, content: Mapping[str, Any]) -> dict[str, Any]:
        """The Fire modules and pools as their classes."""
        fields = {**content, "fires": tuple(FireWidths(**fire) for fire in content["fires"])}
        if "pools" in content:  # files of before pools could differ have none
            fields["pools"] = tuple(PoolBorder(**border) for border in content["pools"])
        return fields


ARCHITECTURES: dict[str, SqueezeNetSpec] = {
    "squeezenet1_0": (_v1_0 := SqueezeNetSpec("1.0", stem_channels=96, head_padding=1, input_size=227)),
    "squeezenet1_1": SqueezeNetSpec("1.1"),
    "squeezenet1_0_simple_bypass": replace(_v1_0, bypass="simple"),
    "squeezenet1_0_complex_bypass": replace(_v1_0, bypass="complex"),
}
