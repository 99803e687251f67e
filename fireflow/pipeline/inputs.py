"""What a network may be given as: a file of several kinds, a bundle, or the name of one that comes with fireflow."""

from __future__ import annotations

from pathlib import Path

from fireflow.hw import given
from fireflow.hw.errors import InputError

FIREQ, QONNX, BUNDLE, WEIGHTS = "model", "qonnx", "bundle", "weights"

_QUANTIZERS = {
    *("Quant", "IntQuant", "BipolarQuant", "FloatQuant", "Trunc", "MultiThreshold"),
    *("QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger"),
}


def find_model(source: str | Path) -> Path:
    """The path of a MODEL argument: a file or folder that is there, or a shipped model by its name.

    Raises:
        InputError: neither.
    """
    if isinstance(source, str) and not source.strip():
        raise InputError("model: must be a file or the name of a model, not nothing; name one")
    path = given.path("model", source)
    text = str(source)
    if path.exists():
        return path
    from fireflow.quant.zoo import shipped, shipped_path

    names = shipped()
    if text in names:
        return shipped_path(text)
    known = f"one of {', '.join(names)}" if names else "a shipped model (there is none)"
    raise InputError(f"model: must be a file or {known}, not {text!r}; check the path")


def default_model() -> Path:
    """The file of the shipped model that stands where none is named, `quant.zoo.DEFAULT`."""
    from fireflow.quant.zoo import DEFAULT, shipped_path

    return shipped_path(DEFAULT)


def kind_of(path: Path) -> str:
    """FIREQ, QONNX, BUNDLE or WEIGHTS, by the name; the file itself is checked by who reads it.

    An ONNX file of either kind may be called NET.onnx: then it is what its quantizers say.
    """
    if path.is_dir():
        return BUNDLE
    if path.name.endswith(".fireq"):
        return FIREQ
    if path.name.endswith(".qonnx.onnx"):
        return QONNX
    return QONNX if path.suffix.lower() == ".onnx" and path.is_file() and _has_quantizers(path) else WEIGHTS


def _has_quantizers(path: Path) -> bool:
    """Whether an ONNX file holds quantizers of any form; of one that is damaged its reader says so."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), format="protobuf", load_external_data=False)
    except (OSError, DecodeError, ValueError):
        return False
    functions = [node for function in model.functions for node in function.node]
    return any(node.op_type in _QUANTIZERS for node in (*model.graph.node, *functions))


def fireq_or_default(name: str | None) -> Path:
    """The .fireq file of that name, or the default one. Raises InputError for other kinds of files."""
    if name is None:
        return default_model()
    path = find_model(name)
    if kind_of(path) != FIREQ:
        raise InputError(f"{path}: must be a quantized .fireq file, not {path.name}; run `fireflow quantize`")
    return path
