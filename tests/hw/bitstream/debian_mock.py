"""Programs that install the open tools without a network: a mock of Debian's."""

from __future__ import annotations

from pathlib import Path

import pytest

from fireflow.hw.bitstream.toolbox import PACKAGES, VARIABLE

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


def mock_debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts the mocks first on PATH, and caches below `tmp_path`; gives their folder."""
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
