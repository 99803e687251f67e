"""What only a board under pynq has: overlay files, clocks, caches. Runs where pynq is installed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fireflow.host.devices import DeviceError
from fireflow.host.devices.machine import MAGIC
from fireflow.host.devices.overlay import (
    bit_data,
    bit_file,
    bit_part,
    dma_addresses,
    virtual_payload,
)
from fireflow.hw.errors import InputError
from fireflow.hw.parts.boards import family_of
from tests.host.boards import accelerator, graph, interface, open_board
from tests.hw.networks import pictures

BOARD = os.environ.get("FIREFLOW_TEST_BOARD", "").rpartition(":")[2]
pytestmark = pytest.mark.skipif(not BOARD, reason="no pynq here: test_pynq_versions runs this")
IMAGES = pictures(5, (12, 12, 3))


def test_clocks_are_set() -> None:
    with accelerator() as (device, _board):
        clocks = device.device.clocks()
        pll = family_of(BOARD).system.clock.pll_mhz
        assert clocks.asked_mhz == 200
        assert clocks.actual_mhz == pytest.approx(pll / {1000: 5, 1500: 8}[pll], rel=1e-3)


def test_a_changed_bitstream_is_another_overlay() -> None:
    names = set()
    for text in (b"one", b"two"):
        device, board = open_board()
        source = device._interface.bitstream
        source.write_bytes(source.read_bytes()[:-8] + text.ljust(8))
        from fireflow.host.devices.overlay import place_overlay

        names.add(place_overlay(device._interface).name)
        board.close()
    assert len(names) == 2
    assert all(name.startswith("fireflow-") for name in names)


def test_bits_of_the_open_tools_are_loaded() -> None:
    """A real bitstream and its description, through pynq: programming, addresses, clock, scores."""
    path = os.environ.get("FIREFLOW_TEST_BUNDLE")
    if not path:
        pytest.skip("no bundle with a real bitstream was given")
    from fireflow.host.devices.fpga_model import FpgaModel, Memory
    from fireflow.host.devices.machine import Machine
    from fireflow.host.devices.pynq import PynqDevice
    from fireflow.host.devices.pynq_virtual import make_board
    from fireflow.host.driver import Accelerator
    from fireflow.host.interface import load
    from fireflow.hw.simulator import Simulator

    bundle, built = load(Path(path))
    assert built.bitstream is not None
    memory = Memory(0x10000000, 1 << 26)
    fpga = FpgaModel(built, Simulator(bundle.graph).run, memory, interval_s=0.0, latency_s=0.0)
    machine = Machine(fpga, family_of(built.board), built.board)
    device = PynqDevice(built, make_board(machine))
    with Accelerator(bundle, device, deadline_s=10, interface=built) as accelerator:
        checked = accelerator.selftest()
        assert checked.images == len(bundle.golden.images)
        assert checked.passed
        assert accelerator.device.overlay_file.read_bytes() == built.bitstream.read_bytes()
        assert dma_addresses(accelerator.device.overlay_file.with_suffix(".hwh")) == {
            "idma0": 0x40000000,
            "odma0": 0x40010000,
        }
        assert accelerator.device.clocks().actual_mhz == pytest.approx(built.clock_mhz, rel=1e-3)
    bits = bit_data(built.bitstream.read_bytes())
    for wrong in (bits[:-1] + bytes([bits[-1] ^ 1]), bits[:-4]):
        words = np.frombuffer(wrong, "<i4").byteswap().tobytes() if len(wrong) % 4 == 0 else wrong
        with pytest.raises(DeviceError, match="the board must hold the bundle's design"):
            machine.configure(words)


def test_a_changed_description_is_read() -> None:
    """The same bitstream with another clock: pynq's cache knows the bitstream, and would give the old clock."""
    first, board = open_board()
    first.program()
    source = first._interface.bitstream
    changed = replace(first._interface, clock_mhz=100.0)
    from fireflow.host.devices.pynq import PynqDevice

    try:
        again = PynqDevice(changed, first._board)
        assert again.overlay_file.read_bytes() == first.overlay_file.read_bytes()
        again.program()
        assert again.clocks().actual_mhz == pytest.approx(100, rel=1e-3)
        again.overlay_file.unlink()  # pynq remembers the last bitstream, and wants to read it again
        first.program()
        assert first.clocks().actual_mhz > 180
    finally:
        source.with_suffix(".hwh").unlink(missing_ok=True)
        if hasattr(board, "server"):
            board.server.stop()
        board.close()


def test_corrupted_bitstream() -> None:
    device, _board = open_board()
    source = device._interface.bitstream
    whole = source.read_bytes()
    device.overlay_file.write_bytes(whole[:-3])
    with pytest.raises(DeviceError, match=r"must load on .*, not fail with"):
        device.program()
    source.write_bytes(whole)


