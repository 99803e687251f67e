"""`fireflow run`: pictures, videos, cameras through a bundle on a device."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping

from fireflow.host.cli import arguments, devices
from fireflow.host.cli.arguments import BUNDLE_HELP
from fireflow.host.cli.output import print_json, table, tell_left_out
from fireflow.host.cli.records import Writer, annotate, open_writer
from fireflow.host.devices import DeviceError
from fireflow.host.scores import Guess, best
from fireflow.host.sources import SOURCE_HELP, Picture, Source, open_source
from fireflow.host.streams import StreamStopped
from fireflow.host.unsaid import needed, pictures_or_arrays
from fireflow.hw.errors import InputError

if TYPE_CHECKING:
    from fireflow.host.driver import Accelerator, Frame

_LIVE_ROWS = 12
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=BUNDLE_HELP)
    parser.add_argument("source", metavar="SOURCE", help=SOURCE_HELP)
    devices.add_arguments(parser)
    arguments.unsaid(parser)
    parser.add_argument("--top", type=arguments.positive, default=5, metavar="K", help="classes to show")
    parser.add_argument("--limit", type=arguments.positive, metavar="N", help="pictures at most")
    parser.add_argument("--watch", action="store_true", help="wait for new pictures in a folder")
    parser.add_argument(
        "--workers", type=arguments.positive, default=2, metavar="N", help="threads that decode"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="results as NAME.jsonl or NAME.csv, or - for JSON lines on stdout",
    )
    parser.add_argument(
        "--save-annotated", type=Path, metavar="DIR", help="write each picture with its scores"
    )
    arguments.force(parser)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Shows the best classes of every picture, and how fast it went."""
    bundle = devices.load_completed(args)
    preprocessing = pictures_or_arrays(bundle, args.bundle)
    if args.save_annotated is not None:
        needed(bundle, args.bundle)
    writer = open_writer(args.output, args.force)
    source = open_source(
        args.source, preprocessing, args.watch, args.workers, keep=args.save_annotated is not None
    )
    with writer, _signals(source) as received:
        try:
            accelerator = devices.open_accelerator(args, bundle)
        except DeviceError as error:
            return _failed(error)
        with accelerator:
            return _Run(args, source, accelerator, writer).all(received)


@contextlib.contextmanager
def _signals(source: Source) -> Iterator[list[int]]:
    """The first SIGINT or SIGTERM ends the source: what was accepted is answered. The second ends the program."""
    received: list[int] = []

    def stop(number: int, _frame: Any) -> None:
        received.append(number)
        source.stop()
        if len(received) > 1:
            raise KeyboardInterrupt

    old = [(number, signal.signal(number, stop)) for number in _SIGNALS]
    try:
        yield received
    finally:
        for number, handler in old:
            signal.signal(number, handler)


