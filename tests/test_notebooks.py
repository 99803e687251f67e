"""Every notebook runs from top to bottom in its small mode, and the copy in the repository is fit to be read."""

from __future__ import annotations

import base64
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

from fireflow.hw.bundle import Bundle, Manifest
from fireflow.hw.golden import Golden
from fireflow.hw.preprocessing import Preprocessing
from tests.hw.networks import pictures, squeezenet

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_BYTES = 600_000
ABSOLUTE = re.compile(r"(?<![\w.])/(?:home|root|Users|usr|opt|tmp|var|work|mnt|private)/|[A-Z]:\\\\?\w")

# What a notebook must have computed: an expression for each fact, evaluated in its kernel after the last cell.
FACTS = {
    "01_quantize_and_simulate": {
        "differing": "comparison.differing",
        "stages": "list(comparison.stages)",
        "compared": "sum(int(np.prod(row.shape)) for row in comparison.rows)",
        "golden": "check.passed",
        "classes": "[guess.label for row in scores for guess in best(row, model.labels, 1, 1)]",
        "float_accuracy": "accuracy(float_scores)",
        "agreement": "agreement(calibrated_scores['w6a6'])",
        "sizes_kb": "sizes_kb",
    },
    "02_build_accelerator": {
        "differing": "[differing, differing_under_stalls]",
        "interval": "[interval, plan.interval]",
        "fps": "[plan.fps for plan in plans]",
        "held": "[[words, layer.depth] for words, layer in zip(most, fifos)]",
    },
    "03_run_on_board": {"passed": "bool(check.passed)", "wrong": "[differing, wrong]"},
}


class OwnKernel(AsyncKernelManager):
    """The kernel of this interpreter: the only one there is without folders to look in."""

    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])


def read(path: Path) -> NotebookNode:
    notebook: NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    return notebook


def texts(notebook: NotebookNode) -> list[str]:
    """Everything its outputs say; pictures are left out."""
    found: list[str] = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            found += [output.get("text", ""), *output.get("traceback", ())]
            found += [
                str(data) for kind, data in output.get("data", {}).items() if not kind.startswith("image/")
            ]
    return found


def assert_no_machine_paths(notebook: NotebookNode) -> None:
    places = {str(ROOT), str(Path.home()), sys.prefix, tempfile.gettempdir()} - {"/"}
    for text in texts(notebook):
        assert not ABSOLUTE.search(text), text
        assert not any(place in text for place in places), text


def run(path: Path, facts: dict[str, str]) -> tuple[NotebookNode, dict[str, Any]]:
    """Executes a notebook, in a kernel of this interpreter, and evaluates `facts` behind its last cell."""
    notebook = read(path)
    pairs = ", ".join(f"{name!r}: {expression}" for name, expression in facts.items())
    source = f"import json\nprint(json.dumps({{{pairs}}}))"
    notebook.cells.append(nbformat.v4.new_code_cell(source))  # type: ignore[no-untyped-call]
    place = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, kernel_manager_class=OwnKernel, timeout=240, resources=place).execute()
    answer = notebook.cells.pop()
    return notebook, json.loads("".join(output.text for output in answer.outputs if output.name == "stdout"))


@pytest.fixture
def small_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's settings, one thread, small data, no data folder."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("FIREFLOW_DATA", str(tmp_path / "none"))
    monkeypatch.delenv("FIREFLOW_NOTEBOOK", raising=False)
    graph = squeezenet(size=32, classes=5, narrow=8, stages=(((16, 64),),))
    manifest = Manifest(Preprocessing(size=32, resize=32), labels=tuple("abcde"))
    bundle = tmp_path / "small.fire"
    Bundle(graph, manifest, Golden.record(graph, pictures(2, (32, 32, 3)))).save(bundle)
    monkeypatch.setenv("FIREFLOW_BUNDLE", str(bundle))


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} >= set(FACTS)


@pytest.mark.timeout(900)  # half a minute on an idle core
@pytest.mark.usefixtures("small_mode")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_top_to_bottom(path: Path) -> None:
    notebook, facts = run(path, FACTS.get(path.stem, {}))
    assert_no_machine_paths(notebook)
    if path.stem == "01_quantize_and_simulate":
        check_first(notebook, facts)
    if path.stem == "02_build_accelerator":
        check_second(facts)
    if path.stem == "03_run_on_board":
        assert facts == {"passed": True, "wrong": [0, 0]}


def check_first(notebook: NotebookNode, facts: dict[str, Any]) -> None:
    """The numbers of the first notebook: the integers agree, and the small network learned something."""
    assert facts["differing"] == 0
    assert facts["compared"] > 10_000
    assert facts["stages"] == ["Brevitas", "FINN", "interpreter", "simulator"]
    assert facts["golden"] is True
    assert len(facts["classes"]) == 2
    assert facts["float_accuracy"] > 50  # six classes: 17 by chance
    assert facts["agreement"] > 60
    sizes = [facts["sizes_kb"][name] for name in ("w6a6", "w4a4", "w3a4", "w2a4")]
    np.testing.assert_array_equal(sizes, sorted(sizes, reverse=True))
    pictures = [
        o for cell in notebook.cells for o in cell.get("outputs", ()) if "image/png" in o.get("data", {})
    ]
    assert len(pictures) == 6


def check_second(facts: dict[str, Any]) -> None:
    """The numbers of the second: the RTL agrees, keeps its interval, and no FIFO overflows."""
    assert facts["differing"] == [0, 0]
    measured, expected = facts["interval"]
    assert abs(measured - expected) <= 0.02 * expected
    assert facts["fps"] == sorted(facts["fps"])
    assert all(0 < held <= depth for held, depth in facts["held"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_copy_in_the_repository(path: Path) -> None:
    assert path.stat().st_size < MAX_BYTES
    notebook = read(path)
    assert_no_machine_paths(notebook)
    parameters = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    if path.stem != "03_run_on_board":  # it takes whatever bundle there is
        assert len(parameters) == 1
        assert "SMALL" in parameters[0].source
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    runs = [cell.execution_count for cell in code]
    assert runs in ([None] * len(code), list(range(1, len(code) + 1))), (
        "run all cells in order, or strip all outputs"
    )
    for cell in code:
        for output in cell.outputs:
            assert output.output_type != "error", output
            assert output.get("name") != "stderr", output
            if "image/png" in output.get("data", {}):
                assert base64.b64decode(output.data["image/png"]).startswith(b"\x89PNG")
