"""`Accelerator`: images in, class scores out, on any device."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Mapping

import numpy as np

from fireflow.host.audits import Audits
from fireflow.host.devices import open_device
from fireflow.host.devices.base import Device, DeviceError
from fireflow.host.dma_scheduler import DmaScheduler
from fireflow.host.interface import Interface
from fireflow.host.scores import Guess, best
from fireflow.host.transfers import PHASES, Finished
from fireflow.hw import given
from fireflow.hw.bundle import Bundle
from fireflow.hw.errors import InputError
from fireflow.hw.golden import GoldenCheck

if TYPE_CHECKING:
    from types import TracebackType

    from fireflow.hw.types import Array, Int64Array

KEPT = 10_000
"""Transfers whose times are kept for percentiles."""


@dataclass(frozen=True)
class Frame:
    """One image's result.

    Args:
        key: what came with the image.
        scores: int64 (classes,).
        seconds: of its transfer, by phase (`host.transfers.PHASES`).
    """

    key: Any
    scores: Int64Array
    seconds: Mapping[str, float]


class Accelerator:
    """A bundle on a device.

    Scores are integers; real scores are these times `scale`. After a DeviceError nothing is accepted until
    `reset()`. No scores are given out before something covers them: the tag and the pause of our shell, or, with an
    older bitstream, one of the bundle's golden images that came out right behind them (docs/board-faults.md).

    Args:
        bundle: a Bundle, or the path of one.
        device: "virtual", "pynq", "remote:ADDRESS", or a Device.
        slots: transfers that may be prepared or under way at once.
        batch: frames of one transfer.
        deadline_s: how long a transfer may take beyond what the design says.
        audit: a golden image follows at most this many images, and the last of a call with several; 0 for never: then
            an older bitstream's scores are given out as they come.
        check: run one golden image at once, so that a wrong design is found here.
        interface: another one than the bundle's (`Interface.of_bundle`).

    Raises:
        InputError: a bundle that is not whole, or an argument outside its range.
        DeviceError: the device is not there, or gives other scores than the golden ones.
    """

    def __init__(
        self,
        bundle: Bundle | str | Path,
        device: str | Device = "virtual",
        *,
        slots: int = 4,
        batch: int = 1,
        deadline_s: float = 2.0,
        audit: int = 256,
        check: bool = True,
        interface: Interface | None = None,
    ) -> None:
        for name, value in (("slots", slots), ("batch", batch)):
            if given.whole(f"accelerator: {name}", value, least=None) < 1:
                raise InputError(f"accelerator: {name} must be at least 1, not {value}; use 1")
        given.number("accelerator: deadline_s", deadline_s)
        given.whole("accelerator: audit", audit, least=None)
        if not deadline_s > 0 or audit < 0:
            raise InputError(
                f"accelerator: deadline_s must be above 0 and audit at least 0, not {deadline_s} and {audit}; "
                "leave them out"
            )
        if not isinstance(device, (str, Device)):
            raise InputError(
                f'accelerator: device must be "virtual", "pynq", "remote:ADDRESS" or a Device, not '
                f"{given.shown(device)}; name one"
            )
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
        self.interface = interface or Interface.of_bundle(self.bundle)
        golden = self.bundle.golden
        if audit and not len(golden.images):
            raise InputError(f"{self.bundle.graph.name}: must hold a golden image; lower it again")
        self.slots, self.batch = slots, batch
        self.scale, self.labels = self.bundle.graph.output_scale, self.bundle.manifest.labels
        self._audits = Audits(self.bundle, audit) if len(golden.images) else None
        self.frames_done = 0
        self._times: deque[Mapping[str, float]] = deque(maxlen=KEPT)
        self.device = (
            open_device(device, self.interface, self.bundle.graph) if isinstance(device, str) else device
        )
        self._scheduler: DmaScheduler | None = None
        self._closed = False
        try:
            self.device.program()
            self._scheduler = DmaScheduler(
                self.device, self.interface, slots, batch, deadline_s, self._audits
            )
            if check:
                self._check_design()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Accelerator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets what was accepted finish, frees the buffers and the device. Again: nothing happens."""
        closed, self._closed = self._closed, True
        scheduler, self._scheduler = self._scheduler, None
        try:
            if scheduler is not None:
                scheduler.close()
        finally:
            if not closed:
                self.device.close()

    def reset(self) -> None:
        """After a DeviceError: loads the design again and checks it with a golden image."""
        self._live.reset()
        self._check_design()

    @property
    def fault(self) -> DeviceError | None:
        """What poisoned the session; None while it is whole."""
        return self._live.fault

    @property
    def patience_s(self) -> float:
        """How long a result may take at most: then the device is given up, whatever it does."""
        return self._live.patience_s

    # --- images ---------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"open on {self.device.name}"
        return f"<Accelerator {self.bundle.place}: {state}>"

    def infer(self, images: Array) -> Int64Array:
        """Scores of images.

        Args:
            images: uint8 (N, H, W, C), as `hw.preprocessing.Preprocessing.prepare` gives them.

        Returns:
            int64 (N, classes). With `audit` on and N > 1, only after a golden image came out right behind them.
        """
        self.bundle.graph.check_images(images)
        scores = np.empty((len(images), *self.interface.output.kind.shape), np.int64)
        for frame in self.frames(enumerate(images)):
            scores[frame.key] = frame.scores
        return scores

    def stream(self, images: Iterable[Array]) -> Iterator[Int64Array]:
        """Scores of any number of images, in order, in memory that does not grow.

        Args:
            images: uint8 (H, W, C) each; taken in a thread of its own, a few ahead of the results.

        Yields:
            int64 (classes,).
        """
        for frame in self.frames((None, image) for image in images):
            yield frame.scores

    def frames(self, pairs: Iterable[tuple[Any, Array]]) -> Iterator[Frame]:
        """As `stream`, with a key beside each image that its result gets, and with the times it took.

        Args:
            pairs: any key, and uint8 (H, W, C); taken in a thread of its own, a few ahead of the results.

        Yields:
            in the order of `pairs`.

        Raises:
            DeviceError: after the results of the frames before; says which may be wrong if an audit failed.
            Exception: whatever `pairs` raises, after the results of the frames before it.
        """
        scheduler = self._live
        ready: queue.Queue[_Item] = queue.Queue(maxsize=scheduler.ahead)
        stop = threading.Event()
        feeder = threading.Thread(
            target=self._feed, args=(scheduler, pairs, ready, stop), name="fireflow-feed", daemon=True
        )
        feeder.start()
        try:
            while True:
                item = ready.get()
                if item.error is not None:
                    raise item.error
                if item.future is None:
                    return
                finished = item.future.result()
                if item.keys is None:
                    continue
                self.frames_done += len(item.keys)
                self._times.append(finished.seconds)
                for key, scores in zip(item.keys, finished.scores):
                    yield Frame(key, scores, finished.seconds)
        finally:
            stop.set()
            feeder.join(0.1)  # it may wait for the next image for ever, and then ends with the process

    def submit(self, images: Array, timeout_s: float | None = None) -> Future[Finished]:
        """Queues images, at most `batch`, for whoever waits for the result elsewhere; any thread may.

        Args:
            images: uint8 (N, H, W, C).
            timeout_s: how long to wait for a free slot; the deadline of everything before by default.

        Returns:
            what has the result or a DeviceError within `patience_s`, whatever the device does. Cancelled in time, it
            frees its place.

        Raises:
            InputError: images that do not fit, none, or more than `batch`.
            DeviceTimeout: no slot became free in time.
            DeviceError: the session is poisoned; or later, in the future.
        """
        self.bundle.graph.check_images(images)
        if not 1 <= len(images) <= self.batch:
            raise InputError(
                f"images: must be 1 to {self.batch} at once, not {len(images)}; open the accelerator with a larger "
                "batch, or submit fewer"
            )
        if timeout_s is not None and given.number("timeout_s", timeout_s) < 0:
            raise InputError(f"timeout_s: must be at least 0, not {timeout_s}; leave it out")
        return self._live.submit(images, timeout_s)

    def classify(self, image: Array, k: int = 5) -> list[Guess]:
        """The k best classes of one image, uint8 (H, W, C) or whatever preprocessing makes one of.

        Raises:
            InputError: neither the accelerator's input nor a picture that can be prepared.
        """
        given.whole("k", k)
        kind = self.interface.input.kind
        preprocessing = self.bundle.manifest.preprocessing
        if preprocessing is not None and not (isinstance(image, np.ndarray) and image.shape == kind.shape):
            image = preprocessing.prepare(image)
        return best(self.infer(np.asarray(image)[None])[0], self.labels, self.scale, k)

    # --- checks and measurements ----------------------------------------------------------------------------

    def selftest(self) -> GoldenCheck:
        """Computes the bundle's golden images again."""
        return self.bundle.verify_golden(self.infer)

    def benchmark(self, frames: int = 200) -> dict[str, Any]:
        """Frames per second of a stream, beside the design's ceiling, and the times by phase.

        Args:
            frames: how many; every one is compared with its golden scores.
        """
        given.whole("frames", frames)
        golden = self.bundle.golden
        self._times.clear()
        wrong, start = 0, time.monotonic()
        for frame in self.frames(
            (n % len(golden.images), golden.images[n % len(golden.images)]) for n in range(frames)
        ):
            wrong += not np.array_equal(frame.scores, golden.scores[frame.key])
        seconds = time.monotonic() - start
        return {
            "frames": frames,
            "wrong": wrong,
            "fps": frames / seconds,
            "ceiling_fps": 1 / self.interface.interval_s,
            "ceiling_estimated": self.interface.estimated,
            **self.device.facts(),
            "ms": self.milliseconds(),
        }

    def milliseconds(self) -> dict[str, dict[str, float]]:
        """Median, 90th, 99th percentile and maximum of each phase, over the last transfers."""
        result: dict[str, dict[str, float]] = {}
        times = list(self._times)
        for phase in PHASES if times else ():
            values = 1000 * np.array([seconds[phase] for seconds in times])
            p50, p90, p99 = np.percentile(values, [50, 90, 99])
            named = {"p50": p50, "p90": p90, "p99": p99, "max": values.max()}
            result[phase] = {name: round(float(value), 4) for name, value in named.items()}
        return result

    # --- inside ---------------------------------------------------------------------------------------------

    @property
    def _live(self) -> DmaScheduler:
        if self._scheduler is None:
            raise DeviceError("open", "the accelerator must be open, not closed", "open it again")
        return self._scheduler

    def _feed(
        self,
        scheduler: DmaScheduler,
        pairs: Iterable[tuple[Any, Array]],
        ready: queue.Queue[_Item],
        stop: threading.Event,
    ) -> None:
        """Submits images until there are none, or nobody wants their results."""

        def give(item: _Item) -> bool:
            while not stop.is_set():
                try:
                    ready.put(item, timeout=0.1)
                    return True
                except queue.Full:
                    continue
            return False

        source, count = iter(pairs), 0
        try:
            while not stop.is_set():
                piece = list(itertools.islice(source, scheduler.batch))
                if not piece:
                    break
                # One image goes in as it is; several must lie behind each other.
                arrays = [np.asarray(image) for _key, image in piece]
                images = np.stack(arrays) if len(arrays) > 1 else arrays[0][None]
                self.bundle.graph.check_images(images)
                if not give(_Item([key for key, _image in piece], scheduler.submit(images))):
                    return
                count += len(piece)
            if count > 1 and not give(_Item(None, scheduler.audit())):
                return
            give(_Item())
        except BaseException as error:  # it belongs to the thread that takes the results
            give(_Item(error=error))

    def _check_design(self) -> None:
        self._live.audit(always=True).result()


@dataclass(frozen=True)
class _Item:
    """From the feeder: frames under way (keys None: an audit), an error, or the end (neither)."""

    keys: list[Any] | None = None
    future: Future[Finished] | None = None
    error: BaseException | None = None
