"""Float weights from files of any kind that `quant.readers` read, in one naming and with their preprocessing.

The layers are named as the network's modules are. Each has a ``.weight`` (OIHW) and a ``.bias``, both float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fireflow.hw.errors import InputError
from fireflow.hw.picture_options import PictureOptions
from fireflow.hw.preprocessing import Preprocessing
from fireflow.quant.imported.input_record import settle
from fireflow.quant.imported.raw import MAX_BYTES, Array
from fireflow.quant.networks import NetworkSpec, files_of
from fireflow.quant.networks.base import STEM
from fireflow.quant.readers.base import READERS, reader_of


@dataclass(frozen=True, slots=True)
class FloatWeights:
    """A float network as its file has it: conv1 still expects the source's channel order and scaling.

    Args:
        arrays: float32 by name, weights OIHW.
        source: "caffe", "onnx", "torch", "safetensors" or "npz".
        preprocessing: what the source network expects of its pictures.
        spec: the member of the family that the shapes and connections describe.
        notes: sentences on what was assumed, and on options that the file contradicts.
        softmax: the tensor of the scores in a file that has a softmax behind them, which is left out here.
        side: of the pictures that the file itself takes, where it says it.
    """

    arrays: Mapping[str, Array]
    source: str
    preprocessing: Preprocessing
    spec: NetworkSpec
    notes: tuple[str, ...] = ()
    softmax: str | None = None
    side: int | None = None


@dataclass(frozen=True, slots=True)
class FoldedWeights:
    """Weights whose conv1 takes RGB pixels: ``conv1(pixels - pixel_mean)`` is what the source computes.

    Args:
        arrays: float32 by name, weights OIHW; conv1.weight is in RGB order and for pixels of 0..255.
        pixel_mean: float32 (3,), RGB, in pixel units.
    """

    arrays: Mapping[str, Array]
    pixel_mean: Array


def load_weights(
    path: str | Path,
    preprocessing: str | Preprocessing | PictureOptions | None = None,
    key: str | None = None,
) -> FloatWeights:
    """Reads a weight file by the reader of its ending.

    Args:
        path: the file.
        preprocessing: "caffe", "torchvision", a JSON file, a record, or options of one field each; needed where the
            file does not tell (npz files without metadata, ONNX files of unknown origin) and obeyed where it does.
        key: which network of a checkpoint that holds several; see `quant.readers.state_dicts.find_network`.

    Raises:
        InputError: the file is missing, damaged, too large, no network that is known here, or holds NaN or Inf.
    """
    path = Path(path)
    reader = reader_of(path)
    if reader is None:
        known = ", ".join(suffix for each in READERS for suffix in each.suffixes)
        others = ", ".join(suffix for each in READERS for suffix in each.other_suffixes)
        raise InputError(
            f"{path}: a weight file must end in {known}, not {path.suffix!r}; convert or rename it "
            f"(a checkpoint of torch may also end in {others})"
        )
    if key is not None and reader.keys is None:
        raise InputError(f"{path}: weights-key is for checkpoints of torch, not {path.suffix}; leave it out")
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"{path}: weights must be a file, not a folder; name the file inside it")
    except OSError as error:
        raise InputError(
            f"{path}: the weight file must be readable, not {error.strerror}; check the path"
        ) from None
    if size > MAX_BYTES:
        raise InputError(
            f"{path}: a weight file must have at most {MAX_BYTES} bytes, not {size}; is it a SqueezeNet?"
        )
    try:
        raw = reader.read(path) if key is None else reader.read(path, key)
    except InputError:
        raise
    except Exception as error:  # the parsers of five formats raise nearly anything on damaged bytes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: must be a whole {path.suffix} file without pickled objects ({reason}); copy it again"
        ) from error
    options = preprocessing if isinstance(preprocessing, PictureOptions) else PictureOptions(preprocessing)
    chosen, notes = settle(path, raw.source, raw.told, options)
    arrays = {name: _checked(path, name, array) for name, array in raw.arrays.items()}
    files = files_of(arrays)
    spec = files.spec_of(path, {name: array.shape for name, array in arrays.items()})
    spec, assumed = files.wired(path, raw, replace(spec, input_size=chosen.size), chosen)
    if raw.softmax is not None:
        assumed.append(f"{path.name}: ends with a softmax; scores are those before it, in the same order")
    return FloatWeights(arrays, raw.source, chosen, spec, (*notes, *assumed), raw.softmax, raw.told.size)


def networks_in(path: Path) -> list[str]:
    """The keys of the networks in a file of a kind that may hold several; of other weight files none."""
    reader = reader_of(path)
    return [] if reader is None or reader.keys is None else reader.keys(path)


def fold_preprocessing(weights: FloatWeights) -> FoldedWeights:
    """Moves channel order and division by std into conv1, so that it takes centred RGB pixels."""
    record = weights.preprocessing
    kernel = weights.arrays[f"{STEM}.weight"].astype(
        np.float64
    )  # (O, 3, K, K), channels in the source's order
    if record.source_order == "BGR":
        kernel = kernel[:, ::-1]
    kernel = kernel / np.asarray(record.std).reshape(1, 3, 1, 1)
    arrays = {**weights.arrays, f"{STEM}.weight": np.ascontiguousarray(kernel, dtype=np.float32)}
    return FoldedWeights(arrays, np.asarray(record.mean, dtype=np.float32))


def _checked(path: Path, name: str, array: npt.NDArray[Any]) -> Array:
    """The array as contiguous float32, if it holds finite floats."""
    if array.dtype.kind != "f":
        raise InputError(f"{path}: {name}: weights must be floats, not {array.dtype}; give the float network")
    with np.errstate(over="ignore"):
        values = np.array(array, dtype=np.float32, order="C")  # our own copy: torch wants it writable
    if (
        name.endswith(".weight") and not values.any()
    ):  # a deploy.caffemodel of SqueezeNet 1.1 goes around that is so
        raise InputError(f"{path}: {name}: weights must not all be zero; give the trained network")
    bad = ~np.isfinite(values)
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{path}: {name}{list(index)}: weights must be finite, not {values[index]} "
            f"({int(bad.sum())} of {values.size} values); train or download the network again"
        )
    return values
