"""The classes of the networks of a step: their names, the head that training wants, those of teachers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fireflow.hw.classes import classes_of, match_classes
from fireflow.hw.errors import InputError
from fireflow.hw.labels import read_labels
from fireflow.hw.remarks import Notes
from fireflow.quant.data import ImageSet, head_rows
from fireflow.quant.head import cut_head, head_of_data, labels_of_data, new_head
from fireflow.quant.model_file import Model
from fireflow.quant.recipe import Recipe

DATA, KEEP, NEW = "data", "keep", "new"
HEADS = (DATA, KEEP, NEW)


def network_labels(
    asked: str | None, model: Model, images: Sequence[ImageSet], notes: Notes
) -> tuple[str, ...]:
    """The labels for what is made from `model`; notes what was taken for want of its own.

    Raises:
        InputError: `asked` is no list of its classes.
    """
    classes = model.network.spec.num_classes
    if asked is not None:
        return read_labels(asked, classes)
    if model.labels:
        return model.labels
    found = labels_of_data(images, classes)
    if found is None:
        notes.add("labels: the network has none; --labels FILE names its classes")
        return ()
    notes.add(f"labels: the network has none; taken from {found.source}; --labels FILE gives others")
    return found.names


def start_labels(
    head: str, asked: str | None, model: Model, images: Sequence[ImageSet], notes: Notes
) -> tuple[str, ...]:
    """The labels of the network that training starts from; those of a new head are the data's.

    Raises:
        InputError: as `network_labels`, or a new head is asked for together with labels.
    """
    if head == NEW and asked is not None:
        raise InputError(f"labels: must be the data's with --head {NEW}, not {asked}; leave out --labels")
    return model.labels if head != KEEP and asked is None else network_labels(asked, model, images, notes)


def with_head(
    head: str, start: Model, images: Sequence[ImageSet], name: str, seed: int | None, notes: Notes
) -> tuple[Model, ImageSet | None, Any]:
    """The network with the classes that `head` wants.

    Args:
        head: `DATA`, `KEEP` or `NEW`.
        start: the network with all its classes.
        images: the first with labels tells which.
        name: what the user calls the start.
        seed: of the recipe, for a new head.
        notes: gets how the classes were found.

    Returns:
        the network, the data whose classes it has (None: its own), and the rows of the start that these are.

    Raises:
        InputError: no data has labels, or the start does not have their classes.
    """
    if head == KEEP:
        return start, None, None
    labelled = next((each for each in images if each.labels is not None), None)
    if labelled is None:
        raise InputError(f"head: data must have labels to take classes from, and none has; use --head {KEEP}")
    if head == NEW:
        return new_head(start, labelled, Recipe().seed if seed is None else seed), labelled, None
    model, match = head_of_data(start, labelled)
    notes.add(f"head: classes {match}")
    if match.assumed_imagenet:
        notes.imagenet(name)
    return model, labelled, head_rows(labelled, start.network.spec.num_classes, start.labels)


def aligned(teacher: Model, place: Path, model: Model, labelled: ImageSet | None, notes: Notes) -> Model:
    """A teacher with the classes of the network, in its order, found by the labels of both.

    One without labels keeps the classes of the data, if there is a head of these, else its own: that they are the
    network's is then for the user to know, and is noted.
    """
    classes, own = model.network.spec.num_classes, teacher.network.spec.num_classes
    if teacher.labels and model.labels:
        if teacher.labels == model.labels:
            return teacher
        match = match_classes(f"teacher {place}", classes_of(model.labels), own, teacher.labels)
        return cut_head(teacher, np.array(match.rows, dtype=np.int64))
    if own != classes:
        return teacher if labelled is None else head_of_data(teacher, labelled)[0]
    lacking = f"teacher {place.name}" if model.labels else "the network"
    notes.add(
        f"labels: {lacking} has none; the {classes} classes of teacher and network are taken to be the same, in order"
    )
    return replace(teacher, labels=model.labels)
