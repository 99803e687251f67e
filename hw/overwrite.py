"""What an output path holds already: what took longer than a minute goes only where that is asked for by name."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Mapping, Sequence

from fireflow.hw.errors import InputError
from fireflow.hw.files import read_json
from fireflow.hw.remarks import Say, unheard

if TYPE_CHECKING:
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.dataflow.hardware import Hardware

LONG_S = 60.0
_TOOK = "took"
"""In a bundle's card: seconds by what was done."""
_PARTS = (
    ("hardware.json", "the folding and Verilog of a build", "build"),
    ("verification.json", "the result of verify --rtl", "verify"),
    ("resources.json", "the counts of resources", "resources"),
)


@dataclass(frozen=True)
class Loss:
    """Something that would be gone.

    Args:
        what: for the message.
        seconds: that it took to make; None if nobody knows, which counts as long.
        always: whether it is missed however fast it was made.
    """

    what: str
    seconds: float | None = None
    always: bool = False

    @property
    def matters(self) -> bool:
        return self.always or self.seconds is None or self.seconds > LONG_S

    def __str__(self) -> str:
        return self.what if self.seconds is None else f"{self.what} that took {duration(self.seconds)}"


def check_model(path: Path, force: bool, inputs: Iterable[Path] = (), say: Say = unheard) -> None:
    """That a .fireq file may be written at `path`.

    Args:
        path: the output.
        force: replace what took long too.
        inputs: files that the command reads.
        say: told what `force` loses.

    Raises:
        InputError: something of worth is there, or another kind of file.
    """
    if not path.exists():
        return
    from fireflow.hw.packing import read_arrays

    try:
        _arrays, meta = read_arrays(path)
        card = meta["card"]
        made_by, seconds = card.get("made_by"), card.get("seconds")
    except (InputError, OSError, KeyError, TypeError, AttributeError):
        raise foreign(path, "a whole .fireq file") from None
    if made_by == "fireflow average":
        seconds = 0.0  # its networks took long, and are elsewhere
    what = f"a network by {made_by}" if made_by else "a network of unknown origin"
    losses = [Loss(what, _number(seconds))]
    if any(own.exists() and path.samefile(own) for own in inputs):
        losses = [replace(losses[0], what="what this command reads", always=True)]
    check_losses(path, losses, force, say)


def check_bundle(path: Path, force: bool, hardware_too: bool, say: Say = unheard) -> None:
    """That a bundle may be written at `path`.

    Args:
        path: the output.
        force: replace what took long too.
        hardware_too: whether what will be written has an accelerator, as what is there may have; `check_hardware`
            then tells whether it is another one.
        say: told what `force` loses.

    Raises:
        InputError: something of worth is there, or another kind of folder.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    manifest = path / "manifest.json"
    if path.is_dir() and not manifest.is_file():
        return  # Bundle.save refuses it
    try:
        document = read_json(manifest)
        listed, card = document["files"], document["card"]
        if not {"graph.json", "graph.arrays"} <= set(listed) or not isinstance(card, dict):
            raise KeyError("graph.json")
    except (InputError, KeyError, TypeError):
        raise foreign(path, "a bundle") from None
    took = card.get(_TOOK)
    seconds = took if isinstance(took, dict) else {}
    losses = [
        Loss(what, _number(seconds.get(step)), always=step == "build")
        for name, what, step in _PARTS
        if name in listed and not (step == "build" and hardware_too)
    ]
    if any(name.endswith(".bit") for name in listed):
        losses.append(Loss("a bitstream", _bitstream_seconds(path)))
    more = sorted(
        name
        for name in (file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir())
        if name not in listed and name != manifest.name
    )
    if more:
        rest = f" and {len(more) - 2} more files" if len(more) > 2 else ""
        losses.append(Loss(f"{', '.join(more[:2])}{rest}, no part of the bundle", always=True))
    check_losses(path, losses, force, say)


def check_hardware(path: Path, force: bool, hardware: Hardware, say: Say = unheard) -> None:
    """That an accelerator may be written where a bundle has one: the same, or one that was quick to find.

    Raises:
        InputError: its folding took long, and is another.
    """
    if not (path / "hardware.json").is_file():
        return
    from fireflow.hw.dataflow.hardware import Hardware

    try:
        old = Hardware.from_json(read_json(path / "hardware.json"))
        if (old.board, old.folding, old.fifo_depths) == (
            hardware.board,
            hardware.folding,
            hardware.fifo_depths,
        ):
            return
    except (InputError, KeyError, TypeError):
        pass  # of another version: surely another one
    card = read_json(path / "manifest.json")["card"]
    took = card.get(_TOOK)
    seconds = _number(took.get("build")) if isinstance(took, dict) else None
    check_losses(path, [Loss(_PARTS[0][1], seconds)], force, say)


def check_page(path: Path) -> None:
    """That the page of a report may be written: quick to make again.

    Raises:
        InputError: another file is there.
    """
    if path.exists() and not (
        path.is_file() and "frames a second</div>" in path.read_text("utf-8", "replace")
    ):
        raise foreign(path, "a page of fireflow report")


def timed(bundle: Bundle, step: str, seconds: float) -> Bundle:
    """The bundle, with what a step took in its card.

    Args:
        bundle: what it made.
        step: "build", which begins anew, "verify" or "resources".
        seconds: that it took.
    """
    before: Any = bundle.manifest.card.get(_TOOK)
    took: Mapping[str, Any] = before if isinstance(before, dict) and step != "build" else {}
    card = {**bundle.manifest.card, _TOOK: {**took, step: round(seconds, 1)}}
    return replace(bundle, manifest=replace(bundle.manifest, card=card))


def duration(seconds: float) -> str:
    """A time as people say it."""
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} hours"


def check_losses(path: Path, losses: Sequence[Loss], force: bool, say: Say = unheard) -> None:
    """Refuses to lose what matters, or says with `force` what is lost.

    Raises:
        InputError: something matters, without `force`.
    """
    lost = ", ".join(str(loss) for loss in losses if loss.matters)
    if not lost:
        return
    if not force:
        raise InputError(
            f"{path}: must not be replaced unasked, since it holds {lost}; "
            "choose another -o, or lose that with --force"
        )
    say(f"{path}: will be replaced, and with it {lost}")


def foreign(path: Path, wanted: str) -> InputError:
    """The error where a file of another origin would be replaced."""
    return InputError(f"{path}: must be {wanted} to be replaced, not something else; choose another -o")


def _bitstream_seconds(folder: Path) -> float | None:
    """What the steps of a bitstream took; None if its record does not tell."""
    try:
        steps = json.loads((folder / "bitstream.json").read_text("utf-8"))["steps"]
        return sum(float(step["seconds"]) for step in steps.values()) or None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
