"""Whole accelerators in RTL: a narrow SqueezeNet 1.1 and one with bypass, on photos, against the integer graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import data_dir

from fireflow.hw.dataflow.build import to_dataflow
from fireflow.hw.dataflow.fifo import fifo_depths
from fireflow.hw.dataflow.network import Dataflow
from fireflow.hw.dataflow.schedule import Timing
from fireflow.hw.graph import Graph
from fireflow.hw.rtl.simulate import simulate
from fireflow.hw.rtl.stitch import SOURCES, Design, stitch
from tests.hw.networks import squeezenet

PARTS = {"xc7": "xc7z020clg400-1", "xcup": "xczu7ev-ffvc1156-2-e"}
CLOCK_NS, SIZE = 10.0, 48
PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png")


@dataclass
class Case:
    graph: Graph
    dataflow: Dataflow
    design: Design
    images: np.ndarray
    family: str


def photos(size: int) -> np.ndarray:
    opened = (Image.open(Path(data_dir) / name).convert("RGB") for name in PHOTOS)
    return np.stack([np.asarray(photo.resize((size, size))) for photo in opened])


def folding(graph: Graph) -> dict[str, dict[str, int]]:
    """SIMD 8 where the channels allow it: chains of that length differ between the families."""
    convs = [node for node in graph.nodes if type(node.op).__name__ == "Conv"]
    depths = {node.name: node.op.weight.shape[-1] for node in convs}
    return {
        name: {"pe": 4, "simd": 3 if depth == 3 else 8 if depth % 8 == 0 else 4}
        for name, depth in depths.items()
    }


@pytest.fixture(
    scope="module",
    params=[(False, "xc7"), (True, "xc7"), (False, "xcup")],
    ids=["plain-xc7", "bypass-xc7", "plain-xcup"],
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    bypass, family = request.param
    graph = squeezenet(size=SIZE, classes=16, narrow=4, bypass=bypass, seed=6)
    plain = to_dataflow(graph, folding(graph))
    dataflow = plain.with_fifos(fifo_depths(Timing(plain, family)).depths)
    design = stitch(dataflow, PARTS[family], CLOCK_NS, tmp_path_factory.mktemp("rtl"))
    return Case(graph, dataflow, design, photos(SIZE), family)


@pytest.mark.timeout(900)  # the first build of each takes minutes
def test_scores_and_cycles(case: Case) -> None:
    wanted = case.graph.run(case.images)
    assert len(np.unique(wanted, axis=0)) == len(wanted)
    run = simulate(case.dataflow, case.design, case.images, optimize=False)
    np.testing.assert_array_equal(run.scores, wanted)
    timing = Timing(case.dataflow, case.family)
    assert (run.interval_cycles, run.latency_cycles) == (timing.interval, timing.latency)
    depths = case.dataflow.fifo_depths
    assert run.fifo_levels.keys() == depths.keys()
    assert all(level <= depths[name] for name, level in run.fifo_levels.items())


@pytest.mark.parametrize("stalls", [0.1, 0.7])
def test_scores_under_stalls(case: Case, stalls: float) -> None:
    run = simulate(case.dataflow, case.design, case.images, stalls=stalls, seed=3, optimize=False)
    np.testing.assert_array_equal(run.scores, case.graph.run(case.images))


def test_the_design_is_the_same_every_time(case: Case, tmp_path: Path) -> None:
    again = stitch(case.dataflow, PARTS[case.family], CLOCK_NS, tmp_path)
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    for name in files:
        text = (tmp_path / name).read_bytes()
        assert text == (case.design.folder / name).read_bytes()
        assert str(tmp_path).encode() not in text
    assert (tmp_path / SOURCES).read_text().split() == list(again.sources)
