"""What commands print: tables, JSON, progress."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

from fireflow.hw.picture_files import add_left_out, left_out_line


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(document, indent=1, allow_nan=False))


def remark(line: str) -> None:
    """A line on stderr of what a user should know: what the library says by its callbacks."""
    print(f"fireflow: {line}", file=sys.stderr)


def aside(line: str) -> None:
    """A line on stderr on a file, under whose name it stands."""
    print(line, file=sys.stderr)


def tell_left_out(*sets: Mapping[str, int]) -> None:
    """Says on stderr how many files of folders and zips were left out, if there are any."""
    counts: dict[str, int] = {}
    for left_out in sets:
        add_left_out(counts, left_out)
    line = left_out_line(counts)
    if line:
        print(line, file=sys.stderr)


def print_model(path: Path, card: Mapping[str, Any], text: str, as_json: bool) -> None:
    """A model that was written: `text` and its size, or file, size and card for scripts."""
    size_bytes = path.stat().st_size
    if as_json:
        print_json({"output": str(path), "size_bytes": size_bytes, "card": card})
    else:
        print(f"{path}: {text}, {size_bytes} bytes")


@contextmanager
def bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Gives what takes how many are done, and of how many; a bar from the first call on, where stderr is a terminal."""
    try:
        if not sys.stderr.isatty():
            raise ImportError
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:  # a board has no rich
        yield lambda done, total: None
        return
    with Progress(console=Console(stderr=True)) as shown:

        def show(done: int, total: int) -> None:
            if not shown.tasks:
                shown.add_task(label)
            shown.update(shown.tasks[0].id, completed=done, total=total)

        yield show


@contextmanager
def counting_layers() -> Iterator[Callable[[str, int, int], None]]:
    """Gives what tells on stderr which layer was counted: on a terminal as a bar."""
    if not sys.stderr.isatty():
        yield lambda name, done, number: print(
            f"{done} of {number} counted: {name}", file=sys.stderr, flush=True
        )
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("counting", total=None)
        yield lambda name, done, number: bar.update(
            task, completed=done, total=number, description=f"counted {name}"
        )


@contextmanager
def cycle_bars() -> Iterator[Callable[[str, int, float], None]]:
    """Gives what takes the name of a simulation, its cycles and done part so far; bars where stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda what, cycles, part: None
        return
    from rich.console import Console
    from rich.progress import Progress, TaskID

    tasks: dict[str, TaskID] = {}
    with Progress(console=Console(stderr=True)) as bar:

        def show(what: str, cycles: int, part: float) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=1.0)
            bar.update(tasks[what], completed=part, description=f"simulating {what}, {cycles} cycles")

        yield show
