"""From a decoded picture to the RGB pixels that a viewer shows: docs/pictures.md has the rules.

Pictures are converted a band of rows at a time where they are large, so that only the decoder's own copy of them
is ever whole in memory.
"""

from __future__ import annotations

import contextlib
import re
import threading
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Tuple

import numpy as np

from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.hw.types import Array

MAX_PIXELS = 3 << 24
"""8192x6144: the photos of most phones and cameras; 192 MiB at Pillow's 4 bytes, of the 512 MB of a small board."""
MAX_ASPECT = 100
"""Resizing the shorter side of a longer strip to 256 would give an absurd picture."""
READING = 2
"""Which rules these are: what keeps pixels for later keeps this number with them. 1: as Pillow's `convert` has it."""

Size = Tuple[int, int]
_BAND_PIXELS = 1 << 20
_BILINEAR: Any = 2  # PIL.Image.BILINEAR in every Pillow release, without importing it
_PLAIN = frozenset(("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"))
_WITH_ALPHA: Mapping[str, str] = {"LA": "LA", "La": "LA", "PA": "PA", "RGBA": "RGBA", "RGBa": "RGBA"}
# EXIF's Orientation and Pillow's way of turning such a picture upright; 5 to 8 swap width and height.
_ORIENTATION, _EXIF_AS_TEXT = 274, "Raw profile type exif"
_TURNS: Mapping[int, Any] = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
_ON_ITS_SIDE = frozenset((2, 4, 5, 6))
_FROM_THE_END = frozenset((1, 2, 3, 6))  # the first rows shown are the last ones, or columns, stored
# TIFF's tags
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _WHITE_IS_ZERO, _SIGNED = 258, 262, 339, 0, 2


class PictureError(InputError):
    """A picture that cannot be read, or whose pixels nothing tells for sure.

    Args:
        reason: what is wrong, also kept as an attribute.
        fix: what to do; none for a damaged file.
    """

    def __init__(self, reason: str, fix: str | None = None) -> None:
        self.reason = " ".join(reason.split())
        said = (
            f"not damaged ({reason}); replace or remove it" if fix is None else f"not this: {reason}; {fix}"
        )
        super().__init__(f"must be a picture that can be decoded, {said}")


