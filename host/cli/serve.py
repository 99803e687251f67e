"""`fireflow serve`: an accelerator for many clients over HTTP, with a page for people."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from pathlib import Path
from typing import Iterator

from host.cli import arguments, devices, unsaid
from host.cli.inputs import BUNDLE_HELP
from host.cli.unsaid import needed
from host.devices import DeviceError
from hw.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=BUNDLE_HELP)
    devices.add_arguments(parser)
    unsaid.add_arguments(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on: this computer only, by default"
    )
    parser.add_argument("--port", type=int, default=8000, help="8000 by default")
    parser.add_argument("--token", help="clients must send it: Authorization: Bearer TOKEN")
    parser.add_argument(
        "--queue", type=arguments.positive, default=256, metavar="N", help="requests held at once; 503 beyond"
    )
    parser.add_argument(
        "--max-bytes", type=arguments.positive, default=1 << 24, metavar="N", help="of an upload, 16 MiB"
    )


def run(args: argparse.Namespace) -> int:
    """Serves until SIGINT or SIGTERM; what was accepted is answered."""
    import uvicorn

    from host.cli.service import Service, make_app

    if not 0 <= args.port < 1 << 16:
        raise InputError(f"serve: the port must be 0 to 65535, not {args.port}; choose another")
    try:
        with devices.open_accelerator(args) as accelerator:
            needed(accelerator.bundle, args.bundle)
            service = Service(accelerator, args.queue)
            app = make_app(service, args.token, args.max_bytes)
            print(f"serving {accelerator.bundle.graph.name} on http://{args.host}:{args.port}/", flush=True)
            with _signals_kept():
                uvicorn.run(
                    app, host=args.host, port=args.port, log_level="warning", timeout_graceful_shutdown=30
                )
        answers = ", ".join(f"{count} x {status}" for status, count in sorted(service.answers.items()))
        print(f"ended; answered {answers or 'nothing'}", flush=True)
    except DeviceError as error:
        print(f"fireflow: {error}", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """uvicorn raises the signal that ended it once more, which would end this before the buffers are free."""
    old = [(number, signal.signal(number, lambda *_: None)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in old:
            signal.signal(number, handler)
