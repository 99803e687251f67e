"""A netlist recovered from a finished bitstream: what the device will do, whatever the tools believed.

The bits become features by prjxray's database, the features become pips and the settings of sites, and these become
Verilog of primitives whose models are in hw/bitstream/sim. The top has the pins of the PS7 as ports, the other way
round: a bench takes the processor's place.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fireflow.hw.bitstream.recover.block_ram import make_block_ram, tap_block_ram
from fireflow.hw.bitstream.recover.database import Database
from fireflow.hw.bitstream.recover.dsp import make_dsp, tap_dsp
from fireflow.hw.bitstream.recover.features import Features, features_of_bitstream
from fireflow.hw.bitstream.recover.netlist import Netlist
from fireflow.hw.bitstream.recover.packets import read_bitstream
from fireflow.hw.bitstream.recover.processor import Processor
from fireflow.hw.bitstream.recover.routing import RecoveryError
from fireflow.hw.bitstream.recover.slices import Slice

__all__ = ["Database", "Recovered", "RecoveryError", "recover", "recover_features"]


@dataclass(frozen=True)
class Recovered:
    """What a bitstream does.

    Attributes:
        verilog: the module, to be simulated with hw/bitstream/sim/*.sv.
        cells: how many of each primitive it has.
        unexplained: set bits that no feature of the database explains.
    """

    verilog: str
    cells: dict[str, int]
    unexplained: tuple[str, ...]


def recover(bit: Path, database: Database, top: str = "recovered") -> Recovered:
    """The netlist that a `.bit` file makes.

    Raises:
        InputError: not a bitstream for the database's part, or damaged.
        RecoveryError: the bits make something that cannot work, or that is not known here.
    """
    features, unexplained = features_of_bitstream(read_bitstream(bit, database), database)
    verilog, cells = recover_features(features, database, top)
    return Recovered(verilog, cells, tuple(unexplained))


def recover_features(
    features: Features, database: Database, top: str = "recovered"
) -> tuple[str, dict[str, int]]:
    """The netlist that features make, and how many cells of each kind it has; see `recover`."""
    netlist = Netlist(features, database)
    processor = Processor(netlist)
    processor.ask()
    slices: dict[str, Slice] = {}
    made: set[str] = set()
    for site, name in netlist.waiting():
        kind = site.split("_")[0]
        if kind == "SLICE":
            if site not in slices:
                slices[site] = Slice(netlist, site)
            slices[site].make(name)
        elif kind == "DSP48":
            if site not in made:
                made.add(site)
                make_dsp(netlist, site)
            tap_dsp(netlist, site, name)
        elif kind == "RAMB18":
            tile = netlist.tile(site).name
            if tile not in made:
                made.add(tile)
                make_block_ram(netlist, tile)
            tap_block_ram(netlist, site, name)
        elif kind == "PS7":
            processor.tap(name)
        else:
            raise RecoveryError(
                f"{site}.{name}: must be a slice, DSP48E1, block RAM or the PS7; not known here"
            )
    return processor.module(top), dict(sorted(netlist.cells.items()))
