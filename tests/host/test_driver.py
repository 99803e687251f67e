"""The driver on the virtual board: every integer, every order, every end."""

from __future__ import annotations

import gc
import itertools
import os
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from fireflow.host.devices.virtual import VirtualDevice
from fireflow.host.driver import Accelerator
from fireflow.host.interface import Interface, PackedStream
from fireflow.host.transfers import PHASES
from fireflow.hw.errors import InputError
from fireflow.hw.types import TensorType
from tests.host.boards import LABELS, accelerator, bundle, graph
from tests.hw.networks import pictures

IMAGES = pictures(40, (12, 12, 3))
SCORES = graph().run(IMAGES)


@pytest.mark.parametrize("lanes", [1, 2, 6])
@pytest.mark.parametrize(
    ("lo", "hi"), [(0, 255), (0, 5), (-3, 4), (-(1 << 17), 9), (0, 1 << 30), (-1, 1 << 25)]
)
def test_port(lo: int, hi: int, lanes: int) -> None:
    port = PackedStream(TensorType((2, 3, 6), lo, hi), lanes)
    values = np.random.default_rng(0).integers(lo, hi, (4, 2, 3, 6), endpoint=True)
    data = np.zeros(4 * port.frame_bytes + 7, np.uint8)
    port.pack(values.astype(port.kind.dtype), data)
    np.testing.assert_array_equal(port.unpack(data, 4), values)
    bits = [(int(v) >> k) & 1 for v in values[0, 0, 0, :lanes] for k in range(port.kind.bits)]
    word = np.packbits(bits, bitorder="little")
    np.testing.assert_array_equal(data[: len(word)], word)


@pytest.mark.parametrize("slots", [1, 2, 5])
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_scores(slots: int, batch: int) -> None:
    with accelerator(slots=slots, batch=batch, audit=7) as (device, _board):
        np.testing.assert_array_equal(device.infer(IMAGES), SCORES)
        np.testing.assert_array_equal(np.stack(list(device.stream(iter(IMAGES)))), SCORES)
        assert device.infer(IMAGES[:0]).shape == (0, 5)
        assert device.selftest().passed
        assert device.frames_done >= 83


def test_transfers_overlap() -> None:
    with accelerator(interval_s=0.03, latency_s=0.09, check=True) as (device, board):
        board.frames_total = 0
        start = time.monotonic()
        np.testing.assert_array_equal(device.infer(IMAGES), SCORES)
        seconds = time.monotonic() - start
    assert board.frames_total == 41, "one audit"
    assert 1.26 <= seconds < 3, "41 intervals and the latency; one after the other it would be 4.92 s"
    times = device.milliseconds()
    assert set(times) == set(PHASES)
    for phase, values in times.items():
        assert all(0 <= value <= 3000 for value in values.values()), phase


def test_only_the_thread_of_the_dmas_has_real_time_priority() -> None:
    policies: set[int] = set()
    with accelerator() as (device, board):
        score, board._score = (
            board._score,
            lambda images: policies.add(os.sched_getscheduler(0)) or score(images),
        )
        np.testing.assert_array_equal(device.infer(IMAGES[:3]), SCORES[:3])
    assert policies == {os.sched_getscheduler(0)}


def test_stream_is_lazy_and_ends_early() -> None:
    taken = 0

    def source() -> Iterator[np.ndarray]:
        nonlocal taken
        for image in itertools.cycle(IMAGES):
            taken += 1
            yield image

    with accelerator(slots=2) as (device, _board):
        stream = device.stream(source())
        for expected in SCORES[:5]:
            np.testing.assert_array_equal(next(stream), expected)
        time.sleep(0.05)
        assert taken <= 5 + 2 * 2 + 2 + 2
        stream.close()
        np.testing.assert_array_equal(device.infer(IMAGES), SCORES)


def test_error_of_the_source_comes_after_the_results_before_it() -> None:
    def source() -> Iterator[np.ndarray]:
        yield from IMAGES[:3]
        raise OSError("the camera is gone")

    results = []
    with accelerator() as (device, _board):
        with pytest.raises(OSError, match="the camera is gone"):
            results.extend(device.stream(source()))
        np.testing.assert_array_equal(np.stack(results), SCORES[:3])
        np.testing.assert_array_equal(device.infer(IMAGES), SCORES)


