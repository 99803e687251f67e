"""From a picture of any size to the uint8 RGB pixels a network was trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Tuple

import numpy as np

from fireflow.hw.errors import InputError
from fireflow.hw.files import read_json
from fireflow.hw.pixels import Pixels, check_size

if TYPE_CHECKING:
    from fireflow.hw.types import Array

Triple = Tuple[float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """How a source network wants its pictures, carried from its weights to the board.

    The accelerator always gets uint8 RGB of shape (size, size, 3). `source_order`, `mean` and `std` say what
    the float network expected of those pixels; they are folded into its first convolution before
    quantization, and kept here as a record. Mean and std are in RGB order and in pixel units (0..255).

    Args:
        size: side of the square the network sees, in pixels.
        resize: side of the square before the crop; with `keep_aspect`, length of the shorter side.
        crop: "center".
        source_order: "RGB" or "BGR".
        mean: three numbers, in RGB order, 0..255.
        std: three numbers, in RGB order, 0..255.
        interpolation: "bilinear".
        keep_aspect: False squashes to resize x resize (Caffe), True keeps the aspect ratio (torchvision).

    Raises:
        InputError: a value outside these rules.
    """

    size: int
    resize: int
    crop: str = "center"
    source_order: str = "RGB"
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    interpolation: str = "bilinear"
    keep_aspect: bool = False

    def __post_init__(self) -> None:
        for name in ("size", "resize"):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, np.integer))
                or not 1 <= value <= 1 << 14
            ):
                raise InputError(
                    f"preprocessing: {name} must be 1 to 16384 pixels, not {value!r:.80}; give a whole number"
                )
            object.__setattr__(self, name, int(value))
        if self.resize < self.size:
            raise InputError(
                f"preprocessing: resize must be at least size={self.size}, not {self.resize}; raise it"
            )
        choices = {
            "crop": ("center",),
            "source_order": ("RGB", "BGR"),
            "interpolation": ("bilinear",),
            "keep_aspect": (False, True),
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            if type(value) is not type(allowed[0]) or value not in allowed:
                listed = " or ".join(repr(choice) for choice in allowed)
                raise InputError(
                    f"preprocessing: {name} must be {listed}, not {value!r:.80}; use one of these"
                )
        for name in ("mean", "std"):
            object.__setattr__(self, name, self._triple(name, getattr(self, name)))

    @staticmethod
    def _triple(name: str, value: Any) -> Triple:
        plain = isinstance(value, (tuple, list, np.ndarray)) and not any(
            isinstance(number, (bool, str, np.bool_)) for number in value
        )
        try:
            numbers = tuple(float(number) for number in value) if plain else ()
        except (TypeError, ValueError, OverflowError):
            numbers = ()
        good = len(numbers) == 3 and all(np.isfinite(numbers)) and (name == "mean" or min(numbers) > 0)
        if not good:
            rule = "three finite numbers" if name == "mean" else "three finite numbers above 0"
            raise InputError(
                f"preprocessing: {name} must be {rule} in RGB order, not {value!r:.200}; give pixel units"
            )
        return (numbers[0], numbers[1], numbers[2])

    def to_json(self) -> dict[str, Any]:
        """Its fields as JSON has them; `from_json` reads them back."""
        document = asdict(self)
        return {**document, "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, document: Any) -> Preprocessing:
        """Raises InputError on a missing or unknown field."""
        known = [field.name for field in fields(cls)]
        if not isinstance(document, dict) or not {"size", "resize"} <= set(document) <= set(known):
            given = sorted(map(str, document)) if isinstance(document, dict) else document
            raise InputError(
                f"preprocessing: fields must be among {known}, not {given!r:.200}; size and resize are needed"
            )
        return cls(**document)

    def prepare(self, image: Any) -> Array:
        """Resizes and crops one picture.

        Args:
            image: a PIL.Image, a `hw.pixels.Pixels`, or a uint8 RGB array of shape (H, W, 3). Images are shown as
                `Pixels.rgb` does: turned as their EXIF says, over white where they are transparent. Needs Pillow,
                except for an array that has the size after resizing already.

        Returns:
            uint8 RGB, (size, size, 3).

        Raises:
            InputError: an array of another kind, or a picture that cannot be decoded or breaks a limit.
        """
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
                raise InputError(
                    f"image: must be uint8 of shape (H, W, 3), not {image.dtype} of shape {image.shape}; "
                    "convert it to RGB bytes"
                )
            check_size(image.shape[1], image.shape[0])
            width, height = self._resized(image.shape[1], image.shape[0])
            pixels = image
            if image.shape[:2] != (height, width):
                pixels = np.asarray(Pixels(_pillow().fromarray(image)).resized((width, height)))
        else:
            picture = image if isinstance(image, Pixels) else Pixels.of(image)
            width, height = self._resized(*picture.size)
            pixels = np.asarray(picture.resized((width, height)))
        top, left = round((height - self.size) / 2), round((width - self.size) / 2)
        return np.ascontiguousarray(pixels[top : top + self.size, left : left + self.size])

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        if not self.keep_aspect:
            return self.resize, self.resize
        short = min(width, height)
        # The longer side is rounded down, as torchvision.transforms.Resize does.
        return self.resize * width // short, self.resize * height // short


CAFFE = Preprocessing(
    size=227, resize=256, source_order="BGR", mean=(123.0, 117.0, 104.0), std=(1.0, 1.0, 1.0)
)
"""The authors' own: squashed to 256x256 as Caffe's ILSVRC database is, cropped to 227, BGR, less the mean."""

TORCHVISION = Preprocessing(
    size=224,
    resize=256,
    keep_aspect=True,
    mean=(255 * 0.485, 255 * 0.456, 255 * 0.406),
    std=(255 * 0.229, 255 * 0.224, 255 * 0.225),
)
"""Torchvision's and the ONNX model zoo's: shorter side to 256, cropped to 224, RGB in 0..1, normalised."""

NAMED: Mapping[str, Preprocessing] = {"caffe": CAFFE, "torchvision": TORCHVISION}
"""What the published networks expect, by the name that commands take."""


def read_preprocessing(text: str) -> Preprocessing:
    """The preprocessing called `text`, or the one in a JSON file as `Preprocessing.to_json` gives it.

    Raises:
        InputError: neither, or a field outside its rules.
    """
    if text in NAMED:
        return NAMED[text]
    if not Path(text).is_file():
        raise InputError(
            f"preprocessing: must be {', '.join(NAMED)} or a JSON file, not {text!r}; choose one or write the file"
        )
    try:
        return Preprocessing.from_json(read_json(text))
    except InputError as error:
        raise InputError(f"{text}: {error}") from None


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise InputError("image: resizing needs Pillow, which is not installed; pip install pillow") from None
    return Image