def told(error: Exception) -> str:
    """What an exception of somebody else's says, without the address that Python gives a nameless thing."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", str(error)) or type(error).__name__


def check_size(width: int, height: int, most: int = MAX_PIXELS) -> None:
    """The one limit of every door, also for what a picture is resized to.

    Raises:
        PictureError: no pixels, more than `most`, or a strip.
    """
    if width < 1 or height < 1:
        raise PictureError(f"{width}x{height} has no pixels")
    if width * height > most:
        raise PictureError(f"{width}x{height} is more than {most} pixels", "make it smaller")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PictureError(
            f"{width}x{height} is longer than {MAX_ASPECT} times its shorter side", "cut it into pieces"
        )


@dataclass(eq=False)
class Pixels:
    """A decoded picture and how its file says it is shown.

    Args:
        image: PIL image, as it is stored.
        turn: how to turn it upright, one of Pillow's methods of `transpose`.
        white: of 16-bit grey: the value that is white.
        inverted: of 16-bit grey: 0 is white instead.
        key: the grey value or the RGB colour that is transparent, of an image without an alpha channel.
    """

    image: Any
    turn: int | None = None
    white: int = 65535
    inverted: bool = False
    key: Any = None

    @classmethod
    def of(cls, image: Any) -> Pixels:
        """Decodes a PIL image, if nobody has yet.

        Raises:
            PictureError: it is damaged, breaks the limit, or is of a kind whose colours are not known.
        """
        check_size(*image.size)
        try:
            white, inverted = _white(image)
            key = _key(image)
            image.load()
            # Pillow turns a TIFF by itself while it decodes it.
            turn = None if _is_tiff(image) else _TURNS.get(_orientation(image))
        except (InputError, ImportError):
            raise
        except Exception as error:  # decoders raise nearly anything on damaged bytes
            raise PictureError(told(error)) from None
        if image.mode not in _PLAIN and image.mode not in _WITH_ALPHA and image.mode[:1] not in "IF":
            raise PictureError(f"colours of the kind {image.mode}", "save it as RGB")
        return cls(image, turn, white, inverted, key)

    @property
    def size(self) -> Size:
        """Width and height, upright."""
        width, height = self.image.size
        return (height, width) if self.turn in _ON_ITS_SIDE else (width, height)

    def forget(self) -> None:
        """Lets go of the image, and of what its decoder holds."""
        self.image = None

    def rgb(self) -> Any:
        """The whole picture: a PIL image, RGB, upright, with nothing transparent.

        Raises:
            PictureError: floats outside 0 to 1.
        """
        if self._as_shown():
            return self.image
        bands = list(self._bands())
        if len(bands) > 1:
            return _stacked(bands, self.size)
        bands[0].info = {}  # what it says, its orientation too, has been done
        return bands[0]

    def resized(self, size: Size) -> Any:
        """Like `rgb().resize(size, BILINEAR)`, to the bit, in less memory.

        Pillow resizes the rows first and then the columns, with bytes in between; so may we, band by band.

        Raises:
            PictureError: floats outside 0 to 1.
        """
        check_size(*size)
        width, height = self.size
        if self._as_shown() or width * height <= _BAND_PIXELS:
            return self.rgb().resize(size, _BILINEAR)
        narrow = (band.resize((size[0], band.size[1]), _BILINEAR) for band in self._bands())
        return _stacked(narrow, (size[0], height)).resize(size, _BILINEAR)

    def within(self, side: int) -> Any:
        """The picture for people, at most `side` pixels wide and high: a PIL image, RGB."""
        width, height = self.size
        longer = max(width, height)
        if longer <= side:
            return self.rgb()
        return self.resized((max(1, side * width // longer), max(1, side * height // longer)))

    def _as_shown(self) -> bool:
        return self.image.mode == "RGB" and self.turn is None and self.key is None

    def _bands(self) -> Iterator[Any]:
        """The upright picture from the top, some rows at a time: RGB images of its width."""
        width, height = self.size
        rows = max(1, _BAND_PIXELS // width)
        for top in range(0, height, rows):
            band = self.image
            if rows < height:
                band = band.crop(self._stored(top, min(top + rows, height)))
            try:
                band = self._opaque(band)
            except InputError:
                raise
            except ValueError as error:  # a palette with more alpha than colours, and the like
                raise PictureError(told(error)) from None
            yield band if self.turn is None else band.transpose(self.turn)

    def _stored(self, top: int, bottom: int) -> tuple[int, int, int, int]:
        """Where these rows of the upright picture are in the stored one."""
        width, height = self.image.size
        length = width if self.turn in _ON_ITS_SIDE else height
        if self.turn in _FROM_THE_END:
            top, bottom = length - bottom, length - top
        return (top, 0, bottom, height) if self.turn in _ON_ITS_SIDE else (0, top, width, bottom)

    def _opaque(self, band: Any) -> Any:
        mode = band.mode
        if mode.startswith("I") or mode == "F":
            return _image(self._grey(band)).convert("RGB")
        if mode in _WITH_ALPHA:
            # Pillow has no way from La and RGBa to RGBA but by these.
            return _over_white(band if mode == "RGBA" else band.convert(_WITH_ALPHA[mode]).convert("RGBA"))
        if mode == "P" and _palette_has_alpha(band):
            return _over_white(band.convert("RGBA"))
        if self.key is None:
            return band.convert("RGB")
        values = np.array(band.convert("L" if mode == "1" else mode))
        values[values == self.key if values.ndim == 2 else (values == self.key).all(axis=2)] = 255
        return _image(values).convert("RGB")

    def _grey(self, band: Any) -> Array:
        """uint8 (H, W) of 16-bit or float grey."""
        values = np.asarray(band)
        if band.mode == "F":
            low, high = float(values.min()), float(values.max())
            if not (low >= 0 and high <= 1):  # neither holds of NaN
                raise PictureError(
                    f"floats from {low:.6g} to {high:.6g}", "scale them to 0..1, or save it with 8 or 16 bits"
                )
            scaled: Array = (values * 255 + 0.5).astype(np.uint8)
            return scaled
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > self.white:
            raise PictureError(f"grey values from {low} to {high}", "save it with 8 or 16 bits")
        grey: Array = self._table()[values]
        return grey

    def _table(self) -> Array:
        """What each value of 16-bit grey is shown as: uint8 (white + 1,), rounded to the nearest."""
        levels = (np.arange(self.white + 1) * 255 + self.white // 2) // self.white
        if self.inverted:
            levels = 255 - levels
        if self.key is not None and self.key <= self.white:
            levels[self.key] = 255
        return levels.astype(np.uint8)


def _image(values: Array) -> Any:
    import PIL.Image

    return PIL.Image.fromarray(values)


def _stacked(bands: Any, size: Size) -> Any:
    import PIL.Image

    whole, top = PIL.Image.new("RGB", size), 0
    for band in bands:
        whole.paste(band, (0, top))
        top += band.size[1]
    return whole


def _over_white(image: Any) -> Any:
    import PIL.Image

    white = PIL.Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image.convert("RGB"), (0, 0), image.getchannel("A"))
    return white


def _palette_has_alpha(image: Any) -> bool:
    return "transparency" in image.info or (image.palette is not None and image.palette.mode.endswith("A"))


def _is_tiff(image: Any) -> bool:
    return hasattr(image, "tag_v2")


def _white(image: Any) -> tuple[int, bool]:
    """The scale of grey with more than 8 bits: the largest value, and whether that one is black.

    Raises:
        PictureError: nothing tells.
    """
    fix = "save it with 8 or 16 bits"
    if not _is_tiff(image):
        # What Pillow reads as 32 bits has 16 of them in these formats.
        if image.mode == "I" and image.format not in ("PNG", "PPM"):
            raise PictureError("32-bit integers", fix)
        return 65535, False
    tags = image.tag_v2
    bits = tags.get(_BITS, 1)
    if _SIGNED in _several(tags.get(_SAMPLE_FORMAT, 1)):
        raise PictureError("signed integers", fix)
    if image.mode == "I":
        raise PictureError(f"{max(_several(bits))}-bit integers", fix)
    inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    if image.mode == "F" and inverted:
        raise PictureError("floats of which 0 is white", fix)
    return (1 << max(_several(bits))) - 1, inverted


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _key(image: Any) -> Any:
    """The transparent value of an image without an alpha channel, in units of its pixels once decoded.

    Raises:
        PictureError: it has more bits than the pixels that Pillow gives.
    """
    key = image.info.get("transparency")
    if key is None or not (image.mode in ("1", "L", "RGB") or image.mode.startswith("I")):
        return None
    coding = image.tile[0][3] if getattr(image, "tile", None) else ""  # none once it is decoded
    if coding == "RGB;16B":
        raise PictureError("48-bit colours of which one is transparent", "save it with 8 bits")
    if image.mode == "1":
        return 255 if key else 0
    # Of 2 and 4 bits, PNG gives the value as it is in the file.
    return key * {"L;2": 85, "L;4": 17}.get(coding, 1) if isinstance(key, int) else key


def _orientation(image: Any) -> int:
    """EXIF's Orientation of a decoded image, 1 for upright; as for a viewer, a damaged EXIF says nothing.

    Not `image.getexif()`: that one's answer to XMP, and to TIFF, is another in each version of Pillow.
    """
    import PIL.Image

    data = image.info.get("exif")
    try:
        if data is None and _EXIF_AS_TEXT in image.info:  # as ImageMagick once wrote it into PNG
            data = bytes.fromhex("".join(image.info[_EXIF_AS_TEXT].split("\n")[3:]))
        if not isinstance(data, bytes):
            return 1
        exif = PIL.Image.Exif()
        with quiet():
            exif.load(data)
            value = exif.get(_ORIENTATION)
    except Exception:  # Pillow's reader of EXIF raises nearly anything on damaged bytes
        return 1
    return value if isinstance(value, int) else 1


_QUIET = threading.Lock()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Pillow's warnings of damaged facts and large pictures: we refuse those, or need no such fact."""
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
