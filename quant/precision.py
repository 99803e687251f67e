"""Bit widths per layer: presets, JSON in and out, and the rules a policy must keep."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hw.errors import InputError
from hw.files import atomic_file, read_json

MAX_WEIGHT_BITS = 6
MAX_ACTIVATION_BITS = 8

WeightBits = Annotated[int, Field(ge=2, le=MAX_WEIGHT_BITS)]
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

    Raises:
        InputError: no such preset or file, or a file that breaks a rule (names the field, the rule and the value).
    """
    text = str(name_or_path)
    if text in PRESETS:
        return PRESETS[text]
    path = Path(name_or_path)
    if match := re.fullmatch(r"w(\d+)a(\d+)", text):
        return parse_policy(text, {"name": text, "default": {"weight": match[1], "activation": match[2]}})
    if path.suffix != ".json":
        raise InputError(
            f"policy: must be one of {', '.join(PRESETS)}, wXaY or a .json file, not {text!r}; "
            "see `fireflow quantize --help`"
        )
    return parse_policy(str(path), read_json(path))


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
        raise InputError(
            f"{place}: {field}: {first['msg']}, not {first['input']!r}; weights have 2 to {MAX_WEIGHT_BITS} bits, "
            f"activations 2 to {MAX_ACTIVATION_BITS}"
        ) from None
