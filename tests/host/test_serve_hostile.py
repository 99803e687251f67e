"""The HTTP service between hostile clients: each attack alone, then all at once beside honest clients."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fireflow.host.service.connections import Limits
from scripts.check_service import Pictures, hostile
from scripts.hostile_clients import png
from tests.host.boards import bundle
from tests.host.test_serve import IMAGES, SCORES, serving

pytest.importorskip("uvicorn", reason="the service needs uvicorn, starlette and python-multipart")

QUICK = Limits(head_s=0.6, body_s=3.0, body_rate=100_000.0, grace_s=0.6, write_s=0.6)
HEAD = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"


@contextlib.contextmanager
def connections(port: int, count: int, data: bytes) -> Iterator[list[socket.socket]]:
    """Clients that have sent this."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            opened.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)))
            opened[-1].sendall(data)
        yield opened


def rest(connection: socket.socket) -> bytes:
    """All that still comes; empty if the service just closed it."""
    try:
        return b"".join(iter(lambda: connection.recv(65536), b""))
    except ConnectionResetError:
        return b""


def right(ask: Callable[..., tuple[int, dict[str, object]]]) -> bool:
    status, answer = ask("POST", "/v1/classify?scores=1", IMAGES[2].tobytes())
    return status == 200 and answer["scores"] == SCORES[2].tolist()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", b"408"),
        (b"POST /v1/cla", b"408"),
        (HEAD, b"408"),
        (HEAD + b"Content-Length: 432\r\n\r\n", b"408"),
        (HEAD + b"Content-Length: 432\r\n\r\nx", b"408"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", b"408"),
    ],
)
def test_what_does_not_come_in_time_is_refused(data: bytes, status: bytes) -> None:
    """More of them than there are places: nobody else notices."""
    with serving(queue=4, limits=QUICK) as (ask, port, service, _board):
        with connections(port, 60, data) as opened:
            assert right(ask)
            assert service.under_way == 0
            for connection in opened:
                assert rest(connection).split(b" ", 2)[1] == status
        assert right(ask)


def test_a_dripping_body_has_an_end() -> None:
    with serving(limits=QUICK) as (ask, port, _service, _board):
        with connections(port, 1, HEAD + b"Content-Length: 432\r\n\r\n") as (connection,):
            start = time.monotonic()
            with contextlib.suppress(OSError):
                while time.monotonic() - start < 15:
                    connection.sendall(b"x")
                    time.sleep(0.1)
            assert time.monotonic() - start < 15
        assert right(ask)


def test_clients_that_do_not_read_are_closed() -> None:
    with serving(limits=QUICK) as (ask, port, _service, _board):
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", port))
            connection.settimeout(20)
            data = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 600_000  # more than all buffers hold
            with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
                connection.sendall(data)
        text = ask("GET", "/metrics")[1]
        assert 'fireflow_closed_total{reason="answer"} 1' in text


def test_the_number_of_connections_is_bounded_and_honest_ones_get_in() -> None:
    limits = Limits(connections=30)
    with serving(limits=limits) as (ask, port, _service, _board):
        with connections(port, 30, b"POST /v1/cla"):
            for _ in range(10):
                assert right(ask)
        with connections(port, 60, b"GET /"):
            assert right(ask)
            metrics = ask("GET", "/metrics")[1]
            (count,) = [line for line in metrics.splitlines() if line.startswith("fireflow_connections ")]
            assert int(count.split()[1]) <= limits.most_connections


def test_held_bytes_are_bounded_and_small_requests_get_through() -> None:
    """Each body is within the limit of one; all together are not."""
    limits = Limits(held_bytes=400_000)
    data = HEAD + b"Content-Length: 100000\r\n\r\n" + b"x" * 90_000
    with serving(limits=limits) as (ask, port, _service, _board), connections(port, 12, data) as opened:
        for _ in range(5):
            assert right(ask)
        end = time.monotonic() + 30
        while True:  # what has just arrived is looked at within a moment
            text = ask("GET", "/metrics")[1]
            (held,) = [line for line in text.splitlines() if line.startswith("fireflow_held_bytes ")]
            assert int(held.split()[1]) <= 800_000  # the bound between two looks
            if int(held.split()[1]) <= 400_000 or time.monotonic() > end:
                break
            time.sleep(0.05)
        assert int(held.split()[1]) <= 400_000
        assert 'fireflow_closed_total{reason="memory"}' in text
        answers = [connection.recv(12) for connection in opened[:2]]
        assert set(answers) == {b"HTTP/1.1 503"}, "the one that has held most for longest goes first"


@pytest.mark.parametrize(("width", "height"), [(13370, 13370), (1, 20000), (20000, 1), (9000, 9000)])
def test_bombs_are_refused_by_their_header(width: int, height: int) -> None:
    with serving() as (ask, _port, _service, _board):
        start = time.process_time()
        status, answer = ask("POST", "/v1/classify", png(width, height), "image/png")
        assert status == 400
        assert f"{width}x{height}" in answer["error"]
        assert time.process_time() - start < 5
        assert right(ask)


def test_early_refusals_do_not_read_for_ever() -> None:
    """An upload that is too large is answered at once; what still comes is thrown away, and has its time too."""
    with serving(limits=QUICK) as (ask, port, _service, _board):
        data = HEAD + b"Content-Length: 1000000000000\r\n\r\n" + b"x" * 1000
        with connections(port, 5, data) as opened:
            for connection in opened:
                assert connection.recv(12) == b"HTTP/1.1 413"
                rest(connection)
        assert right(ask)


def test_all_at_once_beside_honest_clients(tmp_path: Path) -> None:
    """A real `fireflow serve`; `make service` does this for ten minutes."""
    bundle().save(tmp_path / "small.fire")
    pictures = Pictures(bundle(), 16)
    row = hostile(tmp_path / "small.fire", pictures, seconds=6, honest=10, share=0.1)
    assert row.problems() == []
    assert row.seen.statuses["200"] >= 20
