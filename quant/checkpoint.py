"""The state of a training run in one safetensors file: tensors and JSON, nothing pickled."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from fireflow.hw.errors import InputError
from fireflow.hw.files import atomic_file
from fireflow.quant.layers import mark_calibrated, quantizers
from fireflow.quant.networks import Network, spec_from_json
from fireflow.quant.recipe import Recipe

CHECKPOINT = "checkpoint.safetensors"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: AveragedModel,
    step: int,
    recipe: Recipe,
) -> None:
    """Write all that a run needs to go on; an earlier checkpoint is replaced only when this one is whole."""
    tensors: dict[str, Tensor] = {
        f"model.{name}": tensor.contiguous() for name, tensor in _tensors(model).items()
    }
    names = [name for name, _ in model.named_parameters()]
    state = optimizer.state_dict()["state"]
    for index, name in enumerate(names):
        for moment in _MOMENTS:
            if index in state:
                tensors[f"{moment}.{name}"] = torch.as_tensor(state[index][moment]).contiguous()
    averaged = int(average.n_averaged)
    if averaged > 0:
        tensors.update({f"average.{n}": t.contiguous() for n, t in _tensors(average.module).items()})
    metadata = {"step": str(step), "averaged": str(averaged), "recipe": recipe.model_dump_json()}
    if isinstance(model, Network):
        metadata["network"] = _network_text(model)
    with atomic_file(folder / CHECKPOINT) as temporary:
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:
            system = re.search(r"os error (\d+)", str(error))
            if system is None:
                raise
            raise OSError(int(system[1]), os.strerror(int(system[1])), str(folder / CHECKPOINT)) from None


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: AveragedModel, recipe: Recipe
) -> int:
    """Restore what `save_checkpoint` wrote, if there is one; returns the number of steps done (0 without).

    Raises:
        InputError: the file is damaged, or belongs to another recipe or network.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    metadata, tensors = _read(path)
    if not {"step", "averaged", "recipe"} <= set(metadata):
        raise InputError(f"{path}: must be a checkpoint of fireflow train, not another file; move it away")
    if not _trained_like(metadata["recipe"], recipe):
        raise InputError(
            f"{path}: must be of the same recipe, not {metadata['recipe']}; choose another output folder"
        )
    known = metadata.get("network")
    if known is not None and isinstance(model, Network) and not _same_network(known, model):
        raise InputError(f"{path}: must be of the same network and bit widths; choose another output folder")
    own = _tensors(model)
    stored = {
        name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")
    }
    if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in stored.items()}:
        raise InputError(f"{path}: must hold the tensors of this network; choose another output folder")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(stored[name])
        averaged = int(metadata["averaged"])
        average.n_averaged.fill_(averaged)
        for name, tensor in _tensors(average.module).items() if averaged else ():
            tensor.copy_(tensors[f"average.{name}"])
    for _name, layer, _bits in quantizers(model):
        mark_calibrated(layer)
    for name, parameter in model.named_parameters():
        if f"exp_avg.{name}" in tensors:
            optimizer.state[parameter] = {moment: tensors[f"{moment}.{name}"] for moment in _MOMENTS}
    return int(metadata["step"])


def steps_done(folder: Path) -> tuple[int, int] | None:
    """How many steps a run's checkpoint has behind it, and of how many; None if there is no checkpoint.

    Raises:
        InputError: it is damaged.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    metadata, _tensors_there = _read(path, tensors=False)
    try:
        return int(metadata["step"]), int(json.loads(metadata["recipe"])["steps"])
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: must be a checkpoint of fireflow train, not without {error}; move it away"
        ) from None


def _read(path: Path, tensors: bool = True) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and, if wanted, tensors of a checkpoint."""
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys() if tensors else ()
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise InputError(
            f"{path}: must be a whole checkpoint, not {error}; delete it to start again"
        ) from None


def _same_network(known: str, model: Network) -> bool:
    """Whether a checkpoint is of this network: earlier versions did not write the name of its kind."""
    content = json.loads(known)
    own = json.loads(_network_text(model))
    return spec_from_json(content["spec"]) == model.spec and bool(content["policy"] == own["policy"])


def _network_text(model: Network) -> str:
    """What tells networks with the same tensors apart: where its layers lie, and their bits."""
    policy = None if model.policy is None else model.policy.model_dump(mode="json", exclude={"name"})
    return json.dumps({"spec": model.spec.to_json(), "policy": policy})


def _trained_like(stored: str, recipe: Recipe) -> bool:
    """Settings that an earlier version of ours did not know have their defaults in its recipes."""
    try:
        return Recipe.model_validate_json(stored).trains_like(recipe)
    except ValidationError:  # of a later version
        return False


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters by name. The networks have no other state."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}
