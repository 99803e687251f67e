"""Float SqueezeNet weights from Caffe, ONNX, torch and npz files, in one naming and with their preprocessing.

The layers are ``conv1``, ``fire2`` to ``fire9`` each with ``.squeeze``, ``.expand1x1``, ``.expand3x3`` (and
``.bypass`` in a complex bypass), and ``conv10``. Each has a ``.weight`` (OIHW) and a ``.bias``, both float32.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fireflow.hw.errors import InputError
from fireflow.hw.files import atomic_file
from fireflow.hw.picture_options import PictureOptions
from fireflow.hw.preprocessing import Preprocessing
from fireflow.quant.caffe import read_caffemodel
from fireflow.quant.family import MAX_BYTES, Array, Raw, infer_spec
from fireflow.quant.input_record import Told, all_told, settle
from fireflow.quant.onnx_weights import read_onnx
from fireflow.quant.operations import shown
from fireflow.quant.precision import FIRE_NUMBERS
from fireflow.quant.squeezenet import PoolBorder, SqueezeNetSpec
from fireflow.quant.torch_weights import OTHER_ENDINGS, read_safetensors, read_torch

_METADATA = "__fireflow__"


@dataclass(frozen=True, slots=True)
class FloatWeights:
    """A float SqueezeNet as its file has it: conv1 still expects the source's channel order and scaling.

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
    spec: SqueezeNetSpec
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
    """Reads a weight file, by its extension: .caffemodel, .onnx, .safetensors, .npz, or one of torch's.

    Args:
        path: the file.
        preprocessing: "caffe", "torchvision", a JSON file, a record, or options of one field each; needed where the
            file does not tell (npz files without metadata, ONNX files of unknown origin) and obeyed where it does.
        key: which network of a checkpoint that holds several; see `quant.state_dicts.find_network`.

    Raises:
        InputError: the file is missing, damaged, too large, not a SqueezeNet, or holds NaN or Inf.
    """
    path = Path(path)
    reader = {**_READERS, **dict.fromkeys(OTHER_ENDINGS, read_torch)}.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(_READERS)
        raise InputError(
            f"{path}: a weight file must end in {known}, not {path.suffix!r}; convert or rename it "
            f"(a checkpoint of torch may also end in {', '.join(OTHER_ENDINGS)})"
        )
    if key is not None and reader not in (read_torch, read_safetensors):
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
        raw = reader(path) if key is None else reader(path, key)
    except InputError:
        raise
    except Exception as error:  # the parsers of five formats raise nearly anything on damaged bytes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: must be a whole {path.suffix} file without pickled objects ({reason}); copy it again"
        ) from error
    options = preprocessing if isinstance(preprocessing, PictureOptions) else PictureOptions(preprocessing)
    told = _told(raw)
    chosen, notes = settle(path, raw.source, told, options)
    arrays = {name: _checked(path, name, array) for name, array in raw.arrays.items()}
    spec = infer_spec(path, {name: array.shape for name, array in arrays.items()})
    spec, assumed = _wired(path, raw, replace(spec, input_size=chosen.size), chosen)
    if raw.softmax is not None:
        assumed.append(f"{path.name}: ends with a softmax; scores are those before it, in the same order")
    return FloatWeights(arrays, raw.source, chosen, spec, (*notes, *assumed), raw.softmax, told.size)


def fold_preprocessing(weights: FloatWeights) -> FoldedWeights:
    """Moves channel order and division by std into conv1, so that it takes centred RGB pixels."""
    record = weights.preprocessing
    kernel = weights.arrays["conv1.weight"].astype(np.float64)  # (O, 3, K, K), channels in the source's order
    if record.source_order == "BGR":
        kernel = kernel[:, ::-1]
    kernel = kernel / np.asarray(record.std).reshape(1, 3, 1, 1)
    arrays = {**weights.arrays, "conv1.weight": np.ascontiguousarray(kernel, dtype=np.float32)}
    return FoldedWeights(arrays, np.asarray(record.mean, dtype=np.float32))


def save_npz(weights: FloatWeights, path: str | Path) -> None:
    """Writes weights with their preprocessing, so that `load_weights` needs to be told nothing."""
    metadata = {
        "preprocessing": weights.preprocessing.to_json(),
        "head_padding": weights.spec.head_padding,
        "simple_bypass": weights.spec.bypass == "simple",
        "head_relu": weights.spec.head_relu,
        "pools": [asdict(border) for border in weights.spec.pools],
    }
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        content: dict[str, Any] = {_METADATA: np.array(json.dumps(metadata)), **weights.arrays}
        np.savez(file, **content)


