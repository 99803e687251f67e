"""Changes of input files that keep what a reader checks first: containers stay containers, sums stay right.

A changed byte in a zip file or a PNG ends at its check sum, and everything behind that is never tried. So a container
is taken apart, one part of it is changed, and it is put together again with sums that fit.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

Mutate = Callable[[bytes, random.Random], bytes]
"""Changed bytes of some bytes; the generator decides how."""

_ODD_NUMBERS = (
    0,
    1,
    -1,
    255,
    256,
    300,
    1 << 15,
    1 << 31,
    (1 << 31) - 1,
    1 << 63,
    -(1 << 63),
    1 << 64,
    10**30,
)
ODD: tuple[Any, ...] = (
    *_ODD_NUMBERS,
    *(0.5, -0.0, float("nan"), float("inf"), 1e308, 5e-324),
    *(
        None,
        True,
        False,
        "",
        "abc",
        "\0",
        "\ud800",
        "../x",
        "a\nb",
        "x" * 5000,
        [],
        {},
        [[]],
        [None],
        {"": None},
    ),
)
"""Values of JSON that a field may hold and its reader may not expect."""


def raw(data: bytes, draw: random.Random) -> bytes:
    """A few bytes changed, cut, doubled or put in."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4))):
        place, kind = draw.randint(0, len(changed)), draw.randrange(6)
        if kind == 0 and changed:
            changed[place % len(changed)] ^= 1 << draw.randrange(8)
        elif kind == 1 and changed:
            changed[place % len(changed)] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
        elif kind == 2:
            del changed[place : place + draw.choice((1, 2, 4, 16, len(changed)))]
        elif kind == 3:
            changed[place:place] = bytes(draw.randrange(256) for _ in range(draw.choice((1, 2, 4, 8))))
        elif kind == 4:
            changed[place:place] = changed[place : place + draw.choice((1, 4, 16, 64))]
        else:
            size = draw.choice((1, 2, 4, 8))
            number = draw.choice(_ODD_NUMBERS) & ((1 << 8 * size) - 1)
            changed[place : place + size] = number.to_bytes(size, draw.choice(("little", "big")))
    return bytes(changed)


def json_value(data: bytes, draw: random.Random) -> bytes:
    """One value of a JSON document changed, left out or doubled."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return raw(data, draw)
    places = list(_places(document))
    if not places or draw.random() < 0.1:
        return raw(data, draw)
    parent, key = draw.choice(places)
    kind = draw.randrange(8)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, list):
        parent.insert(key, parent[key])
    elif kind == 2 and isinstance(parent, dict):
        parent[str(draw.choice(ODD))] = parent[key]
    elif kind == 3:
        other, place = draw.choice(places)
        parent[key] = copy.deepcopy(other[place])
    elif kind == 4 and isinstance(parent[key], (int, float)) and not isinstance(parent[key], bool):
        parent[key] += draw.choice((-1, 1, 0.5, 1 << 20))
    else:
        parent[key] = draw.choice(ODD)
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _places(document: Any) -> Any:
    """(container, key) of every value in a document."""
    pending = [document]
    while pending:
        part = pending.pop()
        keys = list(part) if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else []
        for key in keys:
            yield part, key
            pending.append(part[key])


def member(inner: Mutate = raw) -> Mutate:
    """One member of a zip file changed, renamed, left out or doubled."""

    def mutate(data: bytes, draw: random.Random) -> bytes:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = [(item.filename, archive.read(item)) for item in archive.infolist()]
        except Exception:  # what an earlier change left is no zip file, or one that cannot be unpacked
            return raw(data, draw)
        if not members or draw.random() < 0.1:
            return raw(data, draw)
        place, kind = draw.randrange(len(members)), draw.randrange(10)
        name, content = members[place]
        if kind == 0:
            del members[place]
        elif kind == 1:
            members.append((draw.choice(("../x", "/x", "a\\b", "", "a[/b].png", name)), content))
        elif kind == 2:
            members[place] = (raw(name.encode(), draw).decode("utf-8", "replace"), content)
        else:
            members[place] = (name, inner(content, draw))
        buffer = io.BytesIO()
        method = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name, content in members:
                with archive.open(zipfile.ZipInfo(name[:200] or "x"), "w") as file:
                    file.write(content)
        return buffer.getvalue()

    return mutate


def png(data: bytes, draw: random.Random) -> bytes:
    """One chunk of a PNG changed, doubled or left out; its check sum fits again."""
    head, chunks, rest = data[:8], [], data[8:]
    while len(rest) >= 12:
        size = struct.unpack(">I", rest[:4])[0]
        chunks.append((rest[4:8], rest[8 : 8 + size]))
        rest = rest[12 + size :]
    if not chunks or draw.random() < 0.1:
        return raw(data, draw)
    place, kind = draw.randrange(len(chunks)), draw.randrange(6)
    name, content = chunks[place]
    if kind == 0:
        del chunks[place]
    elif kind == 1:
        chunks.insert(place, (name, content))
    elif kind == 2 and name == b"IDAT":
        try:
            packed = zlib.compress(raw(zlib.decompress(content), draw))
        except zlib.error:
            packed = raw(content, draw)
        chunks[place] = (name, packed)
    else:
        chunks[place] = (name, raw(content, draw))
    packed = b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )
    return head + packed


def arrays(data: bytes, draw: random.Random) -> bytes:
    """The header or a block of our own array files changed; the hashes fit again."""
    start = 8 + 36
    size = int.from_bytes(data[8:12], "little")
    header, blocks = data[start : start + size], data[start + size :]
    if len(header) != size or draw.random() < 0.1:
        return raw(data, draw)
    if draw.random() < 0.7:
        header = json_value(header, draw)
    else:
        blocks = raw(blocks, draw)
    try:
        document = json.loads(header)
        offset = 0
        for entry in document["arrays"]:
            block = blocks[offset : offset + int(entry["size_bytes"])]
            entry["sha256"], offset = hashlib.sha256(block).hexdigest(), offset + len(block)
        header = json.dumps(document).encode("utf-8", "surrogatepass")
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        pass  # no document any more: it is tried as it is
    return data[:8] + len(header).to_bytes(4, "little") + hashlib.sha256(header).digest() + header + blocks
