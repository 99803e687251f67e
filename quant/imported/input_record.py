"""What a weight file tells of its pictures, what is taken for the rest, and what to say of that."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fireflow.hw.errors import InputError
from fireflow.hw.picture_options import FLAGS, PictureOptions, with_size
from fireflow.hw.preprocessing import NAMED, Preprocessing, Triple, read_preprocessing

_NEEDED = ("mean", "std", "source_order")
_WORDS = {
    "size": "input size",
    "resize": "resize",
    "mean": "mean",
    "std": "std",
    "source_order": "colour order",
    "keep_aspect": "aspect",
}
_USUAL = Preprocessing(size=224, resize=256, keep_aspect=True)


@dataclass(frozen=True, slots=True)
class Told:
    """What a weight file tells of its pictures; fields as in `Preprocessing`, None where it does not tell.

    Args:
        guess: what to take for the rest, if anything is likely; it is said, see `settle`.
        whose: whose preprocessing the guess is.
        because: why it is likely, or why nothing is.
        missing: a field that has to be said in any case, and why.
    """

    size: int | None = None
    resize: int | None = None
    mean: Triple | None = None
    std: Triple | None = None
    source_order: str | None = None
    keep_aspect: bool | None = None
    guess: Preprocessing | None = None
    whose: str = ""
    because: str = ""
    missing: tuple[str, str] | None = None

    def values(self) -> dict[str, Any]:
        """The fields that are told."""
        return {name: getattr(self, name) for name in _WORDS if getattr(self, name) is not None}

    def without_guess(self, because: str) -> Told:
        """The same where nothing is likely."""
        return replace(self, guess=None, whose="", because=because)


NOTHING_TOLD = Told()


def all_told(record: Preprocessing) -> Told:
    """What a file that holds the whole record tells."""
    return Told(**{name: getattr(record, name) for name in _WORDS})


def settle(path: Path, kind: str, told: Told, options: PictureOptions) -> tuple[Preprocessing, list[str]]:
    """What the pictures of a weight file are prepared like.

    An option counts more than the file, and the file more than a guess.

    Args:
        path: for messages.
        kind: of the file, for messages.
        told: by the file.
        options: by the user.

    Returns:
        the record, and sentences that say what was assumed and where an option contradicts the file.

    Raises:
        InputError: neither tells what is needed.
    """
    known, said = told.values(), options.values()
    if options.preprocessing is not None:
        record, known_now = _asked(options.preprocessing, told)
        notes = _contradictions(path, known_now, asdict(record), "--preprocessing")
    elif told.missing is not None and told.missing[0] not in said:
        name, why = told.missing
        raise InputError(
            f"{path}: {_WORDS[name]} must be known, and {why}; say it with {FLAGS[name]}, or all with --preprocessing"
        )
    elif told.guess is not None:
        record, notes = told.guess, _assumed(path, told, {**known, **said})
    else:
        record, notes = _from_parts(path, kind, told, {**known, **said})
    if options.preprocessing is None:
        record = _filled(record, known)
    for name, value in said.items():
        if name in known:
            notes += _contradictions(path, {name: known[name]}, {name: value}, FLAGS[name])
    return _filled(record, said), notes


def _asked(asked: str | Preprocessing, told: Told) -> tuple[Preprocessing, dict[str, Any]]:
    """The record of --preprocessing, and what the file tells that it may contradict.

    A name says how pictures are scaled; the size that was published with it gives way to the file's own.
    """
    record = asked if isinstance(asked, Preprocessing) else read_preprocessing(asked)
    known = told.values()
    if isinstance(asked, str) and asked in NAMED and told.size is not None:
        record = with_size(record, told.size)
    return record, known


def _from_parts(path: Path, kind: str, told: Told, known: dict[str, Any]) -> tuple[Preprocessing, list[str]]:
    """The record of parts that the file and options say, where nothing is likely for the rest."""
    missing = [name for name in _NEEDED if name not in known]
    if missing:
        why = f", because {told.because}" if told.because else ""
        parts = (
            "" if len(missing) == len(_NEEDED) else f" its {' and '.join(_WORDS[name] for name in missing)}"
        )
        flags = ", ".join(FLAGS[name] for name in missing)
        raise InputError(
            f"{path}: preprocessing must be known, and this {kind} file does not tell{parts}{why}; "
            f"say which it is with --preprocessing: {', '.join(NAMED)} or a JSON file, or with {flags}"
        )
    open_fields = [name for name in ("size", "resize", "keep_aspect") if name not in known]
    if not open_fields:
        return _USUAL, []
    words, flags = (", ".join(names[name] for name in open_fields) for names in (_WORDS, FLAGS))
    usual = (
        "224 of 256 pixels, aspect kept"
        if "size" in open_fields
        else "the shorter side of the picture 8/7 of it"
    )
    return _USUAL, [
        f"{path.name}: {words} assumed as usual ({usual}), for the file does not tell; {flags} otherwise"
    ]


def _assumed(path: Path, told: Told, known: dict[str, Any]) -> list[str]:
    assumed = [name for name in _WORDS if name not in known]
    if not assumed:
        return []
    whole = all(name in assumed for name in _NEEDED)
    what = "preprocessing" if whole else ", ".join(_WORDS[name] for name in assumed)
    flags = "--preprocessing says" if whole else f"{', '.join(FLAGS[name] for name in assumed)} say"
    return [f"{path.name}: {what} assumed as {told.whose} because {told.because}; {flags} otherwise"]


def _filled(record: Preprocessing, known: dict[str, Any]) -> Preprocessing:
    """The record with the known fields; another size brings the resize with it, unless that is known."""
    if "size" in known:
        record = with_size(record, known["size"])
    return replace(record, **known)


def _contradictions(path: Path, known: dict[str, Any], taken: dict[str, Any], flag: str) -> list[str]:
    differing = [name for name, value in known.items() if _differs(taken[name], value)]
    if not differing:
        return []
    pairs = (f"{_WORDS[name]} {_text(taken[name])}, not {_text(known[name])}" for name in differing)
    return [f"{path.name}: {flag} is obeyed against what the file tells: {'; '.join(pairs)}"]


def _differs(one: Any, other: Any) -> bool:
    if isinstance(one, tuple):
        return any(abs(a - b) > 1e-3 * max(1.0, abs(b)) for a, b in zip(one, other, strict=True))
    return bool(one != other)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(f"{number:g}" for number in value)
    return {True: "kept", False: "squashed"}[value] if isinstance(value, bool) else str(value)
