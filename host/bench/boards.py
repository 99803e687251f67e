"""Virtual boards for measuring: their arithmetic is looked up, so the host alone takes time."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Callable

from fireflow.host.devices.virtual import VirtualDevice
from fireflow.host.interface import Interface
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.types import Array, Int64Array


class Recorded:
    """The arithmetic of known images, looked up: the host alone is measured.

    Args:
        images: uint8 (N, H, W, C).
        scores: int64 (N, classes).
    """

    def __init__(self, images: Array, scores: Int64Array) -> None:
        self._scores = {zlib.crc32(image.tobytes()): scores[n : n + 1] for n, image in enumerate(images)}

    @classmethod
    def golden(cls, bundle: Bundle) -> Recorded:
        """The arithmetic of a bundle's golden images."""
        return cls(bundle.golden.images, bundle.golden.scores)

    def __call__(self, images: Array) -> Int64Array:
        return self._scores[zlib.crc32(images.tobytes())]


def timed_interface(bundle: Bundle, interval_s: float, latency_s: float) -> Interface:
    """What the driver knows of an accelerator of this interval and latency."""
    interface = Interface.of(bundle.graph)
    cycles_a_second = interface.clock_mhz * 1e6
    return replace(
        interface,
        interval_cycles=int(interval_s * cycles_a_second),
        latency_cycles=int(latency_s * cycles_a_second),
    )


def virtual_board(
    bundle: Bundle, interval_s: float, latency_s: float, score: Callable[[Array], Int64Array]
) -> tuple[VirtualDevice, Interface]:
    """A virtual board of this interval and latency, and the interface that says so."""
    interface = timed_interface(bundle, interval_s, latency_s)
    return VirtualDevice(interface, bundle.graph, interval_s, latency_s, score=score), interface


def check_times(interval_s: float, latency_s: float) -> None:
    """Raises InputError for an interval and a latency that no accelerator has."""
    if not 0 < interval_s <= latency_s:
        raise InputError(
            "interval and latency: must be above 0, the latency not below the interval, not "
            f"{1e3 * interval_s:g} and {1e3 * latency_s:g} ms; give 10 and 30"
        )
