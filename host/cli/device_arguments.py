"""The arguments that choose a device, and the accelerator that they name."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from fireflow import open_accelerator
from fireflow.host.cli import arguments
from fireflow.host.unsaid import completed
from fireflow.pipeline.accelerators import DEADLINE_S, RTL_DEADLINE_S
from fireflow.pipeline.engines import ENGINES, FAST

if TYPE_CHECKING:
    from fireflow.host.driver import Accelerator
    from fireflow.hw.bundle import Bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that choose and tune a device."""
    parser.add_argument(
        "--device", default="virtual", metavar="D", help="virtual (default), pynq, or remote:ADDRESS"
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default=FAST,
        help="what computes on the virtual board, equal in every bit; rtl runs the Verilog of a built bundle",
    )
    parser.add_argument("--slots", type=arguments.positive, default=4, metavar="N", help="transfers at once")
    parser.add_argument(
        "--batch", type=arguments.positive, default=1, metavar="N", help="pictures of a transfer"
    )
    parser.add_argument(
        "--deadline",
        type=float,
        metavar="S",
        help=f"seconds for a transfer; {DEADLINE_S:g} by default, {RTL_DEADLINE_S:g} with --engine rtl",
    )


def opened(args: argparse.Namespace, bundle: Bundle) -> Accelerator:
    """The bundle on the device that the arguments name. Raises InputError and DeviceError as `open_accelerator`."""
    return open_accelerator(
        bundle,
        device=args.device,
        engine=args.engine,
        slots=args.slots,
        batch=args.batch,
        deadline_s=args.deadline,
    )


def load_completed(args: argparse.Namespace) -> Bundle:
    """The bundle that the arguments name, with what they say of it. Raises InputError."""
    from fireflow.hw.bundle import Bundle

    return completed(Bundle.load(args.bundle), arguments.said(args))
