"""A bundle in which one value of one JSON file is odd: it is refused by name, or works."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fireflow.host.interface import load
from fireflow.hw.bundle import Bundle, Manifest
from fireflow.hw.contents import BITSTREAM_RECORD
from fireflow.hw.dataflow.build import to_dataflow
from fireflow.hw.dataflow.counts import Counts
from fireflow.hw.dataflow.hardware import Hardware
from fireflow.hw.errors import InputError
from fireflow.hw.files import parse_json
from fireflow.hw.golden import Golden
from fireflow.hw.graph import Graph
from fireflow.hw.parts import Resources, board
from fireflow.hw.preprocessing import Preprocessing
from fireflow.hw.simulator import Simulator
from tests.hw.networks import squeezenet
from tests.hw.odd_values import mutations, written
from tests.hw.random_graphs import pictures

CASES = 100
RECORD = {
    "toolchain": "open",
    "tools": {"yosys": "0.52"},
    "clock_mhz": 100.0,
    "target_mhz": 100.0,
    "max_mhz": 101.5,
    "synthesized": {"lut": 5.0},
}


def graph() -> Graph:
    return squeezenet(32, 5, narrow=8, stages=(((16, 64),),))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With everything that a bundle may have."""
    own = graph()
    flow = to_dataflow(own)
    depths = {edge.label: 4 for edge in flow.edges[:3]}
    names = [layer.name for layer in flow.with_fifos(depths).layers]
    chosen = board("pynq-z2")
    hardware = Hardware(
        chosen.name, chosen.part, 100.0, 0.8, {"conv1": {"pe": 2, "memory": "lut"}}, depths, "conv1", ("lut",), 9, 99,
        Resources(lut=5),
    )  # fmt: skip
    finn = dict.fromkeys(("lut", "bram36", "uram", "dsp"), 1.0)
    counts = Counts(
        "Yosys",
        dict.fromkeys(names, Resources(lut=1)),
        {name: None if number % 2 else finn for number, name in enumerate(names)},
    )
    manifest = Manifest(
        Preprocessing(32, 40),
        tuple("abcde"),
        {"accuracy": {"top1": 0.5}, "data": ["a", 1]},
        {"fireflow": "0"},
    )
    folder = tmp_path_factory.mktemp("odd")
    (folder / BITSTREAM_RECORD).write_text(json.dumps(RECORD))
    (folder / "net.bit").write_bytes(b"bits")
    golden = Golden.record(own, pictures(own, 1))
    path = folder / "net.fire"
    extra = {name: folder / name for name in (BITSTREAM_RECORD, "net.bit")}
    found = {"images": 1, "stalls": 0.2, "differing": 0, "interval_cycles": None, "latency_cycles": 12}
    Bundle(own, manifest, golden, hardware, found, counts).save(path, None, extra)
    return path


def seal(path: Path, document: Any) -> None:
    """Writes a manifest with a hash that fits."""
    if isinstance(document, dict):
        document = {key: value for key, value in document.items() if key != "sha256"}
        document["sha256"] = hashlib.sha256(written(document)).hexdigest()
    (path / "manifest.json").write_bytes(written(document))


def put(path: Path, name: str, document: Any) -> None:
    """Replaces a JSON file and makes the manifest fit."""
    if name == "manifest.json":
        seal(path, document)
        return
    data = written(document)
    (path / name).write_bytes(data)
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    seal(path, manifest)


def use(path: Path) -> None:
    """What commands do with a bundle, as far as it takes no tools."""
    from fireflow.hw.report import report_page

    bundle, interface = load(path)
    assert interface.interval_s > 0
    assert Simulator(bundle.graph).run(bundle.golden.images).shape == bundle.golden.scores.shape
    data = bundle.read(BITSTREAM_RECORD)
    assert bundle.hardware is None or bundle.hardware.dataflow(bundle.graph).layers
    record = parse_json(data or b"null", BITSTREAM_RECORD)
    if bundle.hardware is not None and (bundle.counts is None or record != RECORD):
        assert report_page(bundle, record).endswith("</html>")
    bundle.save(path.with_name("again.fire"))


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "graph.json", "hardware.json", "verification.json", "resources.json", BITSTREAM_RECORD],
)
def test_odd_values(built: Path, tmp_path: Path, name: str) -> None:
    original = json.loads((built / name).read_bytes())
    outcomes = {"refused": 0, "works": 0}
    path = tmp_path / "net.fire"
    shutil.copytree(built, path)
    use(path)
    for what, document in mutations(original, CASES, seed=len(name)):
        shutil.copy(built / "manifest.json", path / "manifest.json")
        put(path, name, document)
        try:
            use(path)
            outcomes["works"] += 1
        except InputError as error:
            outcomes["refused" if len(str(error).splitlines()) == 1 else f"more than a line: {what}"] = (
                outcomes["refused"] + 1
            )
        except Exception as error:
            raise AssertionError(f"{name}: {what}: {error!r}") from error
        if name != "manifest.json":
            shutil.copy(built / name, path / name)
    assert set(outcomes) == {"refused", "works"}, outcomes
    assert outcomes["refused"] > CASES // 4, outcomes


def test_what_a_manifest_says_twice_must_agree_in_kind_too(built: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.fire"
    shutil.copytree(built, path)
    manifest = json.loads((path / "manifest.json").read_bytes())
    seal(path, {**manifest, "schema": True})
    with pytest.raises(InputError, match="schema must be a number"):
        Bundle.load(path)
    manifest["input"]["lo"] = False
    seal(path, manifest)
    with pytest.raises(InputError, match=r"input must agree with graph\.json"):
        Bundle.load(path)


def test_numbers_of_another_kind_are_no_arrays(built: Path, tmp_path: Path) -> None:
    for change in (np.float32, np.complex64, np.bool_):
        path = tmp_path / "net.fire"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(built, path)
        with np.load(path / "golden.npz") as file:
            arrays = dict(file)
        np.savez_compressed(path / "golden.npz", **{**arrays, "scores": arrays["scores"].astype(change)})
        data = (path / "golden.npz").read_bytes()
        manifest = json.loads((path / "manifest.json").read_bytes())
        manifest["files"]["golden.npz"] = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_bytes": len(data),
        }
        seal(path, manifest)
        with pytest.raises(InputError, match=r"golden\.npz: (scores must be int64|must hold golden vectors)"):
            Bundle.load(path)
