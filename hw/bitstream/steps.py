"""Long work in steps: each keeps its result by what it was made from, so that an interrupted build goes on."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fireflow.hw.bitstream.process import Usage, run_logged
from fireflow.hw.cache import content_key, is_as_listed, listing
from fireflow.hw.errors import InputError
from fireflow.hw.files import PathLike, atomic_directory, read_tool_json

RECORD = "step.json"
"""In the folder of each finished step: its key, what it took, and the sizes and hashes of its files."""


@dataclass(frozen=True)
class Status:
    """How far a build is.

    Args:
        step: the current one.
        number, total: its place, from 1, and how many there are.
        state: "runs", "done", or "kept" where the result of an earlier run serves.
        seconds: that it has taken so far, or took.
        remaining_s: an estimate for this step and those behind it; None where nothing is known.
        detail: what it does now, or "".
    """

    step: str
    number: int
    total: int
    state: str
    seconds: float
    remaining_s: float | None
    detail: str = ""


Progress = Callable[[Status], None]


def duration(seconds: float) -> str:
    """A time for people.

    >>> duration(65.9), duration(3900)
    ('1:05', '1 h 05 min')
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes}:{rest:02d}"


@dataclass
class Work:
    """What a running step has.

    Args:
        folder: where it writes; becomes the step's folder when it ends without an error, and goes otherwise.
        done: the folders of the steps before it.
        log: for the messages of tools; stays when the step fails.
        say: tells the user what goes on.
        usage: of the tools that the step ran.
    """

    folder: Path
    done: Mapping[str, Path]
    log: Path
    say: Callable[[str], None]
    usage: Usage = field(default_factory=Usage)

    def tool(
        self,
        command: Sequence[str],
        *,
        cwd: PathLike | None = None,
        environment: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Usage:
        """Runs a program in the step's folder or `cwd`; its output goes to the log.

        Args:
            on_line: called with each line; by default nothing.

        Raises:
            ToolError: it fails, is killed or takes too long.
        """
        used = run_logged(
            command,
            self.log,
            cwd=cwd or self.folder,
            environment=environment,
            timeout_s=timeout_s,
            on_line=on_line,
        )
        self.usage += used
        return used


@dataclass(frozen=True)
class Step:
    """A piece of work with a folder of its own.

    Args:
        name: of the step and its folder.
        run: writes the result into `Work.folder`.
        parts: texts and files from which, beside the steps before it, the result follows: options, versions, sources.
        estimate_s: how long it may take, for the user to see; 0 where nothing is known.
    """

    name: str
    run: Callable[[Work], None]
    parts: tuple[str | Path, ...] = ()
    estimate_s: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """A finished step: its folder, what it took when it ran, and whether that was in an earlier run."""

    name: str
    folder: Path
    usage: Usage
    kept: bool


def run_steps(
    steps: Sequence[Step], folder: PathLike, progress: Progress | None = None
) -> dict[str, Outcome]:
    """Runs the steps in order; those whose result is there already are not run again.

    A result counts if nothing that it and the steps before it were made from has changed. A step that is interrupted,
    fails or is killed leaves no result, and those before it stay: the same call goes on there.

    Args:
        steps: with different names.
        folder: where each step has a folder of its name, and NAME.log; made if missing.
        progress: called when a step starts, says something and ends.

    Returns:
        by the names of the steps.

    Raises:
        InputError: another build works in the folder.
        ToolError: a tool failed.
    """
    names = [step.name for step in steps]
    assert len(set(names)) == len(names), f"steps must have different names, not {names}"
    target = Path(folder).resolve()
    outcomes: dict[str, Outcome] = {}
    key = ""
    with _alone(target):
        for number, step in enumerate(steps):
            key = content_key([key, step.name, *step.parts])
            later = [entry.estimate_s for entry in steps[number + 1 :]]
            known = None if not step.estimate_s or 0.0 in later else sum(later)
            status = Status(step.name, number + 1, len(steps), "runs", 0.0, known)
            outcomes[step.name] = _one(step, key, target, outcomes, status, progress or (lambda status: None))
    return outcomes


def _one(
    step: Step, key: str, target: Path, before: Mapping[str, Outcome], status: Status, progress: Progress
) -> Outcome:
    place, later = target / step.name, status.remaining_s
    found = _record(place, key)
    if found is not None:
        progress(replace(status, state="kept", seconds=found.seconds, remaining_s=later))
        return Outcome(step.name, place, found, kept=True)
    start = time.monotonic()

    def say(detail: str) -> None:
        passed = time.monotonic() - start
        remaining = None if later is None else later + max(0.0, step.estimate_s - passed)
        progress(replace(status, seconds=passed, remaining_s=remaining, detail=detail))

    log = target / f"{step.name}.log"
    log.unlink(missing_ok=True)
    say("")
    with atomic_directory(place) as temporary:
        work = Work(temporary, {name: outcome.folder for name, outcome in before.items()}, log, say)
        step.run(work)
        usage = replace(work.usage, seconds=time.monotonic() - start)
        files = listing(temporary)
        (temporary / RECORD).write_text(json.dumps({"key": key, **usage.to_json(), "files": files}) + "\n")
    progress(replace(status, state="done", seconds=usage.seconds, remaining_s=later))
    return Outcome(step.name, place, usage, kept=False)


def _record(place: Path, key: str) -> Usage | None:
    """What a finished step took, if it was made from the same and its files are as it left them.

    A record of another version of ours counts as none.
    """
    try:
        record = read_tool_json(place / RECORD)
        return (
            Usage.from_json(record) if record["key"] == key and is_as_listed(place, record["files"]) else None
        )
    except (InputError, KeyError, TypeError, ValueError):
        return None


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Keeps other builds out of the folder, and removes what a killed one left half done."""
    target.mkdir(parents=True, exist_ok=True)
    with open(target / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"{target}: one build at a time must work there, and another does; wait for it"
            ) from None
        for left in target.glob(".*.*"):
            shutil.rmtree(left, ignore_errors=True)
        yield
