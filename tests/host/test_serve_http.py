"""The HTTP service as a stranger meets it: who may ask, odd requests, what an answer tells and what it does not."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fireflow.host.devices.fpga_model import FpgaModel
from fireflow.host.service import AccessPolicy, Service
from fireflow.host.service.access import read_token
from fireflow.host.service.connections import Limits
from fireflow.host.service.page import PAGE
from fireflow.hw.errors import InputError
from tests.host.boards import bundle
from tests.host.test_serve import IMAGES, SCORES, Ask, encoded, form, serving

pytest.importorskip("uvicorn", reason="the service needs uvicorn, starlette and python-multipart")

QUICK = Limits(head_s=2.0, grace_s=2.0, body_rate=1e6)
RAW = "application/octet-stream"
POST = "/v1/classify"
BODY = IMAGES[0].tobytes()


Served = tuple[Ask, int, Service, FpgaModel]


@pytest.fixture(scope="module")
def plain() -> Iterator[Served]:
    """For what does not change it."""
    with serving(limits=QUICK) as given:
        yield given


@pytest.fixture(scope="module")
def named() -> Iterator[Served]:
    """With another name, and another site that may ask."""
    with serving(policy=AccessPolicy.of("127.0.0.1", ["board.example"], ["https://good.example"])) as given:
        yield given


def speak(port: int, data: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Sends bytes and the end, and gives all answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        text = b""
        while True:
            try:
                part = connection.recv(65536)
            except ConnectionResetError:
                break
            if not part:
                break
            text += part
    answers = []
    while text:
        head, _, text = text.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        size = int(headers.get("content-length", 0))
        answers.append((int(lines[0].split()[1]), headers, text[:size]))
        text = text[size:]
    return answers


def posted(*lines: str, body: bytes = BODY, version: str = "1.1", path: str = POST) -> bytes:
    """A request of which everything can be odd."""
    head = [f"POST {path} HTTP/{version}", *lines, "Connection: close", "", ""]
    return "\r\n".join(head).encode("latin-1") + body


def usual(host: str = "localhost", **more: str) -> list[str]:
    names = [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return [f"Host: {host}", f"Content-Type: {RAW}", f"Content-Length: {len(BODY)}", *names]


# --- who may ask ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "let_in"),
    [
        *(("localhost", True), ("LOCALHOST:8000", True), ("127.0.0.1:1", True), ("[::1]:8000", True)),
        *(("localhost.", True), ("board.example", True), ("evil.example", False)),
        *(("localhost.evil.example", False), ("127.0.0.1.evil.example", False), ("10.1.2.3", False)),
        *(("", False), ("local host", False), ("localhost@evil", False), ("localhost:", False)),
        *(("localhost:99999999", False), ("[::1", False), ("localhost,evil.example", False)),
    ],
)
@pytest.mark.parametrize("path", [POST, "/", "/health", "/metrics"])
def test_the_host_must_be_ours(named: Served, host: str, let_in: bool, path: str) -> None:
    """Against a page whose site's name was made to point here."""
    _ask, port, _service, _board = named
    method = "POST" if path == POST else "GET"
    data = "\r\n".join([f"{method} {path} HTTP/1.1", *usual(host), "Connection: close", "", ""])
    status, _headers, body = speak(port, data.encode() + BODY)[0]
    assert status == (200 if let_in else 421)
    assert let_in or b"Host" in body


def test_any_address_where_all_are_listened_on() -> None:
    with serving(policy=AccessPolicy.of("0.0.0.0")) as (_ask, port, _service, _board):
        for host, status in (("192.168.2.99:8000", 200), ("[fe80::1]", 200), (socket.gethostname(), 200)):
            assert speak(port, posted(*usual(host)))[0][0] == status
        assert speak(port, posted(*usual("evil.example")))[0][0] == 421


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        *(("http://localhost", 200), ("http://localhost:80", 200), ("HTTP://LOCALHOST", 200)),
        *(("https://good.example", 200), ("http://good.example", 403), ("https://good.example:444", 403)),
        *(("http://evil.example", 403), ("null", 403), ("", 403), ("http://localhost:8001", 403)),
        *(("https://localhost", 403), ("http://localhost.evil", 403), ("file://", 403)),
    ],
)
def test_pages_of_other_sites_must_not_ask(named: Served, origin: str, status: int) -> None:
    _ask, port, _service, _board = named
    found, headers, _body = speak(port, posted(*usual("localhost:80", Origin=origin)))[0]
    assert found == status
    allowed = "https://good.example" if origin == "https://good.example" else None
    assert headers.get("access-control-allow-origin") == allowed


