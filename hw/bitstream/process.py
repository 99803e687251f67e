"""A vendor's or an open tool as a process: its log, time and memory, and an end when the build ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fireflow.hw.errors import ToolFailure
from fireflow.hw.files import PathLike

_GRACE_S = 5.0
_LIBC, _PR_SET_PDEATHSIG = ctypes.CDLL(None), 1
_ERRORS = ("error", "fatal", "abort")


class ToolError(ToolFailure):
    """A tool failed; the message names it, quotes its first error and the log."""


@dataclass(frozen=True)
class Usage:
    """What tools took: time on the clock and of all processors, and the most memory that one of them held, in MiB."""

    seconds: float = 0.0
    memory_mib: float = 0.0
    cpu_s: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        memory_mib = max(self.memory_mib, other.memory_mib)
        return Usage(self.seconds + other.seconds, memory_mib, self.cpu_s + other.cpu_s)

    def to_json(self) -> dict[str, float]:
        return {name: round(value, 1) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Usage:
        return cls(*(float(document[name]) for name in ("seconds", "memory_mib", "cpu_s")))


def run_logged(
    command: Sequence[str],
    log: PathLike,
    *,
    cwd: PathLike | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Usage:
    """Runs a program to its end; standard output and error are appended to the log.

    The program and all that it starts end with this call, also when that is interrupted.

    Args:
        environment: added to this process's own.
        on_line: called with each line.

    Raises:
        ToolError: it is missing, fails, is killed by a signal or takes longer than `timeout_s`.
    """
    name = Path(command[0]).name
    start = time.monotonic()
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    errors: list[str] = []
    last = ""
    with open(log, "a", encoding="utf-8", buffering=1) as file:
        process = _started(command, cwd, environment)
        late, ended = threading.Event(), threading.Event()

        def stop() -> None:
            late.set()
            _signal(process, signal.SIGTERM)
            if not ended.wait(_GRACE_S):
                _signal(process, signal.SIGKILL)

        timer = threading.Timer(timeout_s, stop) if timeout_s is not None else None
        try:
            if timer is not None:
                timer.start()
            assert process.stdout is not None
            for line in process.stdout:
                file.write(line)
                text = line.strip()
                last = text or last
                if any(sign in text.lower() for sign in _ERRORS):
                    errors.append(text)
                if on_line is not None:
                    on_line(line.rstrip("\n"))
            used = _wait(process)
        finally:
            ended.set()
            if timer is not None:
                timer.cancel()
            _end(process)
    if late.is_set():
        raise ToolError(f"{name}: took longer than {timeout_s:g} s; see {log}")
    if process.returncode:
        raise ToolError(f"{name}: {_failure(process.returncode, [*errors[:1], last])} see {log}")
    return Usage(time.monotonic() - start, used.ru_maxrss / 1024, used.ru_utime + used.ru_stime)


class Headlines:
    """Says what matters of a tool's log: the groups of a pattern, of the lines that match it."""

    def __init__(self, say: Callable[[str], None], pattern: str) -> None:
        self.say, self.pattern = say, re.compile(pattern)

    def __call__(self, line: str) -> None:
        found = self.pattern.search(line)
        if found:
            self.say(" ".join(filter(None, found.groups())))


def _started(
    command: Sequence[str], cwd: PathLike | None, environment: Mapping[str, str] | None
) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a group of its own, to be ended as a whole
            preexec_fn=_end_with_parent,
        )
    except OSError as error:
        name = Path(command[0]).name
        raise ToolError(f"{name}: cannot be run ({error.strerror}); see `fireflow doctor`") from None


def _failure(code: int, told: Sequence[str]) -> str:
    """Why a program failed: the first that it told, if it told anything, or how it ended."""
    if code > 0:
        return f"{next(filter(None, told), f'exit code {code}')};"
    sign = signal.Signals(-code).name
    hint = " (often for want of memory)" if sign == "SIGKILL" else ""
    return f"was ended by {sign}{hint}; run the build again to go on,"


def _end_with_parent() -> None:
    """Runs in the new process: the kernel ends it when this one is killed, which cannot end it itself."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait(process: subprocess.Popen[str]) -> resource.struct_rusage:
    """Waits for the end; what the process and what it started took."""
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Sends a signal to the program and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _end(process: subprocess.Popen[str]) -> None:
    """Ends the program with all that it started, first politely."""
    _signal(process, signal.SIGTERM)
    if process.returncode is None:
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
