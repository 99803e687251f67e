"""What a user sees of a defect of ours: one line that names a log, exit code 70, and never a traceback."""

from __future__ import annotations

import argparse
import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fireflow.host.cli import BAD_INPUT, INTERNAL_ERROR, main, models
from fireflow.host.cli.errors import needs_newer_python

ROOT = Path(__file__).parents[3]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("FIREFLOW_TRACEBACK", raising=False)
    return tmp_path / "state"


def fail(_args: argparse.Namespace) -> int:
    raise ZeroDivisionError("of\na kind\x1b[31m")


def _line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert "\x1b" not in line
    return line


def test_one_line_and_a_log(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models, "run", fail)
    assert main(["models"]) == INTERNAL_ERROR == 70
    line = _line(capsys)
    assert line.startswith("fireflow: internal error, a defect of fireflow (ZeroDivisionError: of a kind); ")
    log = Path(line.rpartition(" ")[2])
    assert log.parent == state / "fireflow" / "log"
    text = log.read_text()
    assert "Traceback (most recent call last)" in text
    assert "in fail" in text
    assert "arguments: ['models']" in text
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_home_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(models, "run", fail)
    assert main(["models"]) == INTERNAL_ERROR
    assert Path(_line(capsys).rpartition(" ")[2]).parent == tmp_path
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    assert main(["models"]) == INTERNAL_ERROR
    assert "could not be written anywhere" in _line(capsys)


def test_a_token_stays_out_of_the_log(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fireflow.host.cli.serve.run", fail)
    for words in (["--token", "hush"], ["--token=hush"]):
        assert main(["serve", "b.fire", *words]) == INTERNAL_ERROR
        assert "hush" not in Path(_line(capsys).rpartition(" ")[2]).read_text()


def test_developers_get_it_raised(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREFLOW_TRACEBACK", "1")
    monkeypatch.setattr(models, "run", fail)
    with pytest.raises(ZeroDivisionError):
        main(["models"])


@pytest.mark.parametrize(
    "error", [MemoryError(), RecursionError("deep"), ImportError("ours"), AssertionError()]
)
def test_every_kind_of_error(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def raise_it(_args: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr(models, "run", raise_it)
    assert main(["models"]) == (BAD_INPUT if isinstance(error, MemoryError) else INTERNAL_ERROR)
    _line(capsys)


def test_an_error_of_a_thread(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(args: argparse.Namespace) -> int:
        thread = threading.Thread(target=fail, args=(args,))
        thread.start()
        thread.join()
        return 0

    hook = threading.excepthook
    monkeypatch.setattr(models, "run", start)
    assert main(["models"]) == 0
    assert "internal error" in _line(capsys)
    assert threading.excepthook is hook


def test_names_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"no\xfftext.fire")
    command = [sys.executable, "-m", "fireflow", "simulate", name, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, check=False)
    assert done.returncode == BAD_INPUT
    assert b"Traceback" not in done.stderr


def test_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    error = SyntaxError(
        "invalid syntax", (str(ROOT / "fireflow" / "hw" / "rtl" / "stitch.py"), 1, 1, "match x:")
    )
    ours = SyntaxError("invalid syntax", (str(ROOT / "fireflow" / "hw" / "graph.py"), 1, 1, "match x:"))
    assert needs_newer_python(error, "build") is None
    monkeypatch.setattr(sys, "version_info", (3, 8, 18))
    advice = needs_newer_python(error, "build")
    assert advice is not None
    assert re.match(r"build: .* must run on Python 3\.11 or newer, not 3\.8; ", advice)
    assert needs_newer_python(ours, "build") is None
