"""The rules of the layout: who may import what, and on which Python it must run."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fireflow
from fireflow.host.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("quant", "hw", "host", "fireflow/pipeline")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TORCH = {"torch", "brevitas", "lightning_fabric"}
ONNX = {"onnx", "qonnx"}
# Used where they are present; nothing of the NumPy-only part needs them to be imported.
OPTIONAL = {"PIL", "filelock", "threadpoolctl", "rich", "cv2"}
# What only the module of PYNQ's devices, and the board modelled under it, may import; boards have it.
BOARD_MODULES, BOARD = "host/devices/pynq", {"pynq", "grpc"}
# What only the HTTP service may import, and only when it is made.
SERVICE_MODULES, SERVICE = "host/service/", {"h11", "python_multipart", "starlette", "uvicorn"}
FIRE_LAYER = re.compile(r"\bfire(?:\d|\{|N\b)|\bconv10\b|expand[13]x[13]")
LONGEST_FILE, LONGEST_COMMAND, LONGEST_HELPER = 450, 120, 300
COMMAND_FILES = sorted(ROOT / "host" / "cli" / f"{command}.py" for command in COMMANDS)
# What only the measurement beside FINN+'s driver may import, in a Python that has it.
FINN_DRIVER_MODULES, FINN_DRIVER = "host/bench/under_pynq.py", {"finn_plus_driver"}
# What builds accelerators runs on workstations alone, and these may use FINN's kernels.
WORKSTATION = (
    *("hw/bitstream/", "hw/finn/", "hw/report/", "hw/rtl/", "hw/tools/"),
    *("hw/dataflow/cost_fit.py", "hw/dataflow/folding.py", "hw/dataflow/integer_program.py"),
)
# Of these, what is read on boards too: which toolchains there are.
READ_ON_BOARDS = "hw/bitstream/toolchains/"
# What gives bundles to FINN.
TO_FINN = ("hw/rtl/stitch.py", "hw/bitstream/toolchains/finn.py")
# What joins the folders; these of it run on a board, for the commands that do.
PIPELINE = "fireflow/pipeline/"
PIPELINE_ON_BOARD = tuple(
    f"{PIPELINE}{name}.py"
    for name in ("__init__", "accelerators", "engines", "inputs", "installation", "simulating", "systems")
)


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def numpy_only(path: Path) -> bool:
    name = place(path)
    if name.startswith(PIPELINE):
        return name in PIPELINE_ON_BOARD
    return name.startswith(("host/", READ_ON_BOARDS)) or (
        name.startswith("hw/") and not name.startswith(WORKSTATION)
    )


def imports(path: Path, everywhere: bool = True) -> Iterator[str]:
    """Full names of the modules that a file imports when it runs; `everywhere`: in functions too."""
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += node.orelse
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{place(path)}: imports must be absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif everywhere or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            pending += ast.iter_child_nodes(node)


def packages(path: Path, everywhere: bool = True) -> set[str]:
    """The packages that a file imports; of ours "quant", "hw", "host" and "pipeline", by public names too."""
    public = {f"fireflow.{name}": home for name, home in fireflow._HOMES.items()}
    return {
        public.get(name, name).removeprefix("fireflow.").partition(".")[0]
        for name in imports(path, everywhere)
        if name != "fireflow"
    }


def test_there_is_something_to_check() -> None:
    names = {place(path) for path in SOURCES}
    assert {
        "hw/graph.py",
        "hw/finn/lowering.py",
        "quant/networks/squeezenet/network.py",
        "host/cli/train.py",
    } <= names
    assert "torch" in packages(ROOT / "quant" / "networks" / "squeezenet" / "network.py")
    assert "torch" in packages(ROOT / PIPELINE / "evaluating.py")
    assert "torch" not in packages(ROOT / PIPELINE / "evaluating.py", everywhere=False)


@pytest.mark.parametrize("path", SOURCES, ids=place)
def test_import_edges(path: Path) -> None:
    name, used = place(path), packages(path)
    package = name.partition("/")[0]
    in_finn = name.startswith("hw/finn/")
    # What joins the three, and the commands over it.
    in_cli = name.startswith(("host/cli/", PIPELINE))
    if not in_cli:
        assert "pipeline" not in used, "only the command line may import what joins the three packages"
    if name.startswith(PIPELINE):
        assert not [m for m in imports(path) if m.startswith("fireflow.host.cli")], (
            "no library may import commands"
        )
    if package == "hw":
        assert not used & {"quant", "host"}, "hw must not import quant or host: files are the interfaces"
    if package == "quant":
        assert "host" not in used, "quant must not import host"
    if package != "quant" and not in_cli:
        assert not used & (TORCH | {"quant"}), "only quant may import torch"
    if not in_finn and not in_cli:
        assert "finn" not in used, "only hw/finn may import finn"
    if package != "quant" and not in_finn and not in_cli:
        assert not used & ONNX, "only hw/finn and quant may import onnx and qonnx"
    if not in_finn and not in_cli and not name.startswith(TO_FINN):
        assert not [m for m in imports(path) if m.startswith("fireflow.hw.finn")], (
            "only the command line, the stitching and FINN's toolchain may use hw.finn"
        )
    if in_finn:
        assert not [m for m in imports(path) if m.startswith("fireflow.hw.rtl")], "hw.rtl uses hw.finn"


@pytest.mark.parametrize("path", [path for path in SOURCES if numpy_only(path)], ids=place)
def test_numpy_is_enough(path: Path) -> None:
    loaded_at_once = packages(path, everywhere=False)
    allowed = set(sys.stdlib_module_names) | {"numpy", "hw", "host"}
    if place(path).startswith(("host/cli/", PIPELINE)):
        allowed.add("pipeline")
    assert loaded_at_once <= allowed, "must import with NumPy only; import the rest in a function"
    if not place(path).startswith(("host/cli/", PIPELINE)):
        board = BOARD if place(path).startswith(BOARD_MODULES) else set()
        service = SERVICE if place(path).startswith(SERVICE_MODULES) else set()
        finn_driver = FINN_DRIVER if place(path) == FINN_DRIVER_MODULES else set()
        assert packages(path) <= allowed | OPTIONAL | board | service | finn_driver
    ast.parse(path.read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("path", SOURCES, ids=place)
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("path", sorted((ROOT / "quant").rglob("*.py")), ids=place)
def test_a_network_is_known_in_its_own_files_alone(path: Path) -> None:
    own = "quant/networks/"
    if place(path) == f"{own}__init__.py":
        return  # its import line
    networks = {entry.stem for entry in (ROOT / own).iterdir()} - {"__init__", "__pycache__", "base"}
    assert "squeezenet" in networks
    for network in networks:
        if not place(path).startswith(f"{own}{network}"):
            used = [name for name in imports(path) if name.startswith(f"fireflow.quant.networks.{network}")]
            assert not used, f"{place(path)} must work with any network"
    if not place(path).startswith(own):
        assert not FIRE_LAYER.findall(path.read_text()), f"{place(path)} must name no layer of one network"


def test_no_packages_in_tests() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_there_is_a_file_for_every_command() -> None:
    assert all(path.is_file() for path in COMMAND_FILES)
    assert len(COMMAND_FILES) == len(COMMANDS) > 10


@pytest.mark.parametrize("path", COMMAND_FILES, ids=place)
def test_a_command_is_arguments_and_printing(path: Path) -> None:
    others = {f"fireflow.host.cli.{command}" for command in COMMANDS} - {f"fireflow.host.cli.{path.stem}"}
    assert not others & set(imports(path)), (
        "a command imports no other; what they share is library or a helper"
    )
    assert len(path.read_text().splitlines()) <= LONGEST_COMMAND


@pytest.mark.parametrize(
    "path", sorted(set((ROOT / "host" / "cli").glob("*.py")) - set(COMMAND_FILES)), ids=place
)
def test_helpers_of_commands_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_HELPER


def outside_commands() -> Iterator[Path]:
    """All our Python that is no command, no entry to one and no test of one."""
    yield from (ROOT / "scripts").glob("*.py")
    yield from (path for path in SOURCES if not place(path).startswith("host/cli/"))
    yield from (
        path for path in (ROOT / "tests").rglob("*.py") if not place(path).startswith("tests/host/cli/")
    )


def test_only_tests_of_commands_import_them() -> None:
    found = {place(path) for path in outside_commands() if any(map(of_commands, imports(path)))}
    found |= {
        place(path)
        for path in (ROOT / "notebooks").glob("*.ipynb")
        if "fireflow.host.cli" in path.read_text()
    }
    assert found == {place(Path(__file__).resolve())}


def of_commands(module: str) -> bool:
    return module == "fireflow.host.cli" or module.startswith("fireflow.host.cli.")
