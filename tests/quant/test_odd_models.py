"""A .fireq file in which one value of its header is odd: it is refused by name, or works."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fireflow.hw.errors import InputError
from fireflow.hw.packing import MAGIC, read_arrays, write_arrays
from fireflow.quant.model_file import Model, load_model, save_model
from fireflow.quant.networks.squeezenet import SqueezeNet, SqueezeNetSpec
from fireflow.quant.zoo import shipped, shipped_path
from tests.host.tiny import RECORD, SPEC
from tests.hw.odd_values import mutations, written

CASES = 200


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("model") / "tiny.fireq"
    network = SqueezeNet(SPEC).eval()
    network.pixel_offset = torch.zeros(1, 3, 1, 1)
    save_model(Model(network, RECORD, tuple("abcd"), {"data": ["x", 1], "accuracy": {"top1": 0.5}}), path)
    return path.read_bytes()


def header_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header, and the blocks behind it."""
    start = len(MAGIC) + 36
    end = start + int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "little")
    header: dict[str, Any] = json.loads(data[start:end])
    return header, data[end:]


def sealed(header: Any, blocks: bytes) -> bytes:
    text = written(header)
    return MAGIC + len(text).to_bytes(4, "little") + hashlib.sha256(text).digest() + text + blocks


def use(path: Path) -> None:
    model = load_model(path)
    size = model.network.spec.input_size
    with torch.no_grad():
        scores = model.network(torch.zeros(1, 3, size, size))
    assert scores.shape == (1, model.network.spec.num_classes)
    save_model(model, path.with_name("again.fireq"))


@pytest.mark.parametrize("part", ["meta", "arrays"])
def test_odd_values(original: bytes, tmp_path: Path, part: str) -> None:
    header, blocks = header_of(original)
    path = tmp_path / "odd.fireq"
    outcomes = {"refused": 0, "works": 0}
    document = header[part] if part == "meta" else header[part][:2]
    for what, changed in mutations(document, CASES, seed=1):
        rest = [] if part == "meta" else header[part][2:]
        whole = {**header, part: [*changed, *rest] if isinstance(changed, list) else changed}
        path.write_bytes(sealed(whole, blocks))
        try:
            use(path)
            outcomes["works"] += 1
        except InputError as error:
            outcomes["refused" if "odd.fireq" in str(error) else f"{what}: {error}"] = outcomes["refused"] + 1
        except Exception as error:
            raise AssertionError(f"{what}: {error!r}") from error
    assert set(outcomes) == {"refused", "works"}, outcomes
    assert outcomes["refused"] > CASES // 2, outcomes


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stem_channels", 60_000),
        ("num_classes", 65_536),
        ("fires", [{"squeeze": 60_000, "expand1x1": 60_000, "expand3x3": 60_000}] * 8),
        ("fires", [{"squeeze": 10**9, "expand1x1": 1, "expand3x3": 1}] * 8),
    ],
)
def test_a_small_file_that_asks_for_a_large_network(
    original: bytes, tmp_path: Path, field: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, blocks = header_of(original)
    header["meta"]["spec"][field] = value
    (tmp_path / "large.fireq").write_bytes(sealed(header, blocks))
    if field == "fires":  # the others have memory of the file's size
        monkeypatch.setattr("fireflow.quant.networks.squeezenet.SqueezeNet.__init__", None)
    with pytest.raises(InputError, match=r"large\.fireq"):
        load_model(tmp_path / "large.fireq")


def test_the_count_of_weights_is_the_networks() -> None:
    for bypass in ("none", "simple", "complex"):
        spec = SqueezeNetSpec("1.0", bypass=bypass, num_classes=7, stem_channels=96)  # type: ignore[arg-type]
        weights = [p.numel() for name, p in SqueezeNet(spec).named_parameters() if name.endswith("weight")]
        assert spec.weights == sum(weights)


def test_weights_of_a_quantized_network_are_integers(tmp_path: Path) -> None:
    smallest = min(shipped(), key=lambda name: shipped_path(name).stat().st_size)
    arrays, meta = read_arrays(shipped_path(smallest))
    write_arrays(
        tmp_path / "a.fireq", {**arrays, "conv10.weight": arrays["conv10.weight"].astype(np.float32)}, meta
    )
    with pytest.raises(InputError, match=r"a\.fireq: conv10\.weight must be integers, not torch\.float32"):
        load_model(tmp_path / "a.fireq")


@pytest.mark.parametrize("dtype", [np.uint16, np.bool_, np.uint64])
def test_arrays_that_torch_does_not_know(original: bytes, tmp_path: Path, dtype: Any) -> None:
    (tmp_path / "a.fireq").write_bytes(original)
    arrays, meta = read_arrays(tmp_path / "a.fireq")
    weight = np.abs(arrays["conv10.weight"]).astype(dtype)
    write_arrays(tmp_path / "a.fireq", {**arrays, "conv10.weight": weight}, meta)
    with pytest.raises(InputError, match=r"a\.fireq: conv10\.weight: must be floats or signed integers"):
        load_model(tmp_path / "a.fireq")


def test_either_byte_order(original: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.fireq").write_bytes(original)
    arrays, meta = read_arrays(tmp_path / "a.fireq")
    write_arrays(tmp_path / "b.fireq", {name: array.astype(">f4") for name, array in arrays.items()}, meta)
    first, second = (load_model(tmp_path / f"{name}.fireq").network.state_dict() for name in "ab")
    assert all(torch.equal(first[name], second[name]) for name in first)
