"""The check sums of a bitstream: xc7frames2bit leaves them out, and a device would take a damaged file.

Source: AMD UG470 (7 Series FPGAs Configuration), chapter 5; the places are those of Vivado's bitstreams.
"""

from __future__ import annotations

import numpy as np

from hw.bitstream.errors import CheckError
from hw.bitstream.recover.packets import crc

_SYNC = bytes.fromhex("aa995566")
_CRC, _FDRI, _CMD, _RCRC = 0, 2, 4, 7
_WRITE_CRC = 0x30000001  # one word to the register CRC


def with_check_sums(data: bytes) -> bytes:
    """A `.bit` file in which the device compares its check sum, where it was only told to forget it.

    Raises:
        CheckError: not a bitstream, or none with a place for a check sum behind its frames.
    """
    start = data.find(_SYNC) + len(_SYNC)
    body = data[start:]
    if start < len(_SYNC) or len(body) % 4:
        raise CheckError("bitstream: must have the sync word aa995566 and whole words behind it, and has not")
    words = np.frombuffer(body, ">u4").astype(np.uint32)
    position = register = value = written = 0
    frames = False
    while position < len(words):
        word = int(words[position])
        position += 1
        if word >> 29 == 1:
            register, count = word >> 13 & 0x1F, word & 0x7FF
        elif word >> 29 == 2:
            count = word & 0x7FFFFFF
        else:
            raise CheckError(f"bitstream: word {position} must begin a packet, and is {word:#010x}")
        if word >> 27 & 3 != 2 or not count:
            continue
        content = words[position : position + count]
        if register == _CRC or (register == _CMD and int(content[-1]) == _RCRC):
            if frames:
                words[position - 1], words[position] = _WRITE_CRC, value
                written += 1
            value = 0
        else:
            value = crc(value, register, content)
            frames |= register == _FDRI
        position += count
    if not written:
        raise CheckError("bitstream: must have a place for a check sum behind its frames, and has none")
    return data[:start] + words.astype(">u4").tobytes()
