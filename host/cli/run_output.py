"""What `fireflow run` shows: results as they come, and how fast they came."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, ContextManager, Iterator, Mapping

from fireflow.host.cli.output import print_json
from fireflow.hw.table import table

if TYPE_CHECKING:
    from fireflow.host.picture_run import Classified, PictureRun

    Show = Callable[[Classified, PictureRun], None]

_LIVE_ROWS = 12


@contextlib.contextmanager
def view(silent: bool, total: int | None) -> Iterator[Show]:
    """Shows results as they come: a live table on a terminal, else a line each; nothing beside JSON.

    Args:
        silent: stdout is for a program.
        total: pictures, if that is known.
    """
    if silent:
        yield lambda *_: None
        return
    live = _live_table(total) if sys.stdout.isatty() else None
    if live is None:
        yield _line
        return
    with live as show:
        yield show


def _line(each: Classified, _run: PictureRun) -> None:
    guesses = ", ".join(f"{guess.label} {guess.score:.3f}" for guess in each.guesses)
    print(f"{each.picture.name}: {guesses}", flush=True)


def _live_table(total: int | None) -> ContextManager[Show] | None:
    try:
        from rich.live import Live
        from rich.table import Table
    except ImportError:
        return None

    @contextlib.contextmanager
    def live_table() -> Iterator[Show]:
        rows: deque[tuple[str, str, str]] = deque(maxlen=_LIVE_ROWS)
        with Live(refresh_per_second=8) as live:

            def show(each: Classified, run: PictureRun) -> None:
                first, rest = each.guesses[0], ", ".join(f"{g.label} {g.score:.2f}" for g in each.guesses[1:])
                rows.append((each.picture.name, f"{first.label} {first.score:.2f}", rest))
                of = "" if total is None else f" of {total}"
                title = f"{run.answered}{of} pictures, {run.fps:.1f} a second"
                shown = Table("picture", "class", "then", title=title)
                for row in rows:
                    shown.add_row(*row)
                live.update(shown)

            yield show

    return live_table()


def print_summary(summary: Mapping[str, Any], as_json: bool, on_stdout: bool) -> None:
    """How fast it went.

    Args:
        summary: of `PictureRun`, with the bundle.
        as_json: for scripts.
        on_stdout: results are on stdout, and stay a clean stream of JSON lines.
    """
    if as_json:
        print_json(summary)
        return
    file = sys.stderr if on_stdout else sys.stdout
    guess = ", estimated" if summary["ceiling_estimated"] else ""
    actual = summary["clock_mhz"]
    print(
        f"{summary['pictures']} pictures in {summary['seconds']:.2f} s: {summary['fps']:.1f} a second "
        f"(the accelerator's ceiling{guess}: {summary['ceiling_fps']:.1f}); {summary['device']}, clock "
        f"{'unknown' if actual is None else format(actual, 'g')} MHz, asked {summary['clock_asked_mhz']:g}",
        file=file,
    )
    rows = [(phase, *(f"{value:.2f}" for value in ms.values())) for phase, ms in summary["ms"].items()]
    if rows:
        print(table(("phase, ms", "median", "90 %", "99 %", "longest"), rows), file=file)
