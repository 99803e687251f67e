"""From weight files to networks: float and quantized."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fireflow.hw.errors import InputError
from fireflow.hw.picture_options import PictureOptions, with_size
from fireflow.hw.preprocessing import Preprocessing
from fireflow.hw.remarks import Progress, Say
from fireflow.quant import agreement, calibrate
from fireflow.quant.data import ImageSet
from fireflow.quant.decoded import decode_to_array
from fireflow.quant.layers import mark_calibrated, quantizers
from fireflow.quant.model_file import SUFFIX, Model, load_model
from fireflow.quant.networks.base import Network, NetworkSpec, float_state
from fireflow.quant.precision import Policy
from fireflow.quant.pretrained import FloatWeights, fold_preprocessing, load_weights

ASSUMED = "assumed"
"""In the card of a network from a weight file: sentences on what the file does not tell."""


def load_network(
    path: Path, pictures: PictureOptions | None = None, say: Say | None = None, key: str | None = None
) -> Model:
    """Reads a .fireq file, or a float weight file as `quant.pretrained.load_weights` does.

    An ONNX file is run by ONNX Runtime as well, see `quant.agreement`. What was assumed of a weight file goes to
    `say` and into the card.

    Args:
        path: the file.
        pictures: what the user says of the pictures; for a .fireq file only their size and frame.
        say: takes what was assumed, a sentence at a time.
        key: which network of a checkpoint that holds several.

    Raises:
        InputError: as `load_weights` and `load_model` do; ONNX Runtime computes something else.
    """
    pictures = pictures or PictureOptions()
    if path.suffix == SUFFIX:
        if key is not None:
            raise InputError(f"{path}: weights-key is for checkpoints of torch, not {SUFFIX}; leave it out")
        model = load_model(path)
        record = pictures.reframed(path, model.preprocessing)
        model = with_input_size(model, record.size)
        return replace(model, preprocessing=record)
    weights = load_weights(path, pictures, key)
    model = float_network(weights)
    notes = [*weights.notes, *agreement.check(path, weights)]
    for note in notes:
        (say or (lambda _text: None))(note)
    return replace(model, card={ASSUMED: notes} if notes else {})


def float_network(weights: FloatWeights, input_size: int | None = None) -> Model:
    """The float network of a weight file, on RGB pixels."""
    folded = fold_preprocessing(weights)
    network = weights.spec.build()
    network.load_state_dict(float_state(folded.arrays))
    network.pixel_offset = pixel_mean(weights.preprocessing)
    model = Model(network.eval(), weights.preprocessing)
    return model if input_size is None else with_input_size(model, input_size)


def with_input_size(model: Model, input_size: int) -> Model:
    """The same weights on pictures of another size; see `hw.picture_options.with_size`."""
    if input_size == model.preprocessing.size:
        return model
    spec = replace(model.network.spec, input_size=input_size)
    network = rebuilt(model.network, spec, model.network.state_dict())
    return replace(model, network=network, preprocessing=with_size(model.preprocessing, input_size))


def to_float(network: Network) -> Network:
    """The float network of the same weights (those of a quantized one are its integers times their scale)."""
    if network.policy is None:
        return network
    plain = network.spec.build().eval()
    wanted = plain.state_dict()
    plain.load_state_dict({name: value for name, value in network.state_dict().items() if name in wanted})
    plain.pixel_offset = network.pixel_offset
    return plain


def to_quantized(
    model: Model,
    policy: Policy,
    batches: Callable[[], Iterable[Tensor]],
    equalize: bool = False,
    correct_biases: bool = True,
) -> Network:
    """A quantized network, ready for training or for `quant.finalize`.

    Args:
        model: float or quantized. One that has this policy is taken as it is.
        policy: bit widths.
        batches: gives the calibration pixels, float32 (N, 3, S, S), again at every call.
        equalize: bring the channels of the float network to like ranges first.
        correct_biases: shift biases by the mean error of the quantization.
    """
    if model.network.policy == policy:
        return centred(model)
    plain = to_float(centred(model))
    if equalize:
        plain = calibrate.equalize(plain)
    quantized = calibrate.quantize(plain, policy, batches())
    if correct_biases:
        calibrate.correct_biases(quantized, batches())
    return quantized


def calibration_batches(
    images: ImageSet, preprocessing: Preprocessing, count: int, progress: Progress | None = None
) -> Callable[[], Iterable[Tensor]]:
    """Batches for `to_quantized` of `count` pictures, spread evenly over the set; `progress` as for decoding."""
    if count < 1:
        raise InputError(f"calibration images: must be at least 1, not {count}; 256 are enough")
    positions = np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int))
    decoded = decode_to_array(images.select(positions.tolist()), preprocessing, progress=progress)
    pixels = torch.from_numpy(np.array(decoded.images))
    return lambda: calibrate.pixel_batches(pixels)


def rebuilt(network: Network, spec: NetworkSpec, state: Mapping[str, Tensor]) -> Network:
    """A network like `network`, its policy and pixel offset, but with this `spec` and the tensors of `state`."""
    result = spec.build(network.policy).eval()
    result.load_state_dict(state)
    result.pixel_offset = network.pixel_offset
    for _name, layer, _bits in quantizers(result):
        mark_calibrated(layer)
    return result


@torch.no_grad()
def centred(model: Model) -> Network:
    """The network on pixels less their mean, as training wants it: undoes what `quant.finalize` does to the stem."""
    network = model.network
    if network.pixel_offset is not None:
        return network
    moved = rebuilt(network, network.spec, network.state_dict())
    offset = pixel_mean(model.preprocessing)
    stem = next(moved.connections()).conv
    assert stem.bias is not None
    stem.bias.copy_(stem.bias.double() + (stem.weight.double() * offset.double()).sum(dim=(1, 2, 3)))
    moved.pixel_offset = offset
    return moved


def pixel_mean(preprocessing: Preprocessing) -> Tensor:
    """What is taken from pixels before training: float32 (1, 3, 1, 1)."""
    return torch.tensor(preprocessing.mean, dtype=torch.float32).view(1, 3, 1, 1)
