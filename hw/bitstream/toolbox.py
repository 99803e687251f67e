"""The open FPGA tools from Debian's packages: on PATH, or unpacked in a folder of ours.

Programs of the folder run by its own dynamic loader: no chroot, no root, no mount, whatever the system is. Only making
the folder needs debootstrap, which wants root or fakeroot.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fireflow.hw.bitstream.process import run_logged
from fireflow.hw.cache import cache_folder
from fireflow.hw.errors import InputError
from fireflow.hw.files import atomic_directory, read_tool_json

SUITE = "testing"  # the first Debian that has nextpnr for 7-series
PACKAGES = (
    "yosys",
    "nextpnr-himbaechel-xilinx",
    "nextpnr-himbaechel-xilinx-chipdb",
    "prjxray",
    "prjxray-database",
)
PROGRAMS = ("yosys", "nextpnr-himbaechel-xilinx", "xc7frames2bit", "bitread")
VARIABLE = "FIREFLOW_OPEN_TOOLS"
"""Names a folder with the tools (a Debian tree, such as a chroot), instead of our own."""
_DATABASE = Path("usr/share/prjxray/database/zynq7")
_LIBRARIES = Path("usr/lib/x86_64-linux-gnu")
_LOADER = _LIBRARIES / "ld-linux-x86-64.so.2"
_RECORD = "versions.json"


@dataclass(frozen=True)
class Toolbox:
    """Where the tools are.

    Args:
        root: the tree that holds them; None: the system's own, on PATH.
        versions: of the packages, by name.
    """

    root: Path | None
    versions: Mapping[str, str]

    @property
    def database(self) -> Path:
        """prjxray's database of Zynq-7000."""
        return (self.root or Path("/")) / _DATABASE

    @property
    def identity(self) -> str:
        """What results depend on."""
        return json.dumps(dict(self.versions), sort_keys=True)

    @property
    def environment(self) -> dict[str, str]:
        """Variables for every program: nextpnr holds a Python, which must find its own library."""
        return {"PYTHONHOME": str(self.root / "usr")} if self.root else {}

    def command(self, program: str, *arguments: str) -> list[str]:
        """How to run a program."""
        if self.root is None:
            return [program, *arguments]
        loader, libraries = self.root / _LOADER, self.root / _LIBRARIES
        return [
            str(loader),
            "--library-path",
            str(libraries),
            "--argv0",
            program,
            str(self.root / "usr/bin" / program),
            *arguments,
        ]

    @classmethod
    def find(cls) -> Toolbox:
        """The folder that $FIREFLOW_OPEN_TOOLS names, else what is on PATH, else what `install` made.

        Raises:
            InputError: none of these; says how to get the tools.
        """
        named = os.environ.get(VARIABLE)
        if named:
            return cls._in_folder(Path(named))
        if all(map(shutil.which, PROGRAMS)) and Path("/", _DATABASE).is_dir():
            return cls(None, {name: _said_version(name) for name in PROGRAMS[:2]})
        folder = default_folder()
        if not folder.is_dir():
            raise InputError(
                f"open tools: {', '.join(PROGRAMS)} and prjxray's database must be there, and are not on PATH nor "
                f"in {folder}; on Debian {SUITE}: apt install {' '.join(PACKAGES)}; elsewhere: fireflow toolchain "
                "install open"
            )
        return cls._in_folder(folder)

    @classmethod
    def _in_folder(cls, folder: Path) -> Toolbox:
        needed = [_LOADER, _DATABASE, *(Path("usr/bin", name) for name in PROGRAMS)]
        missing = [path for path in needed if not (folder / path).exists()]
        if missing:
            raise InputError(
                f"{folder}: a folder of open tools must have {missing[0]}, and has not; "
                "run fireflow toolchain install open"
            )
        _connect(folder)
        return cls(folder.resolve(), _versions(folder))


def default_folder() -> Path:
    """Where `install` puts the tools."""
    return cache_folder("toolchains") / "open"


def install(folder: Path, log: Path, say: Callable[[str], None]) -> Toolbox:
    """Downloads the packages, checked by Debian's signatures, and unpacks them: a minute and 1.1 GB.

    Args:
        folder: what it holds is replaced when the new tree is complete.
        log: of debootstrap.
        say: tells the user what goes on.

    Raises:
        InputError: no debootstrap, or neither root nor fakeroot.
        ToolError: debootstrap fails.
    """
    if shutil.which("debootstrap") is None:
        raise InputError(
            "debootstrap: must be installed, and is not; install it (Debian, Ubuntu, Fedora: package debootstrap)"
        )
    prefix: list[str] = []
    if os.geteuid():
        if shutil.which("fakeroot") is None:
            raise InputError(
                "debootstrap: must run as root or with fakeroot, which is not installed; "
                "install it (package fakeroot), or use sudo"
            )
        prefix = ["fakeroot"]
    with atomic_directory(folder) as temporary:
        options = ["--foreign", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        run_logged(
            [*prefix, "debootstrap", *options, SUITE, str(temporary)],
            log,
            on_line=lambda line: say(line.removeprefix("I: ")),
        )
        # Nothing is configured and no script of a package runs: the programs and their data are all that is wanted.
        archives = sorted((temporary / "var/cache/apt/archives").glob("*.deb"))
        for number, archive in enumerate(archives):
            say(f"Unpacking {number + 1} of {len(archives)}: {archive.name.split('_')[0]}")
            run_logged(["dpkg-deb", "-x", str(archive), str(temporary)], log)
        versions = dict(archive.name.split("_")[:2] for archive in archives)
        shutil.rmtree(temporary / "var")
        (temporary / _RECORD).write_text(
            json.dumps({name: versions[name] for name in PACKAGES}, indent=1) + "\n"
        )
    return Toolbox._in_folder(folder)


def _said_version(program: str) -> str:
    """The first line of what it says of its version."""
    done = subprocess.run(
        [program, "--version"], capture_output=True, text=True, errors="replace", timeout=60
    )
    return (done.stdout + done.stderr).strip().partition("\n")[0]


def _versions(folder: Path) -> dict[str, str]:
    """Versions of the packages: as `install` wrote them, or as a chroot's dpkg says."""
    if (folder / _RECORD).is_file():
        return {str(name): str(version) for name, version in read_tool_json(folder / _RECORD).items()}
    versions = {}
    status = folder / "var/lib/dpkg/status"
    for entry in status.read_text(errors="replace").split("\n\n") if status.is_file() else ():
        fields = dict(line.split(": ", 1) for line in entry.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Package") in PACKAGES:
            versions[fields["Package"]] = fields["Version"]
    return versions


def _connect(folder: Path) -> None:
    """Programs look for their data beside themselves, and what they see as themselves is the loader."""
    share, abc = folder / "usr/lib/share", folder / _LIBRARIES / "yosys-abc"
    if not share.exists():
        share.symlink_to("../share")
    if not abc.exists():
        abc.write_text(
            '#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")\n'
            'exec "$here/ld-linux-x86-64.so.2" --library-path "$here" "$here/../../bin/yosys-abc" "$@"\n'
        )
        abc.chmod(0o755)
