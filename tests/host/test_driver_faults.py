"""Every fault of the virtual board is reported in time, and after a reset the next images are right."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from fireflow.host.devices import DeviceError, DeviceLost, DeviceTimeout
from fireflow.host.devices.faults import FAULTS, OUTCOMES, Fault
from fireflow.host.driver import Accelerator
from fireflow.hw.errors import InputError
from tests.host.boards import accelerator, bundle, graph, open_board
from tests.hw.networks import pictures

IMAGES = pictures(100, (12, 12, 3))
SCORES = graph().run(IMAGES)
AT_LOADING = {kind for kind, outcome in OUTCOMES.items() if outcome.phases == ("open",)}
TABLE = Path(__file__).parents[2] / "docs" / "board.md"


def test_every_fault_has_an_outcome() -> None:
    assert set(OUTCOMES) == set(FAULTS)


def test_the_readme_lists_every_fault_and_its_outcome() -> None:
    listed = [line for line in TABLE.read_text().splitlines() if line.count("|") == 4]
    for kind, what in FAULTS.items():
        assert f"| {kind} | {what} | {OUTCOMES[kind]} |" in listed


@pytest.mark.parametrize("frame", [0, 60])
@pytest.mark.parametrize("kind", sorted(set(OUTCOMES) - AT_LOADING))
def test_reported_and_recovered(kind: str, frame: int) -> None:
    outcome = OUTCOMES[kind]
    with accelerator(Fault(kind, frame), audit=32) as (device, board):
        if kind == "address truncated" and board.memory.base < 1 << 32:
            pytest.skip("Zynq-7000 has no memory above 4 GiB")
        seen = [time.monotonic()]
        with pytest.raises(outcome.error) as caught:
            seen.extend(time.monotonic() for _frame in device.frames(enumerate(IMAGES)))
        assert time.monotonic() - seen[-1] < device.patience_s + 1  # of a busy machine
        assert caught.value.phase in outcome.phases
        assert caught.value.hint
        assert set(caught.value.registers) <= {"idma0", "odma0"}
        with pytest.raises(DeviceError, match=r"not poisoned by: .*; call reset"):
            device.infer(IMAGES[:1])
        device.reset()
        np.testing.assert_array_equal(device.infer(IMAGES), SCORES)
        assert board.frames_total > 100


@pytest.mark.parametrize("kind", sorted(AT_LOADING))
def test_wrong_design(kind: str) -> None:
    device, board = open_board(Fault(kind))
    with pytest.raises(DeviceError, match="the board must hold the bundle's design"):
        Accelerator(bundle(), device)
    assert board.memory.allocated == 0


def test_wrong_design_shows_in_the_first_scores() -> None:
    device, board = open_board(score=lambda images: graph().run(images) ^ 1)
    with pytest.raises(DeviceError, match="the golden image's scores must be the bundle's"):
        Accelerator(bundle(), device)
    assert board.memory.allocated == 0


def test_stream_gives_what_was_right_before_the_fault() -> None:
    results = []
    with accelerator(Fault("compute hang", 60)) as (device, _board), pytest.raises(DeviceTimeout) as caught:
        results.extend(device.stream(IMAGES))
    np.testing.assert_array_equal(np.stack(results), SCORES[:60])
    assert "odma0 control=0x1" in str(caught.value)


def test_buffers_stay_while_the_output_may_still_be_written() -> None:
    def gone() -> None:
        raise DeviceLost("device", "gone", "none")

    fault = Fault("output hang", 2, sticky=True)
    with accelerator(fault, leaks=True) as (device, board):
        with pytest.raises(DeviceTimeout):
            device.infer(IMAGES)
        device.device.program = gone
    assert board.memory.allocated == 8
    assert board.violations == []


def test_reset_fails_while_the_fault_stays() -> None:
    with accelerator(Fault("compute hang", sticky=True)) as (device, board):
        for _ in range(2):
            with pytest.raises(DeviceTimeout):
                device.infer(IMAGES[:1]) if device._live.fault is None else device.reset()
        board.faults.clear()
        device.reset()
        np.testing.assert_array_equal(device.infer(IMAGES), SCORES)


def test_no_room_for_buffers() -> None:
    device, board = open_board(memory_bytes=5 * 4096)
    with pytest.raises(DeviceError, match=r"there must be .*; use fewer slots or frames"):
        Accelerator(bundle(), device, slots=4)
    assert board.memory.allocated == 0


def test_unknown_fault() -> None:
    with pytest.raises(InputError, match="fault: must be one of input ignored"):
        Fault("gremlins")
