"""The models that come with the package: small, complete, and right about a photo."""

from __future__ import annotations

from pathlib import Path

import pytest
from skimage.data import data_dir
from torch import nn

import fireflow
from fireflow.pipeline.inputs import default_model
from fireflow.quant.layers import quantizers
from fireflow.quant.model_file import load_model
from fireflow.quant.precision import load_policy
from fireflow.quant.zoo import shipped, shipped_path

TEN = "squeezenet1_1-w4a4-imagenette"
THOUSAND = "squeezenet1_1-w4a4-imagenet"


def test_there_are_both() -> None:
    assert {TEN, THOUSAND} <= set(shipped())


@pytest.mark.parametrize("name", shipped())
def test_shipped_models_are_small_and_documented(name: str) -> None:
    path = shipped_path(name)
    assert path.stat().st_size < 1 << 20
    model = load_model(path)
    assert len(model.labels) == model.network.spec.num_classes
    assert {"start", "data", "recipe", "accuracy"} <= set(model.card)
    assert model.card.get("teachers") or model.card.get("teacher")  # there was one only once
    assert all(0 < measured["top1"] <= 100 for measured in model.card["accuracy"])
    for _name, layer, bits in quantizers(model.network):
        assert bits <= (6 if isinstance(layer, nn.Conv2d) else 8)


@pytest.mark.parametrize(
    ("name", "photo", "words"),
    [
        (THOUSAND, "chelsea.png", ("cat", "tabby")),
        (THOUSAND, "coffee.png", ("espresso", "cup", "coffee")),
        (THOUSAND, "rocket.jpg", ("missile", "rocket", "projectile")),
    ],
)
def test_top_5_of_a_photo(
    name: str,
    photo: str,
    words: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    bundle = tmp_path_factory.getbasetemp() / f"{name}.fire"
    if not bundle.exists():
        fireflow.lower(name).save(bundle)
    found = fireflow.simulate(fireflow.Bundle.load(bundle), Path(data_dir) / photo)
    (picture,) = found.pictures
    text = " ".join(guess.label for guess in picture.top).lower()
    assert any(word in text for word in words)


def test_the_model_where_none_is_named_has_four_bits_and_a_thousand_classes() -> None:
    model = load_model(default_model())
    assert model.network.policy == load_policy("w4a4", model.network.spec.layers)
    assert len(model.labels) == 1000


def test_the_ten_class_model_is_the_same_in_every_stage() -> None:
    found = fireflow.verify(TEN, images=Path(data_dir) / "chelsea.png", count=1).to_json()
    assert found["differing"] == 0
    assert set(found["rows"][1]["differing"]) == {"Brevitas", "QONNX", "FINN", "interpreter", "simulator"}
    assert len(found["rows"]) == 66
