"""FINN's operators for our layers: what they have in common."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fireflow.hw.dataflow.layers.base import Layer
from fireflow.hw.finn.library import library_root
from fireflow.hw.packing import pack_bits

if TYPE_CHECKING:
    from fireflow.hw.types import Int64Array

DEEPER_THAN_ANY = 1 << 24
"""For FINN's `depth_trigger_bram` and `_uram`, from which depth on a memory lies there: no memory is as deep."""


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


class Operator:
    """What FINN has for a kind of layer; a subclass names the kind and registers itself."""

    of: ClassVar[dict[type[Layer], Operator]] = {}

    def __init_subclass__(cls, layer: type[Layer]) -> None:
        cls.of[layer] = cls()

    def node(self, layer: Any, top: str) -> FinnNode:
        """FINN's node whose RTL computes the layer, for a module named `top`; made and used under `finn()`.

        Raises:
            InputError: a layer (without its name) that FINN's kernel cannot compute.
        """
        raise NotImplementedError

    def estimated(self, layer: Any) -> Any:
        """The operator by whose formulas FINN estimates the layer; made and used under `finn()`."""
        return self.node(layer, "layer").op

    def choice(self, layer: Any) -> Mapping[str, Any]:
        """Attributes by which FINN chooses between RTL and HLS, where its own choice is not the layer."""
        return {}

    def folding(self, layer: Any) -> Mapping[str, Any]:
        """Attributes by which FINN's builder folds its node as the layer is; none: the lanes alone say it."""
        return {}


def integers(bits: int, signed: bool) -> str:
    """FINN's name of a type."""
    return f"{'INT' if signed else 'UINT'}{bits}"


def hex_lines(words: Int64Array, bits: int, signed: bool) -> str:
    """(N, elements) -> N lines, element 0 in the last digits."""
    packed: NDArray[np.uint8] = pack_bits(words, bits, signed)[:, ::-1]
    digits, step = -(-words.shape[1] * bits // 4), 2 * packed.shape[1]
    text = packed.tobytes().hex()
    return "".join(text[end - digits : end] + "\n" for end in range(step, len(text) + 1, step))
