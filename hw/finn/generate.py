"""RTL of the layers that FINN has kernels for, from plain layers: self-contained, and the same bytes every time.

FINN writes the Verilog of a node with absolute paths, needs Vivado's block design to join an MVAU with the
memory of its weights, and leaves AXI-lite ports open. Here every layer becomes one module with
clock, reset and streams as its only ports, beside FINN's library files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fireflow.hw.dataflow.layers import Layer, MatMul, Pad, Threshold, Window
from fireflow.hw.dataflow.memory import RAM_STYLES
from fireflow.hw.errors import InputError
from fireflow.hw.files import PathLike
from fireflow.hw.finn.environment import finn
from fireflow.hw.finn.library import library_root, library_text
from fireflow.hw.finn.wrappers import mvau_top, tied_top
from fireflow.hw.packing import pack_bits
from fireflow.hw.types import signed_bits

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array

LIBRARY = "finn"
"""The folder of FINN's library files, beside the modules of the layers."""
DEEPER_THAN_ANY = 1 << 24
"""For FINN's `depth_trigger_bram` and `_uram`, from which depth on a memory lies there: no memory is as deep."""
MIN_OPERAND_BITS = 2
"""FINN's multiplier wants at least this many bits on either side."""


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
            node = finn_node(layer, top)
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


class FinnNode:
    """A node of FINN's in a model of its own, to be made and used under `finn()`.

    Args:
        kind: FINN's operator, such as "MVAU_rtl".
        name: of the node and its module.
        attributes: FINN's.
        constant: the second input, if any, and its type.
        extra: files that we write, by name.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        attributes: Mapping[str, Any],
        constant: tuple[Int64Array, str] | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        from onnx import helper
        from qonnx.core.datatype import DataType
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.custom_op.registry import getCustomOp
        from qonnx.util.basic import qonnx_make_model

        inputs = ["in"] if constant is None else ["in", "constant"]
        domain = f"finn.custom_op.fpgadataflow.{kind.rpartition('_')[2]}"
        node = helper.make_node(
            kind, inputs, ["out"], name=name, domain=domain, backend="fpgadataflow", **attributes
        )
        model = ModelWrapper(qonnx_make_model(helper.make_graph([node], name, [], [])))
        if constant is not None:
            model.set_initializer("constant", constant[0].astype(np.float32))
            model.set_tensor_datatype("constant", DataType[constant[1]])
        self.model = model
        self.op = getCustomOp(model.graph.node[0])
        self.extra = dict(extra or {})
        self.library: tuple[str, ...] = ()
        self.changes: dict[str, str] = {}

    def hdl(self, part: str, clock_ns: float) -> dict[str, str]:
        """The node's own files by name. Fills `library` with those it needs of FINN's."""
        with tempfile.TemporaryDirectory(prefix="fireflow-hdl-") as folder:
            self.op.set_nodeattr("code_gen_dir_ipgen", folder)
            self.op.generate_hdl(self.model, part, clock_ns)
            files = {path.name: path.read_text(encoding="utf-8") for path in sorted(Path(folder).iterdir())}
        listed = [Path(path).resolve() for path in self.op.get_rtl_file_list(abspath=True)]
        root = library_root()
        library = [path.relative_to(root).as_posix() for path in listed if path.is_relative_to(root)]
        # A package must be compiled before the modules that import it.
        self.library = (*sorted(library, key=lambda path: not path.endswith("_pkg.sv")), *self.library)
        for old, new in self.changes.items():
            assert sum(text.count(old) for text in files.values()) == 1, f"FINN no longer writes {old}"
            files = {name: text.replace(old, new) for name, text in files.items()}
        files.update(self.extra)
        for name, text in files.items():
            assert folder not in text, f"{name} holds an absolute path"
        return files


def _matmul(layer: MatMul, top: str) -> FinnNode:
    weight_bits = max(MIN_OPERAND_BITS, layer.weight_bits)
    act_bits = max(MIN_OPERAND_BITS, layer.input.bits)
    acc_bits = _accumulator_bits(layer, weight_bits, act_bits)
    if act_bits - layer.input.signed > 17 or weight_bits > 25:
        raise InputError(
            f"operands must fit a DSP's 25 x 18 bits, not {weight_bits} x {act_bits}; use fewer bits"
        )
    attributes = {
        "PE": layer.pe,
        "SIMD": layer.simd,
        "MW": layer.mw,
        "MH": layer.mh,
        "inputDataType": integers(act_bits, layer.input.signed),
        "weightDataType": integers(weight_bits, True),
        "outputDataType": integers(acc_bits, True),
        "noActivation": 1,
        "mem_mode": "internal_decoupled",
    }
    image = f"{top}_weights.dat"
    text = mvau_top(layer, top, act_bits, acc_bits, weight_bits, image)
    weight = (layer.weight.T, integers(weight_bits, True))
    node = FinnNode(
        "MVAU_rtl", f"{top}_mvau", attributes, weight, {f"{top}.sv": text, image: weight_image(layer)}
    )
    # FINN packs weights one by one in Python, seconds for a large layer; it rounds their memory up to bytes, gives
    # it an AXI-lite port, and leaves it to Vivado's block design to connect it. `mvau_top` has it beside the MVAU.
    node.op.generate_params = lambda model, path: None
    node.op.generate_infra_hdl = lambda part: None
    node.library = ("memstream/hdl/memstream.sv",)
    return node


def _accumulator_bits(layer: MatMul, weight_bits: int, act_bits: int) -> int:
    """Enough for every partial sum, and for what FINN's multiplier asks for: one whole product."""
    ends = layer.weight[:, :, None] * np.array([layer.input.lo, layer.input.hi, 0])  # (MH, MW, 3)
    lo, hi = int(ends.min(2).sum(1).min()), int(ends.max(2).sum(1).max())
    return max(signed_bits(lo, hi), weight_bits + act_bits, layer.output.bits)


