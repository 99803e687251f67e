"""The check sums of a bitstream: xc7frames2bit leaves them out, and a device would take a damaged file.

Source: AMD UG470 (7 Series FPGAs Configuration), chapter 5; the places are those of Vivado's bitstreams.
"""

from __future__ import annotations

from fireflow.hw.bitstream.errors import CheckError
from fireflow.hw.bitstream.recover.packets import CMD, CRC, FDRI, RCRC, body_words, crc, register_writes

_WRITE_CRC = 0x30000001  # one word to the register CRC


def with_check_sums(data: bytes) -> bytes:
    """A `.bit` file in which the device compares its check sum, where it was only told to forget it.

    Raises:
        InputError: not a bitstream.
        CheckError: none with a place for a check sum behind its frames.
    """
    start, words = body_words(data, "bitstream")
    result = words.copy()
    value = written = 0
    frames = False
    for position, register, content in register_writes(words, "bitstream"):
        if register == CRC or (register == CMD and int(content[-1]) == RCRC):
            if frames:
                result[position - 1], result[position] = _WRITE_CRC, value
                written += 1
            value = 0
        else:
            value = crc(value, register, content)
            frames |= register == FDRI
    if not written:
        raise CheckError("bitstream: must have a place for a check sum behind its frames, and has none")
    return data[:start] + result.astype(">u4").tobytes() + data[start + 4 * len(words) :]
