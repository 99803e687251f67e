"""Results of `fireflow run` in files: JSON lines, CSV, annotated pictures."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, TextIO

from hw.errors import InputError

if TYPE_CHECKING:
    from types import TracebackType

    from host.scores import Guess
    from host.sources import Picture

_LINE_PIXELS = 14


class Writer:
    """Writes each result at once, so that whatever ends the program leaves what came before; here: nowhere."""

    on_stdout = False

    def write(self, name: str, guesses: list[Guess], seconds: Mapping[str, float]) -> None:
        """One picture's best classes, and the phases of its transfer."""

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class _FileWriter(Writer):
    def __init__(self, path: Path | None) -> None:
        self.on_stdout = path is None
        self._file: TextIO = sys.stdout
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", newline="", encoding="utf-8")

    def __exit__(self, *_error: object) -> None:
        if not self.on_stdout:
            self._file.close()


class _JsonLines(_FileWriter):
    def write(self, name: str, guesses: list[Guess], seconds: Mapping[str, float]) -> None:
        times = {phase: round(1000 * value, 4) for phase, value in seconds.items()}
        record: dict[str, Any] = {"picture": name, "top": [asdict(guess) for guess in guesses], "ms": times}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()


class _Csv(_FileWriter):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._rows = csv.writer(self._file)
        self._rows.writerow(("picture", "rank", "class", "label", "score", "integer", "ms"))

    def write(self, name: str, guesses: list[Guess], seconds: Mapping[str, float]) -> None:
        for rank, guess in enumerate(guesses, 1):
            total = f"{1000 * seconds['total']:.4f}"
            self._rows.writerow((name, rank, guess.index, guess.label, guess.score, guess.integer, total))
        self._file.flush()


def open_writer(output: str | None) -> Writer:
    """The writer for NAME.jsonl, NAME.csv, - (JSON lines on stdout) or None.

    Raises:
        InputError: another ending.
    """
    if output is None:
        return Writer()
    if output == "-":
        return _JsonLines(None)
    path = Path(output)
    if path.suffix not in (".jsonl", ".csv") or path.is_dir():
        raise InputError(f"{output}: the output must be NAME.jsonl, NAME.csv or -, not this; rename it")
    return _Csv(path) if path.suffix == ".csv" else _JsonLines(path)


def annotate(folder: Path, number: int, picture: Picture, guesses: list[Guess]) -> None:
    """Writes a picture with its best classes below it, as NUMBER-NAME.jpg."""
    from PIL import Image, ImageDraw

    shown = picture.shown
    height = _LINE_PIXELS * len(guesses) + 6
    sheet = Image.new("RGB", (max(shown.width, 240), shown.height + height), "white")
    sheet.paste(shown, (0, 0))
    draw = ImageDraw.Draw(sheet)
    for line, guess in enumerate(guesses):
        place = (4, shown.height + 3 + _LINE_PIXELS * line)
        text = f"{guess.score:8.3f}  {guess.label}".encode("latin-1", "replace").decode("latin-1")
        draw.text(place, text, fill="black")
    folder.mkdir(parents=True, exist_ok=True)
    stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(picture.name).stem)[:60]
    sheet.save(folder / f"{number:06d}-{stem}.jpg", quality=90)
