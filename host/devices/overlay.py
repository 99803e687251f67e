"""Overlay files: the hardware description (.hwh) that pynq parses, bitstreams under names that carry their hash."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Mapping
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from fireflow.host.devices.base import INPUT_DMA, OUTPUT_DMA
from fireflow.hw.clocks import PLL_MHZ, divisors
from fireflow.hw.errors import InputError
from fireflow.hw.files import atomic_file, sha256

if TYPE_CHECKING:
    from fireflow.host.interface import Interface

DMA_RANGE = 1 << 16


@dataclass(frozen=True)
class Family:
    """What differs between Zynq-7000 and Zynq UltraScale+.

    Args:
        name: "zynq" or "zynqmp".
        machine: what the kernel calls the processor.
        ps, vlnv, bus: the processing system in a block design, and its port to the logic.
        enable, divisor, frequency, select: names of a clock's parameters, {0} the clock and {1} the divisor.
        pll: the value of `select`.
        pll_mhz: of the PLL that clocks the logic.
        base: address of the first DMA's registers.
        parts: how the names of its parts begin in the header of a bitstream.
        widths: of ports in bits, by the parameter from which pynq sets them. Those of Zynq-7000 are fixed.
    """

    name: str
    machine: str
    ps: str
    vlnv: str
    bus: str
    enable: str
    divisor: str
    frequency: str
    select: str
    pll: str
    pll_mhz: float
    base: int
    parts: tuple[str, ...]
    widths: tuple[tuple[str, int], ...] = ()


ZYNQ = Family(
    "zynq",
    "armv7l",
    "processing_system7",
    "xilinx.com:ip:processing_system7:5.5",
    "M_AXI_GP0",
    "PCW_FPGA_FCLK{0}_ENABLE",
    "PCW_FCLK{0}_PERIPHERAL_DIVISOR{1}",
    "PCW_ACT_FPGA{0}_PERIPHERAL_FREQMHZ",
    "PCW_FCLK{0}_PERIPHERAL_CLKSRC",
    "IO PLL",
    PLL_MHZ["xc7"],
    0x4000_0000,
    ("7z", "xc7z"),
)
ZYNQMP = Family(
    "zynqmp",
    "aarch64",
    "zynq_ultra_ps_e",
    "xilinx.com:ip:zynq_ultra_ps_e:3.5",
    "M_AXI_HPM0_FPD",
    "PSU__FPGA_PL{0}_ENABLE",
    "PSU__CRL_APB__PL{0}_REF_CTRL__DIVISOR{1}",
    "PSU__CRL_APB__PL{0}_REF_CTRL__ACT_FREQMHZ",
    "PSU__CRL_APB__PL{0}_REF_CTRL__SRCSEL",
    "IOPLL",
    PLL_MHZ["xcup"],
    0xA000_0000,
    ("xczu", "xck"),
    (("C_MAXIGP0_DATA_WIDTH", 128), ("C_SAXIGP2_DATA_WIDTH", 128)),
)
FAMILIES: Mapping[str, Family] = {
    "Pynq-Z1": ZYNQ,
    "Pynq-Z2": ZYNQ,
    "Ultra96": ZYNQMP,
    "KV260": ZYNQMP,
    "ZCU104": ZYNQMP,
}
"""By the name that a PYNQ image gives its board."""


def same_board(one: str, other: str) -> bool:
    """Whether two spellings mean one board: "PYNQ-Z2" is "Pynq-Z2", and "Ultra96-V2" is an "Ultra96".

    >>> same_board("PYNQ-Z2", "pynq_z2"), same_board("KV260", "ZCU104")
    (True, False)
    """
    return _plain(one) == _plain(other)


def _plain(board: str) -> str:
    text = "".join(c for c in board.lower() if c.isalnum())
    return "ultra96" if text.startswith("ultra96") else text


def family_of(board: str) -> Family:
    """Raises InputError for a board that is not known."""
    for name, family in FAMILIES.items():
        if same_board(name, board):
            return family
    raise InputError(f"board: must be one of {', '.join(FAMILIES)}, not {board!r}; build for one of these")


def render_hwh(interface: Interface, family: Family) -> str:
    """The hardware description of a design: the processing system, its clock, and both DMAs."""
    first, second = divisors(family.pll_mhz, interface.clock_mhz)
    parameters = {name: str(bits) for name, bits in family.widths}
    for clock in range(4):
        parameters[family.enable.format(clock)] = str(int(clock == 0))
        parameters[family.select.format(clock)] = family.pll
        pair = (first, second) if clock == 0 else (15, 1)
        for number, value in enumerate(pair):
            parameters[family.divisor.format(clock, number)] = str(value)
        parameters[family.frequency.format(clock)] = f"{family.pll_mhz / (pair[0] * pair[1]):.6f}"
    blocks = [(INPUT_DMA, family.base), (OUTPUT_DMA, family.base + DMA_RANGE)]
    ranges = "".join(
        f'<MEMRANGE ADDRESSBLOCK="Reg" BASEVALUE="0x{base:08X}" HIGHVALUE="0x{base + DMA_RANGE - 1:08X}" '
        f'INSTANCE="{name}" MASTERBUSINTERFACE="{family.bus}" MEMTYPE="REGISTER" '
        'SLAVEBUSINTERFACE="s_axi_control"/>'
        for name, base in blocks
    )
    modules = _module(
        "zynq_ps",
        family.ps,
        family.vlnv,
        parameters,
        _bus(family.bus, "MASTER"),
        f"<MEMORYMAP>{ranges}</MEMORYMAP>",
    )
    for number, (name, _base) in enumerate(blocks):
        kind = f"IODMA_hls_{number}"
        modules += _module(name, kind, f"xilinx.com:hls:{kind}:1.0", {}, _bus("s_axi_control", "SLAVE"), "")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<EDKSYSTEM EDWVERSION="1.2">'
        f"<SYSTEMINFO NAME={quoteattr(interface.name)}/><EXTERNALPORTS/><EXTERNALINTERFACES/>"
        f"<MODULES>{modules}</MODULES></EDKSYSTEM>\n"
    )


def _bus(name: str, kind: str) -> str:
    return f'<BUSINTERFACE NAME="{name}" TYPE="{kind}" VLNV="xilinx.com:interface:aximm:1.0"/>'


def _module(name: str, kind: str, vlnv: str, parameters: Mapping[str, str], bus: str, rest: str) -> str:
    given = "".join(f'<PARAMETER NAME="{key}" VALUE="{value}"/>' for key, value in parameters.items())
    return (
        f'<MODULE FULLNAME="/{name}" INSTANCE="{name}" MODTYPE="{kind}" VLNV="{vlnv}">'
        f"<PARAMETERS>{given}</PARAMETERS><PORTS/><BUSINTERFACES>{bus}</BUSINTERFACES>{rest}</MODULE>\n"
    )


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
    if not part.lower().startswith(family.parts):
        raise InputError(
            f"{source}: must be a bitstream for a part of {interface.board}, not for {part}; build it again"
        )
    given = source.with_suffix(".hwh")
    text = given.read_bytes() if given.is_file() else render_hwh(interface, family).encode()
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
