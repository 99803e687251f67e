"""`fireflow resources`: counts layer by layer, in the bundle and on the report's page; Yosys itself is replaced."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fireflow.host.cli import main
from fireflow.hw.bundle import Bundle, Manifest
from fireflow.hw.contents import read_contents
from fireflow.hw.dataflow.cost import costs
from fireflow.hw.dataflow.layers import Fifo, MatMul
from fireflow.hw.golden import Golden
from fireflow.hw.parts import Resources
from fireflow.hw.rtl import count
from fireflow.hw.tools import yosys
from tests.hw.networks import squeezenet

SIZE = 32


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph = squeezenet(size=SIZE, classes=5, narrow=8, stages=(((16, 64),),))
    images = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    folder = tmp_path_factory.mktemp("bundle")
    Bundle(graph, Manifest(), Golden.record(graph, images)).save(folder / "small.fire")
    command = ["build", str(folder / "small.fire"), "--board", "pynq-z2", "--target-fps", "5000", "--no-rtl"]
    assert main([*command, "-o", str(folder / "built.fire")]) == 0
    return folder / "built.fire"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modules that Yosys was asked to count; it finds 10 LUTs and 20 FFs in each."""
    modules: list[str] = []

    def resources(top: str, *_args: object, **_more: object) -> yosys.Cells:
        modules.append(top)
        return yosys.Cells(Resources(lut=10, ff=20))

    monkeypatch.setattr(yosys, "resources", resources)
    return modules


def test_counts_are_told_kept_and_shown(
    built: Path, asked: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    with monkeypatch.context() as patch:
        patch.setattr(
            "fireflow.hw.bundle.read_contents",
            lambda folder, limits: reads.append(folder) or read_contents(folder, limits),
        )
        assert main(["resources", str(built), "--jobs", "2", "--json"]) == 0
    assert reads == [built]  # read and hashed once
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    bundle = Bundle.load(built)
    assert bundle.hardware is not None
    layers = bundle.hardware.dataflow(bundle.graph).layers
    assert list(found["layers"]) == [layer.name for layer in layers]
    assert found["total"]["lut"]["counted"] == 10 * len(layers)
    parts = costs(bundle.hardware.dataflow(bundle.graph), "xc7")
    modelled = sum(part.lut for part in parts.values())
    assert found["total"]["lut"]["error"] == pytest.approx(modelled / (10 * len(layers)) - 1)
    assert len(asked) < len(layers)  # equal ones are counted once
    assert f"{len(asked)} of {len(asked)} counted" in captured.err
    for layer in layers:
        finn = found["layers"][layer.name]["finn"]
        assert (finn is None) == (layer.kind in ("Pad", "MaxPool", "Fork", "Concat", "Head"))
        if isinstance(layer, MatMul) and layer.kernel == "dsp":
            assert finn["dsp"] == -(-layer.pe // 4) * layer.simd

    assert bundle.counts is not None
    assert set(bundle.counts.counted.values()) == {Resources(lut=10, ff=20)}
    assert main(["report", str(built)]) == 0
    page = built.with_suffix(".html").read_text()
    assert bundle.counts.tool in page
    assert "Not yet: run" not in page


def test_what_does_not_fit_by_the_counts(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(yosys, "resources", lambda *_args, **_more: yosys.Cells(Resources(lut=10_000, dsp=1)))
    assert main(["resources", str(built)]) == 1
    told = capsys.readouterr().out
    assert "does not fit 80% of PYNQ-Z2" in told
    for layer in Bundle.load(built).graph.types:
        if layer not in ("image", "conv10.bias", "conv10.relu"):
            assert layer in told


def test_an_interrupted_count_leaves_the_bundle_as_it_was(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (built / "manifest.json").read_bytes()

    def refused(top: str, *_args: object, **_more: object) -> yosys.Cells:
        raise KeyboardInterrupt

    monkeypatch.setattr(yosys, "resources", refused)
    assert main(["resources", str(built), "--jobs", "1"]) == 130
    assert (built / "manifest.json").read_bytes() == before


def test_another_build_forgets_the_counts(built: Path, asked: list[str], tmp_path: Path) -> None:
    assert main(["resources", str(built)]) == 0
    (tmp_path / "fold.json").write_text("{}")
    command = [
        "build",
        str(built),
        "--board",
        "pynq-z2",
        "--folding",
        str(tmp_path / "fold.json"),
        "--no-rtl",
    ]
    assert main([*command, "-o", str(tmp_path / "again.fire")]) == 0
    assert Bundle.load(tmp_path / "again.fire").counts is None


def test_a_damaged_record_is_refused(built: Path, asked: list[str]) -> None:
    from fireflow.hw.dataflow.counts import Counts
    from fireflow.hw.errors import InputError

    assert main(["resources", str(built)]) == 0
    counts = Bundle.load(built).counts
    assert counts is not None
    document = counts.to_json()
    assert Counts.from_json(document).to_json() == document
    document["layers"]["conv1"].pop("counted")
    with pytest.raises(
        InputError, match=r"counts: fields must be complete \(KeyError\('counted'\)\); count again"
    ):
        Counts.from_json(document)


def test_layers_of_equal_rtl_are_counted_once_whatever_their_names(asked: list[str]) -> None:
    from fireflow.hw.dataflow.stream import Stream

    stream = Stream((4, 4, 8), 0, 15, 2)
    layers = [Fifo(name, ("x",), (stream,), stream, depth) for name, depth in (("a", 9), ("b", 9), ("c", 17))]
    seen: list[tuple[str, int, int]] = []
    counted = count.count_layers(
        layers, "xc7z020clg400-1", 10.0, jobs=1, progress=lambda *told: seen.append(told)
    )
    assert list(counted) == ["a", "b", "c"]
    assert asked == ["stream_fifo", "stream_fifo"]
    assert seen == [("a", 1, 2), ("c", 2, 2)]