def test_another_site_that_may_ask_is_told_so_beforehand(named: Served) -> None:
    _ask, port, _service, _board = named
    for origin, status in (("https://good.example", 204), ("https://evil.example", 403)):
        lines = [
            f"OPTIONS {POST} HTTP/1.1",
            "Host: localhost",
            f"Origin: {origin}",
            "Connection: close",
            "",
            "",
        ]
        found, headers, _body = speak(port, "\r\n".join(lines).encode())[0]
        assert found == status
        assert ("access-control-allow-methods" in headers) == (status == 204)


def test_with_a_token_strangers_learn_whether_it_is_alive_and_no_more() -> None:
    with serving(token="secret") as (ask, _port, _service, _board):
        assert ask("GET", "/health") == (200, {"healthy": True})
        assert ask("GET", "/metrics")[0] == 401
        for given in ("secret", "Bearer", "Bearer ", "Bearer secret2", "Basic secret"):
            assert ask("GET", "/metrics", Authorization=given)[0] == 401
            assert ask("POST", POST, BODY, Authorization=given)[0] == 401
        for given in ("Bearer secret", "bearer secret", "Bearer  secret"):
            assert ask("GET", "/metrics", Authorization=given)[0] == 200
            assert ask("GET", "/health", Authorization=given)[1]["network"] == "small"


# --- what an answer tells ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/health", "/metrics", POST, "/nothing"])
def test_every_answer_has_the_security_headers(plain: Served, path: str) -> None:
    _ask, port, _service, _board = plain
    _status, headers, _body = speak(
        port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )[0]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert "server" not in headers
    assert not re.search(r"\son[a-z]+=|style=|javascript:", PAGE), "the page's policy forbids them"


@pytest.mark.parametrize(
    "query",
    [
        *(
            "top=%C2%B2",
            "top=%D9%A3",
            "top=%E2%91%A0",
            "top=%EF%BC%93",
            "top=+3",
            "top=3%20",
            "top=%0A3",
            "top=%003",
        ),
        *("top=-1", "top=%2B1", "top=1_0", "top=1e0", "top=0x1", "top=", "top", "top=6", "top=" + "9" * 5000),
        *(
            "top=1&top=2",
            "scores=2",
            "scores=yes",
            "scores=1&scores=1",
            "tpo=1",
            "=1",
            "top=1;scores=1",
            "%ff=1",
        ),
    ],
)
def test_numbers_that_are_none(plain: Served, query: str) -> None:
    _ask, port, _service, _board = plain
    ((status, _headers, body),) = speak(port, posted(*usual(), path=f"{POST}?{query}"))
    assert status == 400
    assert len(json.loads(body)["error"]) < 200


@pytest.mark.parametrize(
    "body",
    [
        b"no picture",
        b"\x89PNG\r\n\x1a\n" + bytes(99),
        encoded(IMAGES[0])[:-30],
        encoded(IMAGES[0], "JPEG")[:200],
        b"%!PS",
    ],
)
def test_an_error_tells_nothing_of_the_inside(plain: Served, body: bytes) -> None:
    ask, _port, _service, _board = plain
    status, answer = ask("POST", POST, body, "image/png")
    assert status == 400
    assert not re.search(r"0x[0-9a-f]{6}|object at|Traceback|/[a-z]+/|\.py", answer["error"])