def test_bitstream_of_another_board() -> None:
    device, _board = open_board()
    from fireflow.host.devices.pynq import PynqDevice

    other = "KV260" if family_of(BOARD).name == "xc7" else "Pynq-Z1"
    with pytest.raises(InputError, match="must be a bitstream for a part of"):
        PynqDevice(replace(device._interface, board=other), device._board)
    neighbour = {"Pynq-Z1": "Pynq-Z2", "Pynq-Z2": "Pynq-Z1", "KV260": "ZCU104", "ZCU104": "KV260"}[BOARD]
    with pytest.raises(InputError, match=f"must be built for this board, {BOARD}, not for {neighbour}"):
        PynqDevice(replace(device._interface, board=neighbour), device._board)
    with pytest.raises(InputError, match="the bitstream must be there"):
        PynqDevice(replace(device._interface, bitstream=Path("missing.bit")), device._board)
    with pytest.raises(InputError, match=r"must have a bitstream .*; build it, or use --device virtual"):
        PynqDevice(interface())


def test_not_on_a_board(monkeypatch: pytest.MonkeyPatch) -> None:
    from fireflow.host.devices.pynq import PynqDevice

    device, _board = open_board()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(DeviceError, match="must run as root, not as user 1000; use sudo -E"):
        PynqDevice(device._interface)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("XILINX_XRT", raising=False)
    with pytest.raises(DeviceError, match="XILINX_XRT must be set"):
        PynqDevice(device._interface)


def test_large_buffers_are_refused() -> None:
    device, _board = open_board()
    with pytest.raises(DeviceError, match="below 2 GiB"):
        device.allocate(1 << 31)


def test_notebook_example(tmp_path: Path) -> None:
    """pynq's own classes see the design as they see any other."""
    with accelerator() as (device, _board):
        overlay = device.device._overlay
        assert {"idma0", "odma0"} <= set(overlay.ip_dict)
        assert overlay.is_loaded()
        assert overlay.idma0.read(0) == 4
        np.testing.assert_array_equal(device.infer(IMAGES), graph().run(IMAGES))


def test_selftest_of_pynq(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """pynq's own test of a PYNQ.remote board. It wants a GPIO in the design."""
    runner = pytest.importorskip("pynq.remote.selftest.runner")
    device, board = open_board()
    if not hasattr(board, "server"):
        pytest.skip("the board is not remote")
    bit = tmp_path / "gpio.bit"
    system = family_of(BOARD).system
    address = system.control_base + 0x20000
    memory = f"""<MEMRANGE ADDRESSBLOCK="Reg" BASEVALUE="0x{address:X}" HIGHVALUE="0x{address + 0xFFFF:X}"
        INSTANCE="leds" MASTERBUSINTERFACE="{system.master[0]}" MEMTYPE="REGISTER" SLAVEBUSINTERFACE="S_AXI"/>"""
    module = """<MODULE FULLNAME="/leds" INSTANCE="leds" MODTYPE="axi_gpio" VLNV="xilinx.com:ip:axi_gpio:2.0">
        <PARAMETERS/><PORTS/><BUSINTERFACES>
        <BUSINTERFACE NAME="S_AXI" TYPE="SLAVE" VLNV="xilinx.com:interface:aximm:1.0"/></BUSINTERFACES></MODULE>"""
    text = device.overlay_file.with_suffix(".hwh").read_text()
    text = text.replace("</MEMORYMAP>", memory + "</MEMORYMAP>").replace("</MODULES>", module + "</MODULES>")
    bit.with_suffix(".hwh").write_text(text)
    # pynq takes the description of the last bitstream it loaded, in this process or an earlier one, from its cache,
    # and knows a bitstream by its contents alone: this one must not be the driver's.
    digest = hashlib.sha256(text.encode()).hexdigest()
    part = bit_part(device.overlay_file.read_bytes())
    bit.write_bytes(bit_file(f"gpio-{digest}", part, MAGIC + virtual_payload(device._interface)))
    from pynq import Clocks

    if "_real_instance" in vars(Clocks):  # pynq's clocks stay with the first device of a process
        del Clocks._real_instance
    Clocks.set_device(None)
    status = runner.main(["--ip", "127.0.0.1", "--port", str(board.server.port), "--bitstream", str(bit)])
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert "leds@" in printed


def test_driver_of_finn_plus() -> None:
    """An independent driver finds the virtual board as it finds a real one."""
    pytest.importorskip("finn_plus_driver", reason="finn-plus-driver wants Python 3.10 and NumPy 1.21")
    from fireflow.host.bench.under_pynq import finn_overlay

    device, board = open_board()
    if hasattr(board, "server"):
        pytest.skip("finn-plus-driver computes on pynq's buffers, which raises on remote ones")
    device.program()  # pynq may remember a bitstream that is gone: our driver sees to that
    driver = finn_overlay(device.overlay_file, board.interface, device._board, 5)
    np.testing.assert_array_equal(driver.execute(IMAGES), graph().run(IMAGES))
    board.close()
