"""Bit widths per layer: presets, JSON in and out, and the rules a policy must keep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from fireflow.hw.errors import InputError
from fireflow.hw.files import atomic_file, read_json
from fireflow.hw.limits import MAX_ACTIVATION_BITS, MAX_WEIGHT_BITS, MIN_ACTIVATION_BITS, MIN_WEIGHT_BITS

WeightBits = Annotated[int, Field(ge=MIN_WEIGHT_BITS, le=MAX_WEIGHT_BITS)]
ActivationBits = Annotated[int, Field(ge=MIN_ACTIVATION_BITS, le=MAX_ACTIVATION_BITS)]


@dataclass(frozen=True, slots=True)
class PolicyLayers:
    """The layers of a network that a policy can name.

    Args:
        names: in order.
        told: the same in short, for messages.
        examples: two patterns that match some of them.
        sharing: pairs of layers that share one activation quantizer.
    """

    names: tuple[str, ...]
    told: str
    examples: tuple[str, str]
    sharing: tuple[tuple[str, str], ...] = ()

    def check_names(self, names: Iterable[str]) -> None:
        """Raises ValueError if one of `names` is no layer."""
        for name in names:
            if name not in self.names:
                raise ValueError(f"a layer must be one of {self.told}, not {name!r}")

    def check_sharing(self, policy: Policy) -> None:
        """Raises ValueError if layers that share a quantizer have different bits for it."""
        for one, other in self.sharing:
            if policy.activation_bits(one) != policy.activation_bits(other):
                raise ValueError(
                    f"{one} and {other} share one activation quantizer, so their activation bits must agree, "
                    f"not be {policy.activation_bits(one)} and {policy.activation_bits(other)}"
                )

    def check(self, policy: Policy) -> None:
        """Raises InputError if `policy` names what is no layer, or breaks a rule of the layers."""
        try:
            self.check_names(policy.layers)
            self.check_sharing(policy)
        except ValueError as error:
            raise InputError(f"policy {policy.name}: {error}; mend the policy") from None


class BitWidths(BaseModel):
    """Bits of one layer: its weights, and the activation that follows it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    weight: WeightBits
    activation: ActivationBits


class Policy(BaseModel):
    """Bit widths of a whole network: a default and exceptions by layer name.

    A layer is named as its weights are, and a sum as its tensor is (only its activation bits count): see
    `NetworkSpec.layers`. Layers that share one activation quantizer must agree on its bits. Whether the names are those
    of a network is checked where the network is known.

    Args:
        name: for people; that of a preset tells its bits.
        default: `weight` and `activation` bits of layers that are not named: 2 to 6, and 2 to 8.
        layers: those of single layers, by name.

    Raises:
        pydantic.ValidationError: bits outside their rule.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    default: BitWidths
    layers: Mapping[str, BitWidths] = {}

    @field_validator("layers")
    @classmethod
    def _are_layers(cls, layers: Mapping[str, BitWidths], info: ValidationInfo) -> Mapping[str, BitWidths]:
        if isinstance(info.context, PolicyLayers):
            info.context.check_names(layers)
        return layers

    @model_validator(mode="after")
    def _sharing_agrees(self, info: ValidationInfo) -> Self:
        if isinstance(info.context, PolicyLayers):
            info.context.check_sharing(self)
        return self

    def weight_bits(self, layer: str) -> int:
        """Weight bits of `layer`."""
        return self.layers.get(layer, self.default).weight

    def activation_bits(self, layer: str) -> int:
        """Bits of the activation behind `layer`."""
        return self.layers.get(layer, self.default).activation

    def save(self, path: Path) -> None:
        """Writes this policy as JSON, which `load_policy` reads."""
        with atomic_file(path) as temporary:
            temporary.write_text(self.model_dump_json(indent=2) + "\n")


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


def load_policy(name_or_path: str | Path, known: PolicyLayers) -> Policy:
    """Return a preset by name, the ``wXaY`` policy of that name, or the policy in a JSON file.

    Exceptions may follow, each a layer or a pattern of layers and its bits, of which the last that matches counts:
    ``w4a4,*.squeeze=w6a4,conv1=w5a4``.

    Args:
        name_or_path: as above.
        known: the layers of the network that it is for.

    Raises:
        InputError: no such preset or file, an exception for no layer, or a file that breaks a rule (names the field,
            the rule and the value).
    """
    text = str(name_or_path)
    base, *exceptions = [text] if text.endswith(".json") else text.split(",")  # a path may have commas
    policy = _without_exceptions(base, known)
    if not exceptions:
        return policy
    layers = {name: bits.model_dump() for name, bits in policy.layers.items()} | _exceptions(
        exceptions, known
    )
    return parse_policy(text, {"name": text, "default": policy.default.model_dump(), "layers": layers}, known)


def _without_exceptions(text: str, known: PolicyLayers) -> Policy:
    if text in PRESETS:
        known.check(PRESETS[text])
        return PRESETS[text]
    if bits := _bits(text):
        return parse_policy(text, {"name": text, "default": bits}, known)
    if not text.endswith(".json"):
        raise InputError(
            f"policy: must be one of {', '.join(PRESETS)}, wXaY or a .json file, not {text!r}; "
            "see `fireflow quantize --help`"
        )
    return parse_policy(text, read_json(Path(text)), known)


def _bits(text: str) -> dict[str, str] | None:
    match = re.fullmatch(r"w(?P<weight>\d+)a(?P<activation>\d+)", text)
    return match and match.groupdict()


def _exceptions(texts: Sequence[str], known: PolicyLayers) -> dict[str, object]:
    """The bits of single layers, from ``LAYER=wXaY`` each."""
    layers: dict[str, object] = {}
    for text in texts:
        pattern, _, width = text.partition("=")
        bits = _bits(width)
        if bits is None:
            raise InputError(
                f"policy: an exception must be LAYER=wXaY, not {text!r}; "
                f"for example {known.examples[0]}=w6a4 or {known.names[-1]}=w5a4"
            )
        matching = [name for name in known.names if fnmatchcase(name, pattern)]
        if not matching:
            raise InputError(
                f"policy: {pattern!r} must match a layer: {known.told}; "
                f"write for example {known.examples[0]} or {known.examples[1]}"
            )
        layers |= dict.fromkeys(matching, bits)
    return layers


def parse_policy(place: str, content: object, known: PolicyLayers) -> Policy:
    """The policy that parsed JSON describes.

    Args:
        place: where it is from, for messages.
        content: parsed JSON.
        known: the layers of the network that it is for.

    Raises:
        InputError: it breaks a rule.
    """
    try:
        return Policy.model_validate(content, context=known)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "policy"
        if first["type"] == "value_error":  # a rule of ours, which tells the value
            raise InputError(f"{place}: {field}: {first['ctx']['error']}; mend the policy") from None
        raise InputError(
            f"{place}: {field}: {first['msg']}, not {first['input']!r}; weights have {MIN_WEIGHT_BITS} to "
            f"{MAX_WEIGHT_BITS} bits, activations {MIN_ACTIVATION_BITS} to {MAX_ACTIVATION_BITS}"
        ) from None
