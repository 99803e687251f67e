"""A device of five tiles in prjxray's format: PS7, a switch box that connects all with all, slices, block RAM, DSPs.

Its names are those of the real one, so that what reads a real bitstream reads this one.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

from fireflow.hw.bitstream.recover.dsp import INPUTS, pins_of

PART = "xc7z020clg400-1"
IDCODE = 0x03727093
PORTS = {
    "FCLKCLK": ("output", 4),
    "FCLKRESETN": ("output", 4),
    "EMIOGPIOO": ("output", 16),
    "EMIOGPIOI": ("input", 16),
}
SLICE_INPUTS = [
    *(f"{letter}{pin}" for letter, pin in product("ABCD", "123456X")),
    *("CE", "CIN", "CLK", "SR"),
]
SLICE_OUTPUTS = [*(f"{letter}{pin}" for letter, pin in product("ABCD", ("", "MUX", "Q"))), "COUT"]
MEMORY_INPUTS = ["AI", "BI", "CI", "DI", "WE"]
RAM_OUTPUTS = [
    f"{port}{i}"
    for port, width in (("DOADO", 16), ("DOBDO", 16), ("DOPADOP", 2), ("DOPBDOP", 2))
    for i in range(width)
]
RAM_BUSES = {
    "ADDRARDADDR": 14,
    "ADDRBWRADDR": 14,
    "DIADI": 16,
    "DIBDI": 16,
    "DIPADIP": 2,
    "DIPBDIP": 2,
    "WEA": 4,
    "WEBWE": 8,
}
RAM_INPUTS = [
    *(f"{port}{i}" for port, width in RAM_BUSES.items() for i in range(width)),
    *("CLKARDCLK", "CLKBWRCLK", "REGCLKARDRCLK", "REGCLKB", "ENARDEN", "ENBWREN", "REGCEAREGCE", "REGCEB"),
    *("RSTRAMARSTRAM", "RSTRAMB", "RSTREGARSTREG", "RSTREGB"),
]
DSP_PINS = [pin for _, pins in pins_of(INPUTS) for pin in pins]
DSP_OUTPUTS = [f"P{i}" for i in range(48)] + ["PCOUT0"]
# Of these the fabric is one source of three; the others are tie-offs.
TIED = [
    pin for pin in DSP_PINS if pin.startswith(("D", "INMODE")) or pin in ("CEAD", "CED", "RSTD", "OPMODE6")
]
RAM_SITES = {"FIFO18": RAM_INPUTS, "RAMB18": RAM_INPUTS, "FIFO36": ["ADDRARDADDRL0", "ADDRBWRADDRL0"]}
# Of one look-up table, one switch and one flag, as bits of the slices' tile and of the switch box.
SEGBITS = {
    "CLBLM_L": [
        *(f"CLBLM_L.SLICEM_X0.ALUT.INIT[{i:02}] {i // 32:02}_{i % 32:02}" for i in range(64)),
        "CLBLM_L.SLICEM_X0.AOUTMUX.O5 02_00 !02_01",
        "CLBLM_L.SLICEM_X0.AOUTMUX.O6 02_00 02_01",
        "CLBLM_L.SLICEM_X0.NOCLKINV !02_02",
    ],
    "INT_L": [
        "INT_L.TO_PS7_EMIOGPIOI0.FROM_M_AMUX 03_05 03_06",
        "INT_L.TO_M_A1.FROM_PS7_EMIOGPIOO0 03_07",
        "INT_L.TO_M_AX.FROM_PS7_EMIOGPIOO1 !03_08",
    ],
}


def _pins(outputs: list[str], inputs: list[str], prefix: str) -> dict[str, dict[str, str]]:
    result = {pin: {"wire": f"{prefix}{pin}", "res": "1"} for pin in outputs}
    return result | {pin: {"wire": f"{prefix}{pin}", "cap": "1"} for pin in inputs}


def _site(prefix: str, x: int, kind: str, pins: dict[str, dict[str, str]]) -> dict[str, Any]:
    return {"prefix": prefix, "x_coord": x, "y_coord": 0, "type": kind, "site_pins": pins}


def _pip(source: str, target: str) -> dict[str, str]:
    return {"src_wire": source, "dst_wire": target, "is_directional": "1"}


def _at_site(prefix: str, name: str) -> str:
    """The wire of a site's tile that a wire of the switch box goes on as."""
    if not name.startswith("DSP0_"):
        return prefix + name
    pin = name.removeprefix("DSP0_")
    return f"DSP_FABRIC_{pin}" if pin in TIED else f"DSP_0_{pin}"


