"""Pictures decoded once into a file of bytes, and random crops of them for training."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from fireflow.hw.cache import cache_folder, made_once
from fireflow.hw.classes import ImageClass
from fireflow.hw.errors import InputError
from fireflow.hw.files import read_json
from fireflow.hw.images import decoders
from fireflow.hw.pixels import READING
from fireflow.hw.preprocessing import Preprocessing
from fireflow.hw.remarks import Progress
from fireflow.quant.data import DamagedImage, ImageSet

_SCHEMA = 1
_PIXELS, _FACTS = "images.uint8", "facts.json"


@dataclass(frozen=True)
class DecodedImages:
    """Pictures of one size, ready for a network.

    Args:
        images: uint8 (N, S, S, 3) RGB, mapped from a file (nothing is in memory until it is used).
        names: one per picture.
        labels: int64 (N,), positions in `classes`, or None.
        classes: as in the ImageSet.
        damaged: (name, what is wrong) of the pictures that were skipped.
    """

    images: npt.NDArray[np.uint8]
    names: tuple[str, ...]
    labels: npt.NDArray[np.int64] | None
    classes: tuple[ImageClass, ...]
    damaged: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.images)


def decode_to_array(
    images: ImageSet,
    to: Preprocessing | int,
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> DecodedImages:
    """Decodes every picture, or maps what an earlier call decoded.

    Args:
        images: what to decode; damaged pictures are skipped, and listed in `images.damaged` too.
        to: how to bring them to one size: a record, or the side of a square to squash them to.
        cache: the folder for decoded pictures; $XDG_CACHE_HOME/fireflow/images by default. Entries are named
            by the content of the pictures and `to`; they may be deleted at any time.
        progress: told how many pictures are decoded; nothing where an earlier call did it.

    Raises:
        InputError: every picture is damaged.
    """
    record = Preprocessing(size=to, resize=to) if isinstance(to, int) else to
    # Mean, std and channel order are folded into the network and do not change the pixels.
    geometry = {k: v for k, v in record.to_json().items() if k not in ("mean", "std", "source_order")}
    key = hashlib.sha256(
        json.dumps([_SCHEMA, READING, decoders(), geometry, images.fingerprint()]).encode()
    ).hexdigest()
    folder = (Path(cache) if cache is not None else cache_folder("images")) / key[:32]
    made_once(folder, _FACTS, lambda fresh: _decode_into(fresh, images, record, progress))
    facts = read_json(folder / _FACTS)
    rows = facts["rows"]
    shape = (len(rows), record.size, record.size, 3)
    pixels = np.memmap(folder / _PIXELS, dtype=np.uint8, mode="r", shape=shape)
    images.note_damaged(facts["damaged"])
    return DecodedImages(
        pixels,
        tuple(images.names[row] for row in rows),
        None if images.labels is None else np.asarray(images.labels, dtype=np.int64)[rows],
        images.classes,
        tuple((name, reason) for name, reason in facts["damaged"]),
    )


def _decode_into(folder: Path, images: ImageSet, record: Preprocessing, progress: Progress | None) -> None:
    rows = _write_pixels(folder / _PIXELS, images, record, progress)
    if not rows:
        raise InputError(
            f"{images.source.place}: at least one picture must be whole, not none of {len(images)} "
            f"({images.damaged[0][0]}: {images.damaged[0][1]}); replace them"
        )
    os.truncate(folder / _PIXELS, len(rows) * record.size * record.size * 3)
    names = set(images.names)
    facts = {"rows": rows, "damaged": [entry for entry in images.damaged if entry[0] in names]}
    (folder / _FACTS).write_text(json.dumps(facts))


def _write_pixels(
    path: Path, images: ImageSet, record: Preprocessing, progress: Progress | None
) -> list[int]:
    """Writes the whole pictures one behind the other; gives their positions."""
    shape = (len(images), record.size, record.size, 3)
    pixels = np.memmap(path, dtype=np.uint8, mode="w+", shape=shape)

    def decode_one(position: int) -> bool:
        try:
            pixels[position] = record.prepare(images[position])
        except DamagedImage:
            return False
        return True

    positions = range(len(images))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # Pillow releases the GIL while it decodes
        rows = []
        tell = progress or (lambda _done, _of: None)
        tell(0, len(images))
        for position, good in zip(positions, pool.map(decode_one, positions), strict=True):
            rows += [position] if good else []
            tell(position + 1, len(images))
    for target, row in enumerate(rows):
        if target != row:
            pixels[target] = pixels[row]
    pixels.flush()
    return rows


def augment(
    batch: torch.Tensor,
    out_size: int,
    generator: torch.Generator,
    scale: tuple[float, float] = (0.35, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> torch.Tensor:
    """A random crop of each picture, resized to `out_size` and mirrored half the time.

    Bilinear without smoothing, so decode to a size not much larger than `out_size`.

    Args:
        batch: uint8 (N, S, S, 3), on the device to compute on.
        out_size: side of the result in pixels.
        generator: on the CPU; fixes the result.
        scale: least and greatest share of the picture's area that a crop has.
        ratio: least and greatest width of a crop over its height.

    Returns:
        float32 (N, 3, out_size, out_size), whole numbers 0..255.

    Source: Szegedy et al., "Going deeper with convolutions", arXiv:1409.4842, section 6 (area and ratio).
    """
    count = len(batch)
    area, log_ratio, across, down, mirror = torch.rand((5, count), generator=generator)
    area = scale[0] + (scale[1] - scale[0]) * area
    low, high = (float(np.log(r)) for r in ratio)
    aspect = torch.exp(low + (high - low) * log_ratio)
    width = (area * aspect).sqrt().clamp(max=1.0)  # shares of the picture's side
    height = (area / aspect).sqrt().clamp(max=1.0)
    theta = torch.zeros((count, 2, 3))
    theta[:, 0, 0] = torch.where(mirror < 0.5, -width, width)
    theta[:, 1, 1] = height
    theta[:, 0, 2] = (2 * across - 1) * (1 - width)
    theta[:, 1, 2] = (2 * down - 1) * (1 - height)
    pixels = batch.permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(theta, [count, 3, out_size, out_size], align_corners=False).to(batch.device)
    crops = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    return crops.round_()


def to_pixels(images: npt.NDArray[np.uint8], positions: Sequence[int] | slice) -> torch.Tensor:
    """Pictures of a DecodedImages as a uint8 tensor (N, S, S, 3) in memory."""
    if isinstance(positions, slice):
        return torch.from_numpy(np.array(images[positions]))
    return torch.from_numpy(np.take(images, positions, axis=0))  # other threads run meanwhile
