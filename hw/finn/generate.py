"""RTL of the layers that FINN has kernels for, from plain layers: self-contained, and the same bytes every time.

FINN writes the Verilog of a node with absolute paths, needs Vivado's block design to join an MVAU with the
memory of its weights, and leaves AXI-lite ports open. Here every layer becomes one module with
clock, reset and streams as its only ports, beside FINN's library files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fireflow.hw.dataflow.layers.base import Layer
from fireflow.hw.errors import InputError
from fireflow.hw.files import PathLike
from fireflow.hw.finn.environment import finn
from fireflow.hw.finn.library import library_text
from fireflow.hw.finn.operators import Operator

LIBRARY = "finn"
"""The folder of FINN's library files, beside the modules of the layers."""


@dataclass(frozen=True)
class Generated:
    """The RTL of one layer, in a folder.

    Args:
        top: the module of the layer.
        sources: the files to compile, packages first; library files are shared by all layers of the folder.
        images: memory images; the sources name them relative to the folder, so tools must run in it.
        ports: bits of TDATA by stream, such as {"in0_V": 16, "out0_V": 24}.
    """

    top: str
    sources: tuple[str, ...]
    images: tuple[str, ...]
    ports: Mapping[str, int]


def generate(layer: Layer, top: str, part: str, clock_ns: float, folder: PathLike) -> Generated:
    """Writes the RTL of a layer into a folder, beside that of others.

    Args:
        layer: a MatMul, Threshold, Window or Pad.
        top: the name of its module.
        part: the FPGA, such as "xc7z020clg400-1"; decides how multiplications share a DSP.
        clock_ns: the clock's period.
        folder: exists, or is made.

    Raises:
        InputError: a layer that FINN's kernel cannot compute.
    """
    target = Path(folder)
    try:
        with finn():
            node = Operator.of[type(layer)].node(layer, top)
            files = node.hdl(part, clock_ns)
            for path in node.library:
                _write(target / LIBRARY / Path(path).name, library_text(path))
    except InputError as error:
        raise InputError(f"{layer.name}: {error}") from None
    for name, text in files.items():
        _write(target / name, text)
    sources = [f"{LIBRARY}/{Path(path).name}" for path in node.library]
    sources += [name for name in files if not name.endswith(".dat")]
    images = tuple(name for name in files if name.endswith(".dat"))
    ports = {"in0_V": layer.input.tdata_bits, "out0_V": layer.output.tdata_bits}
    return Generated(top, tuple(sources), images, ports)


def _write(path: Path, text: str) -> None:
    """Writes a file unless it is there already: build tools look at the time of a file."""
    data = text.encode()
    if not path.is_file() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