def write_device(folder: Path) -> Path:
    """Writes the database; returns its folder."""
    ps7 = {
        "output": [
            f"{name}{i}" for name, (way, width) in PORTS.items() if way == "output" for i in range(width)
        ],
        "input": [
            f"{name}{i}" for name, (way, width) in PORTS.items() if way == "input" for i in range(width)
        ],
    }
    halves = {"M": SLICE_INPUTS + MEMORY_INPUTS, "L": SLICE_INPUTS}
    sources = [f"PS7_{pin}" for pin in ps7["output"]]
    sources += [f"{half}_{pin}" for half in halves for pin in SLICE_OUTPUTS]
    sources += [f"{ram}_{pin}" for ram in ("FIFO18", "RAMB18") for pin in RAM_OUTPUTS]
    sources += [f"DSP0_{pin}" for pin in DSP_OUTPUTS]
    targets = [f"PS7_{pin}" for pin in ps7["input"]] + [f"DSP0_{pin}" for pin in DSP_PINS]
    targets += [f"{half}_{pin}" for half, pins in (halves | RAM_SITES).items() for pin in pins]
    sites = {
        "PSS2": [_site("PS7", 0, "PS7", _pins(ps7["output"], ps7["input"], "PS7_"))],
        "CLBLM_L": [
            _site("SLICE", x, f"SLICE{half}", _pins(SLICE_OUTPUTS, pins, f"CLBLM_{half}_"))
            for x, (half, pins) in enumerate(halves.items())
        ],
        "BRAM_L": [
            _site("RAMB18", 0, "FIFO18E1", _pins(RAM_OUTPUTS, RAM_INPUTS, "BRAM_FIFO18_")),
            _site("RAMB18", 0, "RAMB18E1", _pins(RAM_OUTPUTS, RAM_INPUTS, "BRAM_RAMB18_")) | {"y_coord": 1},
            _site("RAMB36", 0, "RAMBFIFO36E1", _pins([], RAM_SITES["FIFO36"], "BRAM_FIFO36_")),
        ],
        "DSP_L": [
            _site("DSP48", 0, "DSP48E1", _pins(DSP_OUTPUTS, [*DSP_PINS, "PCIN0"], f"DSP_{i}_"))
            | {"y_coord": i}
            for i in range(2)
        ],
        "INT_L": [_site("TIEOFF", 0, "TIEOFF", _pins(["HARD0", "HARD1"], [], ""))],
    }
    sites["INT_L"][0]["site_pins"] = {
        "HARD0": {"wire": "GND_WIRE", "res": "1"},
        "HARD1": {"wire": "VCC_WIRE", "res": "1"},
    }
    inner = [
        *(f"FROM_{name}" for name in sources),
        *(f"TO_{name}" for name in targets),
        "GND_WIRE",
        "VCC_WIRE",
    ]
    pips = {
        f"INT_L.{source}->{target}": _pip(source, target)
        for target in (f"TO_{name}" for name in targets)
        for source in ("GND_WIRE", *(f"FROM_{name}" for name in sources))
    }
    tie_offs = {
        f"DSP_L.{source}->DSP_0_{pin}": _pip(source, f"DSP_0_{pin}")
        for pin in TIED
        for source in ("DSP_GND_L", "DSP_VCC_L", f"DSP_FABRIC_{pin}")
    }
    extra = {"DSP_L": ["DSP_GND_L", "DSP_VCC_L", *(f"DSP_FABRIC_{pin}" for pin in TIED)]}
    for kind, own in sites.items():
        wires = (
            inner if kind == "INT_L" else [pin["wire"] for site in own for pin in site["site_pins"].values()]
        )
        wires += extra.get(kind, [])
        own_pips = {"INT_L": pips, "DSP_L": tie_offs}.get(kind, {})
        entry = {"wires": dict.fromkeys(wires), "sites": own, "pips": own_pips}
        (folder / f"tile_type_{kind}.json").write_text(json.dumps(entry))
        (folder / f"segbits_{kind.lower()}.db").write_text(
            "".join(f"{line}\n" for line in SEGBITS.get(kind, []))
        )
    # A pin that no switch drives is 1, but for clocks and resets.
    defaults = [name for name in targets if not name.endswith(("CLK", "SR", "CIN"))]
    (folder / "ppips_int_l.db").write_text(
        "".join(f"INT_L.TO_{name}.VCC_WIRE default\n" for name in defaults)
    )
    places = {"PSS2_X0Y0": ("PSS2", 0), "INT_L_X1Y0": ("INT_L", 1), "CLBLM_L_X2Y0": ("CLBLM_L", 2)}
    places |= {"BRAM_L_X3Y0": ("BRAM_L", 3), "DSP_L_X4Y0": ("DSP_L", 4)}
    names = {"PSS2": {"PS7_X0Y0": "PS7"}, "INT_L": {"TIEOFF_X0Y0": "TIEOFF"}}
    names["BRAM_L"] = {"RAMB18_X0Y0": "FIFO18E1", "RAMB18_X0Y1": "RAMB18E1", "RAMB36_X0Y0": "RAMBFIFO36E1"}
    names["DSP_L"] = {"DSP48_X0Y0": "DSP48E1", "DSP48_X0Y1": "DSP48E1"}
    names["CLBLM_L"] = {"SLICE_X0Y0": "SLICEM", "SLICE_X1Y0": "SLICEL"}
    block = {"baseaddr": "0x00000000", "frames": 4, "offset": 0, "words": 2}
    grid = {
        tile: {
            "type": kind,
            "grid_x": x,
            "grid_y": 0,
            "bits": {} if kind in ("PSS2", "BRAM_L", "DSP_L") else {"CLB_IO_CLK": block},
            "sites": names[kind],
        }
        for tile, (kind, x) in places.items()
    }
    ends = {"PSS2": (("PS7_",), -1, ""), "CLBLM_L": (("M_", "L_"), 1, "CLBLM_")}
    ends["DSP_L"] = (("DSP0_",), 3, "DSP_")
    ends["BRAM_L"] = (tuple(f"{site}_" for site in RAM_SITES), 2, "BRAM_")
    connections = [
        {
            "grid_deltas": [delta, 0],
            "tile_types": ["INT_L", kind],
            "wire_pairs": [
                [f"{way}_{name}", _at_site(prefix, name)]
                for way, all_names in (("FROM", sources), ("TO", targets))
                for name in all_names
                if name.startswith(starts)
            ],
        }
        for kind, (starts, delta, prefix) in ends.items()
    ]
    (folder / "xc7z020").mkdir(parents=True)
    (folder / "xc7z020/tilegrid.json").write_text(json.dumps(grid))
    (folder / "xc7z020/tileconn.json").write_text(json.dumps(connections))
    columns = {"0": {"frame_count": 4}, "1": {"frame_count": 2}}
    rows = {"rows": {"0": {"configuration_buses": {"CLB_IO_CLK": {"configuration_columns": columns}}}}}
    layout = {"idcode": IDCODE, "global_clock_regions": {"top": rows, "bottom": rows}}
    (folder / PART).mkdir()
    (folder / PART / "part.json").write_text(json.dumps(layout))
    ports = {
        name: {"class": "normal", "direction": way, "min": 0, "max": width - 1, "width": width}
        for name, (way, width) in PORTS.items()
    }
    (folder / "ps7_ports.json").write_text(json.dumps(ports))
    return folder
