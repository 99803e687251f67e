"""Each operation has its rule, its layers, their kernels, and a test of these in RTL; each stands in its own file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from fireflow.hw import ops
from fireflow.hw.dataflow.cost import coefficients, cost, fitted
from fireflow.hw.dataflow.layers import Layer, Maker
from fireflow.hw.finn.operators import Operator
from fireflow.hw.finn.rules import Rule
from tests.hw.rtl.kernel_cases import all_layers
from tests.hw.rtl.layer_cases import FINN_LAYERS, MATRICES

ROOT = Path(__file__).resolve().parent.parent
OPS = {name: kind for name, kind in ops.Op.kinds.items() if kind.__module__.startswith("fireflow.hw.ops.")}
KINDS = {name: kind for name, kind in Layer.kinds.items() if kind.__module__.startswith("fireflow.")}
FAMILIES = ("xc7", "xcup")
CASES: tuple[Layer, ...] = (*all_layers().values(), *FINN_LAYERS.values(), *MATRICES)
"""Layers that are simulated in RTL, in tests/hw/rtl and tests/hw/finn."""


def file_name(kind: str) -> str:
    """
    >>> file_name("MaxPool"), file_name("MatMul")
    ('max_pool', 'matmul')
    """
    return "matmul" if kind == "MatMul" else re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()


def test_there_is_something_to_check() -> None:
    assert {"Conv", "Threshold", "Relu"} <= set(OPS)
    assert {"MatMul", "Threshold", "Fifo"} <= set(KINDS)


@pytest.mark.parametrize("name", OPS)
def test_each_operation_has_its_rule_and_becomes_a_layer(name: str) -> None:
    absorbed = {kind for maker in Maker.of.values() for kind in maker.absorbs}
    assert OPS[name] in Maker.of or OPS[name] in absorbed, "no Maker in hw/dataflow/layers makes it hardware"
    assert OPS[name].__module__ == f"fireflow.hw.ops.{file_name(name)}"
    assert type(Rule.registered[OPS[name]]).__module__ == f"fireflow.hw.finn.rules.{file_name(name)}"


@pytest.mark.parametrize("name", KINDS)
def test_each_layer_is_tested_in_rtl(name: str) -> None:
    own = [layer for layer in CASES if layer.kind == name]
    assert own, "no layer of this kind in tests/hw/rtl/kernel_cases.py or layer_cases.py"
    assert KINDS[name].__module__ == f"fireflow.hw.dataflow.layers.{file_name(name)}"
    for layer in own:
        for family in FAMILIES:
            if layer.in_finn:
                assert type(layer) in Operator.of, "FINN's operator must be in hw/finn/operators"
            else:
                assert all(path.is_file() for path in layer.rtl(family).sources)


@pytest.mark.parametrize("name", KINDS)
def test_each_layer_has_its_time_and_its_cost(name: str) -> None:
    for layer in CASES:
        if layer.kind == name:
            for family in FAMILIES:
                assert layer.timing(family).interval >= layer.input.words // layer.inputs[0].groups
                assert cost(layer, family).lut > 0
            assert set(coefficients(layer.variant)) == {"lut", "ff"}


def test_the_table_of_costs_is_of_layers_that_there_are() -> None:
    known = {layer.variant for layer in CASES}
    assert set(fitted()) <= known
    assert known <= {*fitted(), *(variant for kind in KINDS.values() for variant in kind.coefficients)}


def asked(path: Path) -> set[str]:
    """The classes that a file asks isinstance for."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            wanted = node.args[1]
            for each in wanted.elts if isinstance(wanted, ast.Tuple) else [wanted]:
                found.add(ast.unparse(each))
    return found


@pytest.mark.parametrize(
    "path",
    sorted(path for folder in ("hw", "host") for path in (ROOT / folder).rglob("*.py")),
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_nobody_else_asks_for_a_kind(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    own = {name for name in (*KINDS, *OPS) if file_name(name) == path.stem}
    found = asked(path)
    if place.startswith("hw/dataflow/layers/"):  # what makes an operation a layer knows the operation
        found = {name for name in found if not name.startswith("ops.")}
    if place.startswith(("hw/finn/rules/", "hw/simulator/")):
        return  # a rule knows the layers of its operation; the fast simulator plans what it computes at once
    assert not {name.rpartition(".")[2] for name in found} & {*KINDS, *OPS} - own
