"""`fireflow deploy` to a board that is a folder: its `ssh` runs the command in another home."""

from __future__ import annotations

import os
import re
import stat
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fireflow.host.cli import main
from tests.host.boards import bundle

ROOT = Path(__file__).parents[3]
SSH = """#!/bin/sh
# The last two arguments are the address and the command.
while [ $# -gt 2 ]; do shift; done
[ "$1" = me@board ] || { echo "no route to $1" >&2; exit 255; }
cd "$FAKE_HOME" && HOME="$FAKE_HOME" && export HOME
case "$2" in
  "cat >> "*) [ -z "$BREAKS" ] || { head -c "$BREAKS" | sh -c "$2"; echo broken pipe >&2; exit 255; };;
esac
echo "$2" >> log
eval "$LOGIN"
exec sh -c "$2"
"""
Deploy = Callable[..., int]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As pip builds it, but at once: the packages that a board needs, and what pip asks of a wheel."""
    path = tmp_path_factory.mktemp("wheel") / "fireflow-0.1.0-py3-none-any.whl"
    info = "fireflow-0.1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted((ROOT / "fireflow").glob("*.py*")):
            archive.write(file, file.relative_to(ROOT))
        for package in ("hw", "host"):
            for file in sorted((ROOT / package).rglob("*.py")):
                archive.write(file, "fireflow" / file.relative_to(ROOT))
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: fireflow\nVersion: 0.1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def deploy(tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Deploy:
    home = tmp_path / "home"
    home.mkdir()
    ssh = tmp_path / "ssh"
    ssh.write_text(SSH)
    ssh.chmod(ssh.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("FAKE_HOME", str(home))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("LOGIN", "")
    bundle().save(tmp_path / "small.fire")

    def run(*options: str, board: str = "me@board") -> int:
        command = ["deploy", str(tmp_path / "small.fire"), board, "--device", "virtual", "--ssh", f"{ssh} -q"]
        return main([*command, "--wheel", str(wheel), "--python", sys.executable, *options])

    return run


def test_copies_installs_and_checks(deploy: Deploy, tmp_path: Path, capsys: Any) -> None:
    assert deploy() == 0
    printed = capsys.readouterr().out
    assert "me@board: 5 of 5 files sent, all hashes checked" in printed
    assert "self test on virtual" in printed
    assert "3 images, 0 scores differ" in printed
    home = tmp_path / "home" / "fireflow"
    for path in (tmp_path / "small.fire").iterdir():
        assert (home / "small.fire" / path.name).read_bytes() == path.read_bytes()
    (home / "small.fire" / "graph.json").write_bytes(b"{}")
    assert deploy() == 0
    assert "1 of 5 files sent" in capsys.readouterr().out


def test_resumes(
    deploy: Deploy, tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("BREAKS", "100")
    assert deploy() == 2
    assert "the board must do its part, not fail (broken pipe)" in capsys.readouterr().err
    parts = list((tmp_path / "home").rglob("*.part"))
    assert [part.stat().st_size for part in parts] == [100]
    monkeypatch.setenv("BREAKS", "")
    os.truncate(parts[0], 50)
    target = tmp_path / "home" / "fireflow" / wheel.name  # a damaged beginning is not continued
    Path(f"{target}.part").write_bytes(b"xx" + wheel.read_bytes()[2:1000])
    assert deploy() == 0
    assert list((tmp_path / "home").rglob("*.part")) == []
    assert target.read_bytes() == wheel.read_bytes()


def test_refused(deploy: Deploy, tmp_path: Path, capsys: Any) -> None:
    assert deploy(board="me@nowhere") == 2
    assert "no route to me@nowhere" in capsys.readouterr().err
    assert deploy("--device", "pynq") == 2
    assert "must have a bitstream for a board" in capsys.readouterr().err
    assert deploy("--ssh", "/nowhere/ssh") == 2
    assert "install an SSH client" in capsys.readouterr().err
    assert deploy("--python", "/nowhere/python") == 2
    assert "the board must do its part" in capsys.readouterr().err


CHATTY = "echo Welcome; echo 1234 5678 /etc/x; printf 'no line end'; echo Debian >&2"


def test_what_a_login_prints_is_no_answer(
    deploy: Deploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("LOGIN", CHATTY)
    monkeypatch.setenv("BREAKS", "100")
    assert deploy() == 2
    monkeypatch.setenv("BREAKS", "")
    assert deploy() == 0
    assert "3 images, 0 scores differ" in capsys.readouterr().out
    assert deploy("--python", "/nowhere/python") == 2
    assert re.search(r"not fail \(.*/nowhere/python: ", capsys.readouterr().err)
    assert list((tmp_path / "home").rglob("*.part")) == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("login", "says"),
    [
        ("exec sleep 1000", r"the board must answer within 2 s, not be silent"),
        ("sleep 1000", r"the board must answer within 2 s, not be silent"),
        ("yes", r"the board must print at most 1048576 bytes, not more"),
        ("yes >&2", r"the board must print at most 1048576 bytes, not more"),
        ("exit 0", r"the board must run commands with sh, not answer without them"),
        ("echo out of order >&2; exit 3", r"the board must do its part, not fail \(out of order\)"),
        ("kill -9 $$", r"the board must do its part, not fail \(status -9\)"),
    ],
)
def test_a_board_that_is_silent_or_talks_without_end(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch, capsys: Any, login: str, says: str
) -> None:
    monkeypatch.setenv("LOGIN", login)
    assert deploy("--answer-s", "2") == 2
    assert re.search(says, capsys.readouterr().err)


def test_what_the_manifest_does_not_list_stays_here(deploy: Deploy, tmp_path: Path, capsys: Any) -> None:
    local = tmp_path / "small.fire"
    (local / "notes.txt").write_text("of the user")
    os.symlink("/etc/passwd", local / "rtl.sv")
    os.symlink("/etc", local / "folder")
    os.mkfifo(local / "pipe")
    assert deploy("--python", "/nowhere/python") == 2  # the copy is all that counts here
    assert "5 of 5 files sent" in capsys.readouterr().out
    there = {path.name for path in (tmp_path / "home" / "fireflow" / "small.fire").iterdir()}
    assert there == {"manifest.json", "graph.json", "graph.arrays", "golden.npz"}


def test_a_listed_link_that_leads_out_is_refused(deploy: Deploy, tmp_path: Path, capsys: Any) -> None:
    outside = tmp_path / "outside"
    (tmp_path / "small.fire" / "golden.npz").rename(outside)
    os.symlink(outside, tmp_path / "small.fire" / "golden.npz")
    assert deploy() == 2
    assert "files must lie inside the bundle, not at 'golden.npz'" in capsys.readouterr().err
    assert list((tmp_path / "home").iterdir()) == []
