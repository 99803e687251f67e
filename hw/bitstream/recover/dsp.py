"""DSP48E1: the registers, modes and tie-offs that the bits choose.

Source: AMD UG479 (7 Series DSP48E1 Slice), tables 2-1 to 2-3.
"""

from __future__ import annotations

from fireflow.hw.bitstream.recover.netlist import Netlist, bus
from fireflow.hw.bitstream.recover.routing import RecoveryError

INPUTS = {
    "A": 30,
    "B": 18,
    "C": 48,
    "D": 25,
    "ALUMODE": 4,
    "INMODE": 5,
    "OPMODE": 7,
    "CARRYINSEL": 3,
    **dict.fromkeys(
        [
            "CARRYIN",
            "CEA1",
            "CEA2",
            "CEAD",
            "CEALUMODE",
            "CEB1",
            "CEB2",
            "CEC",
            "CECARRYIN",
            "CECTRL",
            "CED",
            "CEINMODE",
            "CEM",
            "CEP",
            "CLK",
            "RSTA",
            "RSTALLCARRYIN",
            "RSTALUMODE",
            "RSTB",
            "RSTC",
            "RSTCTRL",
            "RSTD",
            "RSTINMODE",
            "RSTM",
            "RSTP",
        ],
        1,
    ),
}
_CASCADES = {"ACIN": 30, "BCIN": 18, "PCIN": 48, "CARRYCASCIN": 1, "MULTSIGNIN": 1}
_OUTPUTS = {
    "P": 48,
    "ACOUT": 30,
    "BCOUT": 18,
    "PCOUT": 48,
    "CARRYOUT": 4,
    "CARRYCASCOUT": 1,
    "MULTSIGNOUT": 1,
}
INVERTIBLE = {"ALUMODE": 4, "INMODE": 5, "OPMODE": 7, "CARRYIN": 1, "CLK": 1}
# The bits say where a register is left out; those of A and B, which can be two, are not among these.
REGISTERS = [
    "ADREG",
    "ALUMODEREG",
    "CARRYINREG",
    "CARRYINSELREG",
    "CREG",
    "DREG",
    "INMODEREG",
    "MREG",
    "OPMODEREG",
    "PREG",
]


def make_dsp(netlist: Netlist, site: str) -> None:
    """Writes a DSP48E1."""
    parameters = dsp_modes(netlist, site)
    ports = {port: bus([netlist.pin(site, pin) for pin in pins]) for port, pins in pins_of(INPUTS)}
    for port, pins in pins_of(_CASCADES):
        sources = [netlist.source(site, pin) for pin in pins]
        below = sources[0].site
        # These wires are fixed: below may be a DSP48E1 that is not in use, or none.
        if below and any(_settings(netlist, below)):
            ports[port] = bus([netlist.drive(source, site) for source in sources])
        elif parameters.get(f"{port[0]}_INPUT"):
            raise RecoveryError(f"{site}.{port}: this input is chosen, and no DSP48E1 in use lies below")
        else:
            ports[port] = f"{len(pins)}'d0"
    ports |= netlist.outputs(site, _OUTPUTS)
    netlist.instance("DSP48E1", f"{site}_cell", parameters, ports)


def dsp_modes(netlist: Netlist, site: str) -> dict[str, str]:
    """The parameters that the bits of a DSP48E1 mean, as Verilog; those with their default may be left out."""
    return _parameters(site, *_settings(netlist, site))


def pins_of(widths: dict[str, int]) -> list[tuple[str, list[str]]]:
    """The pins of ports: ("D", ["D0", "D1", ...])."""
    return [
        (port, [port] if width == 1 else [f"{port}{i}" for i in range(width)])
        for port, width in widths.items()
    ]


def _settings(netlist: Netlist, site: str) -> tuple[set[str], dict[str, int]]:
    """The features of one of the two cells of a tile."""
    prefix = f"DSP48.DSP_{netlist.place(site)[1]}."
    features = netlist.tile_features(site)
    flags = {flag[len(prefix) :] for flag in features.flags if flag.startswith(prefix)}
    return flags, {
        key[len(prefix) :]: value for key, value in features.values.items() if key.startswith(prefix)
    }


def tap_dsp(netlist: Netlist, site: str, pin: str) -> None:
    """An output of a DSP48E1."""
    netlist.tap(site, pin, _OUTPUTS)


def _parameters(site: str, flags: set[str], values: dict[str, int]) -> dict[str, str]:
    result = {name: str(int(not values.get(f"Z{name}"))) for name in REGISTERS}
    for letter in "AB":
        chosen = [n for n in (0, 2) if f"{letter}REG_{n}" in flags]
        if len(chosen) > 1:
            raise RecoveryError(f"{site}.{letter}REG: must be 0, 1 or 2, not both {chosen}")
        count = chosen[0] if chosen else 1
        result[f"{letter}REG"] = str(count)
        cascade = 1 if count == 2 and f"Z{letter}REG_2_{letter}CASCREG_1" not in flags else count
        result[f"{letter}CASCREG"] = str(cascade)
        if values.get(f"{letter}_INPUT"):
            result[f"{letter}_INPUT"] = '"CASCADE"'
    if values.get("USE_DPORT"):
        result["USE_DPORT"] = '"TRUE"'
    four, any_simd = "USE_SIMD_FOUR12" in flags, "USE_SIMD_FOUR12_TWO24" in flags
    if four and not any_simd:
        raise RecoveryError(
            f"{site}.USE_SIMD: FOUR12 takes the bit that it shares with TWO24, and it is not set"
        )
    if any_simd:
        result["USE_SIMD"] = '"FOUR12"' if four else '"TWO24"'
    for port, width in INVERTIBLE.items():
        name = f"ZIS_{port}_INVERTED"
        plain = values.get(name, 0) if width > 1 else int(name in flags)
        inverted = ~plain & ((1 << width) - 1)
        if inverted:
            result[f"IS_{port}_INVERTED"] = f"{width}'h{inverted:x}"
    return result
