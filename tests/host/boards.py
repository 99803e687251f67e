"""Small networks on the virtual board, for the tests of the driver."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fireflow.host.devices.base import Device
from fireflow.host.devices.faults import Fault
from fireflow.host.devices.fpga_model import FpgaModel, Memory
from fireflow.host.devices.virtual import VirtualDevice
from fireflow.host.driver import Accelerator
from fireflow.host.interface import Interface
from fireflow.hw.bundle import Bundle, Manifest
from fireflow.hw.golden import Golden
from fireflow.hw.graph import Graph, Node
from fireflow.hw.ops import Conv, GlobalSum, MaxPool, Threshold
from fireflow.hw.parts.boards import family_of
from fireflow.hw.preprocessing import Preprocessing
from fireflow.hw.simulator import Simulator
from fireflow.hw.types import TensorType
from tests.hw.networks import pictures

LABELS = tuple(f"class {number}" for number in range(5))


@lru_cache
def graph() -> Graph:
    """12x12 pixels, five classes; some scores are negative."""
    random = np.random.default_rng(4)
    thresholds = np.sort(random.integers(-2000, 4000, (6, 15)), axis=1)
    nodes = (
        Node(
            "conv1",
            Conv(random.integers(-7, 8, (6, 3, 3, 3)), (1, 1), (1, 1, 1, 1), weight_bits=4),
            ("image",),
        ),
        Node("conv1.act", Threshold(thresholds), ("conv1",)),
        Node("pool1", MaxPool((2, 2), (2, 2), (0, 0, 0, 0)), ("conv1.act",)),
        Node(
            "conv2",
            Conv(random.integers(-7, 8, (5, 1, 1, 6)), (1, 1), (0, 0, 0, 0), weight_bits=4),
            ("pool1",),
        ),
        Node("scores", GlobalSum(), ("conv2",)),
    )
    return Graph("small", "image", TensorType((12, 12, 3), 0, 255), nodes, 0.25)


@lru_cache
def bundle() -> Bundle:
    images = pictures(3, (12, 12, 3), seed=9)
    manifest = Manifest(Preprocessing(size=12, resize=14), LABELS)
    return Bundle(graph(), manifest, Golden.record(graph(), images))


def interface() -> Interface:
    return Interface.of(graph())


def open_board(*faults: Fault, **options: Any) -> tuple[Device, FpgaModel]:
    """The device that the tests run on, and the model under it.

    The variable FIREFLOW_TEST_BOARD places the same model under the `pynq` package, as a board of this name.
    """
    name = os.environ.get("FIREFLOW_TEST_BOARD")
    options = {"interval_s": 0.0, "latency_s": 0.0, **options}
    if not name:
        device = VirtualDevice(interface(), graph(), faults=faults, **options)
        return device, device.fpga
    from fireflow.host.devices.machine import Machine, virtual_bitstream
    from fireflow.host.devices.pynq import PynqDevice

    remote, _, name = name.rpartition(":")
    family = family_of(name)
    bitstream = Path(os.environ["XDG_CACHE_HOME"]) / f"small-{name}.bit"
    bitstream.write_bytes(virtual_bitstream(interface(), family.header_prefixes[0] + "020"))
    built = replace(interface(), board=name, bitstream=bitstream)
    base = 0x10000000 if family.name == "xc7" else 0x8_0000_0000
    memory = Memory(base, options.pop("memory_bytes", 1 << 28))
    fpga = FpgaModel(built, options.pop("score", Simulator(graph()).run), memory, faults=faults, **options)
    machine = Machine(fpga, family, name)
    if remote:
        from fireflow.host.devices.pynq import remote_device
        from fireflow.host.devices.pynq_server import Server

        fpga.server = Server(machine)
        board = remote_device(f"127.0.0.1:{fpga.server.port}")
    else:
        from fireflow.host.devices.pynq_virtual import make_board

        board = make_board(machine)
    return PynqDevice(built, board), fpga


@contextmanager
def accelerator(
    *faults: Fault, interval_s: float = 0.0, latency_s: float = 0.0, leaks: bool = False, **options: Any
) -> Iterator[tuple[Accelerator, FpgaModel]]:
    """An open accelerator and its board; afterwards no buffer may be left and no rule broken."""
    device, fpga = open_board(*faults, interval_s=interval_s, latency_s=latency_s)
    options = {"deadline_s": 0.5 if faults else 10, "check": False, **options}
    try:
        with Accelerator(bundle(), device, **options) as opened:
            yield opened, fpga
    finally:
        if hasattr(fpga, "server"):
            fpga.server.stop()
    assert leaks or fpga.memory.allocated == 0
    assert leaks or [text for text in fpga.violations if "buffer was" in text] == []
