"""The networks that training learns from, with the classes of the one that learns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from fireflow.hw.errors import InputError
from fireflow.hw.picture_options import PictureOptions, Pictures, picture_options
from fireflow.hw.preprocessing import Preprocessing
from fireflow.hw.remarks import Notes
from fireflow.pipeline.classes import aligned
from fireflow.pipeline.inputs import FIREQ, find_model, kind_of
from fireflow.quant.build import load_network, with_input_size
from fireflow.quant.data import ImageSet
from fireflow.quant.model_file import Model
from fireflow.quant.pretrained import networks_in

Teacher: TypeAlias = str | Path | tuple[str | Path, Pictures]
"""Float weights to learn from, alone or with what they expect of pictures."""


def load_teachers(
    asked: Sequence[Teacher],
    preprocessing: str | Preprocessing | None,
    key: str | None,
    model: Model,
    labelled: ImageSet | None,
    notes: Notes,
) -> list[tuple[Path, Model]]:
    """The networks in files of weights, with the classes of `model`, and their files.

    Args:
        asked: the files; each may see pictures in its own way.
        preprocessing: what is said of the start's pictures, which counts for those that say nothing else.
        key: which network of the start's checkpoint, and of theirs where it holds several.
        model: the network that shall learn.
        labelled: the data whose classes it has, None if it has its own.
        notes: gets what was assumed.

    Raises:
        InputError: as `load_network`, or classes that the network does not have.
    """
    loaded = []
    for each in asked:
        name, pictures = each if isinstance(each, tuple) else (each, None)
        path = find_model(name)
        if pictures is None and kind_of(path) != FIREQ:
            pictures = PictureOptions(preprocessing)
        loaded.append((path, load_network(path, picture_options(pictures), notes.add, _key_in(path, key))))
    size = model.preprocessing.size
    return [
        (path, aligned(with_input_size(teacher, size), path, model, labelled, notes))
        for path, teacher in loaded
    ]


def check_teachers(teachers: Sequence[Model], model: Model) -> None:
    """That teachers are float and have as many classes as the network.

    Raises:
        InputError: one has not.
    """
    own = model.network.spec.num_classes
    for teacher in teachers:
        other, policy = teacher.network.spec.num_classes, teacher.network.policy
        if policy is not None:
            raise InputError(f"teacher: must be a float network, not {policy.name}; give float weights")
        if own != other:
            raise InputError(
                f"teacher: must have the {own} classes of the network, not {other}; use --head data"
            )


def _key_in(path: Path, key: str | None) -> str | None:
    """The key for a teacher, whose file need not hold several networks where that of the start does."""
    return key if key is not None and len(networks_in(path)) > 1 else None
