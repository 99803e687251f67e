"""Block RAMs: two halves of 18 kbit in a tile, that work alone or, with equal addresses, as one of 36 kbit.

The bits do not say which of the two was meant. As one is the general case: what the halves do alone with the same
addresses and enables is what a RAMB36E1 does, whose even bits lie in the lower half and the odd ones in the upper.

Source: AMD UG473 (7 Series Memory Resources), chapter 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from fireflow.hw.bitstream.recover.netlist import Netlist, bus
from fireflow.hw.bitstream.recover.routing import RecoveryError

_OUTPUTS = {"DOADO": 16, "DOBDO": 16, "DOPADOP": 2, "DOPBDOP": 2}
_ADDRESSES = ("ADDRARDADDR", "ADDRBWRADDR")
_CONTROLS = (
    "CLKARDCLK",
    "CLKBWRCLK",
    "ENARDEN",
    "ENBWREN",
    "REGCEAREGCE",
    "REGCEB",
    "RSTRAMARSTRAM",
    "RSTRAMB",
    "RSTREGARSTREG",
    "RSTREGB",
)
_INVERTIBLE = tuple(name for name in _CONTROLS if not name.startswith("REGCE"))
_WIDER = {0: 0, 1: 2, 2: 4, 4: 9, 9: 18, 18: 36, 36: 72}


@dataclass(frozen=True)
class _Half:
    """One half as the bits have it: its modes, the nets at its inputs, and its content.

    Attributes:
        modes: width, register, write mode, inversions, values at start and reset.
        wires: pin -> Verilog of what drives it.
        data: bit i of the memory; parity the same.
    """

    modes: dict[str, int | str]
    wires: dict[str, str]
    data: int
    parity: int


def make_block_ram(netlist: Netlist, tile: str) -> None:
    """Writes both halves of a tile, as one or as two cells."""
    sites = [site for site in netlist.database.tiles[tile].sites if site.startswith("RAMB18_")]
    features = netlist.features[tile]
    used = [f"RAMB18_Y{i}.IN_USE" in features.flags for i in range(2)]
    halves = [_read_half(netlist, tile, i) if used[i] else None for i in range(2)]
    lower, upper = halves
    same = ("WEA", "WEBWE", *_ADDRESSES, *_CONTROLS)
    if (
        lower is not None
        and upper is not None
        and lower.modes == upper.modes
        and all(net == upper.wires[pin] for pin, net in lower.wires.items() if pin.startswith(same))
    ):
        _make_36(netlist, tile, sites, lower, upper)
        return
    if any(flag.startswith("RAMB36.BRAM36_") for flag in features.flags):
        raise RecoveryError(
            f"{tile}: both halves of a RAMB36E1 must have equal modes and addresses, and differ"
        )
    for site, half in zip(sites, halves):
        if half is not None:
            _make_18(netlist, site, half)


def tap_block_ram(netlist: Netlist, site: str, pin: str) -> None:
    """An output of one half."""
    netlist.tap(site, pin, _OUTPUTS)


def _read_half(netlist: Netlist, tile: str, index: int) -> _Half:
    prefix = f"RAMB18_Y{index}."
    features = netlist.features[tile]
    flags = {flag[len(prefix) :] for flag in features.flags if flag.startswith(prefix)}
    values = {key[len(prefix) :]: value for key, value in features.values.items() if key.startswith(prefix)}
    if "FIFO_MODE" in flags or {"RAMB36.EN_ECC_READ", "RAMB36.EN_ECC_WRITE"} & features.flags:
        raise RecoveryError(f"{tile}: a block RAM must be a memory without ECC, not a FIFO or with it")
    modes: dict[str, int | str] = {}
    for side in "AB":
        modes[f"DO{side}_REG"] = int(f"DO{side}_REG" in flags)
        mode = [name for name in ("NO_CHANGE", "READ_FIRST") if f"WRITE_MODE_{side}_{name}" in flags]
        modes[f"WRITE_MODE_{side}"] = f'"{(mode or ["WRITE_FIRST"])[0]}"'
        priority = f"RSTREG_PRIORITY_{side}_REGCE" in flags
        modes[f"RSTREG_PRIORITY_{side}"] = '"REGCE"' if priority else '"RSTREG"'
        for what in ("INIT", "SRVAL"):
            modes[f"{what}_{side}"] = ~values.get(f"Z{what}_{side}", 0) & 0x3FFFF
    modes |= _widths(flags)
    for pin in _INVERTIBLE:
        modes[f"IS_{pin}_INVERTED"] = int(f"ZINV_{pin}" not in flags)
    data = sum(values.get(f"INIT_{i:02X}", 0) << 256 * i for i in range(64))
    parity = sum(values.get(f"INITP_{i:02X}", 0) << 256 * i for i in range(8))
    return _Half(modes, _wires(netlist, tile, index, modes), data, parity)


def _widths(flags: set[str]) -> dict[str, int | str]:
    """READ_WIDTH_A and so on; a port of width 1 and one that is not used have the same bits."""
    result: dict[str, int | str] = {}
    for name in ("READ_WIDTH_A", "READ_WIDTH_B", "WRITE_WIDTH_A", "WRITE_WIDTH_B"):
        found = [width for width in (2, 4, 9, 18) if f"{name}_{width}" in flags]
        result[name] = found[0] if found else 1
    wide_read, wide_write = "SDP_READ_WIDTH_36" in flags, "SDP_WRITE_WIDTH_36" in flags
    if wide_read:
        result |= {"READ_WIDTH_A": 36, "READ_WIDTH_B": 0}
    if wide_write:
        result |= {"WRITE_WIDTH_A": 0, "WRITE_WIDTH_B": 36}
    result["RAM_MODE"] = '"SDP"' if wide_read or wide_write else '"TDP"'
    return result


def _wires(netlist: Netlist, tile: str, index: int, modes: dict[str, int | str]) -> dict[str, str]:
    wires = {"DIADI": 16, "DIBDI": 16, "DIPADIP": 2, "DIPBDIP": 2, "WEA": 4, "WEBWE": 8}
    wires |= dict.fromkeys(_ADDRESSES, 14)
    names = [f"{name}{i}" for name, width in wires.items() for i in range(width)] + list(_CONTROLS)
    start = ("BRAM_FIFO18_", "BRAM_RAMB18_")[index]
    result = {name: netlist.wire(tile, start + name) for name in names}
    for side, register, clock in (("A", "REGCLKARDRCLK", "CLKARDCLK"), ("B", "REGCLKB", "CLKBWRCLK")):
        if modes[f"DO{side}_REG"] and netlist.wire(tile, start + register) != result[clock]:
            raise RecoveryError(f"{tile}.{start}{register}: must have the clock of {clock}, not another")
    return result


def _parameters(
    modes: dict[str, int | str], widths: dict[str, int], ends: dict[str, int], bits: int
) -> dict[str, str]:
    """The parameters of a cell: `ends` are its values of so many bits at start and at reset."""
    result = {name: str(value) for name, value in modes.items() if not name.startswith(("INIT_", "SRVAL_"))}
    result |= {name: str(width) for name, width in widths.items()}
    return result | {name: f"{bits}'h{value:x}" for name, value in ends.items()}


def _images(data: int, parity: int, count: int) -> dict[str, str]:
    mask = (1 << 256) - 1
    result = {}
    for name, value, lines in (("INIT", data, 64 * count), ("INITP", parity, 8 * count)):
        for i in range(lines):
            line = value >> 256 * i & mask
            if line:
                result[f"{name}_{i:02X}"] = f"256'h{line:x}"
    return result


def _make_18(netlist: Netlist, site: str, half: _Half) -> None:
    ends = {name: int(half.modes[name]) for name in ("INIT_A", "INIT_B", "SRVAL_A", "SRVAL_B")}
    parameters = _parameters(half.modes, {}, ends, 18) | _images(half.data, half.parity, 1)
    ports = {name: half.wires[name] for name in _CONTROLS}
    for name, width in {
        "DIADI": 16,
        "DIBDI": 16,
        "DIPADIP": 2,
        "DIPBDIP": 2,
        **dict.fromkeys(_ADDRESSES, 14),
    }.items():
        ports[name] = bus([half.wires[f"{name}{i}"] for i in range(width)])
    for name, width in {"WEA": 2, "WEBWE": 4}.items():
        pairs = [(half.wires[f"{name}{2 * i}"], half.wires[f"{name}{2 * i + 1}"]) for i in range(width)]
        if any(one != other for one, other in pairs):
            raise RecoveryError(
                f"{site}.{name}: both enables of a byte must be the same net, and are not: {pairs}"
            )
        ports[name] = bus([one for one, _ in pairs])
    ports |= netlist.outputs(site, _OUTPUTS)
    netlist.instance("RAMB18E1", f"{site}_cell", parameters, ports)


def _interleave(even: int, odd: int, count: int) -> int:
    """
    >>> bin(_interleave(0b11, 0b00, 2))
    '0b101'
    """
    pairs = zip(f"{odd:0{count}b}", f"{even:0{count}b}")
    return int("".join(one + other for one, other in pairs), 2)


def _make_36(netlist: Netlist, tile: str, sites: list[str], lower: _Half, upper: _Half) -> None:
    flags = netlist.features[tile].flags
    widths = {}
    for name in ("READ_WIDTH_A", "READ_WIDTH_B", "WRITE_WIDTH_A", "WRITE_WIDTH_B"):
        single = f"RAMB36.BRAM36_{name}_1" in flags
        widths[name] = 1 if single else _WIDER[int(lower.modes[name])]
    for side in "AB":
        if f"RAMB36.RAM_EXTENSION_{side}_LOWER" in flags:
            raise RecoveryError(f"{tile}: a block RAM must stand alone, not in a cascade")
    ends = {}
    for name in ("INIT_A", "INIT_B", "SRVAL_A", "SRVAL_B"):
        one, other = int(lower.modes[name]), int(upper.modes[name])
        low = _interleave(one & 0xFFFF, other & 0xFFFF, 16)
        ends[name] = low | _interleave(one >> 16, other >> 16, 2) << 32
    parameters = _parameters(lower.modes, widths, ends, 36)
    data = _interleave(lower.data, upper.data, 1 << 14)
    parameters |= _images(data, _interleave(lower.parity, upper.parity, 1 << 11), 2)
    ports = {name: lower.wires[name] for name in _CONTROLS}
    for name, width in {"DIADI": 16, "DIBDI": 16, "DIPADIP": 2, "DIPBDIP": 2}.items():
        ports[name] = bus([half.wires[f"{name}{i}"] for i in range(width) for half in (lower, upper)])
    for name, width in {"WEA": 4, "WEBWE": 8}.items():
        ports[name] = bus([lower.wires[f"{name}{i}"] for i in range(width)])
    for name in _ADDRESSES:
        first = netlist.wire(tile, f"BRAM_FIFO36_{name}L0")
        bits = [first, *(lower.wires[f"{name}{i}"] for i in range(14))]
        ports[name] = "{1'b1, " + bus(bits) + "}"
    cell = f"{tile}_RAMB36E1"
    both = {name: 2 * width for name, width in _OUTPUTS.items()}
    ports |= netlist.outputs(cell, both)
    netlist.instance("RAMB36E1", f"{cell}_cell", parameters, ports)
    for i, site in enumerate(sites):
        for name, net in netlist.outputs(site, _OUTPUTS).items():
            bits = [f"{cell}_{name}__[{2 * bit + i}]" for bit in range(_OUTPUTS[name])]
            netlist.lines.append(f"  assign {net} = {bus(bits)};")
