"""The RTL of a built bundle, generated anew: nothing that a bundle brings along is ever compiled.

A simulation is a program, and Verilog can say what it does ($system, $c): whoever compiles a bundle's own `rtl/` runs
its author's code. The graph and the folding are data. From these the same version of Fireflow makes the same bytes;
where the bundle's differ, it was built by another version or changed, and what is simulated would not be what its
bitstream holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fireflow.hw import fields
from fireflow.hw.bundle import RTL, Bundle
from fireflow.hw.contents import BITSTREAM_RECORD
from fireflow.hw.dataflow.hardware import Hardware
from fireflow.hw.errors import InputError
from fireflow.hw.files import parse_json, sha256
from fireflow.hw.rtl.stitch import Design, stitch


def regenerate(bundle: Bundle, scratch: Path) -> Design:
    """The accelerator of a bundle that was built, in `scratch`, and equal to the bundle's own files.

    Args:
        bundle: loaded from its folder.
        scratch: an empty folder; must stay as long as the design is used.

    Raises:
        InputError: the bundle was not built or has no RTL; its files are not those which this version generates.
    """
    hardware = bundle.require_hardware()
    own = {
        name[len(RTL) + 1 :]: record.sha256
        for name, record in bundle.files.items()
        if name.startswith(f"{RTL}/")
    }
    if not own:
        raise InputError(
            f"{bundle.place}/{RTL}: must hold the sources of an accelerator; run `fireflow build` without --no-rtl"
        )
    different = ""
    for number, clock_mhz in enumerate(_clocks_mhz(bundle, hardware)):
        folder = scratch / str(number)
        design = stitch(hardware.dataflow(bundle.graph), hardware.part, 1e3 / clock_mhz, folder)
        different = different or _difference(own, folder)
        if not _difference(own, folder):
            return design
    raise InputError(
        f"{bundle.place}/{RTL}/{different}: must be what this version makes of the graph and the folding, not of "
        "another version or changed; build it again"
    )


def _clocks_mhz(bundle: Bundle, hardware: Hardware) -> list[float]:
    """The clocks it may have been generated for: its own, and the one asked for where the bitstream has another."""
    clocks = [hardware.clock_mhz]
    data = bundle.read(BITSTREAM_RECORD)
    if data is not None:
        place = f"{bundle.place}/{BITSTREAM_RECORD}"
        record: Mapping[str, Any] = fields.mapping(BITSTREAM_RECORD, parse_json(data, place))
        clocks.append(fields.number(f"{place}: target_mhz", record.get("target_mhz"), 0, 1e4, above=True))
    return list(dict.fromkeys(clocks))


def _difference(own: Mapping[str, str], folder: Path) -> str:
    """The first file that is not the same; empty where there is none."""
    made = {file.relative_to(folder).as_posix(): sha256(file) for file in folder.rglob("*") if file.is_file()}
    return min((name for name in {*own, *made} if own.get(name) != made.get(name)), default="")
