"""From the bits of a device to Verilog: on a device of five tiles, and on bitstreams that the open tools made."""

from __future__ import annotations

import doctest
import struct
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fireflow.hw.bitstream.recover import (
    Database,
    RecoveryError,
    block_ram,
    features,
    netlist,
    packets,
    recover,
    recover_features,
)
from fireflow.hw.bitstream.recover import database as database_module
from fireflow.hw.bitstream.recover.features import features_of_fasm
from fireflow.hw.bitstream.recover.packets import WORDS, crc, read_bitstream
from fireflow.hw.errors import InputError
from tests.hw.bitstream.lockstep import outputs
from tests.hw.bitstream.recover_cases import CASES, CORE, LOGIC, routes, settings
from tests.hw.bitstream.tiny_device import IDCODE, PART, write_device


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    return Database(write_device(tmp_path_factory.mktemp("device")), PART)


@pytest.mark.parametrize("case", CASES)
def test_sites_work_as_their_features_say(case: str, database: Database, tmp_path: Path) -> None:
    fasm, core, changing = CASES[case]
    verilog, _ = recover_features(features_of_fasm(fasm), database)
    one, other = outputs(tmp_path, CORE % core, verilog, (16, 16), 2000)
    assert_array_equal(other, one)
    # Each output moves, but for those that are constant.
    moving = np.bitwise_or.reduce(one ^ one[0], axis=0)
    assert moving.view("<u2") == changing