def test_an_error_inside_is_logged_under_a_number(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("/etc/secret")

    with serving() as (ask, _port, service, _board):
        for place in (
            "fireflow.host.service.service.Service.answer",
            "fireflow.host.service.decoding.Decoder.image",
        ):
            with monkeypatch.context() as patch:
                patch.setattr(place, fail)
                status, answer = ask("POST", POST, encoded(IMAGES[0]), "image/png")
            assert (status, set(answer)) == (500, {"error"})
            (number,) = re.findall(r"[0-9a-f]{12}", answer["error"])
            assert "secret" not in answer["error"]
            assert any(number in record.getMessage() and record.exc_info for record in caplog.records)
        assert ask("POST", POST, BODY)[0] == 200
        assert service.under_way == 0


# --- odd requests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (posted("Host: localhost", f"Content-Length: {len(BODY)}"), [400]),
        (posted("Host: localhost", "Content-Type: image/png", f"Content-Length: {len(BODY)}"), [400]),
        (posted(*usual(), version="1.0"), [200]),
        (posted(*usual()[1:], version="1.0"), [200]),
        (posted(*usual()[1:]), [400]),
        (posted("Host: evil.example", *usual()), [400]),
        (posted(*usual(), f"Content-Length: {len(BODY)}"), [200]),
        (posted(*usual(), "Content-Length: 5"), [400]),
        (posted("Host: localhost", f"Content-Type: {RAW}", "Content-Length: +432"), [400]),
        (posted("Host: localhost", f"Content-Type: {RAW}", "Content-Length: -1"), [400]),
        (posted("Host: localhost", f"Content-Type: {RAW}", "Content-Length: 4_32"), [400]),
        (posted("Host: localhost", f"Content-Type: {RAW}", "Content-Length: " + "9" * 19), [413]),
        (posted("Host: localhost", f"Content-Type: {RAW}", "Content-Length: " + "9" * 40), [400]),
        (posted(*usual(), "Transfer-Encoding: chunked"), [400]),
        (posted("Host: localhost", "Transfer-Encoding: gzip, chunked", body=b""), [400]),
        (posted("Host: localhost", f"Content-Type: {RAW}", "Transfer-Encoding: chunked",
                body=b"1b0\r\n" + BODY + b"\r\n0\r\n\r\n"), [200]),
        (posted("Host: localhost", f"Content-Type: {RAW}", "Transfer-Encoding: chunked",
                body=b"".join(b"1\r\n" + BODY[n:n + 1] + b"\r\n" for n in range(432)) + b"0\r\n\r\n"), [200]),
        (posted("Host: localhost", f"Content-Type: {RAW}", "Transfer-Encoding: chunked", body=b"xyz\r\n"), [400]),
        (posted(*usual(Content_Encoding="gzip")), [415]),
        (posted(*usual(Content_Encoding="identity")), [200]),
        (posted("Host: localhost", "Content-Type: text/html", f"Content-Length: {len(BODY)}"), [415]),
        (posted(*usual(X="y" * 20_000)), [431]),
        (posted(*usual(), *(f"X-{n}: y" for n in range(3000))), [431]),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3 + posted(*usual()), [200, 200, 200, 200]),
        (posted(*usual()).replace(b"Connection: close\r\n", b"") + posted(*usual()), [200, 200]),
        (b"GET / HTTP/2.0\r\nHost: localhost\r\nConnection: close\r\n\r\n", [505]),
        (b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n", [400]),
        (b"\x16\x03\x01\x02\x00\x01\x00", [400]),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", [200]),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", [404]),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", [404]),
        (b"GET /%00%ff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", [404]),
        (b"DELETE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", [405]),
        (b"TRACE /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", [405]),
        (b"OPTIONS / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", [204]),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", [404]),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n"
         b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", [400]),
    ],
)  # fmt: skip
def test_odd_requests(plain: Served, data: bytes, statuses: list[int]) -> None:
    """Each is answered, and the service goes on; an image comes back as its own scores or not at all."""
    ask, port, service, _board = plain
    found = speak(port, data)
    seen = [status for status, _headers, _body in found]
    assert seen == statuses or (statuses == [431] and seen == [400])  # if it came in several pieces
    for status, headers, body in found:
        assert status in (200, 204) or set(json.loads(body)) == {"error"}
        assert status == 204 or headers["content-length"] == str(len(body))
    status, answer = ask("POST", POST + "?scores=1", IMAGES[7].tobytes())
    assert (status, answer["scores"]) == (200, SCORES[7].tolist())
    assert service.under_way == 0


