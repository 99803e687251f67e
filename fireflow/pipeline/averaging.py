"""One float network from several runs of the same start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fireflow.hw import given
from fireflow.hw.card import new_card, source_record
from fireflow.hw.errors import InputError
from fireflow.hw.files import check_suffix
from fireflow.hw.overwrite import check_model
from fireflow.hw.remarks import Say, unheard
from fireflow.pipeline.inputs import find_model
from fireflow.quant.average import average as mean_of
from fireflow.quant.model_file import SUFFIX, Model, load_model, save_model

_OF_A_RUN = ("start", "recipe", "data")


def average(
    networks: Sequence[str | Path | tuple[str | Path, float]],
    *,
    output: str | Path | None = None,
    force: bool = False,
    say: Say = unheard,
) -> Model:
    """The mean of the weights of float networks that were trained from the same start.

    It costs what one of them costs, and is mostly at least as right as the better ones.

    Args:
        networks: their .fireq files, each alone or with its share of the mean, 1.0 by default.
        output: where to write the mean, NAME.fireq; nowhere by default.
        force: replace an output even if it took longer than a minute to make.
        say: told of networks whose mean is hardly ever of use.

    Returns:
        the float model, with the preprocessing and labels of the first network and a card that names them all.

    Raises:
        InputError: fewer than two networks, integers, networks that differ in more than weights, or an output that
            must stay.

    Source: Wortsman et al., "Model soups", arXiv:2203.05482.
    """
    if output is not None:
        output = check_suffix(given.path("output", output), SUFFIX)
    if isinstance(networks, (str, Path)) or not isinstance(networks, Sequence):
        raise InputError(
            f"networks: must be several .fireq files, not {given.shown(networks)}; give a list of two or more"
        )
    shares = [each if isinstance(each, tuple) else (each, 1.0) for each in networks]
    for pair in shares:
        if len(pair) != 2 or not given.number("share", pair[1]) > 0:
            raise InputError(
                f"share: must be a number above 0 beside its file, not {pair[1:]}; give (FILE, 1.0)"
            )
    models = [(path, load_model(path), share) for path, share in ((find_model(p), s) for p, s in shares)]
    if output is not None:
        check_model(output, force, [path for path, _model, _share in models], say)
    mean = mean_of(models)
    starts = {model.card["start"]["sha256"] for _path, model, _share in models if "start" in model.card}
    if len(starts) > 1:
        say("the networks were trained from different weights, and the mean of such is hardly ever of use")
    card = new_card(
        "average" if output is None else output.name[: -len(SUFFIX)],
        "fireflow average",
        policy="float",
        networks=[
            {
                **source_record(path),
                "share": share,
                **{key: model.card[key] for key in _OF_A_RUN if key in model.card},
            }
            for path, model, share in models
        ],
    )
    made = replace(mean, card=card)
    if output is not None:
        save_model(made, output)
    return made
