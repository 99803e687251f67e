"""Overlay files: bitstreams and their descriptions, under names that carry their hash."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from fireflow.hw.errors import InputError
from fireflow.hw.files import atomic_file, sha256
from fireflow.hw.parts.boards import family_of
from fireflow.hw.parts.description import INPUT_DMA, OUTPUT_DMA, render_hwh

if TYPE_CHECKING:
    from fireflow.host.interface import Interface


def dma_addresses(hwh: Path) -> dict[str, int]:
    """Where a hardware description puts both DMAs.

    Raises:
        InputError: it does not.
    """
    try:
        ranges = ElementTree.parse(str(hwh)).getroot().iter("MEMRANGE")
        found = {str(item.get("INSTANCE")): int(str(item.get("BASEVALUE")), 16) for item in ranges}
        return {name: found[name] for name in (INPUT_DMA, OUTPUT_DMA)}
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # also of an unknown encoding
        raise InputError(f"{hwh}: must place idma0 and odma0 ({error}); build again") from None


def bit_file(name: str, part: str, data: bytes) -> bytes:
    """A .bit file: the header that Xilinx's tools write, then the data, padded to whole words."""
    data += b"\0" * (-len(data) % 4)
    header = b"\x00\x09\x0f\xf0\x0f\xf0\x0f\xf0\x0f\xf0\x00\x00\x01"
    fields = {"a": f"{name};Version=0", "b": part, "c": "2000/01/01", "d": "00:00:00"}
    for key, text in fields.items():
        raw = text.encode("ascii", "replace") + b"\0"
        header += key.encode() + struct.pack(">H", len(raw)) + raw
    return header + b"e" + struct.pack(">I", len(data)) + data


def bit_part(data: bytes) -> str:
    """The part in a .bit file's header.

    Raises:
        ValueError: it has none.
    """
    return _fields(data)[0]["b"].rstrip(b"\0").decode("ascii")


def bit_data(data: bytes) -> bytes:
    """What the device gets of a .bit file: all behind the header.

    Raises:
        ValueError: there is no header, or the file is cut off.
    """
    offset = _fields(data)[1]
    key, length = data[offset : offset + 1], data[offset + 1 : offset + 5]
    content = data[offset + 5 :]
    if key != b"e" or len(length) < 4 or len(content) != struct.unpack(">I", length)[0]:
        raise ValueError("no whole data of a bitstream")
    return content


def _fields(data: bytes) -> tuple[dict[str, bytes], int]:
    """The fields a to d of a .bit file's header, and where they end."""
    fields = {}
    try:
        offset = 2 + struct.unpack_from(">H", data, 0)[0] + 2
        for _ in range(4):
            key = data[offset : offset + 1].decode("ascii")
            (length,) = struct.unpack_from(">H", data, offset + 1)
            fields[key] = data[offset + 3 : offset + 3 + length]
            offset += 3 + length
    except (struct.error, UnicodeDecodeError):
        pass
    if set(fields) != set("abcd"):
        raise ValueError("no header of a bitstream")
    return fields, offset


def virtual_payload(interface: Interface) -> bytes:
    """What stands for a design in a bitstream of the virtual board."""
    text = f"{interface.name} {interface.input} {interface.output} {interface.clock_mhz}"
    return hashlib.sha256(text.encode()).hexdigest().encode()


def place_overlay(interface: Interface) -> Path:
    """Copies bitstream and description to files whose names carry their contents' hash.

    pynq recognizes an overlay by its file name, and PYNQ.remote by the name alone: under the same name, a new
    bitstream would not be sent.

    Returns:
        the .bit file, a .hwh file beside it.

    Raises:
        InputError: the bundle has no bitstream, or a changed one, or one for another family.
    """
    source = interface.bitstream
    if source is None:
        raise InputError(
            f"{interface.name}: must have a bitstream to run on a board, not none; build it, or use --device virtual"
        )
    family = family_of(interface.board)
    if not source.is_file():
        raise InputError(f"{source}: the bitstream must be there; get the bundle again")
    found = sha256(source)
    try:
        part = bit_part(source.read_bytes()[:1024])
    except (OSError, ValueError) as error:
        raise InputError(f"{source}: must be a bitstream ({error}); get the bundle again") from None
    if not part.lower().startswith(family.header_prefixes):
        raise InputError(
            f"{source}: must be a bitstream for a part of {interface.board}, not for {part}; build it again"
        )
    given = source.with_suffix(".hwh")
    text = (
        given.read_bytes()
        if given.is_file()
        else render_hwh(interface.name, interface.clock_mhz, family.system).encode()
    )
    name = f"fireflow-{hashlib.sha256(found.encode() + text).hexdigest()[:16]}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fireflow" / "overlays"
    bit, hwh = cache / f"{name}.bit", cache / f"{name}.hwh"
    if not bit.is_file() or sha256(bit) != found:
        with atomic_file(bit) as temporary:
            shutil.copyfile(str(source), str(temporary))
    if not hwh.is_file() or hwh.read_bytes() != text:
        with atomic_file(hwh) as temporary:
            temporary.write_bytes(text)
    return bit
