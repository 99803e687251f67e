"""Tools that may be on another machine: a folder goes there with a script, and comes back with the results."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from fireflow.hw.bitstream.toolchains.base import option
from fireflow.hw.errors import InputError
from fireflow.hw.files import atomic_directory
from fireflow.hw.remarks import Say

_HOUR_S = 3600.0


@dataclass(frozen=True)
class Elsewhere:
    """What a user may choose of tools that need not be here.

    Args:
        scripts_only: a folder to write instead of a bitstream: new or empty.
        results: such a folder, whose `run.sh` has ended, to take the bitstream of.
        time_limit_h: hours after which a run of the tool is ended; None for never.
    """

    scripts_only: Path | None = field(
        default=None,
        metadata=option(
            "write a folder whose run.sh makes the bitstream where the tools are, and no bitstream",
            kind=Path,
            metavar="FOLDER",
        ),
    )
    results: Path | None = field(
        default=None,
        metadata=option(
            "take the bitstream of such a folder whose run.sh has ended", kind=Path, metavar="FOLDER"
        ),
    )
    time_limit_h: float | None = field(
        default=None,
        metadata=option(
            "end a run of the tool that takes longer; by default none",
            flag="--time-limit",
            kind=float,
            metavar="HOURS",
        ),
    )

    def __post_init__(self) -> None:
        if self.scripts_only and self.results:
            raise InputError("results: must come without --scripts-only, not with it; leave one of them out")
        if self.time_limit_h is not None and not self.time_limit_h > 0:
            raise InputError(
                f"time limit: must be above 0 hours, not {self.time_limit_h}; leave it out for none"
            )

    @property
    def limit_s(self) -> float | None:
        """Seconds after which a run of the tool is ended; None for never."""
        return None if self.time_limit_h is None else self.time_limit_h * _HOUR_S

    @property
    def here(self) -> bool:
        """Whether the tools run on this machine."""
        return not (self.scripts_only or self.results)

    def check_target(self) -> None:
        """Raises InputError where the folder for scripts is taken."""
        folder = self.scripts_only
        if folder and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(
                f"{folder}: the folder must be new or empty, not hold other things; give another name"
            )


def deliver(made: Path, target: Path, toolchain: str, say: Say) -> None:
    """Copies the folder that goes to the other machine, and says what to do with it."""
    with atomic_directory(target) as folder:
        shutil.copytree(made, folder, dirs_exist_ok=True)
    say(
        f"{target}: run its run.sh where the tools are, bring it back, and give the same command with "
        f"--toolchain {toolchain} --results instead of --scripts-only"
    )
