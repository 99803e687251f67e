"""What a user says of the pictures that a network expects, where no file says it or the file shall not decide."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from typing import Any, Union

from fireflow.hw import given
from fireflow.hw.errors import InputError
from fireflow.hw.preprocessing import Preprocessing, Triple

_PUBLISHED_SIZES = {224, 227}
_UNITS = "in units of pixels of 0 to 255, as --mean 123.675 116.28 103.53 --std 58.395 57.12 57.375"


@dataclass(frozen=True)
class PictureOptions:
    """Fields of a `Preprocessing` that are said of a network; None is not said.

    Messages name a field by the option of the command: `size` is --input-size, `source_order` is --colour-order.

    Args:
        preprocessing: "caffe", "torchvision", a JSON file, or the record itself.
        size, resize: sides in pixels.
        mean, std: three numbers each in RGB order, in pixel units (0..255).
        scale: what pixels less the mean are multiplied by, as Caffe says it; in place of `std`.
        source_order: "RGB" or "BGR".
        keep_aspect: as in the record.

    Raises:
        InputError: values that contradict each other, or a mean and std of pixels of 0..1.
    """

    preprocessing: str | Preprocessing | None = None
    size: int | None = None
    resize: int | None = None
    mean: Triple | None = None
    std: Triple | None = None
    scale: float | None = None
    source_order: str | None = None
    keep_aspect: bool | None = None

    def __post_init__(self) -> None:
        if self.scale is not None:
            if self.std is not None:
                raise InputError("--scale: must be given without --std, which says the same; leave one out")
            if not 0 < self.scale < float("inf"):
                raise InputError(f"--scale: must be a number above 0, not {self.scale}; it multiplies pixels")
            object.__setattr__(self, "std", (1 / self.scale,) * 3)
        elif self.std is not None and max(self.std) < 1:
            raise InputError(
                f"--std: must be {_UNITS}, not {_numbers(self.std)}; multiply mean and std by 255"
            )
        elif self.mean is not None and 0 < max(map(abs, self.mean)) < 1:
            raise InputError(f"--mean: must be {_UNITS}, not {_numbers(self.mean)}; multiply it by 255")

    def said(self) -> list[str]:
        """The options that are given, as a command takes them."""
        given = [field.name for field in fields(self) if getattr(self, field.name) is not None]
        if self.scale is not None:
            given.remove("std")
        return [FLAGS[name] for name in given]

    def values(self) -> dict[str, Any]:
        """Fields of a record that are said one by one."""
        names = ("size", "resize", "mean", "std", "source_order", "keep_aspect")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def reframed(self, place: object, record: Preprocessing) -> Preprocessing:
        """The record with another size, resize or aspect; the rest is part of weights that it belongs to.

        Args:
            place: of what holds the record, for messages.

        Raises:
            InputError: an option that would change what the weights have taken in.
        """
        fixed = [flag for flag in self.said() if flag not in ("--input-size", "--resize", "--keep-aspect")]
        if fixed:
            raise InputError(
                f"{place}: {fixed[0]} is for float weights; here colours, mean and std are part of the first layer, "
                "leave it out"
            )
        values = self.values()
        if self.size is not None:
            record = with_size(record, self.size)
        return replace(record, **{name: values[name] for name in ("resize", "keep_aspect") if name in values})


FLAGS = {
    "preprocessing": "--preprocessing",
    "size": "--input-size",
    "resize": "--resize",
    "mean": "--mean",
    "std": "--std",
    "scale": "--scale",
    "source_order": "--colour-order",
    "keep_aspect": "--keep-aspect",
}
"""The command's option for each field."""


def with_size(record: Preprocessing, size: int) -> Preprocessing:
    """The record for inputs of another size; both published sizes are cut from pictures of 256."""
    if size == record.size:
        return record
    resize = round(record.resize * size / record.size)
    if {size, record.size} <= _PUBLISHED_SIZES:
        resize = record.resize
    return replace(record, size=size, resize=resize)


def _numbers(triple: Triple) -> str:
    return " ".join(f"{number:g}" for number in triple)


Pictures = Union[str, "os.PathLike[str]", Preprocessing, PictureOptions, None]
"""What functions take of pictures: the name of a published record, a JSON file, a record, or fields of one."""


def picture_options(pictures: Pictures) -> PictureOptions:
    """What is said of pictures, in any form that it may have."""
    if isinstance(pictures, PictureOptions):
        return pictures
    if pictures is None or isinstance(pictures, Preprocessing):
        return PictureOptions(pictures)
    return PictureOptions(str(given.path("preprocessing", pictures) if pictures != "" else pictures))
