"""The rules of the lowering: one for each operation, in its own file, and nobody else knows operations."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.util.basic import qonnx_make_model

from fireflow.hw import ops
from fireflow.hw.errors import InputError
from fireflow.hw.finn import rules
from fireflow.hw.finn.lowering import lower
from fireflow.hw.finn.rules import RULES, rule_of_lowered
from fireflow.hw.finn.rules.base import Rule
from fireflow.hw.ops import Op
from tests.hw.finn.qonnx_builder import valid

ROOT = Path(__file__).resolve().parents[3] / "hw" / "finn"
KINDS = {name: getattr(ops, name) for name in ops.__all__ if name != "Op"}
# They say in their first lines why they name operations: constants, the first layer, the head, quantizers.
NAMING = {
    "agreement",
    "checks",
    "constants",
    "edits",
    "load",
    "pixels",
    "qonnx_file",
    "simplify",
    "unsupported",
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_operation_has_a_rule_in_the_file_of_its_name(kind: type[Op]) -> None:
    rule = Rule.registered[kind]
    assert type(rule).__module__.rpartition(".")[2] == kind.__module__.rpartition(".")[2]
    assert type(rule).read is not Rule.read
    assert type(rule).write is not Rule.write
    assert not rule.takes or type(rule).check is not Rule.check


def test_rules_are_of_operations_of_the_graph() -> None:
    assert {rule.op for rule in RULES} == set(KINDS.values())


def test_what_a_file_may_hold_is_what_rules_take() -> None:
    taken = {kind for rule in RULES for kind in rule.takes}
    assert sorted(taken) == list(rules.SUPPORTED)
    assert set(rules.forms()) | {"IntQuant", "Reshape", "Squeeze", "Unsqueeze"} == {*taken, *rules.RESPELLED}


def test_a_rule_may_leave_nodes_of_a_kind_that_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(Rule.registered[ops.Add]), "takes_node", lambda rule, model, node: False)
    with pytest.raises(InputError, match=r"^fire2\.add: the operation must be one of .*, not Add; change"):
        lower(valid().save(tmp_path / "net.onnx"))


def test_what_was_not_lowered_is_no_operation() -> None:
    node = helper.make_node("Softmax", ["x"], ["y"], name="soft")
    model = ModelWrapper(qonnx_make_model(helper.make_graph([node], "g", [], [])))
    with pytest.raises(AssertionError, match=r"^soft: Softmax was not lowered"):
        rule_of_lowered(model, node)


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.py")), ids=lambda path: path.stem)
def test_passes_know_no_operation(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "fireflow.hw.ops" not in imported
    if path.stem not in NAMING:
        own = {name for rule in RULES for name in (*rule.takes, *rule.respells, rule.lowered, *rule.helpers)}
        texts = {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not texts & own
