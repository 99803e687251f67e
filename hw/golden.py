"""Golden vectors: images with the results the interpreter gave, by which every other implementation is tested."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Mapping

import numpy as np

from fireflow.hw.errors import InputError
from fireflow.hw.graph import Graph
from fireflow.hw.npz import read_npz, texts

if TYPE_CHECKING:
    from fireflow.hw.types import Array, Int64Array

MAX_GOLDEN_BYTES = 1 << 28


@dataclass(frozen=True, eq=False)
class Golden:
    """Images with the results the interpreter gave for them.

    Args:
        images: uint8 (N, H, W, C).
        scores: int64 (N, classes).
        digests: for every tensor, the SHA-256 of its golden values (`tensor_digest`).
    """

    images: Array
    scores: Int64Array
    digests: Mapping[str, str]

    @classmethod
    def record(cls, graph: Graph, images: Array) -> Golden:
        """Golden vectors of uint8 images (N, H, W, C), by the interpreter. Raises InputError where they do not fit."""
        tensors = graph.trace(images)
        digests = {name: tensor_digest(array) for name, array in tensors.items()}
        return cls(images, tensors[graph.output_name], digests)


@dataclass(frozen=True)
class GoldenCheck:
    """The result of a self test: how many scores differ, and which tensors do, in topological order."""

    images: int
    differing_scores: int
    differing_tensors: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.differing_scores and not self.differing_tensors


def tensor_digest(array: Array) -> str:
    """SHA-256 of the shape, as text, and the values, as little-endian int64 in C order."""
    digest = hashlib.sha256(str(tuple(int(axis) for axis in array.shape)).encode())
    digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    return digest.hexdigest()


def read_golden(path: Path, data: bytes, graph: Graph) -> Golden:
    """The golden vectors in the bytes of golden.npz.

    Args:
        path: of the file, for messages.
        data: the whole file.
        graph: that they are of.

    Raises:
        InputError: they are not whole, or not of this graph.
    """
    try:
        arrays = read_npz(data, ("images", "scores", "names", "digests"), MAX_GOLDEN_BYTES)
        names, digests = texts("names", arrays["names"]), texts("digests", arrays["digests"])
    except ValueError as error:
        raise InputError(f"{path}: must hold golden vectors ({error}); get the bundle again") from None
    images, scores = arrays["images"], arrays["scores"]
    graph.check_images(images)
    if scores.dtype != np.int64 or scores.shape != (len(images), *graph.output_type.shape):
        raise InputError(
            f"{path}: scores must be int64 for {len(images)} images, not {scores.dtype} of shape "
            f"{scores.shape}; get the bundle again"
        )
    known = set(names)
    missing = [name for name in graph.types if name not in known]
    if missing or len(digests) != len(names):
        raise InputError(
            f"{path}: must have a digest of every tensor, not miss {(missing or ['one'])[0]}; get the bundle again"
        )
    return Golden(images, scores, dict(zip(names, digests)))
