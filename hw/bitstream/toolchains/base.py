"""What a way to a bitstream is: its options, whether its tools are here, how it builds, and what it made.

A toolchain is a file beside this one and an import line in `__init__.py`. The command line takes its options from its
dataclass, so nothing else needs to know it. What it runs is imported when it runs: the list is read on boards too.
"""

from __future__ import annotations

import abc
import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Generic, Mapping, TypeVar

from fireflow.hw.contents import BITSTREAM_RECORD
from fireflow.hw.errors import InputError
from fireflow.hw.remarks import Say, unheard

if TYPE_CHECKING:
    from fireflow.hw.bitstream.steps import Progress
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.dataflow.hardware import Hardware
    from fireflow.hw.parts import Board
    from fireflow.hw.rtl.stitch import Design

OptionsT = TypeVar("OptionsT")
_OPTION = "option"


@dataclass(frozen=True)
class Option:
    """How the command line offers a field of a toolchain's options.

    Args:
        text: what it does, without the toolchain's name.
        flag: "--time-limit"; by default from the field's name.
        choices: its values; () for any.
        kind: makes a value of what was typed; None for a switch.
        metavar: what stands for the value in the help.
    """

    text: str
    flag: str = ""
    choices: tuple[str, ...] = ()
    kind: Callable[[str], Any] | None = None
    metavar: str | None = None


def option(text: str, **more: Any) -> dict[str, Option]:
    """The metadata of a field of a toolchain's options that the command line offers; see `Option`."""
    return {_OPTION: Option(text, **more)}


def offered(options: type) -> dict[str, Option]:
    """What the command line offers of a class of options, by field."""
    found = {each.name: each.metadata[_OPTION] for each in fields(options) if _OPTION in each.metadata}
    return {
        name: replace(offer, flag=offer.flag or f"--{name.replace('_', '-')}")
        for name, offer in found.items()
    }


def check_choices(options: Any) -> None:
    """Raises InputError where a field has a value that its choices lack."""
    for name, offer in offered(type(options)).items():
        given = getattr(options, name)
        if offer.choices and given is not None and given not in offer.choices:
            raise InputError(f"{name}: must be one of {', '.join(offer.choices)}, not {given!r}; choose one")


@dataclass(frozen=True)
class Placeable:
    """The largest design that a toolchain places, where that is less than the part.

    Args:
        luts: of an accelerator, by the cost model.
        dsps: share of the part's.
    """

    luts: float
    dsps: float


@dataclass(frozen=True)
class Result:
    """What a toolchain made.

    Args:
        clock_mhz: that the bitstream may run at, and one that the board can set.
        bitstream: the .bit file.
        description: of the hardware, for pynq: the text of a .hwh file, or the file.
        reports: files, by their names in the bundle's folder `reports`.
        record: for the bundle's `bitstream.json`: tools, times, clock, resources and checks.
    """

    clock_mhz: float
    bitstream: Path
    description: str | Path
    reports: Mapping[str, Path]
    record: Mapping[str, Any]

    def files(self, name: str, folder: Path) -> dict[str, Path]:
        """What a bundle gets, by the names there.

        Args:
            name: of the bundle, without its ending; pynq wants .bit and .hwh under one name.
            folder: exists; for the files that are written here.
        """
        description, record = self.description, folder / BITSTREAM_RECORD
        if isinstance(description, str):
            text, description = description, folder / f"{name}.hwh"
            description.write_text(text, encoding="utf-8")
        record.write_text(json.dumps(self.record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        reports = {f"reports/{report}": path for report, path in self.reports.items()}
        return {f"{name}.bit": self.bitstream, f"{name}.hwh": description, record.name: record, **reports}


class Toolchain(abc.ABC, Generic[OptionsT]):
    """A way from the RTL of an accelerator to a bitstream.

    Attributes:
        name: as users write it.
        title: what it is and for which boards, in a few words for the help.
        Options: the dataclass of what a user may choose.
        needs: the packages and programs that it wants, by the names that `fireflow doctor` gives them.
        placeable: what it places at most; None: whatever fits the part.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    Options: ClassVar[type]
    needs: ClassVar[tuple[str, ...]]
    placeable: ClassVar[Placeable | None] = None

    @abc.abstractmethod
    def check(self, board: Board, options: OptionsT) -> None:
        """That a build can begin: before anything slow runs, and before an output is looked at.

        Raises:
            InputError: a board that the tools do not know, a tool that is missing, a folder that is taken.
        """

    @abc.abstractmethod
    def build(
        self,
        bundle: Bundle,
        hardware: Hardware,
        design: Design,
        options: OptionsT,
        *,
        say: Say = unheard,
        progress: Progress | None = None,
    ) -> Result | None:
        """Makes a bitstream, in steps that an interrupted build goes on from; None where it is to be made elsewhere.

        Args:
            bundle: its network; its golden images may be simulated.
            hardware: how it is folded, and for which board.
            design: the accelerator that `stitch` wrote; its folder's neighbours are written.
            options: what the user chose.
            say: told a line now and then: what is not done and why, where files are.
            progress: told how far the steps are.

        Raises:
            InputError: as `check`.
            ToolFailure: a tool failed, or made what is wrong.
        """

    @abc.abstractmethod
    def summary(self, result: Result, hardware: Hardware) -> str:
        """The bitstream in a few lines.

        Args:
            hardware: with the clock of the bitstream.
        """


def with_shell(bundle: Bundle, hardware: Hardware, design: Design, board: Board) -> tuple[Design, str]:
    """The accelerator in its shell, in a folder beside the design's, and the hash that it tells."""
    from fireflow.hw.rtl.shell import content_hash, write_shell

    content, folder = content_hash(design), design.folder.with_name("shell")
    return write_shell(design, hardware.dataflow(bundle.graph), board, content, folder), content


def build_folder(bundle: Bundle, content: str, toolchain: str, say: Say) -> Path:
    """Where the steps of this build stay.

    Args:
        content: the hash of the accelerator.
    """
    from fireflow.hw.cache import cache_folder
    from fireflow.hw.names import file_stem

    folder = cache_folder("builds") / f"{file_stem(bundle.graph.name)}-{content[:16]}-{toolchain}"
    say(f"building in {folder}; what is done there is kept when this is interrupted")
    return folder
