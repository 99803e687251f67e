"""A computer at the other end of SSH, perhaps silent, talkative or wrong: waits end, and answers are checked.

What a login prints (banners, `.bashrc`) is no answer: answers lie between marks that nobody knows before.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shlex
import subprocess
import threading
from pathlib import Path
from typing import IO, Any, BinaryIO, Callable, Mapping, Sequence

from fireflow.hw.errors import InputError
from fireflow.hw.files import open_regular, sha256_of

FOLDER = "fireflow"
"""Where everything lies there, in the user's home."""
ANSWER_S = 120.0
"""For a short command, the login included."""
_SLOWEST_BYTES_PER_S = 20_000
_MAX_ANSWER_BYTES = 1 << 20
_MAX_FILE_BYTES = 1 << 30
# OpenSSH's own: a board that is not there, or no longer, is known before our time is over.
_OPENSSH = ("-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4")


class RemoteBoard:
    """A computer at the other end of SSH.

    Args:
        ssh: the command up to and including the address.
        answer_s: seconds that a short command may take.
    """

    def __init__(self, ssh: Sequence[str], answer_s: float = ANSWER_S) -> None:
        *program, self._address = ssh
        options = _OPENSSH if Path(program[0]).name in ("ssh", "ssh.exe") else ()
        self._ssh = [*program, *options, self._address]
        self._answer_s = answer_s

    def ask(self, command: str, limit_s: float | None = None) -> str:
        """Runs a command there and returns what it prints.

        Args:
            limit_s: seconds that it may take; those of a short command by default.

        Raises:
            InputError: it fails, takes longer or prints without end, or the board cannot be reached.
        """
        mark = secrets.token_hex(8)
        script = f"echo; echo {mark}; echo {mark} >&2; {{ {command}\n}}; status=$?; echo; echo {mark}; exit $status"
        status, printed, complained = self._run(f"exec sh -c {shlex.quote(script)}", None, limit_s)
        said = complained.rpartition(mark)[2]
        if status:
            self._fail(said if said.strip() else complained, status)
        answer = re.search(rf"^{mark}\r?\n(.*)\r?\n{mark}\r?$", printed, re.MULTILINE | re.DOTALL)
        if answer is None:
            raise InputError(
                f"{self._address}: the board must run commands with sh, not answer without them; look at its login"
            )
        return answer[1]

    def feed(self, command: str, source: BinaryIO, limit_s: float) -> None:
        """Runs a command there that reads what is left of a file. Raises InputError as `ask`."""
        status, _printed, complained = self._run(command, source, limit_s)
        if status:
            self._fail(complained, status)

    def copy(self, files: Mapping[str, Path], progress: Callable[[int, int], None] | None = None) -> int:
        """Brings files into FOLDER, whatever is there already left alone; how many were sent.

        A copy that broke off is resumed where it stopped, if what arrived is right.

        Args:
            files: by their names there.
            progress: told how many were sent so far, and how many will be.

        Raises:
            InputError: as `ask`; a copy that arrives with another hash.
        """
        folders = sorted({str(Path(FOLDER, name).parent) for name in files})
        self.ask("mkdir -p " + " ".join(map(shlex.quote, folders)))
        names = " ".join(shlex.quote(name) for name in files)
        expected = {}
        for name, path in files.items():
            with open_regular(path, _MAX_FILE_BYTES) as file:
                expected[name] = sha256_of(file)
        present = self._hashes(f"cd {FOLDER} && sha256sum -- {names} 2>/dev/null; true")
        missing = [name for name in files if present.get(name) != expected[name]]
        for number, name in enumerate(missing, 1):
            self._send(name, files[name], expected[name])
            if progress is not None:
                progress(number, len(missing))
        return len(missing)

    def _hashes(self, command: str) -> dict[str, str]:
        lines = (line.split(None, 1) for line in self.ask(command, 10 * self._answer_s).splitlines())
        return {parts[1].lstrip("*"): parts[0] for parts in lines if len(parts) == 2}

    def _hash_of(self, part: str) -> str:
        words = self.ask(f"sha256sum < {part}", 10 * self._answer_s).split()
        return words[0] if words else ""

    def _send(self, name: str, path: Path, expected: str) -> None:
        part = shlex.quote(f"{FOLDER}/{name}.part")
        there = self.ask(f"[ -f {part} ] && wc -c < {part} || echo 0").strip()
        with open_regular(path, _MAX_FILE_BYTES) as opened:
            whole = opened.seek(0, 2)
        size = int(there) if re.fullmatch(r"\d{1,15}", there) and int(there) <= whole else -1
        with open(path, "rb", buffering=0) as file:  # ssh goes on where this file stands
            arrived = hashlib.sha256(file.read(max(0, size))).hexdigest()
            if size and (size < 0 or self._hash_of(part) != arrived):
                self.ask(f"rm -f {part}")
                size = 0
            file.seek(size)
            self.feed(f"cat >> {part}", file, self._answer_s + (whole - size) / _SLOWEST_BYTES_PER_S)
        if self._hash_of(part) != expected:
            self.ask(f"rm -f {part}")
            raise InputError(f"{name}: the copy must have the hash {expected[:12]}, not another; try again")
        self.ask(f"mv {part} {shlex.quote(f'{FOLDER}/{name}')}")

    def _run(self, command: str, source: BinaryIO | None, limit_s: float | None) -> tuple[int, str, str]:
        """The status, and what came on standard output and error."""
        limit_s = self._answer_s if limit_s is None else limit_s
        try:
            process = subprocess.Popen(
                [*self._ssh, command],
                stdin=source if source is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise InputError(f"{self._ssh[0]}: must run ({error.strerror}); install an SSH client") from None
        pipes = [_Pipe(stream, process) for stream in (process.stdout, process.stderr)]
        try:
            status = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise InputError(
                f"{self._address}: the board must answer within {limit_s:.0f} s, not be silent; "
                "check its power and network"
            ) from None
        finally:
            process.kill()
            process.wait()
            # Programs of ssh's, such as a proxy, may hold the pipes open; what they say then is of no use.
            texts = [pipe.end() for pipe in pipes]
        if any(pipe.full for pipe in pipes):
            raise InputError(
                f"{self._address}: the board must print at most {_MAX_ANSWER_BYTES} bytes, not more; look at its login"
            )
        return status, texts[0], texts[1]

    def _fail(self, said: str, status: int) -> None:
        reason = (said.strip().splitlines() or [f"status {status}"])[-1]
        reason = reason[len("fireflow: ") :] if reason.startswith("fireflow: ") else reason
        raise InputError(f"{self._address}: the board must do its part, not fail ({reason:.300}); see there")


class _Pipe:
    """Reads a pipe to its end beside everything else; ends the process that prints without end."""

    def __init__(self, stream: IO[bytes] | None, process: subprocess.Popen[Any]) -> None:
        assert stream is not None
        self.full = False
        self._stream, self._process, self._data = stream, process, bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for block in iter(lambda: self._stream.read1(1 << 16), b""):  # type: ignore[attr-defined]
            if len(self._data) + len(block) > _MAX_ANSWER_BYTES:
                self.full = True
                self._process.kill()
                return
            self._data += block

    def end(self) -> str:
        """What came."""
        self._thread.join(2.0)
        if not self._thread.is_alive():
            self._stream.close()
        return bytes(self._data).decode("utf-8", "replace")
