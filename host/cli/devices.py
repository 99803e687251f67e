"""The arguments that choose a device, and the accelerator that they name; the virtual board with any arithmetic."""

from __future__ import annotations

import argparse
import contextlib
from typing import TYPE_CHECKING

from fireflow.host.cli import arguments
from fireflow.host.unsaid import completed
from fireflow.hw.errors import InputError
from fireflow.pipeline.engines import engine

if TYPE_CHECKING:
    from fireflow.host.devices import Device
    from fireflow.host.driver import Accelerator
    from fireflow.hw.bundle import Bundle

DEADLINE_S, RTL_DEADLINE_S = 2.0, 3600.0
"""Seconds for a transfer; a frame of a whole network takes RTL simulation minutes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that choose and tune a device."""
    parser.add_argument(
        "--device", default="virtual", metavar="D", help="virtual (default), pynq, or remote:ADDRESS"
    )
    parser.add_argument(
        "--engine",
        choices=("fast", "interpreter", "rtl"),
        default="fast",
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


def open_accelerator(args: argparse.Namespace, bundle: Bundle) -> Accelerator:
    """The bundle on the device that the arguments name.

    Args:
        args: with those of `add_arguments`.
        bundle: loaded once for all that the command does with it.

    Raises:
        InputError: an argument outside its range, or a bundle that does not fit the device.
        DeviceError: the device is not there.
    """
    from fireflow.host.driver import Accelerator

    if args.engine != "fast" and args.device != "virtual":
        raise InputError(
            f"engine: must be fast on {args.device}, not {args.engine}: only the virtual board computes here; "
            "leave it out"
        )
    default = RTL_DEADLINE_S if args.engine == "rtl" else DEADLINE_S
    deadline = default if args.deadline is None else args.deadline
    with contextlib.ExitStack() as stack:
        device: Device | str = args.device
        if args.engine != "fast":
            device = _virtual(bundle, args.engine)
            stack.callback(device.close)
        accelerator = Accelerator(bundle, device, args.slots, args.batch, deadline)
        stack.pop_all()
        return accelerator


def load_completed(args: argparse.Namespace) -> Bundle:
    """The bundle that the arguments name, with what they say of it."""
    from fireflow.hw.bundle import Bundle

    return completed(Bundle.load(args.bundle), args.bundle, arguments.said(args))


def _virtual(bundle: Bundle, name: str) -> Device:
    from fireflow.host.design import Design
    from fireflow.host.devices.virtual import VirtualDevice

    design = Design.of_bundle(bundle)
    device = VirtualDevice(design, bundle.graph, score=engine(bundle, name, batch=1))
    device.name += f", arithmetic by the {'RTL' if name == 'rtl' else name}"
    return device
