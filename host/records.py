"""Classes of pictures in files: JSON lines, CSV, annotated pictures."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, TextIO

from fireflow.hw.errors import InputError
from fireflow.hw.overwrite import Loss, check_losses
from fireflow.hw.remarks import Say, unheard

if TYPE_CHECKING:
    from types import TracebackType

    from fireflow.host.scores import Guess
    from fireflow.host.sources import Picture

_LINE_PIXELS = 14
_COLUMNS = ("picture", "rank", "class", "label", "score", "integer", "ms")


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
    """Opens its file with the first result, or at an end without an error: what fails before leaves the old file."""

    def __init__(self, path: Path | None) -> None:
        self.on_stdout = path is None
        self._path = path
        self._opened: TextIO | None = None

    def _file(self) -> TextIO:
        if self._path is None:
            return sys.stdout
        if self._opened is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._opened = self._path.open("w", newline="", encoding="utf-8")
            self._start(self._opened)
        return self._opened

    def _start(self, file: TextIO) -> None:
        """What comes before the first result."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._file()
        if self._opened is not None:
            self._opened.close()


class _JsonLines(_FileWriter):
    def write(self, name: str, guesses: list[Guess], seconds: Mapping[str, float]) -> None:
        times = {phase: round(1000 * value, 4) for phase, value in seconds.items()}
        record: dict[str, Any] = {"picture": name, "top": [asdict(guess) for guess in guesses], "ms": times}
        file = self._file()
        file.write(json.dumps(record) + "\n")
        file.flush()


class _Csv(_FileWriter):
    def _start(self, file: TextIO) -> None:
        csv.writer(file).writerow(_COLUMNS)

    def write(self, name: str, guesses: list[Guess], seconds: Mapping[str, float]) -> None:
        file = self._file()
        rows = csv.writer(file)
        for rank, guess in enumerate(guesses, 1):
            total = f"{1000 * seconds['total']:.4f}"
            rows.writerow((name, rank, guess.index, guess.label, guess.score, guess.integer, total))
        file.flush()


def open_writer(output: str | None, force: bool = False, say: Say = unheard) -> Writer:
    """The writer for NAME.jsonl, NAME.csv, - (JSON lines on stdout) or None.

    Args:
        output: the file; it is opened with the first result.
        force: replace results there that took long too.
        say: told what `force` loses.

    Raises:
        InputError: another ending, or a file there that must stay.
    """
    if output is None:
        return Writer()
    if output == "-":
        return _JsonLines(None)
    path = Path(output)
    if path.suffix not in (".jsonl", ".csv") or path.is_dir():
        raise InputError(f"{output}: the output must be NAME.jsonl, NAME.csv or -, not this; rename it")
    if path.exists() and path.stat().st_size:
        check_losses(path, [_results_in(path)], force, say)
    return _Csv(path) if path.suffix == ".csv" else _JsonLines(path)


def _results_in(path: Path) -> Loss:
    """What an earlier run wrote there.

    Raises:
        InputError: the file is of another origin.
    """
    times: list[float] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            if path.suffix == ".csv":
                rows = csv.reader(file)
                if tuple(next(rows, ())) != _COLUMNS:
                    raise ValueError("other columns")
                times.extend(float(row[-1]) for row in rows if row[1] == "1")
            else:
                times.extend(float(json.loads(line)["ms"]["total"]) for line in file)
    except (ValueError, KeyError, TypeError, IndexError, csv.Error):
        if times:  # the last line was cut by whatever ended that run
            return Loss(f"results of {len(times)} pictures", None)
        raise InputError(
            f"{path}: must hold results of fireflow run to be replaced, not something else; choose another -o"
        ) from None
    return Loss(f"results of {len(times)} pictures", sum(times) / 1000)


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
