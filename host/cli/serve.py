"""`fireflow serve`: an accelerator for many clients over HTTP, with a page for people."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Iterator

from fireflow.host.cli import arguments, devices
from fireflow.host.cli.arguments import BUNDLE_HELP
from fireflow.host.devices import DeviceError
from fireflow.host.unsaid import needed
from fireflow.hw.errors import InputError

TOKEN_VARIABLE = "FIREFLOW_TOKEN"
_SWITCH_S = 1e-3
"""What computes gives way to the thread that talks to clients after so long; by default after 5 ms, for each call."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=BUNDLE_HELP)
    devices.add_arguments(parser)
    arguments.unsaid(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on: this computer only, by default"
    )
    parser.add_argument("--port", type=int, default=8000, help="8000 by default")
    tokens = parser.add_mutually_exclusive_group()
    tokens.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="clients must send the token in it: Authorization: Bearer TOKEN; "
        f"the variable {TOKEN_VARIABLE} does the same",
    )
    tokens.add_argument(
        "--token", help="the same, but every user of this computer sees it in the list of processes"
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="another name that clients may ask for, besides localhost and the address listened on",
    )
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="another site whose pages may ask: https://site.example",
    )
    parser.add_argument(
        "--queue", type=arguments.positive, default=256, metavar="N", help="requests held at once; 503 beyond"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="S",
        help="seconds for an answer, 504 beyond; 30 by default, or what the device's own deadlines need",
    )
    parser.add_argument(
        "--connections", type=arguments.positive, default=1000, metavar="N", help="open at once, 1000"
    )
    parser.add_argument(
        "--max-bytes", type=arguments.positive, default=1 << 24, metavar="N", help="of an upload, 16 MiB"
    )


def run(args: argparse.Namespace) -> int:
    """Serves until SIGINT or SIGTERM; what was accepted is answered."""
    from fireflow.host.service import Policy, Service, make_app
    from fireflow.host.service.connections import Limits
    from fireflow.host.service.decoding import give_memory_back
    from fireflow.host.service.policy import is_loopback
    from fireflow.host.service.server import listen, make_server

    if not 0 <= args.port < 1 << 16:
        raise InputError(f"serve: the port must be 0 to 65535, not {args.port}; choose another")
    if args.timeout is not None and not 0 < args.timeout < float("inf"):
        raise InputError(f"serve: the timeout must be above 0 seconds, not {args.timeout:g}; give 30")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    give_memory_back()
    sys.setswitchinterval(_SWITCH_S)
    policy = Policy.of(args.host, args.allow_host, args.allow_origin, _token(args))
    held = max(Limits.held_bytes, args.max_bytes + args.max_bytes // 2)
    limits = Limits(connections=args.connections, held_bytes=held)
    bundle = devices.load_completed(args)
    needed(bundle, args.bundle)
    try:
        with devices.open_accelerator(args, bundle) as accelerator, contextlib.closing(
            Service(accelerator, args.queue, args.timeout)
        ) as service:
            server = make_server(make_app(service, policy, args.max_bytes), limits=limits)
            sockets = listen(args.host, args.port)
            port, name = sockets[0].getsockname()[1], accelerator.bundle.graph.name
            print(f"serving {name} on http://{args.host}:{port}/", flush=True)
            if policy.token is None and not is_loopback(args.host):
                _note("without a token, whoever reaches this address may ask; --token-file closes it")
            with _signals_kept():
                server.run(sockets)
        answers = ", ".join(f"{count} x {status}" for status, count in sorted(service.answers.items()))
        print(f"ended; answered {answers or 'nothing'}", flush=True)
    except DeviceError as error:
        print(f"fireflow: {error}", file=sys.stderr)
        return 1
    return 0


def _token(args: argparse.Namespace) -> str | None:
    """From the file, the command line or the variable, in this order."""
    from fireflow.host.service.policy import read_token

    if args.token_file is not None:
        return read_token(args.token_file)
    if args.token is not None:
        _note(f"--token shows in the list of processes; --token-file or {TOKEN_VARIABLE} does not")
        return str(args.token)
    return os.environ.get(TOKEN_VARIABLE)


def _note(text: str) -> None:
    print(f"fireflow: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """uvicorn raises the signal that ended it once more, which would end this before the buffers are free."""
    old = [(number, signal.signal(number, lambda *_: None)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in old:
            signal.signal(number, handler)
