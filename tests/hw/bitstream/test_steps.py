"""Steps: kept by what they were made from, resumed after a failure or an interrupt, alone in their folder."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fireflow.hw.bitstream.process import ToolError, run_logged
from fireflow.hw.bitstream.steps import Status, Step, Work, run_steps
from fireflow.hw.errors import InputError

ROOT = Path(__file__).resolve().parents[3]


def writer(name: str, ran: list[str]) -> Step:
    def run(work: Work) -> None:
        ran.append(name)
        work.say("writing")
        (work.folder / "text").write_text(
            "".join((place / "text").read_text() for place in work.done.values()) + name
        )

    return Step(name, run, (f"options of {name}",), estimate_s=2.0)


def test_a_second_run_keeps_everything(tmp_path: Path) -> None:
    ran: list[str] = []
    steps = [writer("one", ran), writer("two", ran)]
    first = run_steps(steps, tmp_path)
    again = run_steps(steps, tmp_path)
    assert ran == ["one", "two"]
    assert [outcome.kept for outcome in first.values()] == [False, False]
    assert [outcome.kept for outcome in again.values()] == [True, True]
    assert (again["two"].folder / "text").read_text() == "onetwo"


def test_a_change_runs_the_step_and_those_behind_it(tmp_path: Path) -> None:
    ran: list[str] = []
    one, two, three = writer("one", ran), writer("two", ran), writer("three", ran)
    run_steps([one, two, three], tmp_path)
    changed = Step("two", two.run, ("other options",))
    run_steps([one, changed, three], tmp_path)
    assert ran == ["one", "two", "three", "two", "three"]


@pytest.mark.parametrize("left", ["", "on", "\0\0\0", None])
def test_a_damaged_result_is_made_again(tmp_path: Path, left: str | None) -> None:
    ran: list[str] = []
    steps = [writer("one", ran), writer("two", ran)]
    done = run_steps(steps, tmp_path)
    if left is None:
        (done["one"].folder / "text").unlink()
    else:
        (done["one"].folder / "text").write_text(left)
    again = run_steps(steps, tmp_path)
    assert (ran, again["two"].kept) == (["one", "two", "one"], True)
    assert (again["one"].folder / "text").read_text() == "one"


def test_a_changed_file_counts(tmp_path: Path) -> None:
    ran: list[str] = []
    source = tmp_path / "source.v"
    step = Step("one", writer("one", ran).run, (source,))
    for text in ("module a;", "module a;", "module b;"):
        source.write_text(text)
        run_steps([step], tmp_path / "build")
    assert ran == ["one", "one"]


def test_a_failed_step_leaves_its_log_and_no_folder(tmp_path: Path) -> None:
    ran: list[str] = []

    def fail(work: Work) -> None:
        (work.folder / "half").write_text("half of it")
        work.tool(["sh", "-c", "echo ERROR: no place left; exit 3"])

    steps = [writer("one", ran), Step("two", fail)]
    with pytest.raises(ToolError, match=r"^sh: ERROR: no place left; see .*two\.log$"):
        run_steps(steps, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "one", "two.log"]
    run_steps([steps[0], writer("two", ran)], tmp_path)
    assert ran == ["one", "two"]


def test_progress_tells_what_is_left(tmp_path: Path) -> None:
    seen: list[Status] = []
    ran: list[str] = []
    run_steps([writer("one", ran), writer("two", ran)], tmp_path, seen.append)
    assert [(s.step, s.number, s.total, s.state, s.detail) for s in seen] == [
        ("one", 1, 2, "runs", ""),
        ("one", 1, 2, "runs", "writing"),
        ("one", 1, 2, "done", ""),
        ("two", 2, 2, "runs", ""),
        ("two", 2, 2, "runs", "writing"),
        ("two", 2, 2, "done", ""),
    ]
    assert seen[0].remaining_s is not None
    assert 3 < seen[0].remaining_s <= 4
    assert seen[-1].remaining_s == 0


def test_one_build_at_a_time(tmp_path: Path) -> None:
    def inner(work: Work) -> None:
        run_steps([Step("inner", lambda work: None)], tmp_path)

    with pytest.raises(
        InputError, match="one build at a time must work there, and another does; wait for it"
    ):
        run_steps([Step("outer", inner)], tmp_path)


SCRIPT = """
import sys
from pathlib import Path
from fireflow.hw.bitstream.steps import Step, run_steps

def slow(work):
    (work.folder / "half").write_text("half of it")
    work.tool(["sh", "-c", "echo $$ > $0; exec sleep 60", str(Path(sys.argv[1]).resolve() / "pid")])

run_steps([Step("quick", lambda work: None), Step("slow", slow)], sys.argv[1])
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_leaves_nothing_half_done(tmp_path: Path, how: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    pid = tmp_path / "pid"
    deadline = time.monotonic() + 30
    while not pid.is_file() or not pid.read_text().strip():
        assert time.monotonic() < deadline, "the tool must start"
        time.sleep(0.02)
    tool = int(pid.read_text())
    process.send_signal(how)
    process.wait(30)
    assert not (tmp_path / "slow").exists()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{tool}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{tool}").exists(), "the tool must end with the build"
    ran: list[str] = []
    done = run_steps(
        [Step("quick", lambda work: None), Step("slow", lambda work: ran.append("slow"))], tmp_path
    )
    assert done["quick"].kept
    assert ran == ["slow"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_tools_are_measured_and_limited(tmp_path: Path) -> None:
    lines: list[str] = []
    used = run_logged(["sh", "-c", "echo one; echo two"], tmp_path / "log", on_line=lines.append)
    assert lines == ["one", "two"]
    assert used.memory_mib > 0
    assert used.seconds > 0
    with pytest.raises(ToolError, match=r"^sleep: took longer than 0\.2 s"):
        run_logged(["sleep", "30"], tmp_path / "log", timeout_s=0.2)
    with pytest.raises(ToolError, match=r"^sh: was ended by SIGKILL \(often for want of memory\)"):
        run_logged(["sh", "-c", "kill -9 $$"], tmp_path / "log")
    with pytest.raises(ToolError, match=r"^no-such-tool: cannot be run"):
        run_logged(["no-such-tool"], tmp_path / "log")
