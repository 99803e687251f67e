"""A bundle and the host part to a board over SSH, checked there.

The board needs SSH, sh, coreutils, and a Python with pip and NumPy: what every PYNQ image has.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Sequence

import fireflow
from fireflow.host.interface import Interface
from fireflow.host.remote import ANSWER_S, FOLDER, RemoteBoard
from fireflow.hw import fields, given
from fireflow.hw.bundle import Bundle
from fireflow.hw.contents import MANIFEST, copy_listed
from fireflow.hw.errors import InputError
from fireflow.hw.files import MAX_JSON_BYTES, parse_json, read_bytes

INSTALL_S = 900.0
"""For what takes a board minutes: pip, and the self test."""
PYNQ_PYTHON = "/usr/local/share/pynq-venv/bin/python3"
_ROOT = Path(fireflow.__file__).resolve().parents[1]
# What a login on a PYNQ image sets, and a command over SSH does not.
_PROFILE = "for f in /etc/profile.d/xrt_setup.sh /etc/profile.d/boardname.sh; do [ ! -f $f ] || . $f; done; "


@dataclass(frozen=True)
class BoardTest:
    """What `python -m fireflow.host.selftest` found on a board.

    Args:
        device: its name.
        images: golden images that were computed.
        differing: scores of them that differ.
        wrong: frames with another score while the speed was measured.
        fps: frames a second.
        clock_mhz, clock_asked_mhz: what the accelerator runs at, and what its build asks for.
    """

    device: str
    images: int
    differing: int
    wrong: int
    fps: float
    clock_mhz: float
    clock_asked_mhz: float

    @property
    def passed(self) -> bool:
        """Whether every integer is right."""
        return not (self.differing or self.wrong)


def deploy(
    bundle: Bundle | str | Path,
    board: str,
    *,
    device: str = "pynq",
    wheel: str | Path | None = None,
    python: str | None = None,
    ssh: str | Sequence[str] = ("ssh",),
    answer_s: float = ANSWER_S,
    progress: Callable[[int, int], None] | None = None,
    copied: Callable[[int, int], None] | None = None,
) -> BoardTest:
    """Copies what a board lacks, installs the host part there, and runs the self test.

    Args:
        bundle: a Bundle that was loaded from a folder, or the path of one.
        board: "USER@BOARD", as ssh takes it.
        device: what the self test runs on there: "pynq" or "virtual".
        wheel: of fireflow; built from the sources by default.
        python: on the board; that of PYNQ's images by default, or python3 where that is missing.
        ssh: the program and its options.
        answer_s: seconds that the board may take for a short command, login included.
        progress: told how many of the files that the board lacks were sent, and how many there are.
        copied: told once how many files were sent, and of how many.

    Raises:
        InputError: the bundle has no bitstream, or changes meanwhile; the board cannot be reached, is silent or
            fails; the wheel does not build.
    """
    loaded = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
    source = loaded.folder
    if source is None:
        raise InputError(
            f"{loaded.graph.name}: must lie in a folder to be copied, and it does not; save it first"
        )
    if device == "pynq" and Interface.of_bundle(loaded).bitstream is None:
        raise InputError(
            f"{source}: must have a bitstream for a board, not none; build it, or --device virtual"
        )
    if not isinstance(board, str) or not board.strip() or board.startswith("-"):
        raise InputError(f"deploy: the board must be USER@BOARD, not {board or 'nothing'}; name it")
    if not given.number("answer", answer_s) > 0:
        raise InputError(f"answer: must be above 0 s, not {answer_s}; leave it out for {ANSWER_S:g}")
    program = [ssh] if isinstance(ssh, str) else list(ssh)
    remote, name = RemoteBoard([*(program or ["ssh"]), board], answer_s), source.resolve().name
    with tempfile.TemporaryDirectory() as scratch:
        package = _build_wheel(Path(scratch)) if wheel is None else given.path("wheel", wheel)
        files = _staged(loaded, source, Path(scratch) / "bundle")
        local = {**{f"{name}/{file}": path for file, path in files.items()}, package.name: package}
        sent = remote.copy(local, progress)
    if copied is not None:
        copied(sent, len(local))
    return _tested(remote, board, name, device, python, package.name)


def _tested(
    remote: RemoteBoard, board: str, bundle: str, device: str, python: str | None, wheel: str
) -> BoardTest:
    """Installs the wheel that lies there and runs the self test."""
    if python is None:
        python = remote.ask(f"[ -x {PYNQ_PYTHON} ] && echo {PYNQ_PYTHON} || echo python3").strip()
    quoted = shlex.quote(python)
    install = "-m pip install -q --no-index --no-deps --upgrade --target site"
    remote.ask(f"cd {FOLDER} && {quoted} {install} {shlex.quote(wheel)}", INSTALL_S)
    root_first = "" if device != "pynq" else '$([ "$(id -u)" = 0 ] || echo sudo -n -E) '
    output = remote.ask(
        f'{_PROFILE}cd {FOLDER} && {root_first}env PYTHONPATH="$PWD/site" {quoted} -m fireflow.host.selftest '
        f"{shlex.quote(bundle)} {shlex.quote(device)}",
        INSTALL_S,
    )
    return board_test(board, output)


def _staged(bundle: Bundle, source: Path, folder: Path) -> dict[str, Path]:
    """Copies of the files that the manifest lists, each compared with its hash, and of the manifest: by name.

    Nothing else that lies in the folder is sent, and what a link would give is not looked for.
    """
    for name, record in bundle.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy_listed(source, name, record, folder / name)
    (folder / MANIFEST).write_bytes(read_bytes(source / MANIFEST, MAX_JSON_BYTES))
    if Bundle.load(folder).files != bundle.files:
        raise InputError(f"{source}: must stay as it is while it is copied, not be replaced; try again")
    return {name: folder / name for name in sorted((*bundle.files, MANIFEST))}


def board_test(board: str, output: str) -> BoardTest:
    """What the self test says in its last line. Raises InputError where that is something else."""
    place = f"{board}: the self test"
    lines = output.strip().splitlines() or [""]
    facts = fields.mapping(place, parse_json(lines[-1].encode("utf-8", "replace"), place, "look there"))
    device = fields.text(f"{place}: device", facts.get("device"))
    counts = [fields.whole(f"{place}: {name}", facts.get(name)) for name in ("images", "differing", "wrong")]
    numbers = [
        fields.number(f"{place}: {name}", facts.get(name)) for name in ("fps", "clock_mhz", "clock_asked_mhz")
    ]
    return BoardTest(device, *counts, *numbers)


def _build_wheel(folder: Path) -> Path:
    if not (_ROOT / "pyproject.toml").is_file():
        raise InputError("deploy: a wheel must be given, since there are no sources here; use --wheel FILE")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--disable-pip-version-check"]
    try:
        done = subprocess.run(
            [*command, "--wheel-dir", str(folder), str(_ROOT)],
            capture_output=True,
            text=True,
            check=False,
            timeout=INSTALL_S,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"deploy: the wheel must build within {INSTALL_S:g} s, not take longer; give one with --wheel"
        ) from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"deploy: the wheel must build, not fail ({reason}); give one with --wheel")
    return wheels[0]
