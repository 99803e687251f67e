"""The rules of the lowering: for each operation of `hw.ops`, in the file of the same name, all that is known of it.

A new operation is a line in `hw/ops/__init__.py`, and its rule is found here.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper

from fireflow.hw import ops
from fireflow.hw.finn.rules.base import Form, Rule, Stage, Step
from fireflow.hw.ops import Op

for _name in ops.__all__:
    _kind = getattr(ops, _name)
    if _kind is not Op:
        import_module(f"{__name__}.{_kind.__module__.rpartition('.')[2]}")

RULES: tuple[Rule, ...] = tuple(Rule.registered.values())
"""In the order of `hw.ops`, which must not matter: steps of a stage are of one operation each, or repeated."""
SUPPORTED: tuple[str, ...] = tuple(sorted({kind for rule in RULES for kind in rule.takes}))
"""The operations of a file when everything that is constant or changes nothing is out of it."""
RESPELLED: frozenset[str] = frozenset(kind for rule in RULES for kind in rule.respells)
"""Further ones, which are made into those."""


def rule_of(op: Op) -> Rule:
    """The rule of an operation of the integer graph."""
    return Rule.registered[type(op)]


def taken(model: ModelWrapper, node: NodeProto) -> bool:
    """Whether a rule takes a node of a simplified file."""
    return any(rule.takes_node(model, node) for rule in RULES)


def rule_of_file(model: ModelWrapper, node: NodeProto) -> Rule:
    """The rule that takes a node of a simplified file."""
    (found,) = (rule for rule in RULES if rule.takes_node(model, node))
    return found


def rule_of_lowered(model: ModelWrapper, node: NodeProto) -> Rule:
    """The rule whose operation a node of the lowered model is; not of helpers, which are read with another."""
    found = [rule for rule in RULES if rule.becomes(model, node)]
    assert len(found) == 1, f"{node.name}: {node.op_type} was not lowered"
    return found[0]


def is_helper(node: NodeProto) -> bool:
    """Whether a node of the lowered model is part of the operation behind it."""
    return any(node.op_type in rule.helpers for rule in RULES)


def forms() -> Mapping[str, tuple[Form, Rule]]:
    """By operation of a file: its form, and the rule whose it is."""
    return {kind: (form, rule) for rule in RULES for kind, form in rule.forms.items()}


def steps(stage: Stage) -> tuple[Step, ...]:
    """What all rules do at a stage of the lowering."""
    return tuple(step for rule in RULES for step in rule.steps.get(stage, ()))
