"""The classes of a network: their names, and a last layer with fewer of them or with new ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from fireflow.hw.classes import ClassMatch, ImageClass, classes_of, folder_class
from fireflow.hw.errors import InputError
from fireflow.hw.labels import IMAGENET_CLASSES, imagenet, imagenet_names
from fireflow.quant.build import calibration_batches, rebuilt, to_float
from fireflow.quant.data import ImageSet
from fireflow.quant.model_file import Model
from fireflow.quant.networks import Network

_PICTURES = 64
"""So many set the first biases of a new head."""


@dataclass(frozen=True)
class Labels:
    """Names of a network's classes, and a sentence on where they are from."""

    names: tuple[str, ...]
    source: str


def cut_head(model: Model, rows: npt.NDArray[np.int64]) -> Model:
    """The network with some of its classes only, in the order of `rows`; the labels go with them.

    Raises:
        InputError: a row that the network does not have.
    """
    network = model.network
    classes = network.spec.num_classes
    if rows.min() < 0 or rows.max() >= classes:
        raise InputError(
            f"head: rows must be below the network's {classes} classes, not {rows.max()}; "
            "start from a network that has the classes of the data"
        )
    picked = torch.from_numpy(rows)
    state = network.state_dict()
    for name in _tensors(network):
        state[name] = state[name][picked]
    labels = tuple(model.labels[row] for row in rows.tolist()) if model.labels else ()
    spec = replace(network.spec, num_classes=len(rows))
    return replace(model, network=rebuilt(network, spec, state), labels=labels)


def head_of_data(model: Model, images: ImageSet) -> tuple[Model, ClassMatch]:
    """The network with the classes of a data set only, found by identity, under the network's own names of them.

    A network without labels gets ImageNet's names where its classes were found as ImageNet's, else those of the data.

    Raises:
        InputError: as `ImageSet.match`.
    """
    match = images.match(model.network.spec.num_classes, model.labels)
    cut = cut_head(model, np.array(match.rows, dtype=np.int64))
    whole = model.labels or (imagenet_names() if match.assumed_imagenet else ())
    names = tuple(_told_apart(whole, match.rows)) if whole else images.class_names
    return replace(cut, labels=names), match


def _tensors(network: Network) -> tuple[str, str]:
    """Names of the weight and the bias of the last layer."""
    name = network.head.name
    return f"{name}.weight", f"{name}.bias"


def _told_apart(labels: Sequence[str], rows: Sequence[int]) -> list[str]:
    """The labels of these rows; those of one name get their wnid before it: the bird and the machine are "crane"."""
    classes = classes_of(labels)
    counts = Counter(labels[row] for row in rows)
    return [
        f"{classes[row].wnid} {labels[row]}" if counts[labels[row]] > 1 and classes[row].wnid else labels[row]
        for row in rows
    ]


@torch.no_grad()
def new_head(model: Model, images: ImageSet, seed: int) -> Model:
    """The network, in float, with a last layer for the classes of a data set that knows nothing of them yet.

    Its weights are random and as large as those that they replace, because a step of training is a share of a tensor's
    own size. Its biases lift every class above the ReLU behind it on pictures of the data: below it none would learn.

    Raises:
        InputError: the data has fewer than two classes, or two of one name.

    Source: first values from data as in Mishkin and Matas, "All you need is a good init", arXiv:1511.06422.
    """
    place, names = images.source.place, images.class_names
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{place}: classes must have names of their own, not twice {twice[0]!r}; rename one")
    plain = to_float(model.network)
    spec = replace(plain.spec, num_classes=len(names))
    state = plain.state_dict()
    weight_name, bias_name = _tensors(plain)
    weight = state[weight_name]
    fresh = torch.randn((len(names), *weight.shape[1:]), generator=torch.Generator().manual_seed(seed))
    size = weight.square().mean().sqrt()
    state[weight_name], state[bias_name] = fresh * size, torch.zeros(len(names))
    network = rebuilt(plain, spec, state)
    pixels = calibration_batches(images, model.preprocessing, _PICTURES)
    sums = torch.cat(
        [network.scores_and_maps(batch)[1][-1].transpose(0, 1).flatten(1) for batch in pixels()], 1
    )
    bias = network.head.conv.bias
    assert bias is not None
    bias.copy_(torch.maximum(2 * sums.std(dim=1), size) - sums.mean(dim=1))
    return replace(model, network=network, labels=names)


def labels_of_data(images: Sequence[ImageSet], classes: int) -> Labels | None:
    """Names that labelled data gives a network without labels, if it says of each name which class it is.

    That is a labels.csv that has a class_name for each class_index of the network, or, for a network of 1000 classes,
    classes of ImageNet by their wnids. Class folders of whatever number say nothing of the network.
    """
    for each in images:
        numbers = [c.index for c in each.classes]
        if (
            numbers == list(range(classes))
            and all(map(_is_named, each.classes))
            and _fits_imagenet(each, classes)
        ):
            return Labels(each.class_names, f"the class_index and class_name of {each.source.place}")
        wnids = {c.wnid for c in each.classes}
        if (
            classes == IMAGENET_CLASSES
            and wnids
            and wnids <= _imagenet_wnids()
            and _fits_imagenet(each, classes)
        ):
            return Labels(imagenet_names(), f"ImageNet, whose wnids {each.source.place} has")
    return None


def _is_named(c: ImageClass) -> bool:
    """Whether a class of labels.csv has a name of its own; a folder's number comes with its name and is none."""
    return c.name != c.wnid and folder_class(c.name).index != c.index


def _imagenet_wnids() -> frozenset[str | None]:
    return frozenset(wnid for wnid, _name in imagenet())


def _fits_imagenet(images: ImageSet, classes: int) -> bool:
    """Whether numbers and wnids of ImageNet, where there are both, agree on a network of 1000 classes."""
    order = {wnid: number for number, (wnid, _name) in enumerate(imagenet())}
    return classes != IMAGENET_CLASSES or all(
        c.index is None or c.wnid not in order or order[c.wnid] == c.index for c in images.classes
    )