class _Run:
    """One run of the command."""

    def __init__(
        self, args: argparse.Namespace, source: Source, accelerator: Accelerator, writer: Writer
    ) -> None:
        self._args, self._source, self._accelerator, self._writer = args, source, accelerator, writer
        self._accepted: deque[str] = deque()
        self._answered = 0

    def all(self, received: list[int]) -> int:
        """Every picture, then the summary; the exit status."""
        start, error = time.monotonic(), None
        with _view(self._args, self._source) as show:
            try:
                for frame in self._accelerator.frames(self._pairs()):
                    self._one(frame, show, time.monotonic() - start)
            except (DeviceError, StreamStopped) as problem:
                error = problem
        summary = self._summary(time.monotonic() - start)
        self._report(summary)
        if error is not None:
            return _failed(error, list(self._accepted))
        if self._answered == 0 and self._source.damaged:
            raise InputError(f"{self._source.damaged[0][1]} (no picture is whole)")
        return 128 + received[0] if received else 0

    def _pairs(self) -> Iterator[tuple[Picture, Any]]:
        limit = self._args.limit
        for number, picture in enumerate(self._source):
            self._accepted.append(picture.name)
            yield picture, picture.pixels
            if number + 1 == limit:
                return

    def _one(self, frame: Frame, show: Callable[..., None], seconds: float) -> None:
        accelerator, picture = self._accelerator, frame.key
        guesses = best(frame.scores, accelerator.labels, accelerator.scale, self._args.top)
        self._accepted.popleft()
        self._answered += 1
        self._writer.write(picture.name, guesses, frame.seconds)
        if self._args.save_annotated is not None:
            annotate(self._args.save_annotated, self._answered, picture, guesses)
        show(picture.name, guesses, self._answered, self._answered / seconds)

    def _summary(self, seconds: float) -> dict[str, Any]:
        accelerator = self._accelerator
        return {
            "bundle": str(self._args.bundle),
            **accelerator.device.facts(),
            "pictures": self._answered,
            "damaged": self._source.damaged_count,
            "left_out": self._source.left_out,
            "seconds": round(seconds, 3),
            "fps": round(self._answered / seconds, 2) if seconds > 0 else 0.0,
            "ceiling_fps": round(1 / accelerator.design.interval_s, 2),
            "ceiling_estimated": accelerator.design.estimated,
            "slots": self._args.slots,
            "batch": self._args.batch,
            "ms": accelerator.milliseconds(),
        }

    def _report(self, summary: Mapping[str, Any]) -> None:
        for _name, reason in self._source.damaged:
            print(f"skipped {reason}", file=sys.stderr)
        tell_left_out(self._source.left_out)
        if self._args.json:
            print_json(summary)
            return
        # Results on stdout stay a clean stream of JSON lines.
        file = sys.stderr if self._writer.on_stdout else sys.stdout
        guess = ", estimated" if summary["ceiling_estimated"] else ""
        actual = summary["clock_mhz"]
        print(
            f"{summary['pictures']} pictures in {summary['seconds']:.2f} s: {summary['fps']:.1f} a second "
            f"(the accelerator's ceiling{guess}: {summary['ceiling_fps']:.1f}); {summary['device']}, clock "
            f"{'unknown' if actual is None else format(actual, 'g')} MHz, asked {summary['clock_asked_mhz']:g}",
            file=file,
        )
        rows = [(phase, *(f"{value:.2f}" for value in ms.values())) for phase, ms in summary["ms"].items()]
        if rows:
            print(table(("phase, ms", "median", "90 %", "99 %", "longest"), rows), file=file)


def _failed(error: Exception, unanswered: list[str] | None = None) -> int:
    print(f"fireflow: {error}", file=sys.stderr)
    if unanswered:
        shown = ", ".join(unanswered[:5]) + (", ..." if len(unanswered) > 5 else "")
        print(f"fireflow: accepted and not answered: {len(unanswered)} pictures ({shown})", file=sys.stderr)
    return 1


@contextlib.contextmanager
def _view(args: argparse.Namespace, source: Source) -> Iterator[Callable[..., None]]:
    """Shows results as they come: a live table on a terminal, else a line each; nothing beside JSON."""
    if args.json or args.output == "-":
        yield lambda *_: None
        return
    live = _live_table(source) if sys.stdout.isatty() else None
    if live is None:
        yield _line
        return
    with live as show:
        yield show


def _line(name: str, guesses: list[Guess], _count: int, _rate: float) -> None:
    print(f"{name}: " + ", ".join(f"{guess.label} {guess.score:.3f}" for guess in guesses), flush=True)


def _live_table(source: Source) -> Any:
    try:
        from rich.live import Live
        from rich.table import Table
    except ImportError:
        return None

    @contextlib.contextmanager
    def view() -> Iterator[Callable[..., None]]:
        rows: deque[tuple[str, str, str]] = deque(maxlen=_LIVE_ROWS)
        with Live(refresh_per_second=8) as live:

            def show(name: str, guesses: list[Guess], count: int, rate: float) -> None:
                first, rest = guesses[0], ", ".join(f"{g.label} {g.score:.2f}" for g in guesses[1:])
                rows.append((name, f"{first.label} {first.score:.2f}", rest))
                of = "" if source.total is None else f" of {source.total}"
                shown = Table("picture", "class", "then", title=f"{count}{of} pictures, {rate:.1f} a second")
                for row in rows:
                    shown.add_row(*row)
                live.update(shown)

            yield show

    return view()
