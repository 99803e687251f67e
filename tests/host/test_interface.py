"""One design of a bundle, however it comes to the driver."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from fireflow.host.devices.virtual import VirtualDevice
from fireflow.host.driver import Accelerator
from fireflow.host.interface import Interface, load
from fireflow.hw.bundle import Bundle
from fireflow.hw.dataflow.build import to_dataflow
from fireflow.hw.dataflow.fifo import fifo_depths
from fireflow.hw.dataflow.hardware import Hardware
from fireflow.hw.dataflow.schedule import Timing
from fireflow.hw.parts import Resources
from tests.host.boards import bundle, graph
from tests.hw.networks import pictures

FOLDING = {"conv1": {"pe": 2, "simd": 3}, "conv2": {"pe": 5, "simd": 2}}
IMAGES = pictures(6, (12, 12, 3))


def built(tmp_path: Path) -> Path:
    """A bundle as `build` leaves it: hardware, sources, a bitstream."""
    depths = fifo_depths(Timing(to_dataflow(graph(), FOLDING), "xc7")).depths
    hardware = Hardware(
        "pynq-z2",
        "xc7z020clg400-1",
        100.0,
        0.8,
        FOLDING,
        depths,
        "conv1",
        (),
        1000,
        3000,
        Resources(1, 1, 1, 1, 1),
    )
    (tmp_path / "rtl").mkdir()
    (tmp_path / "rtl" / "accelerator.sv").write_text("module accelerator; endmodule\n")
    (tmp_path / "a.bit").write_bytes(b"bits")
    path = tmp_path / "built.fire"
    bundle().with_hardware(hardware).save(path, tmp_path / "rtl", {"a.bit": tmp_path / "a.bit"})
    return path


def test_a_bundle_and_its_path_mean_the_same(tmp_path: Path) -> None:
    path = built(tmp_path)
    by_path, loaded = load(path)[1], Bundle.load(path)
    interface = Interface.of_bundle(loaded)
    assert vars(interface) == vars(by_path)
    assert (interface.input.lanes, interface.output.lanes, interface.estimated) == (3, 5, False)
    assert interface.bitstream == path / "a.bit"
    assert len(interface.accelerator) == 64
    for given in (loaded, path, str(path)):
        with Accelerator(given) as device:
            assert vars(device.interface) == vars(by_path)
            np.testing.assert_array_equal(device.infer(IMAGES), graph().run(IMAGES))
    with Accelerator(loaded, VirtualDevice(by_path, graph())) as device:
        np.testing.assert_array_equal(device.infer(IMAGES), graph().run(IMAGES))


def test_what_is_built_anew_is_not_what_the_folder_holds(tmp_path: Path) -> None:
    loaded = Bundle.load(built(tmp_path))
    assert loaded.hardware is not None
    interface = Interface.of_bundle(loaded.with_hardware(loaded.hardware))
    assert (interface.accelerator, interface.bitstream) == ("", None)
    shutil.rmtree(tmp_path / "built.fire")
    loaded.save(tmp_path / "again.fire")
    assert load(tmp_path / "again.fire")[1].output.lanes == 5
