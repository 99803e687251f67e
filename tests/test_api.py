"""The public API: what `import fireflow` gives, where, and how it is documented."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest

import fireflow

ROOT = Path(__file__).resolve().parent.parent
# What a board with NumPy alone uses.
BOARD = (
    *("Accelerator", "Bundle", "Graph", "InputError", "Preprocessing", "Simulator"),
    *("DeviceError", "Frame", "Guess", "PictureRun", "deploy", "open_accelerator", "open_pictures"),
)
ALONE = """
import importlib.abc, json, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("numpy", "fireflow"):
            raise ModuleNotFoundError(f"{name} is not there", name=name)
sys.meta_path.insert(0, Blocker())
import fireflow
before = [name for name in sys.modules if name.startswith("fireflow.")]
for name in json.loads(sys.argv[1]):
    getattr(fireflow, name)
print(json.dumps(before))
"""
_DTYPE = re.compile(r"\b(u?int\d+|float\d+|integers?|bool)\b")
_SHAPE = re.compile(r"\(\.{3}|\([A-Z]+[,)]|\([a-z]+,")


def public(value: Any) -> list[tuple[str, Any]]:
    """A public name's own callables: the function, or the class and its public methods."""
    if not inspect.isclass(value):
        return [("", value)]
    methods = [
        (name, getattr(value, name))
        for name, member in vars(value).items()
        if not name.startswith("_")
        and (inspect.isfunction(member) or isinstance(member, (classmethod, staticmethod)))
    ]
    return [("", value), *methods]


def test_names_are_imported_when_they_are_used_and_numpy_is_enough() -> None:
    command = [sys.executable, "-W", "error", "-c", ALONE, json.dumps(BOARD)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'fireflow' has no attribute 'quantise'"):
        fireflow.quantise  # noqa: B018


def test_every_name_is_documented_on_the_page_and_no_other() -> None:
    page = re.findall(r"^::: fireflow\.(\w+)$", (ROOT / "docs" / "api.md").read_text(), flags=re.M)
    assert len(page) == len(set(page))
    assert sorted(page) == fireflow.__all__
    assert set(fireflow.__all__) <= set(dir(fireflow))


@pytest.mark.parametrize("name", fireflow.__all__)
def test_every_name_says_what_it_takes_and_gives(name: str) -> None:
    value = getattr(fireflow, name)
    if not callable(value):
        return  # a table of records, whose class says it
    assert not inspect.ismodule(value)
    for part, member in public(value):
        place, text = f"{name}.{part}".rstrip("."), inspect.getdoc(member) or ""
        assert text, f"{place}: must have a docstring"
        assert part or inspect.isclass(value) or "Namespace" not in str(inspect.signature(member)), place
        if inspect.isclass(member) and issubclass(member, BaseException):
            continue
        signature = inspect.signature(member)
        arguments = [parameter for parameter in signature.parameters if parameter not in ("self", "cls")]
        if not part and arguments:
            missing = [argument for argument in arguments if not re.search(rf"\b{argument}\b", text)]
            assert not missing, f"{place}: the docstring must say what {missing} are"
            plain = is_dataclass(value) and "__post_init__" not in vars(value)  # takes all it is given
            assert plain or "Raises" in text, f"{place}: the docstring must say what it raises, and when"
        if re.search(r"Array|ndarray", str(signature)):
            assert _SHAPE.search(text), f"{place}: the docstring must give shapes"
            assert _DTYPE.search(text), f"{place}: the docstring must give dtypes"