def test_many_threads_share_one_accelerator() -> None:
    wrong = []
    with accelerator(slots=3, audit=5) as (device, _board):

        def client(first: int) -> None:
            for _ in range(5):
                part = slice(first, first + 5)
                if not np.array_equal(device.infer(IMAGES[part]), SCORES[part]):
                    wrong.append(first)

        threads = [threading.Thread(target=client, args=(5 * n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert wrong == []


def test_classify() -> None:
    with accelerator() as (device, _board):
        guesses = device.classify(IMAGES[0], k=2)
    order = np.argsort(-SCORES[0], kind="stable")[:2]
    assert [(g.index, g.label, g.integer, g.score) for g in guesses] == [
        (i, LABELS[i], SCORES[0][i], SCORES[0][i] * 0.25) for i in order
    ]


def test_classify_any_picture() -> None:
    pytest.importorskip("PIL")
    picture = np.repeat(np.repeat(IMAGES[1], 3, 0), 4, 1)
    prepared = bundle().manifest.preprocessing.prepare(picture)
    with accelerator() as (device, _board):
        assert device.classify(picture)[0].integer == graph().run(prepared[None])[0].max()


def test_benchmark() -> None:
    with accelerator(interval_s=0.001, latency_s=0.003) as (device, _board):
        facts = device.benchmark(50)
    assert facts["wrong"] == 0
    assert facts["fps"] > 1
    assert facts["clock_asked_mhz"] == 200
    # A board's PLL cannot make every clock: 1500 MHz / 8.
    assert facts["clock_mhz"] in (200, pytest.approx(187.5, rel=1e-3))
    assert facts["ms"]["total"]["p50"] >= 3


def test_from_a_folder(tmp_path) -> None:
    bundle().save(tmp_path / "small.fire")
    with Accelerator(tmp_path / "small.fire") as device:
        np.testing.assert_array_equal(device.infer(IMAGES[:2]), SCORES[:2])
        assert "estimated" in device.device.name


def test_memory_stays_flat() -> None:
    def frames(count: int) -> int:
        for scores in device.stream(itertools.islice(itertools.cycle(IMAGES), count)):
            del scores
        gc.collect()
        return sum(1 for _ in gc.get_objects())

    with accelerator() as (device, _board):
        frames(200)
        before = frames(200)
        assert frames(600) - before < 100


def test_refused() -> None:
    with pytest.raises(InputError, match="slots must be at least 1, not 0"):
        Accelerator(bundle(), slots=0)
    with pytest.raises(InputError, match=r"device: must be virtual, pynq or remote:ADDRESS, not 'x'"):
        Accelerator(bundle(), "x")
    with accelerator() as (device, _board):
        with pytest.raises(InputError, match="images must be uint8"):
            device.infer(IMAGES[:, :5])
        with pytest.raises(InputError, match="images must be uint8"):
            list(device.stream([IMAGES[0].astype(np.int64)]))
    with pytest.raises(RuntimeError, match="must be open, not closed"):
        device.infer(IMAGES)
    device.close()


def test_a_build_says_how_fast_and_how_wide() -> None:
    flow = SimpleNamespace(input=SimpleNamespace(lanes=3), output=SimpleNamespace(lanes=5))
    numbers = {"board": "KV260", "clock_mhz": 100.0, "interval_cycles": 1000, "latency_cycles": 5000}
    interface = Interface.of(graph(), SimpleNamespace(**numbers, dataflow=lambda _graph: flow))
    assert (interface.interval_s, interface.latency_s, interface.estimated) == (1e-5, 5e-5, False)
    assert (interface.input.lanes, interface.output.lanes, interface.board) == (3, 5, "KV260")
    device = VirtualDevice(interface, graph())
    assert device.name == "virtual"
    with Accelerator(bundle(), device, interface=interface) as opened:
        np.testing.assert_array_equal(opened.infer(IMAGES), SCORES)
