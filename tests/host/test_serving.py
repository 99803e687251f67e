"""`fireflow.serve` and its options: what is refused before anything listens, and a service of this process."""

from __future__ import annotations

import json
import os
import signal
import threading
import urllib.request
from typing import Any

import numpy as np
import pytest

from fireflow import InputError, ServiceOptions, serve
from tests.host.boards import accelerator, bundle


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 1 << 16}, "serve: the port must be 0 to 65535, not 65536; choose another"),
        ({"timeout_s": 0.0}, "serve: the timeout must be above 0 seconds, not 0; give 30"),
        ({"timeout_s": float("inf")}, "serve: the timeout must be above 0 seconds, not inf; give 30"),
        ({"queue": 0}, "serve: queue must be at least 1, not 0; leave it out"),
        ({"token": "two words"}, "token: must be 1 to 1024 visible ASCII characters"),
        ({"allow_hosts": ("http://a",)}, "allow-host: must be a name or an address without port"),
        ({"allow_origins": ("a",)}, "allow-origin: must be as browsers write it, not 'a'"),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ServiceOptions(**options)


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(ServiceOptions(token="secret"))


@pytest.mark.parametrize(("host", "token", "to_all"), [("::1", None, False), ("0.0.0.0", None, True)])
def test_who_may_ask(host: str, token: str | None, to_all: bool) -> None:
    assert ServiceOptions(host=host, token=token).open_to_all is to_all
    assert not ServiceOptions(host=host, token="secret").open_to_all


def test_answers_until_a_signal() -> None:
    pytest.importorskip("uvicorn", reason="the service needs uvicorn, starlette and python-multipart")
    found: list[Any] = []

    def ask(port: int) -> None:
        try:
            url = f"http://127.0.0.1:{port}/v1/classify?scores=1"
            request = urllib.request.Request(url, bundle().golden.images[0].tobytes())
            request.add_header("Content-Type", "application/octet-stream")
            with urllib.request.urlopen(request, timeout=20) as answer:
                found.append(json.loads(answer.read())["scores"])
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    client: list[threading.Thread] = []

    def ready(port: int) -> None:
        client.append(threading.Thread(target=ask, args=(port,)))
        client[0].start()

    before = signal.getsignal(signal.SIGTERM)
    with accelerator(check=True) as (opened, fpga):
        answers = serve(opened, ServiceOptions(port=0), ready)
        np.testing.assert_array_equal(opened.infer(bundle().golden.images), bundle().golden.scores)
        assert fpga.memory.allocated > 0  # it stays open
    client[0].join()
    assert signal.getsignal(signal.SIGTERM) == before
    assert answers == {200: 1}
    assert found == [bundle().golden.scores[0].tolist()]
