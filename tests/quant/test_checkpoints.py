"""Checkpoints of torch as people have them: nested, with prefixes, with objects beside the weights."""

from __future__ import annotations

import argparse
import collections
import io
import logging
import os
import pickle
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from fireflow.hw.errors import InputError
from fireflow.quant.pretrained import load_weights, networks_in
from fireflow.quant.readers.state_dicts import find_network
from fireflow.quant.readers.torch_file import read_torch_file
from tests.quant.weight_files import NARROW, assert_same, random_arrays, torchvision_names

Tensors = dict[str, torch.Tensor]
ARRAYS = random_arrays(NARROW)
CASES = Path(__file__).resolve().parents[2].parent / "shared" / "cases" / "checkpoints"


def plain(seed: int = 0) -> Tensors:
    return torchvision_names(random_arrays(NARROW, seed), NARROW)


def under(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


@dataclass
class Settings:
    """An object that files name and this program must not make."""

    rate: float = 0.1
    made: bool = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        raise AssertionError("an object of the file was made")


PREFIXES = (
    *("module.", "model.", "_orig_mod.", "net.", "network.", "backbone.", "encoder.q.", "a-b/c."),
    *("module._orig_mod.", "_orig_mod.module.model.", "model.features.", "student.net._orig_mod.module."),
)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("own", [False, True], ids=["torchvision", "ours"])
def test_any_prefix(tmp_path: Path, prefix: str, own: bool) -> None:
    tensors = {name: torch.from_numpy(array) for name, array in ARRAYS.items()} if own else plain()
    for suffix, save in (("pth", torch.save), ("safetensors", safetensors.torch.save_file)):
        path = tmp_path / f"net.{suffix}"
        save(under(prefix, tensors), path)
        assert_same(load_weights(path, "torchvision").arrays, ARRAYS)


@pytest.mark.parametrize(
    "wrapper", ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"]
)
def test_wrapped_parts(tmp_path: Path, wrapper: str) -> None:
    """As nn.DataParallel of the features alone, and as torch.compile or FSDP of single layers."""
    for part in ("features.", "features.3.", "features.3.squeeze.", "classifier."):
        wrapped = {name.replace(part, f"{part}{wrapper}.", 1): tensor for name, tensor in plain().items()}
        torch.save({"state_dict": under("module.", wrapped)}, tmp_path / "net.pth")
        assert_same(load_weights(tmp_path / "net.pth").arrays, ARRAYS)


@pytest.mark.parametrize(
    "name", ["model_best.pth.tar", "last.ckpt", "pytorch_model.bin", "a.pt", "a.PTH", "a.tar"]
)
def test_endings(tmp_path: Path, name: str) -> None:
    torch.save({"state_dict": plain(), "epoch": 5}, tmp_path / name)
    assert_same(load_weights(tmp_path / name).arrays, ARRAYS)


def nestings() -> Iterator[tuple[str, Any]]:
    extra = {
        "epoch": 5,
        "acc": 91.5,
        "arch": "squeezenet1_1",
        "scheduler": None,
        "counter": collections.Counter({"a": 1}),
        "best": torch.tensor(3.0),
    }
    network = nn.Conv2d(1, 1, 1)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 1, 1, 1)).sum().backward()
    optimizer.step()
    for key in ("state_dict", "model_state_dict", "model", "net", "ema", "params_ema", "weights", "G"):
        yield key, {key: plain(), **extra, "optimizer": optimizer.state_dict()}
    yield "deep", {"a": {"b": {"c": {"d": under("model.", plain())}}}, **extra}
    yield "tuple", (plain(), 3)
    yield "list", {"networks": [OrderedDict(plain())]}
    yield "beside", {**plain(), "epoch": 3, "optimizer": optimizer.state_dict()}
    yield "averaged", {"n_averaged": torch.tensor(3), **under("module.", plain())}
    yield "alias", {"state_dict": {**under("model.", plain()), **under("net.", plain())}}
    yield "parameters", {name: nn.Parameter(tensor) for name, tensor in plain().items()}


@pytest.mark.parametrize(("name", "content"), list(nestings()), ids=[name for name, _content in nestings()])
@pytest.mark.parametrize("new_format", [True, False])
def test_any_nesting(tmp_path: Path, name: str, content: Any, new_format: bool) -> None:
    torch.save(content, tmp_path / "net.pth", _use_new_zipfile_serialization=new_format)
    assert_same(load_weights(tmp_path / "net.pth").arrays, ARRAYS)


def objects() -> Iterator[tuple[str, Any]]:
    yield "namespace", argparse.Namespace(lr=0.1, path=Path("a"), inner=argparse.Namespace(b=[1, 2]))
    yield "numpy number", np.float64(91.5)
    yield "numpy array", np.arange(3)
    yield "path", Path("data/train")
    yield "our class", [Settings(), {"deep": Settings()}]
    yield "defaultdict", collections.defaultdict(list, {"losses": [1.0, 2.0]})
    yield "deque", collections.deque([1, 2, 3])
    yield "function", os.path.join
    yield "exception", ValueError("x")


