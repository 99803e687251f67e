"""The networks that can be trained here: one file each, and what is found by their names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fireflow.hw.errors import InputError
from fireflow.quant.imported.input_record import NOTHING_TOLD, Told
from fireflow.quant.imported.operations import Step, shown, wrong
from fireflow.quant.imported.raw import Raw
from fireflow.quant.imported.step_graph import PICTURE, StepGraph, connect
from fireflow.quant.networks.base import NETWORKS, Network, NetworkSpec, WeightFiles
from fireflow.quant.networks.plain import Plain as Plain
from fireflow.quant.networks.squeezenet import SqueezeNet as SqueezeNet

__all__ = [
    "ARCHITECTURES",
    "NETWORKS",
    "Network",
    "NetworkSpec",
    "architecture",
    "architectures",
    "files_of",
    "name_layers",
    "spec_from_json",
    "told_by_names",
    "weight_files",
]

ARCHITECTURES: dict[str, NetworkSpec] = {
    name: spec for network in NETWORKS.values() for name, spec in network.architectures.items()
}
"""All architectures by name."""


def architectures() -> list[str]:
    """Names of the networks that training can begin from nothing, sorted."""
    return sorted(ARCHITECTURES)


def architecture(name: str, **changes: Any) -> NetworkSpec:
    """The spec called `name`, with fields changed.

    Raises:
        InputError: there is no such architecture, or a field is wrong.
    """
    if name not in ARCHITECTURES:
        raise InputError(
            f"architecture: must be one of {', '.join(ARCHITECTURES)}, not {name!r}; choose one of them"
        )
    return replace(ARCHITECTURES[name], **changes)


def spec_from_json(content: Any) -> NetworkSpec:
    """The spec that `NetworkSpec.to_json` wrote; files of before there were others are SqueezeNet's and do not say so.

    Raises:
        InputError: no such network, or a field is missing, unknown or wrong.
    """
    if not isinstance(content, Mapping):
        return SqueezeNet.spec_type.from_json(content)  # which refuses it
    name = content.get("network", SqueezeNet.name)
    if not isinstance(name, str) or name not in NETWORKS:
        raise InputError(
            f"spec: network must be one of {', '.join(NETWORKS)}, not {name!r:.80}; use a newer fireflow"
        )
    fields = {field: value for field, value in content.items() if field != "network"}
    return NETWORKS[name].spec_type.from_json(fields)


def weight_files() -> list[WeightFiles]:
    """How files of others hold networks, in order; what is wrong with a file is the first one's to say."""
    return [network.files for network in NETWORKS.values() if network.files is not None]


def files_of(names: Iterable[str]) -> WeightFiles:
    """The way of the network that has tensors of these names."""
    text, known = list(names), weight_files()
    return next((f for f in known if any(re.fullmatch(f.mark, name) for name in text)), known[0])


def told_by_names(names: Collection[str]) -> Told:
    """What the names of an ONNX file's weights tell of its pictures, to the first network to which they tell any."""
    told = (files.told_by(names) for files in weight_files())
    return next((each for each in told if each != NOTHING_TOLD), NOTHING_TOLD)


def name_layers(
    path: Path, source: str, steps: Iterable[Step], picture: str, scores: str | None, told: Told
) -> Raw:
    """Gives every convolution of a graph its name in our naming.

    Args:
        path: for messages.
        source: the kind of file.
        steps: in an order of execution.
        picture, scores: the tensors that go in and come out; None: what the last step gives.
        told: what the file tells of its pictures.

    Raises:
        InputError: this is not how any of the networks is connected.
    """
    graph = StepGraph(path)
    tensors = connect(graph, steps, picture)
    if scores is not None and scores not in tensors:
        raise wrong(path, f"the scores ({shown(scores)}) must come from the picture", "from elsewhere")
    refused: InputError | None = None
    for files in weight_files():
        try:
            return files.recognised(
                replace(graph, used={PICTURE}), source, None if scores is None else tensors[scores], told
            )
        except InputError as error:
            refused = refused or error
    assert refused is not None
    raise refused
