"""Networks from weight files, and what a weight file does not say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fireflow.hw import given
from fireflow.hw.errors import InputError
from fireflow.hw.picture_options import PictureOptions, Pictures, picture_options
from fireflow.hw.remarks import Say, unheard
from fireflow.pipeline.inputs import find_model

if TYPE_CHECKING:
    from fireflow.quant.model_file import Model


def load_network(
    weights: str | Path,
    *,
    preprocessing: Pictures = None,
    weights_key: str | None = None,
    say: Say = unheard,
) -> Model:
    """A network from its file: a .fireq file, or float weights of Caffe, ONNX, torch or NumPy.

    An ONNX file is run by ONNX Runtime as well, which must compute the same. What was assumed of a weight file goes to
    `say` and into the card of the model.

    Args:
        weights: the file, or the name of a model that comes with fireflow.
        preprocessing: what the weights expect of pictures, where their file does not tell: `caffe`, `torchvision`, a
            JSON file, a whole record, or single fields of it as `PictureOptions`.
        weights_key: which network of a checkpoint that holds several, such as `state_dict_ema`.
        say: told what was assumed, a line at a time.

    Returns:
        a `Model`; its network takes RGB pixels, float32 (N, 3, S, S), whole numbers 0 to 255, and gives scores,
        float32 (N, classes).

    Raises:
        InputError: a file that is damaged or holds another network, pictures that are not known, or options that
            contradict each other or the file.
    """
    return network_of(find_model(weights), picture_options(preprocessing), weights_key, say)


def network_of(source: Path | Model, pictures: PictureOptions, key: str | None, say: Say) -> Model:
    """The network in a file, or one that is open already.

    Args:
        source: either.
        pictures: what is said of the pictures that a file's network expects.
        key: which network of a checkpoint that holds several.
        say: told what was assumed.

    Raises:
        InputError: as `load_network`, or something is said of a network that is open.
    """
    if isinstance(source, Path):
        from fireflow.quant import build

        return build.load_network(source, pictures, say, key)
    from fireflow.quant.model_file import Model

    given.instance("model", source, Model, "give a file, or what load_network returns")
    said = [*pictures.said(), *(["--weights-key"] if key is not None else [])]
    if said:
        raise InputError(
            f"model: {said[0]} is for weights from files, not for a network that is open; leave it out"
        )
    return source