@pytest.mark.parametrize(("kind", "thing"), list(objects()), ids=[kind for kind, _thing in objects()])
@pytest.mark.parametrize("new_format", [True, False])
def test_objects_beside_the_weights_are_not_made(
    tmp_path: Path, kind: str, thing: Any, new_format: bool
) -> None:
    path = tmp_path / "net.pth"
    torch.save({"state_dict": plain(), "args": thing}, path, _use_new_zipfile_serialization=new_format)
    assert_same(load_weights(path).arrays, ARRAYS)


class Attack:
    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


def touch(name: str) -> None:
    Path(name).touch()


@pytest.mark.parametrize("new_format", [True, False])
def test_nothing_that_a_file_names_is_called(tmp_path: Path, new_format: bool) -> None:
    touched, path = tmp_path / "touched", tmp_path / "net.pth"
    calls = [Attack(os.system, f"touch {touched}"), Attack(eval, f"open({str(touched)!r}, 'w')")]
    calls += [Attack(os.mkdir, str(touched)), Attack(exec, f"open({str(touched)!r}, 'w')")]
    for attack in calls:
        for content in (
            {"state_dict": plain(), "args": attack},
            attack,
            {"features.3.squeeze.weight": attack},
        ):
            torch.save(content, path, _use_new_zipfile_serialization=new_format)
            with pytest.raises(InputError, match="do not trust this file"):
                load_weights(path)
    # One that is in no list is a stranger like any other.
    torch.save({"state_dict": plain(), "args": Attack(Path.touch, touched)}, path)
    with pytest.raises(InputError, match="without pickled objects"):
        load_weights(path)
    torch.save({"state_dict": plain(), "args": Attack(touch, str(touched))}, path)
    assert_same(load_weights(path).arrays, ARRAYS)
    assert not touched.exists()


TWO = [
    ({"state_dict": plain(), "state_dict_ema": plain(1)}, ["state_dict", "state_dict_ema"], "state_dict_ema"),
    ({"model": plain(), "model_ema": {"module": plain(1)}}, ["model", "model_ema.module"], "model_ema"),
    ({**under("student.", plain()), **under("teacher.", plain(1))}, ["student", "teacher"], "teacher"),
    (
        {"state_dict": {**under("model.", plain()), **under("ema_model.module.", plain(1))}},
        ["state_dict.model", "state_dict.ema_model.module"],
        "ema_model",
    ),
    ({**plain(), "ema": plain(1)}, [".", "ema"], "ema"),
    ([plain(), plain(1)], ["0", "1"], "1"),
]


@pytest.mark.parametrize(("content", "keys", "part"), TWO, ids=[part for _content, _keys, part in TWO])
def test_which_of_several_is_asked_for(tmp_path: Path, content: Any, keys: list[str], part: str) -> None:
    path = tmp_path / "net.ckpt"
    torch.save(content, path)
    assert networks_in(path) == keys
    with pytest.raises(InputError, match="name one with --weights-key") as told:
        load_weights(path)
    assert f"there are {', '.join(keys)};" in str(told.value)
    for key, seed in ((keys[0], 0), (keys[1], 1), (part, 1)):
        assert_same(load_weights(path, key=key).arrays, random_arrays(NARROW, seed))
    with pytest.raises(InputError, match=f"weights-key must name one of {keys[0]}, .*, not 'none'"):
        load_weights(path, key="none")


def test_a_key_of_what_has_none(tmp_path: Path) -> None:
    torch.save({"state_dict": plain()}, tmp_path / "net.pth")
    with pytest.raises(InputError, match="weights-key must name one of state_dict, not 'ema'"):
        load_weights(tmp_path / "net.pth", key="ema")
    np.savez(tmp_path / "net.npz", **ARRAYS)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"weights-key is for checkpoints of torch, not \.npz"):
        load_weights(tmp_path / "net.npz", "caffe", key="ema")


def test_an_average_beside_an_object_is_not_guessed(tmp_path: Path) -> None:
    """{'model': a module, 'ema': a state dict}: the only one that can be read is not the only one there is."""
    torch.save({"model": fires(), "ema": plain()}, tmp_path / "net.pth")
    with pytest.raises(InputError, match="there are model, ema; name one with --weights-key"):
        load_weights(tmp_path / "net.pth")
    assert_same(load_weights(tmp_path / "net.pth", key="ema").arrays, ARRAYS)
    with pytest.raises(
        InputError, match=r"not a whole torch.nn.modules.*; in a program that has its class, save"
    ):
        load_weights(tmp_path / "net.pth", key="model")


def fires() -> nn.Module:
    """A module with the tensors of NARROW by torchvision's names."""
    root: Any = nn.Module()
    for name, tensor in plain().items():
        *parts, last = name.split(".")
        module = root
        for part in parts:
            if not hasattr(module, part):
                module.add_module(part, nn.Module())
            module = getattr(module, part)
        module.register_parameter(last, nn.Parameter(tensor))
    assert list(root.state_dict()) == list(plain())
    return root  # type: ignore[no-any-return]


class Scripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = fires()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_the_advice_for_programs_succeeds(tmp_path: Path) -> None:
    """What a message says is done, and the file that it makes is read."""
    net, path, made = fires(), tmp_path / "net.pt", tmp_path / "weights.pth"
    for content in (net, {"model": net, "epoch": 3}):
        torch.save(content, path)
        with pytest.raises(InputError) as told:
            load_weights(path)
        follow(str(told.value), made, net=net)
    torch.jit.script(Scripted()).save(str(path))  # type: ignore[no-untyped-call]
    with pytest.raises(InputError, match="not TorchScript, which is a program") as told:
        load_weights(path)
    follow(str(told.value).replace("FILE", str(path)), made)
    with path.open("wb") as file:
        pickle.dump(plain(), file)
    with pytest.raises(InputError, match="not of pickle alone") as told:
        load_weights(path)
    follow(str(told.value), made, net=net)
    torch.save({"state_dict": plain(), "fn": Attack(Path.touch, Path("x"))}, path)
    with pytest.raises(InputError) as told:
        load_weights(path)
    follow(str(told.value), made, net=net)


def follow(message: str, made: Path, **names: Any) -> None:
    """Runs the line of a message that saves a state dict, and reads what it wrote."""
    made.unlink(missing_ok=True)
    line = message[message.index("torch.save(") :].removesuffix(" makes one")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.load is deprecated
        exec(line.replace("weights.pth", str(made)), {"torch": torch, **names})
    assert_same(load_weights(made).arrays, ARRAYS)


def test_messages_are_plain(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    hostile: list[Any] = [Attack(os.system, "x"), fires(), {"\x1b[31mred\x07\n": 3}, [Settings()]]
    hostile.append({"state_dict": under("\x1b[2J", plain()), "b": under("\x9b31m", plain(1))})
    for content in hostile:
        torch.save(content, path)
        with pytest.raises(InputError) as told:
            load_weights(path)
        text = str(told.value)
        assert text.isprintable()
        assert "weights_only" not in text
        assert "trust" not in text or "do not trust" in text
        assert len(text) < 500


def test_other_files_with_these_endings(tmp_path: Path) -> None:
    path = tmp_path / "net.pth.tar"
    inner = io.BytesIO()
    torch.save(plain(), inner)
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("net.pth")
        info.size = inner.tell()
        tar.addfile(info, io.BytesIO(inner.getvalue()))
    with pytest.raises(InputError, match=r"not an archive of net\.pth; unpack it and name net\.pth"):
        load_weights(path)
    with tarfile.open(path, "w") as tar:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(InputError, match="not in the tar format before it"):
        load_weights(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("models/model.json", "{}")
    with pytest.raises(
        InputError, match=r"not an archive of models/model.json; in the program that made it, save"
    ):
        load_weights(path)
    for content in (b"", b"<html>not found</html>", b"version https://git-lfs"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="copy it again"):
            load_weights(path)


def test_what_does_not_belong_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, net = tmp_path / "net.pth", plain()
    for name in ("features.1.running_mean", "fc.weight", "classifier.3.weight"):
        torch.save({"state_dict": under("model.", {**net, name: torch.ones(3)})}, path)
        with pytest.raises(InputError, match=f"must not have {name}"):
            load_weights(path)
    torch.save({**net, "features._extra_state": {"a": 1}}, path)
    with pytest.raises(InputError, match=r"features\._extra_state: must be a tensor, not dict"):
        load_weights(path)
    twice = {**net, "features.module.0.weight": torch.ones(4, 3, 3, 3)}
    torch.save(twice, path)
    with pytest.raises(InputError, match="must be there once, not with and without a wrapper"):
        load_weights(path)
    torch.save({**net, "conv1.weight": torch.ones(4, 3, 3, 3)}, path)
    with pytest.raises(InputError, match=r"conv1\.weight must be there once"):
        load_weights(path)
    torch.save({"state_dict": {**under("model.", net), "loss.weight": torch.ones(3)}}, path)
    with caplog.at_level(logging.WARNING):
        assert_same(load_weights(path).arrays, ARRAYS)
    assert "taken is state_dict.model, without loss.weight" in caplog.text


def test_containers_without_end(tmp_path: Path) -> None:
    content: Any = [1]
    for _ in range(20):
        content = [content] * 20
    with pytest.raises(InputError, match="entries without end"):
        find_network(tmp_path, content)
    content = {}
    content["me"] = content
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(InputError, match="entries without end"):
        find_network(tmp_path, read_torch_file(tmp_path / "net.pth"))


READ = ("lightning.pth", "compiled.pth", "net_acc.pth", "model_best.pth.tar", "args_namespace.pth")
REFUSED = {"whole_module.pth": "a whole torch.nn", "scripted.pt": "not TorchScript"}


def test_the_files_that_people_have() -> None:
    if not CASES.is_dir():
        pytest.skip(f"needs the checkpoints of {CASES}")
    for name in READ:
        assert load_weights(CASES / name).spec.num_classes == 10
    for name, why in REFUSED.items():
        with pytest.raises(InputError, match=why):
            load_weights(CASES / name)
