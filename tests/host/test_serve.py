"""The HTTP service on the virtual board: right answers for many clients, refusals, recovery, the page."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fireflow.host.devices.faults import Fault
from fireflow.host.devices.fpga_model import FpgaModel
from fireflow.host.service import AccessPolicy, Service, make_app
from fireflow.host.service.background import served
from fireflow.host.service.connections import LIMITS, Limits
from scripts.screenshot import BROWSERS, FLAGS, MAX_BYTES, find_browser
from tests.host.boards import LABELS, accelerator, bundle, graph
from tests.hw.networks import pictures

pytest.importorskip("uvicorn", reason="the service needs uvicorn, starlette and python-multipart")
pytest.importorskip("starlette")
pytest.importorskip("multipart")

ROOT = Path(__file__).parents[2]
IMAGES = pictures(16, (12, 12, 3))
SCORES = graph().run(IMAGES)
RAW = "application/octet-stream"
Ask = Callable[..., tuple[int, Any]]


@contextmanager
def serving(
    *faults: Fault,
    queue: int = 64,
    token: str | None = None,
    interval_s: float = 0.0,
    timeout_s: float | None = None,
    policy: AccessPolicy | None = None,
    limits: Limits = LIMITS,
    **options: Any,
) -> Iterator[tuple[Ask, int, Service, FpgaModel]]:
    with (
        accelerator(*faults, interval_s=interval_s, **options) as (device, board),
        closing(Service(device, queue, timeout_s)) as service,
    ):
        app = make_app(service, policy or AccessPolicy(token=token), 100_000)
        with served(app, limits=limits) as port:
            yield asking(port), port, service, board


def asking(port: int) -> Ask:
    """What sends a request and gives status and answer."""

    def ask(method: str, path: str, body: bytes | None = None, kind: str = RAW, **headers: str) -> Any:
        given = {"Content-Type": kind, **headers} if body is not None else headers
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request(method, path, body, given)
            response = connection.getresponse()
            data = response.read()
        is_json = response.headers.get_content_type() == "application/json"
        return response.status, json.loads(data) if is_json else data.decode()

    return ask


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format=kind)
    return file.getvalue()


def form(data: bytes, field: str = "image") -> tuple[bytes, str]:
    head = f'--xx\r\nContent-Disposition: form-data; name="{field}"; filename="a.png"\r\n'
    head += "Content-Type: image/png\r\n\r\n"
    return head.encode() + data + b"\r\n--xx--\r\n", "multipart/form-data; boundary=xx"


def test_answers() -> None:
    prepare = bundle().manifest.preprocessing.prepare
    picture = np.random.default_rng(8).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    scores = graph().run(prepare(picture)[None])[0]
    with serving() as (ask, _port, _service, _board):
        for body, kind in ((encoded(picture), "image/png"), form(encoded(picture))):
            status, answer = ask("POST", "/v1/classify?top=2&scores=1", body, kind)
            assert status == 200
            assert answer["scores"] == scores.tolist()
            assert answer["scale"] == 0.25
            order = np.argsort(-scores, kind="stable")[:2].tolist()
            assert [guess["label"] for guess in answer["top"]] == [LABELS[i] for i in order]
            assert set(answer["ms"]) == {"wait", "prepare", "input", "compute", "read", "total"}
        status, answer = ask("POST", "/v1/classify?scores=1", IMAGES[3].tobytes())
        assert (status, answer["scores"]) == (200, SCORES[3].tolist())
        status, text = ask("GET", "/metrics")
        assert 'fireflow_answers_total{status="200"} 3' in text
        assert "fireflow_under_way 0" in text
        status, facts = ask("GET", "/health")
        assert (status, facts["healthy"], facts["network"]) == (200, True, "small")
        assert ask("GET", "/")[1].startswith("<!doctype html>")


def test_refusals() -> None:
    with serving(token="secret") as (ask, _port, _service, _board):
        asked = {"Authorization": "Bearer secret"}
        post = "/v1/classify"
        assert ask("POST", post, b"x")[0] == 401
        assert ask("POST", post, b"x", Authorization="Bearer wrong")[0] == 401
        for body, kind, path, status, text in (
            (b"no picture", "image/png", post, 400, "must be a picture that can be decoded"),
            (b"12345", RAW, post, 400, "a raw array must be 432 bytes"),
            (b"", "image/png", post, 400, "a picture must be sent"),
            (b"x" * 100_001, RAW, post, 413, "at most 100000 bytes"),
            (IMAGES[0].tobytes(), RAW, post + "?top=many", 400, "top must be a whole number up to 5"),
            (*form(b"x", "other"), post, 400, "must have a file in the field image"),
            (b"--xx\r\nbroken", "multipart/form-data; boundary=xx", post, 400, "image"),
            (b"nothing", "multipart/form-data", post, 400, "the form must be whole"),
        ):
            found, answer = ask("POST", path, body, kind, **asked)
            assert found == status, answer
            assert text in answer["error"]
        assert ask("GET", post)[0] == 405
        assert ask("POST", post, IMAGES[0].tobytes(), **asked)[0] == 200


def clients(ask: Ask, count: int, each: int) -> tuple[list[int], list[int]]:
    """Statuses, and the images whose answer was wrong."""
    statuses: list[int] = []
    wrong: list[int] = []

    def client(number: int) -> None:
        for turn in range(each):
            index = (number + turn) % len(IMAGES)
            status, answer = ask("POST", "/v1/classify?scores=1", IMAGES[index].tobytes())
            statuses.append(status)
            if status == 200 and answer["scores"] != SCORES[index].tolist():
                wrong.append(index)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return statuses, wrong


def test_many_clients() -> None:
    with serving(audit=20) as (ask, _port, service, _board):
        statuses, wrong = clients(ask, 30, 6)
        assert (statuses, wrong) == ([200] * 180, [])
        assert service.under_way == 0


def test_a_full_queue_refuses_and_loses_nothing() -> None:
    with serving(queue=3, interval_s=0.03) as (ask, _port, service, _board):
        statuses, wrong = clients(ask, 20, 3)
        assert wrong == []
        assert len(statuses) == 60
        assert set(statuses) == {200, 503}
        assert service.answers[200] == statuses.count(200)
        assert service.under_way == 0


def test_clients_that_leave() -> None:
    with serving(queue=2) as (ask, port, service, _board):
        for sent in (b"", b"x" * 50):
            for _ in range(3):
                with socket.create_connection(("127.0.0.1", port)) as connection:
                    head = f"POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Type: {RAW}\r\n"
                    connection.sendall(f"{head}Content-Length: 432\r\n\r\n".encode() + sent)
        deadline = time.monotonic() + 10
        while ask("POST", "/v1/classify", IMAGES[0].tobytes())[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert service.under_way == 0


def test_recovers_after_a_fault() -> None:
    with serving(Fault("compute hang", 9)) as (ask, _port, service, _board):
        statuses, wrong = clients(ask, 6, 5)
        assert (statuses, wrong) == ([200] * 30, [])
        assert service.resets == 1


def test_a_device_that_does_not_recover() -> None:
    with serving(Fault("output hang", sticky=True)) as (ask, _port, _service, board):
        status, answer = ask("POST", "/v1/classify", IMAGES[0].tobytes())
        assert status == 503
        assert "the device does not recover" in answer["error"]
        assert ask("GET", "/health")[0] == 503
        board.faults.clear()
        assert ask("POST", "/v1/classify", IMAGES[0].tobytes())[0] == 200
        assert ask("GET", "/health")[0] == 200


def test_page_in_a_browser(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here")
    chromium = find_browser()
    if chromium is None:
        pytest.skip(f"no browser here: one of {', '.join(BROWSERS)}")
    (tmp_path / "good.png").write_bytes(encoded(IMAGES[5]))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    expected = LABELS[int(graph().run(bundle().manifest.preprocessing.prepare(IMAGES[5])[None])[0].argmax())]
    with serving() as (_ask, port, service, _board), playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        expect = playwright.expect  # what it evaluates itself, the page's Content-Security-Policy forbids
        expect(page.locator("#network")).to_contain_text("small on virtual")
        page.set_input_files("#file", str(tmp_path / "good.png"))
        page.wait_for_selector(".row")
        assert page.locator(".row span").first.text_content() == expected
        assert page.locator("#phases tr").count() == 6
        page.set_input_files("#file", str(tmp_path / "bad.png"))
        expect(page.locator("#error")).to_contain_text("can be decoded")
        assert page.locator(".row").count() == 0
        page.click("#camera")
        expect(page.locator("#rate")).to_contain_text("pictures a second", timeout=30_000)
        assert page.locator(".row").count() == 5
        page.screenshot(path=str(tmp_path / "page.png"))
        page.click("#camera")
        browser.close()
        assert service.answers[200] >= 3
    assert (tmp_path / "page.png").stat().st_size < MAX_BYTES
