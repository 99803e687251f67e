"""Pictures of a source through an accelerator: each with its best classes, in order, as they come."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator, Mapping

from fireflow.host.scores import Guess, best

if TYPE_CHECKING:
    from fireflow.host.driver import Accelerator
    from fireflow.host.sources import Picture, PictureSource
    from fireflow.hw.types import Array


@dataclass(frozen=True, eq=False)
class Classified:
    """One picture with its best classes.

    Args:
        picture: what went in.
        guesses: the best classes, the best first.
        seconds: of its transfer, by phase (`Frame.seconds`).
    """

    picture: Picture
    guesses: list[Guess]
    seconds: Mapping[str, float]


class PictureRun:
    """Iterates over the pictures of a source, each with its best classes, and knows how it went.

    Memory does not grow with the number of pictures. `source.stop()` ends the run early: what was accepted is
    answered. Damaged pictures are left out, and listed by `source.damaged`.

    Args:
        accelerator: open.
        source: of `open_pictures`.
        top: classes of each picture.
        limit: pictures at most; None for all.

    Raises:
        DeviceError: while iterating, behind the pictures before; `unanswered` are those without an answer.
        StreamStopped: while iterating; a camera or a stream gives nothing any more.
    """

    def __init__(
        self, accelerator: Accelerator, source: PictureSource, *, top: int = 5, limit: int | None = None
    ) -> None:
        self._accelerator, self._source, self._top, self._limit = accelerator, source, top, limit
        self._accepted: deque[str] = deque()
        self._start = time.monotonic()
        self._seconds: float | None = None
        self.answered = 0

    def __iter__(self) -> Iterator[Classified]:
        accelerator = self._accelerator
        self._start = time.monotonic()
        try:
            for frame in accelerator.frames(self._pairs()):
                guesses = best(frame.scores, accelerator.labels, accelerator.scale, self._top)
                self._accepted.popleft()
                self.answered += 1
                yield Classified(frame.key, guesses, frame.seconds)
        finally:
            self._seconds = self.seconds

    def _pairs(self) -> Iterator[tuple[Picture, Array]]:
        for number, picture in enumerate(self._source):
            self._accepted.append(picture.name)
            yield picture, picture.pixels
            if number + 1 == self._limit:
                return

    @property
    def unanswered(self) -> list[str]:
        """Names of the pictures that were accepted and have no answer."""
        return list(self._accepted)

    @property
    def seconds(self) -> float:
        """That it has taken so far."""
        return time.monotonic() - self._start if self._seconds is None else self._seconds

    @property
    def fps(self) -> float:
        """Pictures answered in a second."""
        return self.answered / self.seconds if self.seconds > 0 else 0.0

    def summary(self) -> dict[str, Any]:
        """What was done and how fast, as `fireflow run --json` gives it: plain values, times in ms by phase."""
        accelerator = self._accelerator
        return {
            **accelerator.device.facts(),
            "pictures": self.answered,
            "damaged": self._source.damaged_count,
            "left_out": self._source.left_out,
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 2),
            "ceiling_fps": round(1 / accelerator.interface.interval_s, 2),
            "ceiling_estimated": accelerator.interface.estimated,
            "slots": accelerator.slots,
            "batch": accelerator.batch,
            "ms": accelerator.milliseconds(),
        }
