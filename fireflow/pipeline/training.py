"""Fine-tuning, in float or quantization-aware, with distillation; a run goes on where it stopped."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fireflow.hw.card import MODEL_CARD, write_card
from fireflow.hw.errors import InputError
from fireflow.hw.given import number, shown
from fireflow.hw.given import path as path_of
from fireflow.hw.given import whole as whole_number
from fireflow.hw.picture_options import PictureOptions, Pictures, picture_options
from fireflow.hw.remarks import Notes, Progress, Say, unheard
from fireflow.pipeline.classes import HEADS, KEEP, NEW, start_labels, with_head
from fireflow.pipeline.inputs import find_model
from fireflow.pipeline.networks import network_of
from fireflow.pipeline.teachers import Teacher, check_teachers, load_teachers
from fireflow.pipeline.training_run import FLOAT, MODEL_FILE, Asked, NetworkSource, Run, kept
from fireflow.quant import build
from fireflow.quant.allocator import keep_freed_memory
from fireflow.quant.data import Data, ImageSet, opened
from fireflow.quant.decoded import decode_to_array
from fireflow.quant.finalize import finalize
from fireflow.quant.head import head_of_data
from fireflow.quant.initial import fresh_model
from fireflow.quant.model_file import Model, save_model
from fireflow.quant.networks import ARCHITECTURES, Network
from fireflow.quant.onnx_teacher import OnnxTeacher
from fireflow.quant.precision import Policy, load_policy
from fireflow.quant.processes import emulates_bf16, is_first_process
from fireflow.quant.recipe import Recipe, recipe_of
from fireflow.quant.train import Share
from fireflow.quant.train import train as train_network

Shared: TypeAlias = Data | tuple[Data, float]
"""Images, alone or with their share of each batch."""
Report = Callable[[int, int, float], None]
"""Takes the steps that are done, how many there are, and the last loss, NaN before there is one."""
_LARGER = 8 / 7
"""Side of decoded pictures for one of the input, so that crops are seldom enlarged."""


def train(
    start: str | Path | Model,
    output: str | Path,
    data: Shared | Sequence[Shared],
    *,
    exclude: Sequence[Data] = (),
    decode_size: int | None = None,
    calibration_images: int = 256,
    policy: str | Path | Policy | None = None,
    head: str = KEEP,
    labels: str | Path | None = None,
    teacher: Sequence[Teacher] = (),
    onnx_teacher: Sequence[str | Path] = (),
    equalize: bool = False,
    preprocessing: Pictures = None,
    weights_key: str | None = None,
    recipe: Recipe | Mapping[str, Any] | None = None,
    epochs: float | None = None,
    devices: int | str = "auto",
    accelerator: str = "auto",
    restart: bool = False,
    force: bool = False,
    say: Say = unheard,
    progress: Progress | None = None,
    report: Report | None = None,
) -> Model:
    """Trains a network, or goes on where a run into the same folder stopped.

    The same call with the same data goes on from the last checkpoint and ends with the very weights of a run that was
    never stopped; a call that asks for another run is refused.

    Args:
        start: float weights, a .fireq file, the name of a model that comes with fireflow, a `Model`, or one of
            `architectures()`, which begins with random weights and the classes of the data.
        output: a folder for model.fireq, its card, the checkpoint, TensorBoard logs and the record of the run.
        data: folders or zips of pictures or `ImageSet`s, each alone or with its share of each batch, 1.0 by default.
        exclude: sets whose pictures are left out, by file name: what is measured must not be trained on.
        decode_size: side in pixels that pictures are decoded to; 8/7 of the input by default.
        calibration_images: how many pictures of the first set fix the first scales.
        policy: bit widths as for `quantize`, or `float`; by default those of `start`.
        head: `keep` the classes of `start`, keep only those of the first labelled `data`, or learn these as `new`.
        labels: a file with the names of the start's classes, instead of its own if it has any, or `imagenet`.
        teacher: float weights to distil from, `start` by default, if it is float and the result is not.
        onnx_teacher: classifiers of any kind to distil scores from as well: ONNX, RGB pixels of 0 to 255 in.
        equalize: bring channels to like ranges before quantizing.
        preprocessing: what the weights expect of pictures, where their file does not tell: see `load_network`.
        weights_key: which network of a checkpoint that holds several.
        recipe: how, or the settings of a `Recipe` that are not the default's. Unless it says so, `distillation` is 1
            with a teacher and 0 without.
        epochs: as many steps as pass over all data that often, in place of the recipe's steps.
        devices: how many, or `auto`.
        accelerator: `cpu`, `cuda`, `mps` or `auto`.
        restart: begin anew where a run is in the folder, and lose it.
        force: replace a model of another origin.
        say: told what was taken for granted, at the first step, and what is lost.
        progress: told how many pictures of a set are decoded.
        report: told how far training is, at first the steps of the checkpoint.

    Returns:
        the model that was written: float on pixels less their mean, or quantized and finalized.

    Raises:
        InputError: data, networks or settings that do not fit together, another run or somebody else's file in the
            folder, no such device, or a disk that is full; what was trained so far is kept.
    """
    folder = path_of("output", output)
    calibration_images = whole_number("calibration images", calibration_images, least=None)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: the output must be a folder, not a file; give another name")
    if head not in HEADS:
        raise InputError(f"head: must be one of {', '.join(HEADS)}, not {shown(head)}; choose {KEEP}")
    if decode_size is not None:
        whole_number("decode size", decode_size, least=None)
    if devices != "auto":
        whole_number("devices", devices)
    for option, several in (("exclude", exclude), ("teacher", teacher), ("onnx_teacher", onnx_teacher)):
        if not isinstance(several, (list, tuple)):
            raise InputError(f"{option}: must be a list, not {shown(several)}; put it in brackets")
    keep_freed_memory()
    name = start if isinstance(start, (str, Path)) else "the network"
    given, pictures = _given(recipe, epochs), picture_options(preprocessing)
    source, pictures, head = _begun(start, given.get("seed", 0), pictures, head)
    excluded = [opened(each) for each in exclude]
    sets = _open_sets(data, excluded)
    images, notes = [own for own, _weight in sets], Notes()
    whole = network_of(source, pictures, weights_key, notes.add)
    bits = whole.network.policy if policy is None else _bits(policy, whole.network)
    asked_labels = None if labels is None else str(labels)
    whole = replace(whole, labels=start_labels(head, asked_labels, whole, images, notes))
    model, labelled, rows = with_head(head, whole, images, str(name), given.get("seed"), notes)
    teachers: list[tuple[NetworkSource, Model]] = [
        *load_teachers(teacher, pictures.preprocessing, weights_key, model, labelled, notes)
    ]
    # A float network learns nothing from itself, and one with a new head nothing from its start.
    if not teacher and _teaches_itself(whole, bits, head, given):
        teachers = [(source, whole if labelled is None else head_of_data(whole, labelled)[0])]
    others = [
        OnnxTeacher(path_of("onnx_teacher", path), rows, whole.network.spec.num_classes)
        for path in onnx_teacher
    ]
    check_teachers([network for _source, network in teachers], model)
    given = {"distillation": 1.0 if teachers or others else 0.0, **given}
    decoding = _Decoding(decode_size, labelled=given["distillation"] < 1, name=str(name), progress=progress)
    shares = decoding.shares(sets, model, notes)
    how = _recipe(given, epochs, sum(len(share.images) for share in shares))
    asked = Asked(
        source,
        model,
        bits,
        teachers,
        others,
        sets,
        shares,
        [each.name for each in excluded],
        calibration_images,
        equalize,
        how,
    )
    tell = say if is_first_process() else unheard
    run = Run(folder, asked.record(), restart, force, tell) if is_first_process() else None
    network = _network(asked, progress)
    if how.precision == "bf16-mixed" and emulates_bf16(accelerator):
        tell("precision: this CPU has no instructions for bf16, so bf16-mixed is slower here than 32-true")

    def told(step: int, loss: float) -> None:
        notes.tell(tell)  # at the first step, behind which nothing is refused any more
        if report is not None:
            report(step, how.steps, loss)

    with kept(folder):
        train_network(
            network,
            [teacher.network for _source, teacher in teachers],
            shares,
            how,
            folder,
            devices=devices,
            accelerator=accelerator,
            others=others,
            report=None if run is None else run.timed(how.steps, told),
            begin=None if run is None else run.begin,
        )
        return _finished(replace(model, network=network), run, how)


def _open_sets(data: Shared | Sequence[Shared], excluded: Sequence[ImageSet]) -> list[tuple[ImageSet, float]]:
    """Pictures and share of each set, without what is excluded."""
    names = {name for images in excluded for name in images.names}
    given = [data] if isinstance(data, (str, Path, ImageSet, tuple)) else data
    if not isinstance(given, list) or not given:
        raise InputError(
            f"data: must be a folder, a zip, an ImageSet or a list of these, not {shown(data)}; name one"
        )
    sets = []
    for each in given:
        own, weight = each if isinstance(each, tuple) else (each, 1.0)
        if not number("share", weight) > 0:
            raise InputError(
                f"share: must be a number above 0 beside its data, not {weight}; leave it out for 1"
            )
        images = opened(own)
        sets.append((images.without(names) if names else images, weight))
    return sets


def _begun(
    start: str | Path | Model, seed: int, pictures: PictureOptions, head: str
) -> tuple[NetworkSource, PictureOptions, str]:
    """The start, what is still to be said of its pictures, and its head: of an architecture a new one."""
    if isinstance(start, str) and start in ARCHITECTURES and not Path(start).exists():
        fresh = fresh_model(start, seed, pictures)
        return fresh, PictureOptions(), NEW if head == KEEP else head  # it has no classes to keep
    return copy.deepcopy(start) if isinstance(start, Model) else find_model(start), pictures, head


def _teaches_itself(start: Model, bits: Policy | None, head: str, given: Mapping[str, Any]) -> bool:
    float_to_integers = start.network.policy is None and bits is not None
    return float_to_integers and head != NEW and given.get("distillation") != 0


def _bits(policy: str | Path | Policy, network: Network) -> Policy | None:
    if isinstance(policy, Policy):
        return policy
    return None if str(policy) == FLOAT else load_policy(policy, network.spec.layers)


def _given(recipe: Recipe | Mapping[str, Any] | None, epochs: float | None) -> dict[str, Any]:
    """The settings that are said."""
    if isinstance(recipe, Recipe):
        given = {name: getattr(recipe, name) for name in recipe.model_fields_set}
    else:
        if recipe is not None and not isinstance(recipe, Mapping):
            raise InputError(
                f"recipe: must be a Recipe or its settings by name, not {shown(recipe)}; give a mapping"
            )
        given = dict(recipe or {})
    if epochs is not None and "steps" in given:
        raise InputError("epochs: must be given without steps, which say the same; leave one out")
    return given


def _recipe(given: Mapping[str, Any], epochs: float | None, pictures: int) -> Recipe:
    if epochs is None:
        return recipe_of(given)
    if not 0 < number("epochs", epochs) < math.inf:
        raise InputError(f"epochs: must be a number above 0, not {epochs}; give 0.5 or 10")
    steps = math.ceil(epochs * pictures / recipe_of(given).batch_size)
    return recipe_of({**given, "steps": steps})


@dataclass(frozen=True, slots=True)
class _Decoding:
    """How pictures are brought to what training wants.

    Args:
        side: of the decoded pictures in pixels, None for what suits the input.
        labelled: whether labels are needed.
        name: of the start, for messages.
        progress: told how many are decoded.
    """

    side: int | None
    labelled: bool
    name: str
    progress: Progress | None

    def shares(self, sets: Sequence[tuple[ImageSet, float]], model: Model, notes: Notes) -> list[Share]:
        """Pictures of one size, labels as the network numbers them."""
        size, classes = model.preprocessing.size, model.network.spec.num_classes
        side = round(size * _LARGER) if self.side is None else self.side
        if side < size:
            raise InputError(f"decode size: must be at least the input size {size}, not {side}; leave it out")
        shares = []
        for images, weight in sets:
            decoded = decode_to_array(images, side, progress=self.progress)
            labels = None
            if self.labelled:
                match = images.match(classes, model.labels)
                labels = np.array(match.rows, dtype=np.int64)[decoded.labels]
                if match.assumed_imagenet:
                    notes.imagenet(self.name)
            shares.append(Share(replace(decoded, labels=labels), weight))
        return shares


def _network(asked: Asked, progress: Progress | None) -> Network:
    """The network to train, on centred pixels."""
    if asked.policy is None:
        return build.to_float(build.centred(asked.model))
    images, _weight = asked.sets[0]
    batches = build.calibration_batches(images, asked.model.preprocessing, asked.calibration_images, progress)
    return build.to_quantized(asked.model, asked.policy, batches, asked.equalize)


def _finished(model: Model, run: Run | None, recipe: Recipe) -> Model:
    """The model as it is used; the process that has the run writes it, with card and record."""
    if model.network.policy is not None:
        model = replace(model, network=finalize(model.network))
    if run is None:
        return model
    assumed = {name: model.card[name] for name in (build.ASSUMED,) if name in model.card}
    model = replace(model, card={**run.card(recipe.start_share), **assumed})
    save_model(model, run.folder / MODEL_FILE)
    write_card(model.card, run.folder / MODEL_CARD)
    run.record.save(run.folder)
    return model
