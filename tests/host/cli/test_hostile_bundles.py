"""Bundles from somebody who wants more than a simulation: sealed again by their author, so that every hash fits."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fireflow.host.cli import main
from fireflow.hw.bundle import RTL, Bundle, Manifest
from fireflow.hw.contents import render, seal
from fireflow.hw.dataflow.counts import Counts
from fireflow.hw.errors import InputError
from fireflow.hw.files import sha256
from fireflow.hw.golden import Golden
from fireflow.hw.graph import Graph, Node
from fireflow.hw.ops import Conv, GlobalSum
from fireflow.hw.preprocessing import Preprocessing
from fireflow.hw.rtl import simulate
from fireflow.hw.rtl.regenerate import regenerate
from fireflow.hw.types import TensorType


def network() -> Graph:
    """A 1x1 convolution and a sum: no layer of FINN's, so that its RTL is there at once."""
    weight = np.random.default_rng(0).integers(-7, 8, (3, 1, 1, 3))
    nodes = (Node("conv", Conv(weight, weight_bits=4), ("image",)), Node("scores", GlobalSum(), ("conv",)))
    return Graph("tiny", "image", TensorType((4, 4, 3), 0, 255), nodes, 1.0)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, graph = tmp_path_factory.mktemp("bundle"), network()
    images = np.random.default_rng(1).integers(0, 256, (1, 4, 4, 3), dtype=np.uint8)
    Bundle(graph, Manifest(Preprocessing(4, 4)), Golden.record(graph, images)).save(folder / "lowered.fire")
    built = folder / "built.fire"
    assert main(["build", str(folder / "lowered.fire"), "--board", "pynq-z2", "-o", str(built)]) == 0
    return built


@pytest.fixture
def built(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "built.fire")
    Image.new("RGB", (4, 4)).save(tmp_path / "picture.png")
    return tmp_path / "built.fire"


def reseal(path: Path) -> None:
    """Lists every file that is there with the hash that it has."""
    document = json.loads((path / "manifest.json").read_bytes())
    document.pop("sha256")
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and file.name != "manifest.json"]
    document["files"] = {
        file.relative_to(path).as_posix(): {"sha256": sha256(file), "size_bytes": file.stat().st_size}
        for file in files
    }
    (path / "manifest.json").write_bytes(render(seal(document)))
    Bundle.load(path)  # the attack is on who trusts it, not on its hashes


def runs_a_program(rtl: Path, marker: Path) -> None:
    top = rtl / "accelerator.sv"
    text = top.read_text()
    call = f'initial begin $system("touch {marker}"); $c("system(\\"touch {marker}\\");"); end\nendmodule'
    top.write_text(call.join(text.rsplit("endmodule", 1)))


def another_source(rtl: Path, marker: Path) -> None:
    (rtl / "more.sv").write_text(f'module more; initial $system("touch {marker}"); endmodule\n')
    listing = rtl / "sources.f"
    listing.write_text("more.sv\n" + listing.read_text())


def a_source_elsewhere(rtl: Path, marker: Path) -> None:
    outside = marker.with_name("outside.sv")
    outside.write_text(f'module more; initial $system("touch {marker}"); endmodule\n')
    listing = rtl / "sources.f"
    listing.write_text(f"{outside}\n" + listing.read_text())


def other_weights(rtl: Path, _marker: Path) -> None:
    image = min(rtl.glob("*.dat"))
    image.write_text(image.read_text()[::-1].strip() + "\n")


def one_file_less(rtl: Path, _marker: Path) -> None:
    (rtl / "fireflow" / "lut_rom.sv").unlink()


CHANGES = (runs_a_program, another_source, a_source_elsewhere, other_weights, one_file_less)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("command", ["simulate", "run", "verify"])
def test_rtl_that_was_changed_is_never_compiled(
    built: Path,
    change: Callable[[Path, Path], None],
    command: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_arguments: Any, **_options: Any) -> Any:
        raise AssertionError("somebody compiles it")

    monkeypatch.setattr(simulate.Simulation, "build", never)
    marker, picture = built.with_name("marker"), str(built.with_name("picture.png"))
    change(built / RTL, marker)
    reseal(built)
    more = {
        "simulate": [picture, "--engine", "rtl"],
        "run": [picture, "--engine", "rtl"],
        "verify": ["--rtl"],
    }
    assert main([command, str(built), *more[command]]) == 2
    assert "must be what this version makes of the graph and the folding" in capsys.readouterr().err
    assert not marker.exists()


