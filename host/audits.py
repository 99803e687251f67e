"""Golden images among the others: which, and what they must give.

What an audit shows, it shows of everything that was sent before it: a stream that lost its place stays so, and a cache
that is not flushed any more stays so too. Two images take turns in a slot of their own, so that what was there before,
or comes from elsewhere, is not taken for the right scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fireflow.host.devices.base import DeviceError

if TYPE_CHECKING:
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.types import Array, Int64Array


class Audits:
    """The images of audits, in turn.

    Args:
        bundle: with a golden image.
        every: frames from one audit to the next at most; 0 for none but those that are asked for.
    """

    def __init__(self, bundle: Bundle, every: int) -> None:
        self.every = every
        self._bundle = bundle
        golden = bundle.golden
        telling = [n for n, scores in enumerate(golden.scores) if _telling(scores)]
        first = (telling or [0])[0]
        others = [n for n in telling if not np.array_equal(golden.scores[n], golden.scores[first])]
        self._cases = [(golden.images[n], golden.scores[n]) for n in (first, *others[:1])]
        self._turn = 0

    def complete(self) -> None:
        """Makes sure that there are two images with different scores, if the network has such.

        Only where no checksum tells that an input did not reach the memory: it takes arithmetic of the host.
        """
        if len(self._cases) > 1:
            return
        from fireflow.hw.simulator import Simulator

        image, scores = self._cases[0]
        run = Simulator(self._bundle.graph).run
        kind = self._bundle.graph.input_type
        tried = (
            kind.hi - (image - kind.lo),
            np.roll(image, image.shape[0] // 2, 0),
            np.full_like(image, kind.lo),
        )
        for other in tried:
            other = other.astype(image.dtype)
            found = run(other[np.newaxis])[0]
            if not np.array_equal(found, scores):
                self._cases.append((other, found))
                return

    def take(self) -> tuple[Array, Int64Array]:
        """The next image (1, H, W, C), and its scores (classes,)."""
        image, scores = self._cases[self._turn % len(self._cases)]
        self._turn += 1
        return image[np.newaxis], scores

    def check(self, found: Int64Array, wanted: Int64Array, covered: int) -> None:
        """Compares the scores of an audit, both int64 (classes,), behind so many frames.

        Raises:
            DeviceError: without registers; they differ.
        """
        if not np.array_equal(found, wanted):
            raise DeviceError(
                "audit",
                "the golden image's scores must be the bundle's, not others",
                f"up to {covered} frames before may be wrong: a shifted stream, a cache that is not flushed, or "
                "another design; reset() and send them again",
            )


def _telling(scores: Int64Array) -> bool:
    """Whether the scores look different when the stream is shifted."""
    return len(np.unique(scores)) > 1
