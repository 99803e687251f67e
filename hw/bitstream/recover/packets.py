"""A `.bit` file of a 7-series device: its packets, taken as the device takes them, give the frames.

Source: AMD UG470 (7 Series FPGAs Configuration), chapter 5: packets, registers, frame addresses, CRC.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import numpy as np
from numpy.typing import NDArray

from fireflow.hw.bitstream.recover.database import Database
from fireflow.hw.errors import InputError

WORDS = 101  # of 32 bits in a frame
ECC_WORD, ECC_BITS = 50, 0x1FFF  # where a frame holds a check sum of itself
_SYNC = bytes.fromhex("aa995566")
CRC, FDRI, CMD, RCRC = 0, 2, 4, 7  # registers, and the command that clears the check sum
_FAR, _IDCODE, _DESYNC = 1, 12, 13


@dataclass(frozen=True)
class Bitstream:
    """What a `.bit` file tells the device.

    Attributes:
        header: its texts by their letter: a the design, b the part, c and d date and time.
        idcode: the device that it is for.
        crc_checks: how many times the device compares its check sum.
        addresses: the address of each frame of `frames`.
        frames: uint32 (frames, 101).
    """

    header: dict[str, str]
    idcode: int
    crc_checks: int
    addresses: tuple[int, ...]
    frames: NDArray[np.uint32]


def read_bitstream(path: Path, database: Database) -> Bitstream:
    """
    Raises:
        InputError: not a `.bit` file, for another device, a wrong check sum, frames missing or too many.
    """
    raw = path.read_bytes()
    start, words = body_words(raw, str(path))
    device = _Device(path, database)
    for _, register, payload in register_writes(words, str(path)):
        device.write(register, payload)
        if device.done:
            return device.finish(_header(raw[:start]))
    raise InputError(f"{path}: a bitstream must end with DESYNC, and does not; build it again")


def body_words(raw: bytes, name: str) -> tuple[int, NDArray[np.uint32]]:
    """Where the words behind the sync word start, and these words. Raises InputError without it."""
    start = raw.find(_SYNC) + len(_SYNC)
    if start < len(_SYNC):
        raise InputError(f"{name}: a bitstream must have the sync word aa995566, and has not; build it again")
    return start, np.frombuffer(raw[start:][: (len(raw) - start) // 4 * 4], ">u4").astype(np.uint32)


def register_writes(words: NDArray[np.uint32], name: str) -> Iterator[tuple[int, int, NDArray[np.uint32]]]:
    """The writes that are whole: where the payload starts, the register, the payload.

    Raises:
        InputError: a word that is no packet.
    """
    position = register = 0
    while position < len(words):
        word = int(words[position])
        position += 1
        kind, opcode = word >> 29, word >> 27 & 3
        if kind == 1:
            register, count = word >> 13 & 0x1F, word & 0x7FF
        elif kind == 2:
            count = word & 0x7FFFFFF
        else:
            raise InputError(
                f"{name}: a packet must be of type 1 or 2, not {word:#010x} (word {position}); build it again"
            )
        if opcode == 2:
            if count and position + count <= len(words):
                yield position, register, words[position : position + count]
            position += count


class _Device:
    """The configuration logic: it follows the writes to its registers."""

    def __init__(self, path: Path, database: Database) -> None:
        self.path = path
        self.database = database
        self.order = database.frame_addresses
        self.position = {address: i for i, address in enumerate(self.order) if address >= 0}
        self.address, self.idcode, self.crc, self.checks, self.done = 0, -1, 0, 0, False
        self.taken: dict[int, NDArray[np.uint32]] = {}

    def write(self, register: int, words: NDArray[np.uint32]) -> None:
        if register == CRC:
            if int(words[-1]) != self.crc:
                raise InputError(
                    f"{self.path}: the check sum must be {self.crc:#010x}, not {int(words[-1]):#010x}; "
                    "build it again"
                )
            self.checks += 1
            self.crc = 0
            return
        if register == CMD and int(words[-1]) == RCRC:
            self.crc = 0
            return
        self.crc = crc(self.crc, register, words)
        if register == _FAR:
            self.address = int(words[-1])
        elif register == _IDCODE:
            self.idcode = int(words[-1])
            if self.idcode & 0x0FFFFFFF != self.database.idcode & 0x0FFFFFFF:
                raise InputError(
                    f"{self.path}: IDCODE must be {self.database.idcode:#010x} ({self.database.part}), "
                    f"not {self.idcode:#010x}; build it for that part"
                )
        elif register == FDRI:
            self._frames(words)
        elif register == CMD and int(words[-1]) == _DESYNC:
            self.done = True

    def _frames(self, words: NDArray[np.uint32]) -> None:
        if self.idcode < 0 or len(words) % WORDS or self.address not in self.position:
            raise InputError(
                f"{self.path}: frames must follow an IDCODE and a frame address, in whole, "
                f"not {len(words)} words at {self.address:#010x}; build it again"
            )
        start = self.position[self.address]
        for i, frame in enumerate(words.reshape(-1, WORDS)):
            # The frame that pads the end of the last row may lie behind the list.
            address = self.order[start + i] if start + i < len(self.order) else -1
            if address >= 0:
                self.taken[address] = frame
            elif frame.any():
                raise InputError(
                    f"{self.path}: a pad frame must be zero, and frame {i} is not; build it again"
                )

    def finish(self, header: dict[str, str]) -> Bitstream:
        missing = len(self.position) - len(self.taken)
        if missing:
            raise InputError(
                f"{self.path}: a bitstream must write all {len(self.position)} frames, and leaves out "
                f"{missing}; build it again"
            )
        addresses = tuple(self.position)
        frames = np.stack([self.taken[address] for address in addresses])
        return Bitstream(header, self.idcode, self.checks, addresses, frames)


def _header(raw: bytes) -> dict[str, str]:
    """The fields in front of the sync word, as far as there are any."""
    result: dict[str, str] = {}
    position = 13  # a length, 9 bytes without meaning, and 00 01
    while position + 3 <= len(raw) and raw[position : position + 1] in (b"a", b"b", b"c", b"d"):
        (length,) = struct.unpack(">H", raw[position + 1 : position + 3])
        text = raw[position + 3 : position + 3 + length]
        result[chr(raw[position])] = text.rstrip(b"\0").decode("latin-1")
        position += 3 + length
    return result


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _crc_table()


def crc(start: int, register: int, words: NDArray[np.uint32]) -> int:
    """The device's check sum after writes to a register: CRC-32C of 32 bits of data, then 5 of address.

    >>> hex(crc(0, 12, np.array([0x03727093], np.uint32)))
    '0xeb3e84aa'
    """
    table, value = _TABLE, start
    last = [0] * 32
    for i in range(32):
        # Five zero-fed steps of the register at once: of the five bits that leave, and of the address.
        bits = i
        for _ in range(5):
            bits = bits >> 1 ^ (0x82F63B78 if bits & 1 else 0)
        last[i] = bits
    for word in words.tolist():
        value ^= word
        value = value >> 8 ^ table[value & 255]
        value = value >> 8 ^ table[value & 255]
        value = value >> 8 ^ table[value & 255]
        value = value >> 8 ^ table[value & 255]
        value = value >> 5 ^ last[(value ^ register) & 31]
    return value