def test_what_is_simulated_is_generated_and_the_same(built: Path, tmp_path: Path) -> None:
    (built / RTL / "not-listed.sv").write_text("module accelerator; endmodule\n")
    design = regenerate(Bundle.load(built), tmp_path / "anew")
    assert built not in design.paths[0].parents
    for path in design.paths:
        assert path.read_bytes() == (built / RTL / path.relative_to(design.folder)).read_bytes()


def test_a_lowered_clock_is_no_change(built: Path, tmp_path: Path) -> None:
    """The RTL is generated for the clock that was asked for, and the bitstream may run at a lower one."""
    hardware = json.loads((built / "hardware.json").read_bytes())
    asked = hardware["clock_mhz"]
    (built / "hardware.json").write_bytes(render({**hardware, "clock_mhz": asked / 2}))
    (built / "bitstream.json").write_bytes(render({"target_mhz": asked}))
    reseal(built)
    assert regenerate(Bundle.load(built), tmp_path / "anew").sources


def test_counting_keeps_the_bitstream_and_copies_nothing_else(built: Path) -> None:
    secret = built.with_name("secret")
    secret.write_text("of the user")
    (built / "tiny.bit").write_bytes(b"an hour of work")
    (built / "reports").mkdir()
    (built / "reports" / "timing.rpt").write_text("met")
    reseal(built)
    os.symlink(secret, built / RTL / "link.sv")
    before = Bundle.load(built)
    before.with_counts(Counts("Yosys", {}, {})).save_again()
    after = Bundle.load(built)
    assert set(after.files) == {*before.files, "resources.json"}
    assert {name: after.files[name] for name in before.files} == before.files
    assert not (built / RTL / "link.sv").exists()


def links_to_a_device(place: Path) -> None:
    os.symlink("/dev/zero", place)


def is_a_pipe(place: Path) -> None:
    os.mkfifo(place)


def is_a_folder(place: Path) -> None:
    place.mkdir()


def is_large(place: Path) -> None:
    with open(place, "wb") as file:
        file.truncate(1 << 40)


def links_to_itself(place: Path) -> None:
    os.symlink(place.name, place)


@pytest.mark.timeout(60)  # a reader that waits for a pipe, or reads a device to its end, never ends
@pytest.mark.parametrize("make", [links_to_a_device, is_a_pipe, is_a_folder, is_large, links_to_itself])
@pytest.mark.parametrize(
    "name", ["manifest.json", "graph.json", "graph.arrays", "golden.npz", f"{RTL}/sources.f"]
)
def test_files_that_are_none(built: Path, name: str, make: Callable[[Path], None]) -> None:
    (built / name).unlink()
    make(built / name)
    with pytest.raises(InputError, match=r"built\.fire"):
        Bundle.load(built)


@pytest.mark.parametrize("size_bytes", [1 << 29, 1 << 62])
def test_a_manifest_that_lists_more_than_any_bundle_has(built: Path, size_bytes: int) -> None:
    document = json.loads((built / "manifest.json").read_bytes())
    document.pop("sha256")
    record = {"sha256": "0" * 64, "size_bytes": size_bytes}
    document["files"] = {**document["files"], **{f"{number}": record for number in range(3)}}
    (built / "manifest.json").write_bytes(render(seal(document)))
    with pytest.raises(InputError, match=r"files must have at most \d+ bytes|the file must be there"):
        Bundle.load(built)


def test_names_that_are_none_become_no_verilog(built: Path) -> None:
    document = json.loads((built / "graph.json").read_bytes())
    for field in ("name", "input_name"):
        (built / "graph.json").write_bytes(render({**document, field: 'tiny\ninitial $system("id");'}))
        with pytest.raises(InputError, match="a name must have no control characters, line breaks"):
            reseal(built)


def test_links_inside_the_folder_are_files(built: Path) -> None:
    (built / "graph.json").rename(built / "real.json")
    os.symlink("real.json", built / "graph.json")
    assert stat.S_ISLNK((built / "graph.json").lstat().st_mode)
    assert Bundle.load(built).graph.name == "tiny"
