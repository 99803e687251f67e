"""What the driver gets out of our shell's registers, and that it needs none of them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fireflow.host.devices import DeviceError, DeviceTimeout
from fireflow.host.devices.dma import BUS_ERROR, CONTROL, DONE, IDLE, NO_FRAMES, READY, UNALIGNED, Dma
from fireflow.host.devices.faults import Fault
from fireflow.host.driver import Accelerator
from fireflow.host.interface import load
from fireflow.hw.bundle import sources_hash
from fireflow.hw.files import sha256
from fireflow.hw.parts.description import INPUT_DMA, OUTPUT_DMA
from tests.host.boards import accelerator, bundle, graph, interface, open_board
from tests.hw.networks import pictures

IMAGES = pictures(20, (12, 12, 3))
OURS, OTHER = "1" * 64, "2" * 64


@pytest.mark.parametrize(("side", "dma"), [("input", "idma0"), ("output", "odma0")])
def test_a_bus_error_is_reported_at_once(side: str, dma: str) -> None:
    with accelerator(Fault(f"{side} bus error", 5), deadline_s=30) as (device, _board):
        begin = time.monotonic()
        with pytest.raises(DeviceError) as caught:
            device.infer(IMAGES)
        assert time.monotonic() - begin < 5
        assert not isinstance(caught.value, DeviceTimeout)
        assert caught.value.phase == side
        assert caught.match(
            f"{dma}: the memory must answer without error, not end with error 2 at address 0x[0-9a-f]+"
        )
        assert caught.value.registers[dma]["error"] == BUS_ERROR
        device.reset()
        np.testing.assert_array_equal(device.infer(IMAGES), graph().run(IMAGES))


@pytest.mark.parametrize("side", ["input", "output"])
def test_finns_shell_cannot_say_so(side: str) -> None:
    """An IODMA of FINN has no error register: nothing is read there, and the deadline finds what is wrong."""
    device, _board = open_board(accelerator=None)
    with Accelerator(bundle(), device) as opened:
        np.testing.assert_array_equal(opened.infer(IMAGES), graph().run(IMAGES))
    device, _board = open_board(Fault(f"{side} hang", 5), accelerator=None)
    with Accelerator(bundle(), device, deadline_s=0.5) as opened, pytest.raises(DeviceTimeout) as caught:
        opened.infer(IMAGES)
    assert set(caught.value.registers["idma0"]) == {"control", "address_low", "address_high", "frames"}


@pytest.mark.parametrize("told", [OTHER, None, ""])
def test_the_accelerator_is_the_bundles(told: str | None) -> None:
    known = replace(interface(), accelerator=OURS)
    device, board = open_board(accelerator=told or None)
    if told == OTHER:
        with pytest.raises(
            DeviceError, match=r"wrong bitstream: idma0 must tell the bundle's accelerator 1{16}, not 2{16}"
        ):
            Accelerator(bundle(), device, interface=known)
        assert board.memory.allocated == 0
    else:
        with Accelerator(bundle(), device, interface=known) as opened:
            np.testing.assert_array_equal(opened.infer(IMAGES[:1]), graph().run(IMAGES[:1]))


def test_a_reset_looks_at_the_accelerator_again() -> None:
    device, board = open_board(accelerator=OURS)
    with Accelerator(bundle(), device, interface=replace(interface(), accelerator=OURS)) as opened:
        board._accelerator = OTHER
        with pytest.raises(DeviceError, match="wrong bitstream"):
            opened.reset()
        board._accelerator = OURS
        opened.reset()
        np.testing.assert_array_equal(opened.infer(IMAGES[:1]), graph().run(IMAGES[:1]))


def test_the_bundle_knows_its_accelerator(tmp_path: Path) -> None:
    rtl = tmp_path / "rtl"
    (rtl / "fireflow").mkdir(parents=True)
    (rtl / "accelerator.sv").write_text("module accelerator; endmodule\n")
    (rtl / "fireflow" / "weights.dat").write_text("0\n")
    names = ("accelerator.sv", "fireflow/weights.dat")
    bundle().save(tmp_path / "with.fire", rtl)
    known = load(tmp_path / "with.fire")[1].accelerator
    assert known == sources_hash({name: sha256(rtl / name) for name in names})
    (rtl / "fireflow" / "weights.dat").write_text("1\n")
    bundle().save(tmp_path / "other.fire", rtl)
    assert load(tmp_path / "other.fire")[1].accelerator not in ("", known)
    bundle().save(tmp_path / "without.fire")
    assert load(tmp_path / "without.fire")[1].accelerator == ""


def test_refused_transfers() -> None:
    """As the RTL does it: idle at once, with a code and the address."""
    device, board = open_board()
    device.program()
    base = board.memory.allocate(1 << 16)
    for name in (INPUT_DMA, OUTPUT_DMA):
        dma = Dma(name, device.registers(name))
        assert dma.identify() == "0" * 64
        cases = [(base + 1, 1, UNALIGNED), (base, 0, NO_FRAMES), (base, 1 << 30, NO_FRAMES)]
        for address, frames, code in cases:
            dma.start(address, frames)
            assert device.registers(name).read(CONTROL) == DONE | IDLE | READY
            with pytest.raises(
                DeviceError, match=f"{name}: .*not end with error {code} at address 0x{address:x}"
            ):
                dma.ended()
            assert dma.idle()
    board.memory.free(base)
    board.close()
    device.close()


def test_cycles_are_counted() -> None:
    device, board = open_board(interval_s=0.02, latency_s=0.04)
    device.program()
    base = board.memory.allocate(1 << 16)
    dma = Dma(INPUT_DMA, device.registers(INPUT_DMA))
    dma.identify()
    dma.start(base, 2)
    end = time.monotonic() + 10
    while not dma.ended() and time.monotonic() < end:
        time.sleep(0.002)
    cycles = dma.dump()["cycles_low"]
    assert cycles == pytest.approx(2 * 0.02 * board.interface.clock_mhz * 1e6, rel=1e-3)
    board.memory.free(base)
    board.close()
    device.close()