def test_head(plain: Served) -> None:
    _ask, port, _service, _board = plain
    for path in ("/", "/health", "/metrics"):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            text = b"".join(iter(lambda: connection.recv(65536), b""))
        assert text.startswith(b"HTTP/1.1 421 ")
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n".encode())
            text = b"".join(iter(lambda: connection.recv(65536), b""))
        assert text.startswith(b"HTTP/1.1 200 ")
        assert text.endswith(b"\r\n\r\n")


# --- forms ------------------------------------------------------------------------------------------------------


def part(headers: str, data: bytes = encoded(IMAGES[3])) -> bytes:
    return b"--xx\r\n" + headers.encode("latin-1") + b"\r\n\r\n" + data + b"\r\n"


IMAGE = 'Content-Disposition: form-data; name="image"; filename="a.png"'


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (part(IMAGE), 200),
        (part(IMAGE + f"\r\nContent-Type: {RAW}"), 200),
        (part(IMAGE + f"\r\nContent-Type: {RAW}", IMAGES[3].tobytes()), 200),
        (part(IMAGE + f"\r\nContent-Type: {RAW}", IMAGES[3].tobytes()[1:]), 400),
        (part(IMAGE.replace("a.png", "é" * 1000 + '\\".png')), 200),
        (part(IMAGE.replace("a.png", "../../etc/passwd")), 200),
        (part(IMAGE.replace("a.png", "y" * 50_000)), 400),
        (part(IMAGE) + part(IMAGE), 400),
        (part(IMAGE) + part('Content-Disposition: form-data; name="top"', b"3"), 400),
        (part('Content-Disposition: form-data; name="x"', b"") * 1000, 400),
        (part('Content-Disposition: form-data; name="image"'), 400),
        (part("Content-Type: image/png"), 400),
        (part(IMAGE + "\r\nContent-Transfer-Encoding: base64"), 415),
        (part(IMAGE + "\r\n" + IMAGE), 400),
        (part(IMAGE, b""), 400),
        (b"--xx\r\n", 400),
        (b"--xx--\r\n", 400),
        (b"\r\n--x" * 10_000, 400),
    ],
)
def test_forms(plain: Served, body: bytes, status: int) -> None:
    ours = form(b"")[1]
    ask, _port, _service, _board = plain
    found, answer = ask("POST", POST + "?scores=1", body + b"--xx--\r\n", ours)
    assert found == status, answer
    if status == 200:
        prepare = bundle().manifest.preprocessing.prepare
        assert answer["scores"] in (
            SCORES[3].tolist(),
            bundle().graph.run(prepare(IMAGES[3])[None])[0].tolist(),
        )
    assert ask("POST", POST, BODY)[0] == 200


@pytest.mark.parametrize(
    "kind", ["", "; boundary=", "; boundary=" + "x" * 71, '; boundary="', "; boundary=é"]
)
def test_boundaries_that_are_none(plain: Served, kind: str) -> None:
    ask, _port, _service, _board = plain
    assert ask("POST", POST, part(IMAGE), "multipart/form-data" + kind)[0] == 400


# --- the command ------------------------------------------------------------------------------------------------


def test_tokens(tmp_path: Path) -> None:
    (tmp_path / "good").write_text("secret\n")
    assert read_token(tmp_path / "good") == "secret"
    os.mkfifo(tmp_path / "fifo")
    bad = {"empty": b"", "spaces": b"a b\n", "two": b"a\nb\n", "long": b"a" * 5000, "odd": b"\xff"}
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    for name in (*bad, "fifo", "missing", "."):
        with pytest.raises(InputError, match="must"):
            read_token(tmp_path / name)
    for token in ("", "a b", "é", "a" * 1025):
        with pytest.raises(InputError, match="token: must be"):
            AccessPolicy.of("127.0.0.1", token=token)
    for host in ("a:80", "http://a", "", "a b"):
        with pytest.raises(InputError, match="allow-host: must be"):
            AccessPolicy.of("127.0.0.1", [host])
    for origin in ("good.example", "null", "https://a/b", "*"):
        with pytest.raises(InputError, match="allow-origin: must be"):
            AccessPolicy.of("127.0.0.1", origins=[origin])
