"""What a MODEL, a BUNDLE and a WEIGHTS argument may be, and how to tell them apart."""

from __future__ import annotations

import math
from pathlib import Path

from hw.errors import InputError
from hw.files import read_json

FIREQ, QONNX, BUNDLE, WEIGHTS = "model", "qonnx", "bundle", "weights"

_QUANTIZERS = {
    *("Quant", "IntQuant", "BipolarQuant", "FloatQuant", "Trunc", "MultiThreshold"),
    *("QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger"),
}

MODEL_HELP = "a .fireq file or the name of a model that comes with fireflow (see `fireflow models`)"
BUNDLE_HELP = "a NAME.fire folder"


def split_share(text: str) -> tuple[Path, float]:
    """PATH[=SHARE] in its parts; a path with "=" in it is taken whole if it is there.

    Raises:
        InputError: a share that is not above 0.
    """
    head, sign, tail = text.rpartition("=")
    if not sign or Path(text).exists():
        return Path(text), 1.0
    try:
        weight = float(tail)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise InputError(f"{text}: the share must be a number above 0, not {tail!r}; write {head}=2")
    return Path(head), weight


def find_model(text: str) -> Path:
    """The path of a MODEL argument: a file or folder that is there, or a shipped model by its name.

    Raises:
        InputError: neither.
    """
    path = Path(text)
    if path.exists():
        return path
    from quant.zoo import shipped, shipped_path

    names = shipped()
    if text in names:
        return shipped_path(text)
    known = f"one of {', '.join(names)}" if names else "a shipped model (there is none)"
    raise InputError(f"model: must be a file or {known}, not {text!r}; check the path")


def default_model() -> Path:
    """The file of the shipped model that stands where none is named, `quant.zoo.DEFAULT`."""
    from quant.zoo import DEFAULT, shipped_path

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


def stem_of(path: Path) -> str:
    """The name of a model without the endings this project gives: squeezenet.qonnx.onnx -> squeezenet."""
    name = path.name
    for ending in (".fireq", ".qonnx.onnx", ".onnx", ".fire"):
        if name.endswith(ending):
            return name[: -len(ending)]
    return path.stem


def check_suffix(path: Path, ending: str) -> Path:
    """The output path, if its name ends as it must.

    Raises:
        InputError: it does not.
    """
    if not path.name.endswith(ending) or path.name == ending:
        raise InputError(f"{path}: the output must be called NAME{ending}, not {path.name}; rename it")
    return path


def fireq_or_default(name: str | None) -> Path:
    """The .fireq file of that name, or the default one. Raises InputError for other kinds of files."""
    if name is None:
        return default_model()
    path = find_model(name)
    if kind_of(path) != FIREQ:
        raise InputError(f"{path}: must be a quantized .fireq file, not {path.name}; run `fireflow quantize`")
    return path


def read_labels(asked: str, classes: int) -> tuple[str, ...]:
    """The names of a network's classes from a file: one a line, a .json list, or a .csv of number and name.

    Args:
        asked: the file.
        classes: how many there must be.

    Raises:
        InputError: no such file, or not one name for each class.
    """
    path = Path(asked)
    if path.suffix.lower() == ".json":
        document = read_json(path)
        names = document if isinstance(document, list) else []
    else:
        try:
            names = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: labels must be UTF-8 text ({error}); convert the file") from None
    if path.suffix.lower() == ".csv":
        names = _numbered(path, [line for line in names if line.strip()])
    if len(names) != classes or not all(isinstance(name, str) and name.strip() for name in names):
        raise InputError(
            f"{path}: labels must be {classes} names, one for each class, not {len(names)} entries; correct the file"
        )
    return tuple(name.strip() for name in names)


def _numbered(path: Path, lines: list[str]) -> list[str]:
    """The names of "number,name" lines in order; a first line of headings is left out."""
    rows = [line.partition(",") for line in lines]
    if rows and not rows[0][0].strip().isdigit():
        rows = rows[1:]
    numbers = [number.strip() for number, _comma, _name in rows]
    if numbers != [str(position) for position in range(len(rows))]:
        raise InputError(
            f"{path}: lines must be NUMBER,NAME in order from 0, not {numbers[:3]}...; correct the file"
        )
    return [name.strip().strip('"') for _number, _comma, name in rows]
