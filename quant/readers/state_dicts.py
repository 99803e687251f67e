"""The network in what a checkpoint holds, under whatever names it was wrapped in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import torch

from fireflow.hw.errors import InputError
from fireflow.quant.imported.raw import SAVE
from fireflow.quant.networks import weight_files
from fireflow.quant.networks.base import WeightFiles
from fireflow.quant.readers.torch_file import Stranger

_WRAPPER = r"(?:(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.)*"
"""Modules that only pass on, and no layer of a network here is called so: of parallel and compiled networks."""
_MODULE = ("_modules", "_parameters")
_MOST_CONTAINERS, _DEEPEST = 100_000, 32


@dataclass(frozen=True, slots=True)
class Found:
    """A network in a checkpoint.

    Args:
        files: of the network that it is.
        place: keys down to the state dict that holds it.
        prefix: what its names start with there, "" or with a point at the end.
        entries: the state dict.
        whole: the class, where it is an object rather than a state dict.
    """

    files: WeightFiles
    place: tuple[str, ...]
    prefix: str = ""
    entries: Mapping[Any, Any] = field(default_factory=dict)
    whole: str | None = None

    @property
    def key(self) -> str:
        """What a user calls it: "state_dict.model", or "." for a file that is nothing else."""
        return ".".join([*self.place, *self.prefix.rstrip(".").split(".")]).strip(".") or "."

    def tensors(self, path: Path) -> dict[str, torch.Tensor]:
        """Its tensors by their names in the network.

        Raises:
            InputError: something else has a name among them.
        """
        found: dict[str, torch.Tensor] = {}
        for key, value in self.entries.items():
            name = str(key)
            if not name.startswith(self.prefix) or (_is_remark(name, value) and not self.prefix):
                continue
            if not isinstance(value, torch.Tensor):
                raise InputError(f"{path}: {name}: must be a tensor, not {_kind(value)}; {SAVE}")
            inner = re.sub(rf"(?<![^.]){_WRAPPER}", "", name[len(self.prefix) :])
            if inner in found:
                raise InputError(
                    f"{path}: {name}: must be there once, not with and without a wrapper; {SAVE}"
                )
            found[inner] = value
        return found

    def left_out(self) -> list[str]:
        """Names of the tensors beside it in the same state dict."""
        return [
            str(key)
            for key, value in self.entries.items()
            if isinstance(value, torch.Tensor) and not str(key).startswith(self.prefix)
        ]


def find_network(path: Path, content: Any, key: str | None = None) -> Found:
    """The one network in `content`, or the one that `key` names.

    Args:
        path: for messages.
        content: of a checkpoint, as `quant.readers.torch_file.read_torch_file` gives it.
        key: `Found.key`, or a part of it that only one has.

    Raises:
        InputError: none is there, or several that differ, or none of this name.
    """
    networks = list(_networks(path, content, (), count(1)))
    if not networks:
        raise InputError(f"{path}: {_why_none(path, content)}; {SAVE}")
    listed = ", ".join(network.key for network in networks)
    if key is not None:
        chosen = [n for n in networks if n.key == key] or [n for n in networks if _within(key, n.key)]
        if len(chosen) != 1:
            raise InputError(
                f"{path}: weights-key must name one of {listed}, not {key!r}; write it as it is here"
            )
    else:
        chosen = networks if len(networks) == 1 or _all_equal(networks) else []
        if not chosen:
            raise InputError(
                f"{path}: which of its networks is meant must be said, and there are {listed}; "
                "name one with --weights-key"
            )
    if chosen[0].whole is not None:
        raise InputError(
            f"{path}: must hold a state dict, not a whole {chosen[0].whole} as an object; "
            f"in a program that has its class, {SAVE}"
        )
    return chosen[0]


def network_keys(path: Path, content: Any) -> list[str]:
    """`Found.key` of every network in `content`."""
    return [network.key for network in _networks(path, content, (), count(1))]


def _networks(path: Path, value: Any, place: tuple[str, ...], number: Iterator[int]) -> Iterator[Found]:
    """Every network in the containers of a file, which may hold one another."""
    if next(number) > _MOST_CONTAINERS or len(place) > _DEEPEST:
        raise InputError(f"{path}: must hold a state dict, not entries without end; {SAVE}")
    if isinstance(value, Stranger):
        if isinstance(value.state, Mapping) and all(name in value.state for name in _MODULE):
            held = [files for files, _prefix in _marked(_module_names(value, 0))]
            if held or not place:
                yield Found(held[0] if held else weight_files()[0], place, whole=type(value).name)
            return
        value = value.state
    if isinstance(value, Mapping):
        names = [str(key) for key in value]
        for files, prefix in dict.fromkeys(_marked(names)):
            yield Found(files, place, prefix, value)
        inside: Iterator[tuple[str, Any]] = zip(names, value.values(), strict=True)
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        inside = ((str(index), item) for index, item in enumerate(value))
    else:
        return
    for name, item in inside:
        if isinstance(item, (Mapping, Sequence, Stranger)) and not isinstance(item, (str, bytes, bytearray)):
            yield from _networks(path, item, (*place, name), number)


def _marked(names: Iterable[str]) -> Iterator[tuple[WeightFiles, str]]:
    """The files of the network of every name that only one has, and what stands before the name."""
    marks = [(files, _mark(files.mark)) for files in weight_files()]
    for name in names:
        yield from ((files, match[1]) for files, mark in marks if (match := mark.fullmatch(name)))


@cache
def _mark(mark: str) -> re.Pattern[str]:
    return re.compile(r"((?:.*\.)?)" + mark.replace(r"\.", rf"\.{_WRAPPER}"), re.DOTALL)


def _module_names(module: Any, depth: int) -> Iterator[str]:
    """Names of the parameters of a stored `nn.Module`, as its state dict would have them."""
    state = module.state if isinstance(module, Stranger) else None
    if not isinstance(state, Mapping) or depth > _DEEPEST:
        return
    yield from map(str, state.get("_parameters") or ())
    children = state.get("_modules")
    for name, child in children.items() if isinstance(children, Mapping) else ():
        yield from (f"{name}.{inner}" for inner in _module_names(child, depth + 1))


def _all_equal(networks: Sequence[Found]) -> bool:
    """Whether they are one network under several names, as where two attributes of a module are the same."""
    if any(network.whole is not None for network in networks):
        return False
    first, *others = [
        {str(k)[len(n.prefix) :]: v for k, v in n.entries.items() if str(k).startswith(n.prefix)}
        for n in networks
    ]
    first = {name: value for name, value in first.items() if isinstance(value, torch.Tensor)}
    return all(
        first.keys() == {name for name, value in other.items() if isinstance(value, torch.Tensor)}
        and all(torch.equal(value, other[name]) for name, value in first.items())
        for other in others
    )


def _within(part: str, key: str) -> bool:
    """Whether `part` is one or more whole components of `key`."""
    return f".{part}." in f".{key}."


def _is_remark(name: str, value: Any) -> bool:
    """Whether an entry beside the tensors belongs to the run, not to the network: an epoch, options, an optimizer."""
    return not isinstance(value, torch.Tensor) and "." not in name and name != "_extra_state"


def _why_none(path: Path, content: Any) -> str:
    """What is wrong with a file that holds no network that is known here."""
    if not isinstance(content, Mapping) or not content:
        return f"must hold a state dict, not {_kind(content)}"
    objects = {name: value for name, value in content.items() if isinstance(value, Stranger)}
    if objects:
        name, value = next(iter(objects.items()))
        return (
            f"must be a whole {path.suffix} file without pickled objects in the place of tensors, "
            f"not {_kind(value)} as {name}"
        )
    if not any(isinstance(value, torch.Tensor) for value in content.values()):
        name, value = next(iter(content.items()))
        return f"{name}: must be a tensor, not {_kind(value)}"
    first = [str(name) for name in content]
    more = f" and {len(first) - 3} more" if len(first) > 3 else ""
    return f"must hold the state dict of a SqueezeNet, not {', '.join(first[:3])}{more}"


def _kind(value: Any) -> str:
    """What a value is, for people."""
    return repr(value) if isinstance(value, Stranger) else type(value).__name__