@pytest.mark.parametrize("module", [block_ram, database_module, features, netlist, packets])
def test_examples_in_the_docs_are_right(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_counts_what_it_finds(database: Database) -> None:
    assert recover_features(features_of_fasm(LOGIC), database)[1] == {
        "FDCE": 1,
        "FDRE": 1,
        "FDSE": 3,
        "LUT5": 4,
        "LUT6": 8,
        "MUXCY": 4,
        "MUXF7": 2,
        "MUXF8": 1,
    }


def test_what_bits_of_zero_mean(database: Database) -> None:
    """A carry chain starts with 0, a table gives 0, and a switch whose bits are all 0 is on."""
    verilog, _ = recover_features(
        features_of_fasm(routes("PS7_EMIOGPIOI0=M_AMUX") + settings("SLICEM_X0", "AOUTMUX.CY")), database
    )
    assert "assign SLICE_X0Y0_A_CY = SLICE_X0Y0_AO6 ? 1'b0 : PS7_X0Y0_EMIOGPIOO1;" in verilog
    assert "assign SLICE_X0Y0_AO6 = 1'b0;" in verilog


@pytest.mark.parametrize(
    ("fasm", "message"),
    [
        (
            routes("PS7_EMIOGPIOI0=M_A PS7_EMIOGPIOI0=M_B"),
            "a wire must have one driver, not INT_L_X1Y0.FROM_M_A",
        ),
        (
            routes("PS7_EMIOGPIOI0=M_AMUX"),
            "SLICE_X0Y0.AOUTMUX: a multiplexer that matters must have one input",
        ),
        (
            routes("PS7_EMIOGPIOI0=M_AQ") + settings("SLICEM_X0", "AFFMUX.AX"),
            "SLICE_X0Y0.CLK: a pin that matters must be driven, not left open",
        ),
        (
            routes("PS7_EMIOGPIOI0=M_AQ") + settings("SLICEM_X0", "LATCH"),
            "SLICE_X0Y0.AFF: must be a flip-flop, not a latch",
        ),
        (
            routes("PS7_EMIOGPIOI0=M_A M_CLK=PS7_FCLKCLK0") + settings("SLICEM_X0", "ALUT.RAM"),
            "SLICE_X0Y0.ALUT: its data must come from a memory beside it, and none is there",
        ),
    ],
    ids=["two drivers", "no input", "no clock", "latch", "no data"],
)
def test_what_cannot_work_is_named(fasm: str, message: str, database: Database) -> None:
    with pytest.raises(RecoveryError, match=message.replace(".", r"\.")):
        recover_features(features_of_fasm(fasm), database)


def write(register: int, *words: int) -> list[int]:
    return [0x30000000 | register << 13 | len(words), *words]


def bit_file(path: Path, frames: np.ndarray, *, idcode: int = IDCODE, wrong: int = 0) -> Path:
    """A bitstream of these frames, pads included: (frames, 101) uint32; `wrong` spoils its check sum."""
    data = frames.reshape(-1).tolist()
    value = 0
    parts = ((12, [idcode]), (1, [0]), (4, [1]), (2, data))
    for register, words in parts:
        value = crc(value, register, np.array(words, np.uint32))
    packets = [
        *write(4, 7),
        *write(12, idcode),
        *write(1, 0),
        *write(4, 1),
        0x30004000,
        0x50000000 | len(data),
    ]
    packets += [*data, *write(0, value ^ wrong), *write(4, 13), 0x20000000]
    head = b"\0\x09" + bytes(9) + b"\0\x01" + b"b" + struct.pack(">H", len(PART) + 1) + PART.encode() + b"\0"
    path.write_bytes(head + b"\xff" * 8 + bytes.fromhex("aa995566") + np.array(packets, ">u4").tobytes())
    return path


def empty_frames(database: Database) -> np.ndarray:
    return np.zeros((len(database.frame_addresses), WORDS), np.uint32)


def test_bits_become_a_netlist(database: Database, tmp_path: Path) -> None:
    """A table that is A1 in its lower half, and given out by the upper: its inputs 2 to 6 are 1."""
    frames = empty_frames(database)
    frames[0, 0], frames[1, 0] = 0x12345678, 0xAAAAAAAA
    frames[2, 0] = 0b011  # AOUTMUX.O6
    frames[3, 0] = 0b111 << 5  # both switches
    frames[0, 50] = 5  # a check sum of the frame, which is no feature
    found = recover(bit_file(tmp_path / "one.bit", frames), database)
    assert found.cells == {"LUT6": 1}
    assert found.unexplained == ()
    assert "assign SLICE_X0Y0_AO6 = PS7_X0Y0_EMIOGPIOO0;" in found.verilog
    frames[1, 1] = 1 << 9
    assert recover(bit_file(tmp_path / "more.bit", frames), database).unexplained == ("00000001_1_9",)


def test_header_and_check_sum_are_read(database: Database, tmp_path: Path) -> None:
    found = read_bitstream(bit_file(tmp_path / "x.bit", empty_frames(database)), database)
    assert (found.header, found.idcode, found.crc_checks) == ({"b": PART}, IDCODE, 1)
    assert len(found.addresses) == 12
    assert all(one < other for one, other in pairwise(found.addresses))


def test_a_wrong_bitstream_is_refused(database: Database, tmp_path: Path) -> None:
    frames = empty_frames(database)
    path = tmp_path / "x.bit"
    for arguments, message in (
        ({"idcode": 0x03722093}, "IDCODE must be 0x03727093 .* not 0x03722093"),
        ({"wrong": 1}, "the check sum must be"),
    ):
        with pytest.raises(InputError, match=message):
            read_bitstream(bit_file(path, frames, **arguments), database)
    with pytest.raises(InputError, match="must write all 12 frames, and leaves out 6"):
        read_bitstream(bit_file(path, frames[:8]), database)
    pad = database.frame_addresses.index(-1)
    frames[pad, 3] = 1
    with pytest.raises(InputError, match=f"a pad frame must be zero, and frame {pad} is not"):
        read_bitstream(bit_file(path, frames), database)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="must end with DESYNC"):
        read_bitstream(path, database)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="must have the sync word"):
        read_bitstream(path, database)


def test_a_folder_without_the_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must have xc7z020clg400-1/part\.json, and has not"):
        Database(tmp_path, PART)
