"""The steps from a bundle to an accelerator as functions: what they give and refuse, and that they print nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage.data import data_dir

import fireflow
from fireflow.hw.preprocessing import Preprocessing
from tests.hw.networks import squeezenet

SIZE = 32
PHOTO = Path(data_dir) / "chelsea.png"


@pytest.fixture(scope="module")
def bundle() -> fireflow.Bundle:
    graph = squeezenet(size=SIZE, classes=5, narrow=8, stages=(((16, 64),),))
    images = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
    manifest = fireflow.Manifest(Preprocessing(size=SIZE, resize=SIZE), tuple("abcde"))
    return fireflow.Bundle(graph, manifest, fireflow.Golden.record(graph, images))


def test_from_a_bundle_to_a_page_without_a_word(
    bundle: fireflow.Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = fireflow.plan(bundle, board="PYNQ-Z2", target_fps=5000)
    assert plan.fits
    assert plan.fps >= 5000
    built = fireflow.build(bundle, plan, tmp_path / "net.fire")
    opened = fireflow.load_bundle(built.folder)
    assert opened.require_hardware().interval_cycles == plan.interval
    assert any(name.startswith("rtl/") for name in opened.files)
    told: list[tuple[int, int]] = []
    found = fireflow.simulate(opened, PHOTO, top=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 1)]
    (one,) = found.pictures
    assert one.picture == PHOTO
    assert [guess.integer for guess in one.top] == sorted(one.scores.tolist(), reverse=True)[:2]
    page = fireflow.report(opened)
    assert page == tmp_path / "net.html"
    assert "PYNQ-Z2" in page.read_text()
    assert capfd.readouterr() == ("", "")


def test_a_plan_of_the_graph_is_that_of_the_bundle(bundle: fireflow.Bundle) -> None:
    folding = {"conv1": {"pe": 4, "simd": 9}}
    plans = [fireflow.plan(network, board="pynq-z2", folding=folding) for network in (bundle, bundle.graph)]
    assert plans[0].interval == plans[1].interval
    assert plans[0].flow.fifo_depths == plans[1].flow.fifo_depths


def test_what_does_not_fit_is_not_built(bundle: fireflow.Bundle, tmp_path: Path) -> None:
    large = fireflow.plan(
        bundle, board="pynq-z2", folding={"conv1": {"pe": 8, "simd": 27, "kernel": "dsp"}}, budget=0.3
    )
    assert not large.fits
    with pytest.raises(
        fireflow.InputError, match=r"net.fire: the plan must fit 30% of PYNQ-Z2, not exceed it in .*DSP"
    ):
        fireflow.build(bundle, large, tmp_path / "net.fire")
    plan = fireflow.plan(bundle, board="pynq-z2", folding={})
    with pytest.raises(fireflow.InputError, match="a bitstream needs RTL"):
        fireflow.build(bundle, plan, tmp_path / "net.fire", rtl=False, toolchain="open")
    with pytest.raises(
        fireflow.InputError, match=r"options: must be of clock_mhz, seed, .*, not 'sed'; correct the name"
    ):
        fireflow.build(bundle, plan, tmp_path / "net.fire", toolchain="open", options={"sed": 2})
    with pytest.raises(fireflow.InputError, match=r"the output must be called NAME.fire, not net"):
        fireflow.build(bundle, plan, tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_steps_that_need_an_accelerator_say_so(bundle: fireflow.Bundle, tmp_path: Path) -> None:
    missing = "must be built for a board, and it is not; run `fireflow build` first"
    for step in (fireflow.report, fireflow.verify_rtl, fireflow.count_resources):
        with pytest.raises(fireflow.InputError, match=missing):
            step(bundle)
    with pytest.raises(fireflow.InputError, match=missing):
        fireflow.simulate(bundle, PHOTO, engine="rtl")
    with pytest.raises(
        fireflow.InputError, match="engine: must be one of fast, interpreter, rtl, not 'slow'"
    ):
        fireflow.simulate(bundle, PHOTO, engine="slow")
    with pytest.raises(fireflow.InputError, match="must be loaded from a folder to be saved there again"):
        bundle.save_again()


def test_what_is_no_quantized_network_is_not_lowered(tmp_path: Path) -> None:
    (tmp_path / "weights.npz").write_bytes(b"")
    for step in (fireflow.lower, fireflow.verify):
        with pytest.raises(
            fireflow.InputError, match=r"weights.npz: must be a .fireq file or an ONNX file with"
        ):
            step(tmp_path / "weights.npz")
    with pytest.raises(fireflow.InputError, match=r"weights.npz: must be a .fireq, QONNX or .fire file"):
        fireflow.load_bundle(tmp_path / "weights.npz")