def _told(raw: Raw) -> Told:
    """What a file tells of its pictures; a state dict tells by its names, which makes it likely and no more."""
    record = raw.preprocessing
    if isinstance(record, Preprocessing):
        if raw.source == "npz":
            return all_told(record)
        return Told(guess=record, whose="torchvision's", because="its tensors are named as torchvision's")
    return Told() if record is None else record


def _wired(
    path: Path, raw: Raw, spec: SqueezeNetSpec, chosen: Preprocessing
) -> tuple[SqueezeNetSpec, list[str]]:
    """The spec with what its shapes do not show, and sentences on what was assumed of that.

    Raises:
        InputError: an average that does not take all of its map, or sums elsewhere than the family has them.
    """
    padding, notes = raw.head_padding, []
    if raw.pools is None or raw.head_relu is None:
        notes = [
            f"{path.name}: connections assumed as published (pools that round up, a ReLU in front of the average), "
            f"for a {raw.source} file does not tell"
        ]
    if padding is None:
        # Only the authors' Caffe 1.0 pads conv10; torchvision's 1.0 does not, and 1.1 never does.
        padding = int(spec.version == "1.0" and chosen.source_order == "BGR")
        if spec.version == "1.0":
            notes.append(
                f"{path.name}: padding of conv10 assumed {padding}, as with {chosen.source_order} pictures"
            )
    wired = replace(
        spec,
        head_padding=padding,
        bypass="simple" if raw.simple_bypass else spec.bypass,
        head_relu=raw.head_relu is not False,
        pools=raw.pools or spec.pools,
    )
    around = tuple(number for number in FIRE_NUMBERS if wired.bypass_of(number))
    if raw.bypassed not in (None, around):
        raise InputError(
            f"{path}: bypasses must be around fires {list(around)}, whose outputs are as wide as their inputs, "
            f"not {list(raw.bypassed or ())}; give a SqueezeNet with a bypass around each of them or none"
        )
    if raw.average is not None and raw.average[1] != (wired.head_side,) * 2:
        name, kernel = raw.average
        raise InputError(
            f"{path}: {shown(name)}: the average must take all of its map, {wired.head_side}x{wired.head_side} at "
            f"input {wired.input_size}, not {'x'.join(map(str, kernel))}; choose the --input-size that it was made for"
        )
    return wired, notes


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


def _read_npz(path: Path) -> Raw:
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        total = sum(member.file_size for member in members)
        if total > MAX_BYTES:
            raise InputError(
                f"{path}: must unpack to at most {MAX_BYTES} bytes, not {total}; is it a SqueezeNet?"
            )
        for member in members:
            with archive.open(member) as file:
                arrays[member.filename.removesuffix(".npy")] = _read_npy(path, file, member.file_size)
    if _METADATA not in arrays:
        return Raw(arrays, "npz")
    try:
        metadata = json.loads(str(arrays.pop(_METADATA)))
        preprocessing, padding = metadata["preprocessing"], int(metadata["head_padding"])
        simple_bypass, relu = bool(metadata["simple_bypass"]), bool(metadata.get("head_relu", True))
        pools = tuple(PoolBorder(**border) for border in metadata.get("pools", [{}] * 3))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: {_METADATA} must be Fireflow's metadata ({error}); write it again"
        ) from None
    record = Preprocessing.from_json(preprocessing)
    return Raw(arrays, "npz", record, padding, simple_bypass, head_relu=relu, pools=pools)


def _read_npy(path: Path, file: Any, size: int) -> npt.NDArray[Any]:
    """One array of an npz file; its header may not promise more than its `size` bytes hold."""
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[
        version
    ]
    shape, fortran, dtype = read_header(file)
    count = int(np.prod(shape, dtype=object)) if shape else 1
    if dtype.hasobject:
        raise InputError(
            f"{path}: must be a whole .npz file without pickled objects, not with some in {file.name}; "
            "save its arrays as float32"
        )
    if count * dtype.itemsize > size:
        raise ValueError(f"an array of {dtype} and shape {shape} does not fit in {size} bytes")
    data = file.read(count * dtype.itemsize)
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran else "C")


_READERS: dict[str, Callable[..., Raw]] = {
    ".caffemodel": read_caffemodel,
    ".onnx": read_onnx,
    ".pth": read_torch,
    ".pt": read_torch,
    ".safetensors": read_safetensors,
    ".npz": _read_npz,
}
