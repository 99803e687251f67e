"""`fireflow serve`: its signals, its token, what it says of an address."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.host.boards import bundle
from tests.host.test_serve import IMAGES, ROOT, SCORES, asking

pytest.importorskip("uvicorn", reason="the service needs uvicorn, starlette and python-multipart")

POST, BODY = "/v1/classify", IMAGES[0].tobytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals(tmp_path: Path, number: signal.Signals) -> None:
    """What was accepted is answered: the service counts as many answers as the clients got."""
    bundle().save(tmp_path / "small.fire")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "fireflow", "serve", str(tmp_path / "small.fire"), "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == f"serving small on http://127.0.0.1:{port}/\n"
    ask, answered, wrong, begun = asking(port), [], [], threading.Event()

    def client(first: int) -> None:
        for index in itertools.cycle(range(first, len(IMAGES))):
            try:
                status, answer = ask("POST", "/v1/classify?scores=1", IMAGES[index].tobytes())
            except OSError:
                if begun.is_set():
                    return
                time.sleep(0.02)  # it is not listening yet
                continue
            answered.append(status)
            wrong.extend([index] * (answer["scores"] != SCORES[index].tolist()))
            begun.set()

    threads = [threading.Thread(target=client, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    assert begun.wait(30)
    time.sleep(0.3)
    process.send_signal(number)
    for thread in threads:
        thread.join(30)
    printed, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert (set(answered), wrong) == ({200}, [])
    assert printed == f"ended; answered {len(answered)} x 200\n"


@pytest.mark.parametrize("way", ["file", "variable", "option"])
def test_the_command_takes_a_token(tmp_path: Path, way: str) -> None:
    bundle().save(tmp_path / "small.fire")
    (tmp_path / "token").write_text("secret\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    options = {"file": ["--token-file", str(tmp_path / "token")], "option": ["--token", "secret"]}.get(
        way, []
    )
    if way == "variable":
        environment["FIREFLOW_TOKEN"] = "secret"
    command = [sys.executable, "-m", "fireflow", "serve", str(tmp_path / "small.fire"), "--port", "0"]
    with subprocess.Popen(
        [*command, "--host", "0.0.0.0", *options], cwd=ROOT, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2].rstrip("/\n"))
        assert asking(port)("POST", POST, BODY)[0] == 401
        assert asking(port)("POST", POST, BODY, Authorization="Bearer secret")[0] == 200
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.terminate()
        _out, errors = process.communicate(timeout=30)
    assert (b"secret" in shown) == (way == "option")
    assert ("--token shows in the list of processes" in errors) == (way == "option")
    assert "without a token" not in errors


def test_an_open_service_says_so_and_a_taken_port_is_refused(tmp_path: Path) -> None:
    bundle().save(tmp_path / "small.fire")
    command = [sys.executable, "-m", "fireflow", "serve", str(tmp_path / "small.fire"), "--host", "0.0.0.0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*command, "--port", "0"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = process.stdout.readline().rpartition(":")[2].rstrip("/\n")
        second = subprocess.run(
            [*command, "--port", port], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        process.terminate()
        _out, errors = process.communicate(timeout=30)
    assert "without a token, whoever reaches this address may ask" in errors
    assert second.returncode == 2
    assert f"0.0.0.0 port {port} must be free" in second.stderr
