"""What differs between families of FPGAs: one record for each, in a file of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from fireflow.hw.parts.resources import Resources


@dataclass(frozen=True)
class Die:
    """What a part holds, whatever its package and its board.

    Args:
        resources: of the whole part; one LUT is a LUT6.
        source: of these figures.
    """

    resources: Resources
    source: str


@dataclass(frozen=True)
class LutRam:
    """A memory of LUTs with a read and a write port, as Yosys makes it of one primitive.

    Args:
        luts: that it takes.
        bits_of_32, bits_of_64: of its words, where it has 32 and 64 of them.
    """

    luts: int
    bits_of_32: int
    bits_of_64: int


@dataclass(frozen=True)
class Bus:
    """The processor's memory port.

    Args:
        bytes: of a beat.
        address_bits: that it decodes.
    """

    bytes: int
    address_bits: int


@dataclass(frozen=True)
class Synthesis:
    """How Yosys is told to map for the family.

    Args:
        target: its name there.
        memory: options of `memory_libmap`, which are synth_xilinx's own.
        maps: files of Yosys that make primitives of the memories it found.
    """

    target: str
    memory: str
    maps: tuple[str, ...]


@dataclass(frozen=True)
class Clock:
    """The clock that the processing system gives the logic: a PLL behind two dividers of six bits each.

    Args:
        pll_mhz: of the PLL, as PYNQ's images set it.
        pin: of the processing system.
        net: of the clock in the constraints that come with its IP.
        enable, select, asked, given, divisor: names of a clock's parameters, {0} the clock and {1} the divisor: whether
            it runs, which PLL it is of, its frequency in MHz as asked for and as given, and its two divisors.
        pll: the value of `select`.
    """

    pll_mhz: float
    pin: str
    net: str
    enable: str
    select: str
    asked: str
    given: str
    divisor: str
    pll: str


@dataclass(frozen=True)
class ProcessingSystem:
    """A family's processor as Vivado and pynq know it: what the accelerator needs of it.

    Only what reaches the logic is set: one clock and reset, one master for the registers, one slave port to the memory.
    The pins, the DDR and the PLLs of a board are not in a bitstream. The first-stage boot loader of the board's PYNQ
    image sets them at power-up, from the board's own preset, and loading an overlay leaves them as they are. So no
    board files are needed here, and a preset of ours could only disagree.

    Args:
        ip, version: vendor, library and name of its IP; the version that pynq knows. Any Vivado takes its own.
        machine: what the kernel calls the processor.
        clock: for the logic.
        config: properties that do not depend on the design.
        widths: of ports in bits, by the parameter from which pynq sets them. Those of Zynq-7000 are fixed.
        reset: pin for the logic.
        master, slave: interfaces for registers and memory, and the pins of their clocks.
        memory: the address segment of the DDR.
        memory_bytes: of it that every board of the family has, from address 0.
        control_base: where the master finds the accelerator's registers.
        after_boot: registers of clocks that pynq reads before it writes them, as the boot leaves them, by address.
        external: interfaces that must be ports of the top, with their types.
    """

    ip: str
    version: str
    machine: str
    clock: Clock
    config: tuple[tuple[str, str], ...]
    widths: tuple[tuple[str, int], ...]
    reset: str
    master: tuple[str, str]
    slave: tuple[str, str]
    memory: str
    memory_bytes: int
    control_base: int
    after_boot: Mapping[int, int]
    external: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Family:
    """All that differs between families.

    Args:
        name: as Yosys and our tables of costs name it.
        title: as its maker names it.
        prefixes: how the names of its parts begin.
        header_prefixes: how they begin in the header of a bitstream, of those with a processing system.
        clocks_source: why its boards' clocks are what designs of this kind commonly reach.
        factor_bits: width of the wide operand of a DSP's multiplier.
        dsp_version: what `matmul.sv` calls its DSP: 1 is DSP48E1, 2 is DSP48E2.
        lut_ram: its memories of LUTs.
        bus: the processor's memory port.
        shell_top: the module that is given to the place and route of open tools, or to Vivado's block design.
        shell_modules: of the shell, beside those that all families have.
        synthesis: by Yosys.
        system: the processor.
    """

    name: str
    title: str
    prefixes: tuple[str, ...]
    header_prefixes: tuple[str, ...]
    clocks_source: str
    factor_bits: int
    dsp_version: int
    lut_ram: LutRam
    bus: Bus
    shell_top: str
    shell_modules: tuple[str, ...]
    synthesis: Synthesis
    system: ProcessingSystem


YOSYS_RAMS = (
    "-logic-cost-rom 0.015625 -D HAS_SIZE_36 -D HAS_MIXWIDTH_SDP -no-auto-huge -lib +/xilinx/brams_xc4v.txt"
)
"""The part of `Synthesis.memory` that both families share: their block RAMs."""
