"""`fireflow toolchain`: installs the open tools, and says where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from fireflow.host.cli import main
from tests.hw.bitstream.debian_mock import mock_debian


def test_install_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mock_debian(tmp_path, monkeypatch)
    assert main(["toolchain", "where"]) == 2
    assert "and are not on PATH nor in" in capsys.readouterr().err
    assert main(["toolchain", "install", "open"]) == 0
    folder = Path(capsys.readouterr().out.splitlines()[-1])
    assert folder == tmp_path / "cache/fireflow/toolchains/open"
    assert main(["toolchain", "where"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(folder)


def test_a_failed_install_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mock_debian(tmp_path, monkeypatch)
    monkeypatch.setenv("MOCK_FAILS", "1")
    assert main(["toolchain", "install", "open", "--folder", str(tmp_path / "tools")]) == 1
    assert "Failed getting release file" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mocks", "tools.log"]
