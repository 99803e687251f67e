"""Bit widths per layer: presets, JSON in and out, and the rules a policy must keep."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fireflow.hw.errors import InputError
from fireflow.hw.files import atomic_file, read_json
from fireflow.hw.limits import MAX_ACTIVATION_BITS, MAX_WEIGHT_BITS, MIN_WEIGHT_BITS

FIRE_NUMBERS = range(2, 10)
"""Every SqueezeNet has these Fire modules."""
LAYERS = (
    "conv1",
    *(
        f"fire{n}.{part}"
        for n in FIRE_NUMBERS
        for part in ("squeeze", "expand1x1", "expand3x3", "bypass", "add")
    ),
    "conv10",
)
"""What a policy can name. Bypasses and their sums are in some architectures only."""
_OF_LAYERS = "conv1, conv10 and squeeze, expand1x1, expand3x3, bypass, add of fire2 to fire9"

WeightBits = Annotated[int, Field(ge=MIN_WEIGHT_BITS, le=MAX_WEIGHT_BITS)]
ActivationBits = Annotated[int, Field(ge=2, le=MAX_ACTIVATION_BITS)]


class BitWidths(BaseModel):
    """Bits of one layer: its weights, and the activation that follows it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    weight: WeightBits
    activation: ActivationBits


class Policy(BaseModel):
    """Bit widths of a whole network: a default and exceptions by layer name.

    A layer is named as its weights are: ``conv1``, ``fire2.squeeze``, ``fire2.expand1x1``, ``conv10``, and
    ``fire3.add`` for the sum of a bypass (only its activation bits count). The two expand branches of a Fire
    share one activation quantizer, so their activation bits must agree.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    default: BitWidths
    layers: Mapping[str, BitWidths] = {}

    @field_validator("layers")
    @classmethod
    def _are_layers(cls, layers: Mapping[str, BitWidths]) -> Mapping[str, BitWidths]:
        for name in layers:
            if name not in LAYERS:
                raise ValueError(f"a layer must be one of {_OF_LAYERS}, not {name!r}")
        return layers

    @model_validator(mode="after")
    def _branches_agree(self) -> Self:
        for number in FIRE_NUMBERS:
            one, three = f"fire{number}.expand1x1", f"fire{number}.expand3x3"
            if self.activation_bits(one) != self.activation_bits(three):
                raise ValueError(
                    f"{one} and {three} share one activation quantizer, so their activation bits must agree, "
                    f"not be {self.activation_bits(one)} and {self.activation_bits(three)}"
                )
        return self

    def weight_bits(self, layer: str) -> int:
        """Weight bits of `layer`."""
        return self.layers.get(layer, self.default).weight

    def activation_bits(self, layer: str) -> int:
        """Bits of the activation behind `layer`."""
        return self.layers.get(layer, self.default).activation


# conv1 sees 8-bit pixels, so a DSP packs two of its products whatever its weights: 6 bits there cost nothing in
# arithmetic and 0.4 KB of memory, and they are worth the most accuracy of all layers.
_STEM_WEIGHT_BITS = 6


def _preset(weight: int, activation: int) -> Policy:
    stem = BitWidths(weight=max(weight, _STEM_WEIGHT_BITS), activation=activation)
    return Policy(
        name=f"w{weight}a{activation}",
        default=BitWidths(weight=weight, activation=activation),
        layers={"conv1": stem},
    )


PRESETS: Mapping[str, Policy] = {
    p.name: p for p in (_preset(6, 6), _preset(4, 4), _preset(3, 4), _preset(2, 4))
}


def load_policy(name_or_path: str | Path) -> Policy:
    """Return a preset by name, the ``wXaY`` policy of that name, or the policy in a JSON file.

    Exceptions may follow, each a layer or a pattern of layers and its bits, of which the last that matches counts:
    ``w4a4,*.squeeze=w6a4,conv10=w5a4``.

    Raises:
        InputError: no such preset or file, an exception for no layer, or a file that breaks a rule (names the field,
            the rule and the value).
    """
    text = str(name_or_path)
    base, *exceptions = [text] if text.endswith(".json") else text.split(",")  # a path may have commas
    policy = _without_exceptions(base)
    if not exceptions:
        return policy
    layers = {name: bits.model_dump() for name, bits in policy.layers.items()} | _exceptions(exceptions)
    return parse_policy(text, {"name": text, "default": policy.default.model_dump(), "layers": layers})


def _without_exceptions(text: str) -> Policy:
    if text in PRESETS:
        return PRESETS[text]
    if bits := _bits(text):
        return parse_policy(text, {"name": text, "default": bits})
    if not text.endswith(".json"):
        raise InputError(
            f"policy: must be one of {', '.join(PRESETS)}, wXaY or a .json file, not {text!r}; "
            "see `fireflow quantize --help`"
        )
    return parse_policy(text, read_json(Path(text)))


def _bits(text: str) -> dict[str, str] | None:
    match = re.fullmatch(r"w(?P<weight>\d+)a(?P<activation>\d+)", text)
    return match and match.groupdict()


def _exceptions(texts: Sequence[str]) -> dict[str, object]:
    """The bits of single layers, from ``LAYER=wXaY`` each."""
    layers: dict[str, object] = {}
    for text in texts:
        pattern, _, width = text.partition("=")
        bits = _bits(width)
        if bits is None:
            raise InputError(
                f"policy: an exception must be LAYER=wXaY, not {text!r}; for example *.squeeze=w6a4 or conv10=w5a4"
            )
        matching = [name for name in LAYERS if fnmatchcase(name, pattern)]
        if not matching:
            raise InputError(
                f"policy: {pattern!r} must match a layer: {_OF_LAYERS}; write for example *.squeeze or fire2.*"
            )
        layers |= dict.fromkeys(matching, bits)
    return layers


def save_policy(policy: Policy, path: Path) -> None:
    """Write `policy` as JSON."""
    with atomic_file(path) as temporary:
        temporary.write_text(policy.model_dump_json(indent=2) + "\n")


def parse_policy(place: str, content: object) -> Policy:
    """The policy that parsed JSON (from `place`, named in errors) describes.

    Raises:
        InputError: it breaks a rule.
    """
    try:
        return Policy.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "policy"
        if first["type"] == "value_error":  # a rule of ours, which tells the value
            raise InputError(f"{place}: {field}: {first['ctx']['error']}; mend the policy") from None
        raise InputError(
            f"{place}: {field}: {first['msg']}, not {first['input']!r}; weights have 2 to {MAX_WEIGHT_BITS} bits, "
            f"activations 2 to {MAX_ACTIVATION_BITS}"
        ) from None
