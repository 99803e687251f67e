"""How far a build is, on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fireflow.hw.bitstream.steps import Status

_WIDTH = 100
_SHOWN_EVERY_S = 20.0


class StepProgress:
    """Takes what `run_steps` says: a line that changes on a terminal, else one now and then."""

    def __init__(self) -> None:
        self._at, self._step = 0.0, ""  # when something was last said, and of what step

    def __call__(self, status: Status) -> None:
        from fireflow.hw.bitstream.steps import duration

        left = "" if status.remaining_s is None else f", about {duration(status.remaining_s)} left"
        if status.state == "runs":
            text = f"{duration(status.seconds)}{left}" + (f": {status.detail}" if status.detail else "")
        else:
            text = "done before" if status.state == "kept" else f"done in {duration(status.seconds)}"
        line = f"[{status.number}/{status.total}] {status.step}: {text}"
        if sys.stderr.isatty():
            end = "" if status.state == "runs" else "\n"
            print(f"\r\x1b[K{line[:_WIDTH]}", end=end, file=sys.stderr, flush=True)
            return
        now = time.monotonic()
        if status.state != "runs" or status.step != self._step or now - self._at > _SHOWN_EVERY_S:
            self._at, self._step = now, status.step
            print(line, file=sys.stderr, flush=True)
