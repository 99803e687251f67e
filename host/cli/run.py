"""`fireflow run`: pictures, videos, cameras through a bundle on a device."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from pathlib import Path
from typing import Any, Iterator

from fireflow import DeviceError, InputError, PictureRun, PictureSource, StreamStopped, open_pictures
from fireflow.host.cli import arguments, device_arguments
from fireflow.host.cli.arguments import BUNDLE_HELP
from fireflow.host.cli.output import remark, tell_left_out
from fireflow.host.cli.run_output import print_summary, view
from fireflow.host.records import Writer, annotate, open_writer
from fireflow.host.sources import SOURCE_HELP
from fireflow.host.unsaid import needed

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=BUNDLE_HELP)
    parser.add_argument("source", metavar="SOURCE", help=SOURCE_HELP)
    device_arguments.add_arguments(parser)
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
    bundle = device_arguments.load_completed(args)
    if args.save_annotated is not None:
        needed(bundle)
    writer = open_writer(args.output, args.force, remark)
    source = open_pictures(
        args.source, bundle, watch=args.watch, workers=args.workers, keep=args.save_annotated is not None
    )
    with writer, _signals(source) as received:
        try:
            accelerator = device_arguments.opened(args, bundle)
        except DeviceError as error:
            return _failed(error)
        with accelerator:
            classified = PictureRun(accelerator, source, top=args.top, limit=args.limit)
            return _run(args, source, classified, writer) or (128 + received[0] if received else 0)


def _run(args: argparse.Namespace, source: PictureSource, run: PictureRun, writer: Writer) -> int:
    """Every picture, then the summary; 1 where the device or the stream failed."""
    failure: Exception | None = None
    with view(args.json or writer.on_stdout, source.total) as show:
        try:
            for each in run:
                writer.write(each.picture.name, each.guesses, each.seconds)
                if args.save_annotated is not None:
                    annotate(args.save_annotated, run.answered, each.picture, each.guesses)
                show(each, run)
        except (DeviceError, StreamStopped) as error:
            failure = error
    for _name, reason in source.damaged:
        print(f"skipped {reason}", file=sys.stderr)
    tell_left_out(source.left_out)
    print_summary({"bundle": str(args.bundle), **run.summary()}, args.json, writer.on_stdout)
    if failure is not None:
        return _failed(failure, run.unanswered)
    if run.answered == 0 and source.damaged:
        raise InputError(f"{source.damaged[0][1]} (no picture is whole)")
    return 0


@contextlib.contextmanager
def _signals(source: PictureSource) -> Iterator[list[int]]:
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


def _failed(error: Exception, unanswered: list[str] | None = None) -> int:
    print(f"fireflow: {error}", file=sys.stderr)
    if unanswered:
        shown = ", ".join(unanswered[:5]) + (", ..." if len(unanswered) > 5 else "")
        print(f"fireflow: accepted and not answered: {len(unanswered)} pictures ({shown})", file=sys.stderr)
    return 1
