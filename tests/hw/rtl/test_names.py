"""Any names of other people's networks in Verilog: safe, different where layers are, and as ever where plain."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireflow.hw.dataflow.build import to_dataflow
from fireflow.hw.dataflow.network import Dataflow
from fireflow.hw.errors import InputError
from fireflow.hw.graph import Graph, Node
from fireflow.hw.ops import Add, Conv, GlobalSum
from fireflow.hw.rtl.names import module_name, safe_names
from fireflow.hw.rtl.simulate import check_layers, layer_bench, simulate
from fireflow.hw.rtl.stitch import stitch
from fireflow.hw.types import TensorType
from tests.hw.random_graphs import pictures

PART = "xc7z020clg400-1"
NAMES = ("a.b", "a_b", "/features/0/Conv_output_0", "wire", "matmul", "u_a_b", "../../../tmp/x", "ü", "ä")
HOSTILE = (
    "a b",
    '");$finish;//',
    "$system('id')",
    "*/ initial $finish; /*",
    "`include",
    "\\",
    "a'b",
    "synopsys translate_off",
)


def network(names: tuple[str, ...], own: str = "net") -> Graph:
    """1x1 convolutions of one picture, added up: no layer of FINN's."""
    rng = np.random.default_rng(1)
    nodes, last = [], ""
    for number, name in enumerate(names):
        nodes.append(Node(name, Conv(rng.integers(-7, 8, (2, 1, 1, 2)), weight_bits=4), ("image",)))
        if last:
            nodes.append(Node(f"sum {number}", Add(), (last, name)))
        last = nodes[-1].name
    nodes.append(Node("scores", GlobalSum(), (last,)))
    return Graph(own, "image", TensorType((3, 3, 2), 0, 15), tuple(nodes), 1.0)


def verilog(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.glob("*.sv")))


@given(
    st.lists(st.text(min_size=1, max_size=12), unique=True, max_size=12) | st.permutations([*NAMES, *HOSTILE])
)
@settings(max_examples=60, deadline=None)
def test_safe_names_are_different_and_plain(names: list[str]) -> None:
    safe = safe_names(names)
    assert list(safe) == names
    modules = [module_name(name).lower() for name in safe.values()]
    assert len(set(modules)) == len(names)
    assert all(re.fullmatch(r"[\w.-]+", name, re.ASCII) for name in safe.values())


def test_plain_names_stay() -> None:
    names = [
        "conv1",
        "conv1.pad",
        "conv1.window",
        "fire2.expand3x3.act",
        "fire2.concat.fifo0",
        "pool1",
        "scores",
    ]
    assert safe_names(names) == {name: name for name in names}


def test_longest_names_are_files() -> None:
    names = [letter * 1000 for letter in "ab"]
    assert all(len(name) < 200 for name in safe_names([*names, names[0] + "c"]).values())


def test_nothing_of_a_name_becomes_verilog(tmp_path: Path) -> None:
    plain = to_dataflow(network(tuple(f"n{number}" for number in range(len(HOSTILE)))))
    design = stitch(to_dataflow(network(HOSTILE, own="synopsys translate_off")), PART, 10.0, tmp_path / "h")
    expected = stitch(plain, PART, 10.0, tmp_path / "p")
    text = verilog(design.folder)
    for word in ("$", "`", "'id'", "synopsys ", "\\"):
        assert word not in text, word
    assert text.count("\n") == verilog(expected.folder).count("\n")
    outside = [
        path for path in tmp_path.rglob("*") if path.parent == tmp_path and path.name not in ("h", "p")
    ]
    assert outside == []


@pytest.mark.parametrize(
    "bad", ["a\nb", "a\rb", "a\x00b", "\x1b[2J", "a\u2028b", "\ud800", "a\u202eb", "", "x" * 1025]
)
def test_what_is_no_name_is_refused(bad: str) -> None:
    for make in (lambda: network((bad,)), lambda: network(("a",), own=bad)):
        with pytest.raises(InputError, match=r"a name must have"):
            make()


@pytest.mark.timeout(600)
def test_a_network_with_such_names_computes(tmp_path: Path) -> None:
    graph = network(("a.b", "a_b", "/f/0", "wire"))
    flow: Dataflow = to_dataflow(graph)
    depths = {edge.label: 4 for edge in flow.edges if edge.target_port}
    flow = flow.with_fifos(depths)
    images = pictures(graph, 2)
    run = simulate(flow, stitch(flow, PART, 10.0, tmp_path / "rtl"), images, optimize=False)
    np.testing.assert_array_equal(run.scores, graph.run(images))
    assert set(run.fifo_levels) == set(depths)
    bench = layer_bench(flow.layers, PART, 10.0, tmp_path / "layers")
    found = check_layers(flow, bench, images, optimize=False)
    wanted = flow.run(images)
    assert set(found) == {layer.name for layer in flow.layers}
    for name, values in found.items():
        np.testing.assert_array_equal(values, wanted[name], err_msg=name)


def test_module_names() -> None:
    assert module_name("fire2.expand3x3.pad") == "fire2_expand3x3_pad"
    assert module_name("3x3") == "layer_3x3"
