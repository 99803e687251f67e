"""NAME.fireq: a network of this project in one small file, float or with packed integer weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hw.errors import InputError
from hw.packing import read_arrays, write_arrays
from hw.preprocessing import Preprocessing
from quant.finalize import integer_weight
from quant.layers import mark_calibrated, quantizers, scale_of, scale_parameter
from quant.precision import Policy
from quant.squeezenet import SqueezeNet, SqueezeNetSpec

SCHEMA = 1
SUFFIX = ".fireq"


@dataclass(frozen=True, slots=True)
class Model:
    """A network with what is needed to use it.

    Args:
        network: float, or quantized and finalized (see `quant.finalize`).
        preprocessing: from a picture to its input.
        labels: class names, or empty.
        card: the model card: data, recipe, accuracy; any JSON object.
    """

    network: SqueezeNet
    preprocessing: Preprocessing
    labels: tuple[str, ...] = ()
    card: dict[str, Any] = field(default_factory=dict)


def save_model(model: Model, path: Path) -> None:
    """Write `model`; quantized weights are stored as entropy-coded integers.

    Raises:
        InputError: a quantized network that is not finalized: its pixel offset would be lost.
    """
    network = model.network
    if network.policy is not None and network.pixel_offset is not None:
        raise InputError(
            f"{path}: the network must be finalized, not fresh from training; call quant.finalize first"
        )
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for connection in network.connections():
        quantized = network.policy is not None
        weight = integer_weight(connection).to(torch.int8) if quantized else connection.conv.weight
        arrays[f"{connection.name}.weight"] = weight.detach().contiguous().numpy()
        assert connection.conv.bias is not None
        arrays[f"{connection.name}.bias"] = connection.conv.bias.detach().numpy()
    for name, layer, _bits in quantizers(network):
        arrays[f"{name}.range"] = scale_parameter(layer).detach().numpy()
    meta = {
        "schema": SCHEMA,
        "spec": network.spec.to_json(),
        "policy": None if network.policy is None else network.policy.model_dump(mode="json"),
        "pixel_offset": None if network.pixel_offset is None else network.pixel_offset.flatten().tolist(),
        "preprocessing": model.preprocessing.to_json(),
        "labels": list(model.labels),
        "card": model.card,
    }
    write_arrays(path, arrays, meta)


def load_model(path: Path) -> Model:
    """Read what `save_model` wrote.

    Raises:
        InputError: missing, damaged, of a newer schema, or with more bits than a policy may have.
    """
    arrays, meta = read_arrays(path)
    if not isinstance(meta, dict) or meta.get("schema") != SCHEMA:
        found = meta.get("schema") if isinstance(meta, dict) else None
        raise InputError(
            f"{path}: schema must be {SCHEMA}, not {found}; update fireflow or write the model again"
        )
    policy = None if meta["policy"] is None else Policy.model_validate(meta["policy"])
    network = SqueezeNet(SqueezeNetSpec.from_json(meta["spec"]), policy).eval()
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    if meta["pixel_offset"] is not None:
        network.pixel_offset = torch.tensor(meta["pixel_offset"]).view(1, 3, 1, 1)
    _fill(network, state, path)
    return Model(network, Preprocessing.from_json(meta["preprocessing"]), tuple(meta["labels"]), meta["card"])


@torch.no_grad()
def _fill(network: SqueezeNet, state: dict[str, torch.Tensor], path: Path) -> None:
    ranges = {f"{name}.range": layer for name, layer, _bits in quantizers(network)}
    expected = {f"{c.name}.{part}" for c in network.connections() for part in ("weight", "bias")} | set(
        ranges
    )
    if set(state) != expected:
        odd = sorted(set(state) ^ expected)[0]
        raise InputError(
            f"{path}: must hold the tensors of its network; {odd} is missing or not one; write it again"
        )
    for name, layer in ranges.items():
        parameter = scale_parameter(layer)
        parameter.copy_(state[name].view(parameter.shape))
        mark_calibrated(layer)
    for connection in network.connections():
        weight = state[f"{connection.name}.weight"].float()
        if network.policy is not None:
            weight = weight * scale_of(connection.conv).view(-1, 1, 1, 1)
        connection.conv.weight.copy_(weight)
        assert connection.conv.bias is not None
        connection.conv.bias.copy_(state[f"{connection.name}.bias"])
