"""Weights in NumPy's .npz files, under our names."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fireflow.hw.errors import InputError
from fireflow.hw.preprocessing import Preprocessing
from fireflow.quant.imported.input_record import all_told
from fireflow.quant.imported.raw import MAX_BYTES, Raw
from fireflow.quant.networks import files_of
from fireflow.quant.readers.base import Reader

METADATA = "__fireflow__"
"""An entry with JSON: the preprocessing, and what the tensors do not show of the network."""


def read_npz(path: Path) -> Raw:
    """The arrays of a .npz file by their names, and what an entry METADATA tells of them.

    Raises:
        InputError: too large, with pickled objects, or with other metadata. On damage, whatever NumPy raises.
    """
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
    if METADATA not in arrays:
        return Raw(arrays, "npz")
    try:
        metadata = json.loads(str(arrays.pop(METADATA)))
        preprocessing = metadata["preprocessing"]
        wiring = files_of(arrays).wiring(metadata)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: {METADATA} must be Fireflow's metadata ({error}); write it again"
        ) from None
    return Raw(arrays, "npz", all_told(Preprocessing.from_json(preprocessing)), wiring)


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


Reader((".npz",), read_npz)