def weight_image(layer: MatMul) -> str:
    """The memory of the weights, a hexadecimal word per line.

    Word nf * SF + sf holds weight[nf * PE + pe, sf * SIMD + simd] as its element pe * SIMD + simd.
    """
    bits = max(MIN_OPERAND_BITS, layer.weight_bits)
    folds = layer.weight.reshape(layer.mh // layer.pe, layer.pe, layer.mw // layer.simd, layer.simd)
    return _hex_lines(folds.transpose(0, 2, 1, 3).reshape(-1, layer.pe * layer.simd), bits, True)


def _hex_lines(words: Int64Array, bits: int, signed: bool) -> str:
    """(N, elements) -> N lines, element 0 in the last digits."""
    packed: NDArray[np.uint8] = pack_bits(words, bits, signed)[:, ::-1]
    digits, step = -(-words.shape[1] * bits // 4), 2 * packed.shape[1]
    text = packed.tobytes().hex()
    return "".join(text[end - digits : end] + "\n" for end in range(step, len(text) + 1, step))


def _threshold(layer: Threshold, top: str) -> FinnNode:
    signed = layer.input.signed
    if layer.memory == "uram":
        raise InputError(
            "memory of thresholds must be lut or bram, not 'uram', which starts empty; change it"
        )
    thresholds, bits = layer.stored, layer.bits
    steps = int(thresholds.shape[1])
    attributes = {
        "PE": layer.pe,
        "NumChannels": layer.input.channels,
        "numSteps": steps,
        "ActVal": layer.out_lo,
        "inputDataType": integers(layer.input.bits, signed),
        "weightDataType": integers(bits, signed),
        "outputDataType": integers(layer.output.bits, layer.output.signed),
        # Memories of this depth or more lie in block RAM, the others do not.
        "depth_trigger_bram": layer.BRAM_DEPTH if layer.memory == "bram" else DEEPER_THAN_ANY,
    }
    core = f"{top}_thresholding"
    out_bits = _threshold_bits(layer.out_lo, steps)
    text = tied_top(
        layer, top, core, layer.input.bits, out_bits, layer.out_lo < 0, ("in1_V_TVALID", "in1_V_TDATA")
    )
    images = threshold_images(thresholds, layer.pe, bits, signed, f"{core}_threshs")
    extra = {f"{top}.sv": text, **images}
    node = FinnNode("Thresholding_rtl", core, attributes, (thresholds, integers(bits, signed)), extra)
    # FINN's images are of another layout where out_lo widens the output.
    node.op.generate_params = lambda model, path: None
    return node


def _threshold_bits(out_lo: int, steps: int) -> int:
    """Bits of an output of FINN's module."""
    top = steps + out_lo + 1
    return (top - 1).bit_length() if out_lo >= 0 else 1 + (max(-out_lo, top) - 1).bit_length()


def threshold_images(thresholds: Int64Array, pe: int, bits: int, signed: bool, prefix: str) -> dict[str, str]:
    """The memories of a binary search, PREFIX_PE_STAGE.dat, a threshold per line in hexadecimal.

    Stage s compares with one of 2**s thresholds of a channel; channels c, c + PE, c + 2 * PE, ... share memories.
    """
    channels, steps = thresholds.shape
    stages = steps.bit_length()  # ceil(log2(steps + 1))
    full = np.zeros((channels, (1 << stages) - 1), np.int64)  # entries beyond `steps` are never looked at
    full[:, :steps] = thresholds
    images = {}
    for stage in range(stages):
        step = 1 << (stages - stage)
        own = full[:, step // 2 - 1 :: step]  # (channels, 2**stage)
        for lane in range(pe):
            images[f"{prefix}_{lane}_{stage}.dat"] = _hex_lines(own[lane::pe].reshape(-1, 1), bits, signed)
    return images


def _window(layer: Window, top: str) -> FinnNode:
    height, width, channels = layer.input.shape
    attributes = {
        "ConvKernelDim": list(layer.kernel),
        "Stride": list(layer.stride),
        "Dilation": [1, 1],
        "IFMDim": [height, width],
        "OFMDim": list(layer.output.shape[:2]),
        "IFMChannels": channels,
        "SIMD": layer.input.lanes,
        "inputDataType": integers(layer.input.bits, layer.input.signed),
        "outputDataType": integers(layer.input.bits, layer.input.signed),
        "parallel_window": int(layer.parallel),
        "is1D": int(1 in (height, width)),
        "ram_style": RAM_STYLES[layer.memory],
    }
    node = FinnNode("ConvolutionInputGenerator_rtl", top, attributes)
    # FINN declares these parameters behind the ports that use them, which slang refuses.
    node.changes = {
        "[IN_WIDTH_PADDED-1:0] in0": f"[{layer.input.tdata_bits - 1}:0] in0",
        "[OUT_WIDTH_PADDED-1:0] out0": f"[{layer.output.tdata_bits - 1}:0] out0",
    }
    return node


def _pad(layer: Pad, top: str) -> FinnNode:
    core = f"{top}_fmpadding"
    attributes = {
        "ImgDim": list(layer.input.shape[:2]),
        "Padding": list(layer.pads),
        "NumChannels": layer.input.channels,
        "SIMD": layer.input.lanes,
        "inputDataType": integers(layer.input.bits, layer.input.signed),
    }
    text = tied_top(layer, top, core, layer.input.bits, layer.input.bits, layer.input.signed)
    return FinnNode("FMPadding_rtl", core, attributes, extra={f"{top}.sv": text})


def finn_node(layer: Layer, top: str) -> FinnNode:
    """FINN's node of a MatMul, Threshold, Window or Pad, for a module named `top`."""
    return _WRITERS[type(layer)](layer, top)


_WRITERS: dict[type[Layer], Callable[[Any, str], FinnNode]] = {
    MatMul: _matmul,
    Threshold: _threshold,
    Window: _window,
    Pad: _pad,
}


def integers(bits: int, signed: bool) -> str:
    """FINN's name of a type."""
    return f"{'INT' if signed else 'UINT'}{bits}"


def _write(path: Path, text: str) -> None:
    """Writes a file unless it is there already: build tools look at the time of a file."""
    data = text.encode()
    if not path.is_file() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
