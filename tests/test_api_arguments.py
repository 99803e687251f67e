"""What the API's functions say of arguments that are no such thing, and what their objects look like."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fireflow
from tests.host.boards import accelerator
from tests.host.boards import bundle as small_bundle

BUNDLE = small_bundle()
IMAGES = np.zeros((2, 12, 12, 3), np.uint8)
Call = Callable[[Any], Any]
WRONG: list[tuple[str, Call, Any, str]] = [
    (
        "simulate",
        lambda x: fireflow.simulate(x, "."),
        "a.fire",
        "bundle: must be a Bundle, not 'a.fire'; load it",
    ),
    ("report", fireflow.report, None, "bundle: must be a Bundle, not None; load it with load_bundle"),
    ("count", fireflow.count_resources, 3, "bundle: must be a Bundle, not 3; load it with load_bundle"),
    ("verify_rtl", fireflow.verify_rtl, [], "bundle: must be a Bundle, not a list; load it with load_bundle"),
    ("build", lambda x: fireflow.build(x, None, "a.fire"), 3, "bundle: must be a Bundle, not 3"),
    (
        "build plan",
        lambda x: fireflow.build(BUNDLE, x, "a.fire"),
        {},
        "plan: must be a Plan, not a dict; make it",
    ),
    (
        "plan",
        lambda x: fireflow.plan(x, board="pynq-z2"),
        "a.fire",
        "network: must be a Graph, not 'a.fire'; give a",
    ),
    (
        "board",
        lambda x: fireflow.plan(BUNDLE, board=x),
        None,
        "board: must be one of PYNQ-Z1, .*, not None; choose",
    ),
    (
        "rate",
        lambda x: fireflow.plan(BUNDLE, board="pynq-z2", target_fps=x),
        "5",
        "target_fps: must be a finite",
    ),
    (
        "folding",
        lambda x: fireflow.plan(BUNDLE, board="pynq-z2", folding=x),
        [],
        "folding: must be a path, not a li",
    ),
    (
        "pictures",
        lambda x: fireflow.simulate(BUNDLE, x),
        IMAGES,
        "pictures: must be a path, not an? ndarray; give",
    ),
    (
        "no pictures",
        lambda x: fireflow.simulate(BUNDLE, x),
        [],
        "pictures: must be files or folders, not none",
    ),
    (
        "top",
        lambda x: fireflow.simulate(BUNDLE, ".", top=x),
        0,
        "top: must be a whole number of at least 1, not 0",
    ),
    (
        "batch",
        lambda x: fireflow.simulate(BUNDLE, ".", batch=x),
        1.5,
        "batch: must be a whole number of at least 1",
    ),
    (
        "accelerator",
        fireflow.Accelerator,
        None,
        "bundle: must be a path, not None; give text or a pathlib.Path",
    ),
    (
        "device",
        lambda x: fireflow.Accelerator(BUNDLE, x),
        3,
        'accelerator: device must be "virtual", .*, not 3; name',
    ),
    (
        "slots",
        lambda x: fireflow.Accelerator(BUNDLE, slots=x),
        "2",
        "accelerator: slots: must be a whole number, not '2'",
    ),
    (
        "simulator",
        fireflow.Simulator,
        BUNDLE,
        "simulator: graph: must be a Graph, not a Bundle; a bundle has one",
    ),
    (
        "threads",
        lambda x: fireflow.Simulator(BUNDLE.graph, x),
        True,
        "simulator: threads: must be a whole number, not",
    ),
    (
        "source",
        lambda x: fireflow.open_pictures(x, BUNDLE),
        None,
        "source: must be a path, not None; give text or a",
    ),
    (
        "wanted",
        lambda x: fireflow.open_pictures(".", x),
        None,
        "preprocessing: must be a Bundle or a Preprocessing, n",
    ),
    (
        "serve",
        fireflow.serve,
        BUNDLE,
        "accelerator: must be an Accelerator, not a Bundle; open one with open_accele",
    ),
    (
        "port",
        lambda x: fireflow.ServiceOptions(port=x),
        "80",
        "serve: port: must be a whole number, not '80'; correct",
    ),
    (
        "hosts",
        lambda x: fireflow.ServiceOptions(allow_hosts=x),
        "a",
        "serve: allow_hosts must be a tuple of names, not",
    ),
    ("bundle", fireflow.Bundle.load, 3, "bundle: must be a path, not 3; give text or a pathlib.Path"),
    ("network", fireflow.load_network, None, "model: must be a path, not None; give text or a pathlib.Path"),
    (
        "weights",
        lambda x: fireflow.quantize(x, "."),
        BUNDLE,
        "weights: must be a path, not a Bundle; give text",
    ),
    (
        "evaluate",
        lambda x: fireflow.evaluate(BUNDLE, x),
        IMAGES,
        "images: must be a folder, .* make one with from_ar",
    ),
    (
        "limit",
        lambda x: fireflow.evaluate(BUNDLE, ".", limit=x),
        -1,
        "limit: must be a whole number of at least 1",
    ),
    (
        "networks",
        fireflow.average,
        "a.fireq",
        "networks: must be several .fireq files, not 'a.fireq'; give a list",
    ),
    (
        "share",
        lambda x: fireflow.average([("a.fireq", x)]),
        -1,
        "share: must be a number above 0 beside its file",
    ),
    (
        "head",
        lambda x: fireflow.train("a.npz", "run", ".", head=x),
        "all",
        "head: must be one of data, keep, new, not",
    ),
    (
        "exclude",
        lambda x: fireflow.train("a.npz", "run", ".", exclude=x),
        "val",
        "exclude: must be a list, not 'val'",
    ),
    (
        "deploy",
        lambda x: fireflow.deploy(x, "me@board"),
        None,
        "bundle: must be a path, not None; give text or a pat",
    ),
]


@pytest.mark.parametrize(
    ("call", "value", "message"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_what_is_no_such_thing_is_refused_where_it_is_given(call: Call, value: Any, message: str) -> None:
    with pytest.raises(fireflow.InputError, match=message):
        call(value)


def test_an_unknown_setting_is_named_with_those_that_there_are() -> None:
    from fireflow.quant.recipe import recipe_of

    with pytest.raises(
        fireflow.InputError, match=r"recipe: must be of steps, batch_size, .*, not 'step'; correct"
    ):
        recipe_of({"step": 3})


def test_objects_show_what_they_are_in_one_line() -> None:
    assert repr(BUNDLE.graph).startswith("<Graph small: 12x12x3 -> ")
    assert repr(BUNDLE).startswith("<Bundle small: 12x12x3 -> ")
    assert repr(fireflow.Simulator(BUNDLE.graph)) == "<Simulator small: threads=1, batch=32>"
    plan = fireflow.plan(BUNDLE, board="pynq-z2", folding={})
    assert repr(plan).startswith("<Plan small on PYNQ-Z2: ")
    with accelerator() as (device, _board):
        assert "small: open on" in repr(device)
        with pytest.raises(
            fireflow.InputError, match=r"images: must be 1 to 1 at once, not 2; open the accel"
        ):
            device.submit(IMAGES)
    assert "closed" in repr(device)


def test_what_was_built_lies_in_its_folder(tmp_path: Path) -> None:
    plan = fireflow.plan(BUNDLE, board="pynq-z2", folding={})
    built = fireflow.build(BUNDLE, plan, tmp_path / "net.fire", rtl=False)
    assert built.bundle.folder == built.folder
    assert fireflow.report(built.bundle) == tmp_path / "net.html"


def test_a_service_in_a_thread_ends_when_it_is_told() -> None:
    pytest.importorskip("uvicorn")
    port, stop, ready = [], threading.Event(), threading.Event()

    def told(number: int) -> None:
        port.append(number)
        ready.set()

    answers: list[Any] = []
    with accelerator() as (device, _board):
        options = fireflow.ServiceOptions(port=0)
        thread = threading.Thread(target=lambda: answers.append(fireflow.serve(device, options, told, stop)))
        thread.start()
        assert ready.wait(60)
        with urllib.request.urlopen(f"http://127.0.0.1:{port[0]}/health", timeout=30) as response:
            assert response.status == 200
        stop.set()
        thread.join(60)
        assert not thread.is_alive()
    assert len(answers) == 1


def test_a_plan_of_another_network_is_refused(tmp_path: Path) -> None:
    graph = BUNDLE.graph
    first = graph.nodes[0]
    changed = replace(first, op=replace(first.op, weight=first.op.weight[::-1]))  # type: ignore[call-arg,attr-defined]
    other = replace(graph, nodes=(changed, *graph.nodes[1:]))
    assert graph.same(replace(graph))
    assert not graph.same(other)
    plan = fireflow.plan(other, board="pynq-z2", target_fps=1)
    with pytest.raises(
        fireflow.InputError, match=r"plan: must be of the network of the bundle, .* make it with plan"
    ):
        fireflow.build(BUNDLE, plan, tmp_path / "a.fire")
    assert not list(tmp_path.iterdir())


def test_as_many_classes_as_there_can_be() -> None:
    with pytest.raises(fireflow.InputError, match="count: must be a whole number of at least 1, not -1"):
        fireflow.best(np.arange(3), (), 1.0, -1)
