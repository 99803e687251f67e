"""NAME.fireq: a network of this project in one small file, float or with packed integer weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fireflow.hw import fields, given
from fireflow.hw.errors import InputError
from fireflow.hw.packing import read_arrays, write_arrays
from fireflow.hw.preprocessing import Preprocessing
from fireflow.quant.finalize import integer_weight
from fireflow.quant.layers import bits_of, mark_calibrated, quantizers, scale_of, scale_parameter
from fireflow.quant.networks import Network, NetworkSpec, spec_from_json
from fireflow.quant.precision import parse_policy

SCHEMA = 1
SUFFIX = ".fireq"


@dataclass(frozen=True, slots=True)
class Model:
    """A network with what is needed to use it.

    Args:
        network: a torch module, float, or quantized and finalized (see `quant.finalize`): RGB pixels, float32
            (N, 3, S, S) of whole numbers 0 to 255, -> scores, float32 (N, classes).
        preprocessing: from a picture to its input.
        labels: class names, or empty.
        card: the model card: data, recipe, accuracy; any JSON object.

    Raises:
        nothing; who makes or reads one checks it.
    """

    network: Network
    preprocessing: Preprocessing
    labels: tuple[str, ...] = ()
    card: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        policy, spec, size = self.network.policy, self.network.spec, self.preprocessing.size
        bits = "float" if policy is None else policy.name
        return f"<Model {self.card.get('name', 'network')}: {bits}, {size}x{size}x3 -> {spec.num_classes} classes>"


def save_model(model: Model, path: str | Path) -> None:
    """Write a model; quantized weights are stored as entropy-coded integers.

    Args:
        model: float, or quantized and finalized.
        path: NAME.fireq; what is there is replaced.

    Raises:
        InputError: a quantized network that is not finalized: its pixel offset would be lost.
    """
    network = given.instance("model", model, Model, "give what quantize or train returns").network
    path = given.path("output", path)
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
        arrays[f"{name}.range"] = scale_parameter(layer).detach().abs().numpy()  # as Brevitas reads it
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


def load_model(path: str | Path) -> Model:
    """Read what `save_model` wrote.

    Args:
        path: of the .fireq file.

    Raises:
        InputError: missing, damaged, of a newer schema, or with more bits than a policy may have.
    """
    path = given.path("model", path)
    arrays, meta = read_arrays(path)
    found = meta.get("schema")
    if found != SCHEMA or isinstance(found, bool):
        raise InputError(
            f"{path}: schema must be {SCHEMA}, not {found!r:.80}; update fireflow or write the model again"
        )
    try:
        spec = spec_from_json(meta["spec"])
        policy = None if meta["policy"] is None else parse_policy(str(path), meta["policy"], spec.layers)
        offset = _offset(meta["pixel_offset"])
        labels = fields.items("labels", meta["labels"])
        _check_size(spec, arrays)
        model = Model(
            spec.build(policy).eval(),
            Preprocessing.from_json(meta["preprocessing"]),
            tuple(fields.text(f"label {number}", label) for number, label in enumerate(labels)),
            dict(fields.mapping("card", meta["card"])),
        )
    except KeyError as error:
        raise InputError(
            f"{path}: must have the field {error}, and it is missing; write the model again"
        ) from None
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None
    _check_facts(model, path)
    if offset is not None:
        model.network.pixel_offset = torch.tensor(offset, dtype=torch.float32).view(1, 3, 1, 1)
    _fill(model.network, {name: _tensor(f"{path}: {name}", array) for name, array in arrays.items()}, path)
    return model


def _offset(value: Any) -> list[float] | None:
    """Three numbers, or none."""
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 3:
        raise InputError(f"pixel_offset must be three numbers, not {value!r:.80}; write the model again")
    return [fields.number("pixel_offset", number, -1e6, 1e6) for number in value]


def _check_size(spec: NetworkSpec, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    """Refuses a file that asks for a network much larger than what it holds, before there is memory for it."""
    held = sum(array.size for name, array in arrays.items() if name.endswith(".weight"))
    if spec.weights > 2 * held + (1 << 22):
        raise InputError(
            f"must hold the weights of its network, {spec.weights}, not {held}; write the model again"
        )


def _tensor(place: str, array: np.ndarray[Any, Any]) -> Tensor:
    """A float or signed integer array of any byte order."""
    if array.dtype.kind not in "fi":
        raise InputError(
            f"{place}: must be floats or signed integers, not {array.dtype}; write the model again"
        )
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))


def _check_facts(model: Model, path: Path) -> None:
    spec = model.network.spec
    if len(model.labels) not in (0, spec.num_classes):
        raise InputError(
            f"{path}: labels must be {spec.num_classes}, one a class, not {len(model.labels)}; write the model again"
        )
    if model.preprocessing.size != spec.input_size:
        raise InputError(
            f"{path}: preprocessing must give pictures of {spec.input_size} pixels, not {model.preprocessing.size}; "
            "write the model again"
        )


@torch.no_grad()
def _fill(network: Network, state: dict[str, Tensor], path: Path) -> None:
    """Copy arrays into a network, after a check of names, shapes and values."""
    layers = {f"{name}.range": (layer, bits) for name, layer, bits in quantizers(network)}
    expected: dict[str, Tensor] = {n: scale_parameter(layer) for n, (layer, _bits) in layers.items()}
    for connection in network.connections():
        expected[f"{connection.name}.weight"] = connection.conv.weight
        assert connection.conv.bias is not None
        expected[f"{connection.name}.bias"] = connection.conv.bias
    if set(state) != set(expected):
        odd = sorted(set(state) ^ set(expected))[0]
        raise InputError(
            f"{path}: must hold the tensors of its network; {odd} is missing or not one; write it again"
        )
    for name, parameter in expected.items():
        _check_values(f"{path}: {name}", state[name], parameter, name in layers)
    for name, (layer, _bits) in layers.items():
        expected[name].copy_(state[name])
        mark_calibrated(layer)
    for connection in network.connections():
        weight = state[f"{connection.name}.weight"]
        if network.policy is not None and weight.is_floating_point():
            raise InputError(
                f"{path}: {connection.name}.weight must be integers, not {weight.dtype}; write the model again"
            )
        weight = weight.float()
        if network.policy is not None:
            top = 2 ** (bits_of(connection.conv) - 1) - 1
            if weight.abs().max() > top:
                raise InputError(
                    f"{path}: {connection.name}.weight must lie in {-top}..{top}, not reach {weight.abs().max():g}; "
                    "write the model again"
                )
            weight = weight * scale_of(connection.conv).view(-1, 1, 1, 1)
        connection.conv.weight.copy_(weight)
        expected[f"{connection.name}.bias"].copy_(state[f"{connection.name}.bias"])


def _check_values(place: str, found: Tensor, parameter: Tensor, positive: bool) -> None:
    if found.shape != parameter.shape:
        raise InputError(
            f"{place}: shape must be {tuple(parameter.shape)}, not {tuple(found.shape)}; write the model again"
        )
    if not torch.isfinite(found.float()).all() or (positive and found.min() <= 0):
        rule = "finite numbers above 0" if positive else "finite numbers"
        raise InputError(f"{place}: must be {rule}, and some are not; write the model again")
