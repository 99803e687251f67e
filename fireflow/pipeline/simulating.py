"""Pictures through the integer network, as the hardware computes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Mapping, Sequence, Union

from fireflow.host.pictures import find_pictures, prepared, read_picture
from fireflow.host.scores import best
from fireflow.host.unsaid import Unsaid, completed, pictures_or_arrays
from fireflow.hw import given
from fireflow.hw.errors import InputError
from fireflow.hw.remarks import Say, unheard
from fireflow.pipeline.engines import FAST, Cycles
from fireflow.pipeline.engines import engine as engine_of

if TYPE_CHECKING:
    from fireflow.host.scores import Guess
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.preprocessing import Preprocessing
    from fireflow.hw.types import Array

Places = Union[str, Path, Sequence[Union[str, Path]]]
"""A picture or a folder of them, or several."""


@dataclass(frozen=True, eq=False)
class PictureScores:
    """The scores of one picture.

    Args:
        picture: its file.
        scores: int64 (classes,).
        top: the best classes, the highest score first.
    """

    picture: Path
    scores: Array
    top: Sequence[Guess]


@dataclass(frozen=True, eq=False)
class Simulated:
    """What `simulate` gives.

    Args:
        pictures: in the order in which they were found.
        damaged: file and reason of each that could not be decoded.
        left_out: how many files of folders were no pictures, by kind.
    """

    pictures: Sequence[PictureScores]
    damaged: Sequence[tuple[str, str]]
    left_out: Mapping[str, int]


def simulate(
    bundle: Bundle,
    pictures: Places,
    *,
    engine: str = FAST,
    threads: int = 1,
    batch: int = 32,
    top: int = 5,
    preprocessing: str | Path | Preprocessing | None = None,
    labels: str | Path | None = None,
    say: Say = unheard,
    progress: Callable[[int, int], None] | None = None,
    cycles: Cycles | None = None,
) -> Simulated:
    """Class scores of pictures, bit for bit as the hardware gives them.

    Args:
        bundle: the network; for the engine `rtl` built, and loaded from its folder.
        pictures: files and folders; one that is named must be whole, in a folder damaged ones are skipped. A .npy
            file holds one picture, uint8 (H, W, 3).
        engine: `fast`, `interpreter` or `rtl`, equal in every bit.
        threads: of the fast simulator.
        batch: pictures held at once.
        top: how many classes to give of each.
        preprocessing, labels: what the bundle does not say itself, as for `lower`.
        say: told after each RTL simulation how many cycles it took.
        progress: told how many pictures are done, and of how many.
        cycles: told what is simulated in RTL, the cycles so far and the done part.

    Raises:
        InputError: a picture that is not there or damaged, none at all, another engine, or a bundle that was not
            built for `rtl`.
    """
    batch, threads, top = (
        given.whole(name, value) for name, value in (("batch", batch), ("threads", threads), ("top", top))
    )
    places = list(pictures) if isinstance(pictures, (list, tuple)) else [pictures]
    named = [given.path("pictures", place) for place in places]
    if not named:
        raise InputError("pictures: must be files or folders, not none; name one")
    bundle = completed(bundle, Unsaid(preprocessing, labels))
    prepare = pictures_or_arrays(bundle)
    paths, left_out = find_pictures(named)
    for path in named:
        if not path.is_dir():
            read_picture(path, prepare)
    score = engine_of(bundle, engine, threads, batch, say, cycles)
    damaged: list[tuple[str, str]] = []
    results: list[PictureScores] = []
    for names, images in prepared(paths, prepare, min(batch, len(paths)), damaged):
        for path, row in zip(names, score(images)):
            guesses = best(row, bundle.manifest.labels, bundle.graph.output_scale, top)
            results.append(PictureScores(path, row, guesses))
        if progress is not None:
            progress(len(results) + len(damaged), len(paths))
    if not results:
        raise InputError(f"{damaged[0][1]} (and {len(damaged) - 1} others; no picture is whole)")
    return Simulated(results, damaged, left_out)
