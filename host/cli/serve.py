"""`fireflow serve`: an accelerator for many clients over HTTP, with a page for people."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from fireflow import DeviceError
from fireflow.host.cli import arguments, device_arguments
from fireflow.host.cli.arguments import BUNDLE_HELP
from fireflow.host.unsaid import needed

TOKEN_VARIABLE = "FIREFLOW_TOKEN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=BUNDLE_HELP)
    device_arguments.add_arguments(parser)
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
    from fireflow import ServiceOptions, serve

    options = ServiceOptions(
        host=args.host,
        port=args.port,
        token=_token(args),
        allow_hosts=tuple(args.allow_host),
        allow_origins=tuple(args.allow_origin),
        queue=args.queue,
        timeout_s=args.timeout,
        connections=args.connections,
        max_bytes=args.max_bytes,
    )
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    bundle = device_arguments.load_completed(args)
    needed(bundle)

    def ready(port: int) -> None:
        print(f"serving {bundle.graph.name} on http://{args.host}:{port}/", flush=True)
        if options.open_to_all:
            _note("without a token, whoever reaches this address may ask; --token-file closes it")

    try:
        with device_arguments.opened(args, bundle) as accelerator:
            answers = serve(accelerator, options, ready)
    except DeviceError as error:
        print(f"fireflow: {error}", file=sys.stderr)
        return 1
    shown = ", ".join(f"{count} x {status}" for status, count in sorted(answers.items()))
    print(f"ended; answered {shown or 'nothing'}", flush=True)
    return 0


def _token(args: argparse.Namespace) -> str | None:
    """From the file, the command line or the variable, in this order."""
    from fireflow.host.service.access import read_token

    if args.token_file is not None:
        return read_token(args.token_file)
    if args.token is not None:
        _note(f"--token shows in the list of processes; --token-file or {TOKEN_VARIABLE} does not")
        return str(args.token)
    return os.environ.get(TOKEN_VARIABLE)


def _note(text: str) -> None:
    print(f"fireflow: {text}", file=sys.stderr, flush=True)
