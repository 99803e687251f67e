"""The open tools: found where they are, installed from a mock of Debian, run by the loader of their own tree."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fireflow.host.cli import main
from fireflow.hw.bitstream.process import ToolError
from fireflow.hw.bitstream.toolbox import PACKAGES, PROGRAMS, VARIABLE, Toolbox, install
from fireflow.hw.errors import InputError

# What dpkg-deb unpacks of the packages: a loader that runs the program behind its own options, programs that say what
# they are given, and a database.
UNPACK = """#!/bin/sh
[ "$1" = -x ] || exit 9
mkdir -p "$3/usr/bin" "$3/usr/lib/x86_64-linux-gnu" "$3/usr/share/prjxray/database/zynq7"
loader="$3/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
printf '#!/bin/sh\\nshift 4\\nexec "$@"\\n' > "$loader"
chmod +x "$loader"
for program in yosys nextpnr-himbaechel-xilinx xc7frames2bit bitread; do
    printf '#!/bin/sh\\necho %s "$@"\\n' $program > "$3/usr/bin/$program"
    chmod +x "$3/usr/bin/$program"
done
"""
BOOTSTRAP = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/calls"
[ -z "$MOCK_FAILS" ] || { echo "E: Failed getting release file"; exit 1; }
for folder; do :; done
mkdir -p "$folder/var/cache/apt/archives" "$folder/usr"
for package in PACKAGES; do
    echo "I: Retrieving $package 1.0-2"
    : > "$folder/var/cache/apt/archives/${package}_1.0-2_amd64.deb"
done
""".replace("PACKAGES", " ".join(PACKAGES))


@pytest.fixture
def mocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mocks"
    folder.mkdir()
    fakeroot = '#!/bin/sh\nexec "$@"\n'
    for name, text in (("debootstrap", BOOTSTRAP), ("dpkg-deb", UNPACK), ("fakeroot", fakeroot)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)
    return folder


def test_install_and_run(mocks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["toolchain", "where"]) == 2
    assert "and are not on PATH nor in" in capsys.readouterr().err
    assert main(["toolchain", "install", "open"]) == 0
    folder = Path(capsys.readouterr().out.splitlines()[-1])
    assert folder == tmp_path / "cache/fireflow/toolchains/open"
    assert not (folder / "var").exists()
    (call,) = (mocks / "calls").read_text().splitlines()
    assert call.startswith(f"--foreign --variant=minbase --include={','.join(PACKAGES)} testing ")
    tools = Toolbox.find()
    assert tools.versions == dict.fromkeys(PACKAGES, "1.0-2")
    assert tools.environment == {"PYTHONHOME": str(folder / "usr")}
    assert tools.database.is_dir()
    for program in PROGRAMS:
        done = subprocess.run(tools.command(program, "-a", "b c"), check=True, capture_output=True, text=True)
        assert done.stdout == f"{program} -a b c\n"
    assert main(["toolchain", "where"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(folder)


def test_a_failed_install_leaves_nothing(
    mocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MOCK_FAILS", "1")
    folder = tmp_path / "tools"
    with pytest.raises(ToolError, match=r"E: Failed getting release file; see .*log"):
        install(folder, tmp_path / "log", lambda text: None)
    assert not folder.exists()
    assert main(["toolchain", "install", "open", "--folder", str(folder)]) == 1
    assert "Failed getting release file" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "mocks", "tools.log"]


def test_a_named_folder_comes_first(mocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tools"
    install(folder, tmp_path / "log", lambda text: None)
    monkeypatch.setenv(VARIABLE, str(folder))
    assert Toolbox.find().root == folder
    (folder / "usr/bin/bitread").unlink()
    with pytest.raises(InputError, match=r"a folder of open tools must have usr/bin/bitread, and has not"):
        Toolbox.find()


def test_tools_on_the_path(mocks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in PROGRAMS:
        (mocks / program).write_text(f"#!/bin/sh\necho {program} 3.1\necho of today\n")
        (mocks / program).chmod(0o755)
    monkeypatch.setattr("fireflow.hw.bitstream.toolbox._DATABASE", Path("usr"))  # a folder that is everywhere
    tools = Toolbox.find()
    assert tools.root is None
    assert tools.versions == {name: f"{name} 3.1" for name in ("yosys", "nextpnr-himbaechel-xilinx")}
    assert tools.command("bitread", "-z") == ["bitread", "-z"]
    assert tools.environment == {}


def test_without_debootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"^debootstrap: must be installed, and is not; install it"):
        install(tmp_path / "tools", tmp_path / "log", lambda text: None)
