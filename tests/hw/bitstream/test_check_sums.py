"""Check sums where xc7frames2bit leaves them out: right for the device, and where Vivado has them."""

from __future__ import annotations

import numpy as np
import pytest

from fireflow.hw.bitstream.check_sums import with_check_sums
from fireflow.hw.bitstream.errors import CheckError
from fireflow.hw.bitstream.recover.packets import crc
from fireflow.hw.errors import InputError

SYNC, NOTHING = 0xAA995566, 0x20000000
CMD, FDRI, IDCODE = 4, 2, 12
RCRC, DESYNC = 7, 13


def write(register: int, *words: int) -> list[int]:
    return [0x30000000 | register << 13 | len(words), *words]


def data(*words: int) -> bytes:
    return b"header" + np.array([0xFFFFFFFF, SYNC, *words], ">u4").tobytes()


FRAMES = [*write(FDRI), 0x50000003, 1, 2, 0xDEADBEEF]  # the length in a second packet
START = [NOTHING, *write(CMD, RCRC), *write(IDCODE, 0x03727093)]


def test_the_later_resets_become_check_sums() -> None:
    made = with_check_sums(
        data(*START, *FRAMES, *write(CMD, RCRC), *write(CMD, 5), *write(CMD, RCRC), *write(CMD, DESYNC))
    )
    first = crc(
        crc(0, IDCODE, np.array([0x03727093], np.uint32)), FDRI, np.array([1, 2, 0xDEADBEEF], np.uint32)
    )
    second = crc(0, CMD, np.array([5], np.uint32))
    assert made == data(
        *START, *FRAMES, *write(0, first), *write(CMD, 5), *write(0, second), *write(CMD, DESYNC)
    )
    assert with_check_sums(made) == made


def test_what_is_no_bitstream() -> None:
    with pytest.raises(CheckError, match="must have a place for a check sum behind its frames, and has none"):
        with_check_sums(data(*START))
    with pytest.raises(InputError, match=r"must be of type 1 or 2, not 0x70000000 \(word 1\)"):
        with_check_sums(data(0x70000000))
    with pytest.raises(InputError, match="must have the sync word aa995566"):
        with_check_sums(b"something else")
