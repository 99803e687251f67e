"""`fireflow deploy`: a bundle and the host part to a board over SSH, checked there.

The board needs SSH, sh, coreutils, and a Python with pip and NumPy: what every PYNQ image has.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Mapping

import fireflow
from fireflow.host.cli.arguments import BUNDLE_HELP
from fireflow.host.cli.output import progress
from fireflow.host.design import load
from fireflow.host.remote import ANSWER_S, FOLDER, Board
from fireflow.hw import fields
from fireflow.hw.bundle import Bundle
from fireflow.hw.contents import MANIFEST, copy_listed
from fireflow.hw.errors import InputError
from fireflow.hw.files import MAX_JSON_BYTES, parse_json, read_bytes

INSTALL_S = 900.0
"""For what takes a board minutes: pip, and the self test."""
_ROOT = Path(fireflow.__file__).resolve().parents[1]
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
    parser.add_argument(
        "--answer-s",
        type=float,
        default=ANSWER_S,
        metavar="S",
        help=f"seconds that the board may take for a short command, login included ({ANSWER_S:g})",
    )


def run(args: argparse.Namespace) -> int:
    """Copies what the board lacks, installs, runs the self test; fails if a score differs."""
    bundle, design = load(args.bundle)
    if args.device == "pynq" and design.bitstream is None:
        raise InputError(
            f"{args.bundle}: must have a bitstream for a board, not none; build it, or --device virtual"
        )
    if args.board.startswith("-"):
        raise InputError(f"deploy: the board must be USER@BOARD, not {args.board}; name it")
    if not args.answer_s > 0:
        raise InputError(f"answer: must be above 0 s, not {args.answer_s}; leave it out for {ANSWER_S:g}")
    board = Board([*(shlex.split(args.ssh) or ["ssh"]), args.board], args.answer_s)
    name = args.bundle.resolve().name
    with tempfile.TemporaryDirectory() as scratch:
        wheel = args.wheel or _build_wheel(Path(scratch))
        files = _staged(bundle, args.bundle, Path(scratch) / "bundle")
        local = {**{f"{name}/{file}": path for file, path in files.items()}, wheel.name: wheel}
        sent = board.copy(local, lambda missing: progress(missing, "copying", len(missing)))
    print(f"{args.board}: {sent} of {len(local)} files sent, all hashes checked")
    python = args.python or board.ask(f"[ -x {_PYNQ_PYTHON} ] && echo {_PYNQ_PYTHON} || echo python3").strip()
    quoted = shlex.quote(python)
    install = "-m pip install -q --no-index --no-deps --upgrade --target site"
    board.ask(f"cd {FOLDER} && {quoted} {install} {shlex.quote(wheel.name)}", INSTALL_S)
    root_first = "" if args.device != "pynq" else '$([ "$(id -u)" = 0 ] || echo sudo -n -E) '
    output = board.ask(
        f'{_PROFILE}cd {FOLDER} && {root_first}env PYTHONPATH="$PWD/site" {quoted} -m fireflow.host.selftest '
        f"{shlex.quote(name)} {shlex.quote(args.device)}",
        INSTALL_S,
    )
    facts = _facts(args.board, output)
    print(
        f"self test on {facts['device']}: {facts['images']} images, {facts['differing']} scores differ; "
        f"{facts['fps']:.1f} frames a second, clock {facts['clock_mhz']:g} MHz (asked {facts['clock_asked_mhz']:g})"
    )
    return int(bool(facts["differing"] or facts["wrong"]))


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


def _facts(board: str, output: str) -> Mapping[str, Any]:
    """What the self test says in its last line. Raises InputError where that is something else."""
    place = f"{board}: the self test"
    lines = output.strip().splitlines() or [""]
    facts = fields.mapping(place, parse_json(lines[-1].encode("utf-8", "replace"), place, "look there"))
    fields.text(f"{place}: device", facts.get("device"))
    for name in ("images", "differing", "wrong"):
        fields.whole(f"{place}: {name}", facts.get(name))
    for name in ("fps", "clock_mhz", "clock_asked_mhz"):
        fields.number(f"{place}: {name}", facts.get(name))
    return facts


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
