"""`fireflow deploy`: a bundle and the host part to a board over SSH, checked there.

The board needs SSH, sh, coreutils, and a Python with pip and NumPy: what every PYNQ image has.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO, Mapping, Sequence

from host.cli.inputs import BUNDLE_HELP
from host.cli.output import progress
from host.design import load
from hw.errors import InputError
from hw.files import sha256

FOLDER = "fireflow"
_ROOT = Path(__file__).resolve().parents[2]
_PYNQ_PYTHON = "/usr/local/share/pynq-venv/bin/python3"
# What a login on a PYNQ image sets, and a command over SSH does not.
_PROFILE = "for f in /etc/profile.d/xrt_setup.sh /etc/profile.d/boardname.sh; do [ ! -f $f ] || . $f; done; "


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help=BUNDLE_HELP)
    parser.add_argument("board", metavar="USER@BOARD", help="as ssh takes it")
    parser.add_argument(
        "--device", default="pynq", help="what the self test runs on: pynq (default) or virtual"
    )
    parser.add_argument("--wheel", type=Path, help="of fireflow; built from the sources by default")
    parser.add_argument(
        "--python", help=f"on the board; {_PYNQ_PYTHON} by default, or python3 where that is missing"
    )
    parser.add_argument("--ssh", default="ssh", help="the program and its options, such as 'ssh -p 2222'")


def run(args: argparse.Namespace) -> int:
    """Copies what the board lacks, installs, runs the self test; fails if a score differs."""
    _bundle, design = load(args.bundle)
    if args.device == "pynq" and design.bitstream is None:
        raise InputError(
            f"{args.bundle}: must have a bitstream for a board, not none; build it, or --device virtual"
        )
    if args.board.startswith("-"):
        raise InputError(f"deploy: the board must be USER@BOARD, not {args.board}; name it")
    board = Board([*shlex.split(args.ssh), args.board])
    with tempfile.TemporaryDirectory() as scratch:
        wheel = args.wheel or _build_wheel(Path(scratch))
        root = args.bundle.resolve()
        local = {
            f"{root.name}/{p.relative_to(root).as_posix()}": p for p in sorted(root.rglob("*")) if p.is_file()
        }
        sent = board.copy({**local, wheel.name: wheel})
    print(f"{args.board}: {sent} of {len(local) + 1} files sent, all hashes checked")
    python = args.python or board.ask(f"[ -x {_PYNQ_PYTHON} ] && echo {_PYNQ_PYTHON} || echo python3").strip()
    quoted = shlex.quote(python)
    install = "-m pip install -q --no-index --no-deps --upgrade --target site"
    board.ask(f"cd {FOLDER} && {quoted} {install} {shlex.quote(wheel.name)}")
    root_first = "" if args.device != "pynq" else '$([ "$(id -u)" = 0 ] || echo sudo -n -E) '
    output = board.ask(
        f'{_PROFILE}cd {FOLDER} && {root_first}env PYTHONPATH="$PWD/site" {quoted} -m host.selftest '
        f"{shlex.quote(root.name)} {shlex.quote(args.device)}"
    )
    facts = json.loads(output.strip().splitlines()[-1])
    print(
        f"self test on {facts['device']}: {facts['images']} images, {facts['differing']} scores differ; "
        f"{facts['fps']:.1f} frames a second, clock {facts['clock_mhz']:g} MHz (asked {facts['clock_asked_mhz']:g})"
    )
    return int(bool(facts["differing"] or facts["wrong"]))


class Board:
    """A computer at the other end of SSH.

    Args:
        ssh: the command up to and including the address.
    """

    def __init__(self, ssh: Sequence[str]) -> None:
        self._ssh = list(ssh)

    def ask(self, command: str, source: BinaryIO | None = None) -> str:
        """Runs a command there.

        Raises:
            InputError: it fails, or the board cannot be reached.
        """
        try:
            done = subprocess.run(
                [*self._ssh, command],
                stdin=source if source is not None else subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            raise InputError(f"{self._ssh[0]}: must run ({error.strerror}); install an SSH client") from None
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
            reason = reason[len("fireflow: ") :] if reason.startswith("fireflow: ") else reason
            raise InputError(f"{self._ssh[-1]}: the board must do its part, not fail ({reason}); see there")
        return done.stdout

    def copy(self, files: Mapping[str, Path]) -> int:
        """Brings files into FOLDER, whatever is there already left alone; how many were sent.

        A copy that broke off is resumed where it stopped, if what arrived is right.
        """
        folders = sorted({str(Path(FOLDER, name).parent) for name in files})
        self.ask("mkdir -p " + " ".join(map(shlex.quote, folders)))
        names = " ".join(shlex.quote(name) for name in files)
        present = self._hashes(f"cd {FOLDER} && sha256sum -- {names} 2>/dev/null; true")
        missing = [name for name, path in files.items() if present.get(name) != sha256(path)]
        for name in progress(missing, "copying", len(missing)):
            self._send(name, files[name])
        return len(missing)

    def _hashes(self, command: str) -> dict[str, str]:
        lines = (line.split(None, 1) for line in self.ask(command).splitlines())
        return {parts[1].lstrip("*"): parts[0] for parts in lines if len(parts) == 2}

    def _send(self, name: str, path: Path) -> None:
        part = shlex.quote(f"{FOLDER}/{name}.part")
        size = int(self.ask(f"[ -f {part} ] && wc -c < {part} || echo 0").strip())
        with open(path, "rb", buffering=0) as file:  # ssh goes on where this file stands
            arrived = hashlib.sha256(file.read(size)).hexdigest()
            if size and self.ask(f"sha256sum < {part}").split()[0] != arrived:
                self.ask(f"rm {part}")
                size = 0
            file.seek(size)
            self.ask(f"cat >> {part}", file)
        expected = sha256(path)
        if self.ask(f"sha256sum < {part}").split()[0] != expected:
            self.ask(f"rm {part}")
            raise InputError(f"{name}: the copy must have the hash {expected[:12]}, not another; try again")
        self.ask(f"mv {part} {shlex.quote(f'{FOLDER}/{name}')}")


def _build_wheel(folder: Path) -> Path:
    if not (_ROOT / "pyproject.toml").is_file():
        raise InputError("deploy: a wheel must be given, since there are no sources here; use --wheel FILE")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(_ROOT)], capture_output=True, text=True, check=False
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"deploy: the wheel must build, not fail ({reason}); give one with --wheel")
    return wheels[0]
