"""The mean of networks that were trained from the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from fireflow.hw.errors import InputError
from fireflow.quant.build import centred, rebuilt
from fireflow.quant.model_file import Model


@torch.no_grad()
def average(models: Sequence[tuple[Path, Model, float]]) -> Model:
    """A float network whose weights are the mean of those of others: runs of one start, with other seeds or rates.

    It costs what one of them costs, and is mostly at least as right as the better ones.

    Args:
        models: of each its file, for messages, the network and its share of the mean.

    Returns:
        with the preprocessing and labels of the first, and no card.

    Raises:
        InputError: fewer than two, integers, or networks that differ in more than weights.

    Source: Wortsman et al., "Model soups", arXiv:2203.05482.
    """
    if len(models) < 2:
        raise InputError(f"networks: must be at least two, not {len(models)}; name another")
    first_path, first, _share = models[0]
    for path, model, _share in models:
        policy = model.network.policy
        if policy is not None:
            raise InputError(f"{path}: must be a float network, not {policy.name}; integers have no mean")
        for what, wanted in _facts(first).items():
            found = _facts(model)[what]
            if found != wanted:
                raise InputError(
                    f"{path}: {what} must be that of {first_path}, {wanted}, not {found}; "
                    "average what was trained from the same weights"
                )
    total = sum(share for _path, _model, share in models)
    network = centred(first)
    states = [(centred(model).state_dict(), share / total) for _path, model, share in models]
    mean = {
        name: sum(share * state[name].double() for state, share in states) for name in network.state_dict()
    }
    return replace(first, network=rebuilt(network, network.spec, mean), card={})


def _facts(model: Model) -> dict[str, object]:
    return {
        "architecture": model.network.spec.to_json(),
        "preprocessing": model.preprocessing.to_json(),
        "labels": model.labels,
    }
