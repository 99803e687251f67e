"""`fireflow deploy` to a board that is a folder: its `ssh` runs the command in another home."""

from __future__ import annotations

import os
import stat
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from host.cli import main
from tests.host.boards import bundle

ROOT = Path(__file__).parents[2]
SSH = """#!/bin/sh
# The last two arguments are the address and the command.
while [ $# -gt 2 ]; do shift; done
[ "$1" = me@board ] || { echo "no route to $1" >&2; exit 255; }
cd "$FAKE_HOME" && HOME="$FAKE_HOME" && export HOME
case "$2" in
  "cat >> "*) [ -z "$BREAKS" ] || { head -c "$BREAKS" | sh -c "$2"; echo broken pipe >&2; exit 255; };;
esac
echo "$2" >> log
exec sh -c "$2"
"""
Deploy = Callable[..., int]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As pip builds it, but at once: the packages that a board needs, and what pip asks of a wheel."""
    path = tmp_path_factory.mktemp("wheel") / "fireflow-0.1.0-py3-none-any.whl"
    info = "fireflow-0.1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for package in ("hw", "host"):
            for file in sorted((ROOT / package).rglob("*.py")):
                archive.write(file, file.relative_to(ROOT))
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
