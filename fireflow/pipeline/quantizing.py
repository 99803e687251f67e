"""Integers from float weights, without training: bit widths, and calibration images that set the scales."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from fireflow.hw import given
from fireflow.hw.card import new_card, source_record
from fireflow.hw.errors import InputError
from fireflow.hw.files import check_suffix, stem_of
from fireflow.hw.overwrite import check_model
from fireflow.hw.picture_options import Pictures, picture_options
from fireflow.hw.remarks import Notes, Progress, Say, unheard
from fireflow.pipeline.classes import network_labels
from fireflow.pipeline.networks import network_of
from fireflow.quant import build, precision
from fireflow.quant.data import Data, ImageSet, opened
from fireflow.quant.finalize import finalize
from fireflow.quant.model_file import SUFFIX, Model, save_model
from fireflow.quant.precision import Policy


def quantize(
    weights: str | Path | Model,
    data: Data,
    *,
    output: str | Path | None = None,
    policy: str | Path | Policy = "w6a6",
    calibration_images: int = 256,
    preprocessing: Pictures = None,
    weights_key: str | None = None,
    labels: str | Path | None = None,
    equalize: bool = False,
    bias_correction: bool = True,
    force: bool = False,
    say: Say = unheard,
    progress: Progress | None = None,
) -> Model:
    """Quantizes a float network after training: weights, activations and scores become integers.

    Args:
        weights: the file of float weights, or a float `Model`.
        data: calibration images: a folder or zip, or an `ImageSet`. They need no labels.
        output: where to write the model, NAME.fireq; nowhere by default.
        policy: bit widths: `w6a6`, `w4a4`, `w3a4`, `w2a4`, `wXaY[,LAYER=wXaY...]`, a JSON file, or a `Policy`.
        calibration_images: how many of them to take, spread evenly.
        preprocessing: what the weights expect of pictures, where their file does not tell: see `load_network`.
        weights_key: which network of a checkpoint that holds several.
        labels: a file with the names of the classes, instead of the network's own if it has any, or `imagenet`.
        equalize: bring the channels of the float network to like ranges first.
        bias_correction: shift the biases by the mean error of the quantization.
        force: replace an output even if it took longer than a minute to make.
        say: told what was taken for granted, a line at a time.
        progress: told how many pictures are decoded.

    Returns:
        the quantized and finalized model, with its card.

    Raises:
        InputError: a file, policy or data that breaks a rule, a network of integers, or an output that must stay.
    """
    source = weights if isinstance(weights, Model) else given.path("weights", weights)
    calibration_images = given.whole("calibration images", calibration_images, least=None)
    if output is not None:
        output = check_suffix(given.path("output", output), SUFFIX)
        check_model(output, force, [source] if isinstance(source, Path) else [], say)
    started = time.perf_counter()
    images = opened(data)
    notes = Notes()
    model = network_of(source, picture_options(preprocessing), weights_key, notes.add)
    made_from = {"weights": source_record(source)} if isinstance(source, Path) else {}
    place = source if isinstance(source, Path) else "model"
    if model.network.policy is not None:
        raise InputError(f"{place}: must be a float network, not {model.network.policy.name}; see train")
    known = model.network.spec.layers
    bits = policy if isinstance(policy, Policy) else precision.load_policy(policy, known)
    names = network_labels(None if labels is None else str(labels), model, [images], notes)
    batches = build.calibration_batches(images, model.preprocessing, calibration_images, progress)
    network = finalize(build.to_quantized(model, bits, batches, equalize, correct_biases=bias_correction))
    name = f"{stem_of(Path(place))}-{bits.name}" if output is None else output.name[: -len(SUFFIX)]
    card = new_card(
        name,
        "fireflow quantize",
        policy=bits.model_dump(mode="json"),
        **made_from,
        **{key: model.card[key] for key in (build.ASSUMED,) if key in model.card},
        recipe={"equalize": equalize, "bias_correction": bias_correction},
        calibration=_calibration(images, calibration_images),
        seconds=round(time.perf_counter() - started, 1),
    )
    notes.tell(say)
    made = Model(network, model.preprocessing, names, card)
    if output is not None:
        save_model(made, output)
    return made


def _calibration(images: ImageSet, count: int) -> dict[str, Any]:
    """What the card says of the images that set the scales."""
    return {
        "data": images.name,
        "images": min(count, len(images)),
        "fingerprint": images.fingerprint(),
    }
