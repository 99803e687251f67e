"""How far training is, on stderr."""

from __future__ import annotations

import math
import sys
import time
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Tuple

SECONDS_A_LINE = 60.0
Shown = Tuple[Callable[[int, int], None], Callable[[int, int, float], None]]
"""What takes decoded pictures of all, and what takes steps of all and the last loss."""


@contextmanager
def training_progress() -> Iterator[Shown]:
    """On a terminal a bar for pictures and one for steps, else a line of the steps a minute, which suits a log file."""
    if not sys.stderr.isatty():
        yield (lambda done, total: None), _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[state]}"))
    with Progress(TextColumn("{task.description}"), *columns, console=Console(stderr=True)) as bars:
        shown = _Bars(bars)
        yield shown.decoded, shown.trained


class _Bars:
    """Bars of `rich`, each from the first that is told of it on."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._decoding: Any = None
        self._training: Any = None

    def decoded(self, done: int, total: int) -> None:
        if self._decoding is None:
            self._decoding = self._bars.add_task("decoding images", state="")
        self._bars.update(self._decoding, completed=done, total=total)

    def trained(self, step: int, steps: int, loss: float) -> None:
        if (
            self._training is None
        ):  # with the steps of the checkpoint, which say nothing of how fast this run is
            self._training = self._bars.add_task("training", total=steps, completed=step, state="")
        state = "" if math.isnan(loss) else f"loss {loss:.4f}"
        self._bars.update(self._training, completed=step, state=state)


class _Lines:
    """A line on stderr every `SECONDS_A_LINE`, and one for the last step."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self._next = 0.0

    def __call__(self, step: int, steps: int, loss: float) -> None:
        now = time.monotonic()
        self._first = self._first or (step, now)
        if now < self._next and step < steps:
            return
        self._next = now + SECONDS_A_LINE
        first_step, since = self._first
        told = f"{step} of {steps} steps"
        if not math.isnan(loss):
            told += f", loss {loss:.4f}"
        if first_step < step < steps:
            left = (now - since) / (step - first_step) * (steps - step)
            told += f", {left / 60:.0f} min left"
        print(told, file=sys.stderr, flush=True)
