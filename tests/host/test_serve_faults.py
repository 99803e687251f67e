"""The HTTP service while the board is at fault: right answers or none, in time, and the truth about its health."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import closing

import pytest

from fireflow.host.devices import DeviceError
from fireflow.host.devices.faults import Fault
from scripts.check_service import FAULTS, Pictures, with_fault
from scripts.hostile_clients import request
from tests.host.boards import bundle
from tests.host.test_serve import IMAGES, SCORES, serving

pytest.importorskip("uvicorn", reason="the service needs uvicorn, starlette and python-multipart")


@pytest.mark.parametrize("kind", FAULTS)
def test_no_wrong_answer_and_none_missing(kind: str) -> None:
    row = with_fault(bundle(), Pictures(bundle(), 16), kind, requests=60, clients=10)
    assert row.problems(60) == []


def leaving(port: int, count: int) -> None:
    """Clients that send a whole request and go."""
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(request(IMAGES[0].tobytes()))
            time.sleep(0.005)


def wait_until(what: object, seconds: float = 20) -> None:
    """Waits for a condition; a busy machine may be slow."""
    assert callable(what)
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it must come true in time"
        time.sleep(0.02)


def test_a_hang_refuses_in_time_and_frees_the_queue() -> None:
    """A register access that does not return for 4 s; the requests' own deadline is shorter than the device's."""
    with serving(Fault("bus hang", 3), deadline_s=1.0, timeout_s=1.0) as (ask, _port, service, _board):
        statuses: list[int] = []

        def client() -> None:
            statuses.append(ask("POST", "/v1/classify", IMAGES[0].tobytes())[0])

        threads = [threading.Thread(target=client) for _ in range(20)]
        for thread in threads:
            thread.start()
        unhealthy = []
        while any(thread.is_alive() for thread in threads):
            unhealthy.append(ask("GET", "/health")[0])
            time.sleep(0.05)
        assert len(statuses) == 20
        assert set(statuses) <= {200, 503, 504}
        assert 504 in statuses
        assert service.under_way == 0
        wait_until(lambda: unhealthy.append(ask("GET", "/health")[0]) or unhealthy[-1] == 200)
        assert 503 in unhealthy, "while nothing is answered, /health must say so"
        assert ask("POST", "/v1/classify?scores=1", IMAGES[1].tobytes())[1]["scores"] == SCORES[1].tolist()


def test_clients_that_leave_free_their_places_at_once() -> None:
    with serving(Fault("compute hang", 0, sticky=True), queue=4, deadline_s=5) as (
        _ask,
        port,
        service,
        _board,
    ):
        leaving(port, 30)
        wait_until(lambda: service.left >= 4)
        wait_until(lambda: service.under_way == 0, seconds=4)  # the device's own deadline is 5 s and more
        assert service.answers[503] <= 26  # while four were held, not for ever


def test_an_idle_service_finds_out_that_its_board_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but /health asks: a golden image tells."""
    monkeypatch.setattr("fireflow.host.service.service._CHECK_AFTER_S", 0.0)
    monkeypatch.setattr("fireflow.host.service.service._CHECK_S", 0.5)
    with serving(deadline_s=0.5) as (ask, _port, _service, board):
        assert ask("GET", "/health")[0] == 200
        board.faults.append(Fault("device lost", sticky=True))
        status, facts = ask("GET", "/health")
        assert (status, facts["healthy"]) == (503, False)
        assert facts["fault"]
        board.faults.clear()
        wait_until(lambda: ask("GET", "/health")[0] == 200)


def test_a_fault_after_the_last_request_is_repaired() -> None:
    with serving() as (ask, _port, service, _board):
        assert ask("POST", "/v1/classify", IMAGES[0].tobytes())[0] == 200
        service.accelerator._live.poison(DeviceError("audit", "must be right, not wrong", "reset()"))
        assert ask("GET", "/health")[0] == 503
        wait_until(lambda: ask("GET", "/health")[0] == 200)
        assert service.resets == 1


def test_recovery_goes_on_without_any_request() -> None:
    with serving(Fault("output hang", 0, sticky=True)) as (ask, _port, service, board):
        assert ask("POST", "/v1/classify", IMAGES[0].tobytes())[0] == 503
        assert ask("GET", "/health")[0] == 503
        board.faults.clear()
        wait_until(lambda: ask("GET", "/health")[0] == 200)
        assert service.resets >= 2


def test_deadline_of_a_request() -> None:
    with serving(Fault("compute hang", 0), deadline_s=5, timeout_s=0.3) as (_ask, port, _service, _board):
        with closing(socket.create_connection(("127.0.0.1", port))) as connection:
            connection.sendall(request(IMAGES[0].tobytes()))
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 504 ")
        assert b"\r\nretry-after: 1\r\n" in head + b"\r\n"
        assert "in 0.3 s" in json.loads(body)["error"]


def test_the_default_deadline_is_what_the_driver_needs() -> None:
    with serving(deadline_s=100.0) as (_ask, _port, service, _board):
        assert service.deadline_s == service.accelerator.patience_s > 100
