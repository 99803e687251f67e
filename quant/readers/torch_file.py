"""What a file of `torch.save` holds, without making any of its objects: tensors, containers, numbers and texts."""

from __future__ import annotations

import io
import pickle
import pickletools
import tarfile
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch.serialization import safe_globals

from fireflow.hw.errors import InputError
from fireflow.quant.imported.raw import MAX_BYTES, SAVE
from fireflow.quant.readers.base import READERS

_OLD_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files of torch before 1.6 start, behind two bytes for the version of pickle."""
_CODE = (
    "os",
    "posix",
    "nt",
    "sys",
    "subprocess",
    "shutil",
    "socket",
    "runpy",
    "importlib",
    "pty",
    "ctypes",
    "pickle",
)
"""Modules that no honest file of weights names. Nothing of theirs would run: the file is not to be trusted."""
_CALLS = frozenset(f"builtins.{name}" for name in ("eval", "exec", "compile", "__import__", "open", "input"))


class Stranger:
    """Stands for an object of a class that only the file names: it holds what was stored, and does nothing.

    Args:
        state: the object's attributes, mostly a dict; None before it is set.
    """

    name = "object"
    state: Any = None

    def __new__(cls, *_arguments: Any, **_named: Any) -> Stranger:
        return object.__new__(cls)

    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        pass

    def __repr__(self) -> str:
        return f"an object of {self.name}"

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __hash__(self) -> int:
        return id(self)


def read_torch_file(path: Path) -> Any:
    """The content of a file, with a `Stranger` for every object that is not torch's own.

    torch's unpickler for weights calls nothing but what is allowed by name; here each other name stands for a class
    that keeps its state.

    Raises:
        InputError: TorchScript, an archive of another kind, a whole module, a program in the place of data, or damage.
    """
    _check_archive(path)
    names = _foreign_names(path)
    for name in names:
        if name.partition(".")[0] in _CODE or name in _CALLS:
            raise InputError(
                f"{path}: must hold weights, not calls of {name}; do not trust this file, get another"
            )
    with warnings.catch_warnings(), safe_globals([(_stand_in(name), name) for name in names]):
        warnings.simplefilter("ignore")  # of the version of pickle; what cannot be read is an error below
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise InputError(
                f"{path}: must be a whole {path.suffix} file without pickled objects that only code can make "
                f"({_reason(error)}); copy it again if it was cut, or in the program that made it, {SAVE}"
            ) from None


def _reason(error: pickle.UnpicklingError) -> str:
    """What torch found, without its advice, which is to read the file with all that it may run."""
    found = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    return found.partition("\n")[0].partition(" was not an allowed")[0] or "it names what is blocked"


def _check_archive(path: Path) -> None:
    """Refuses what is no file of `torch.save` though it may end like one."""
    if _is_zip(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        size = sum(member.file_size for member in members)
        if size > MAX_BYTES:
            raise InputError(
                f"{path}: must unpack to at most {MAX_BYTES} bytes, not {size}; is it a SqueezeNet?"
            )
        names = {member.filename.partition("/")[2] for member in members}
        if "constants.pkl" in names:
            raise InputError(
                f"{path}: must hold a state dict, not TorchScript, which is a program; if you trust it, "
                'torch.save(torch.jit.load("FILE").state_dict(), "weights.pth") makes one'
            )
        if "data.pkl" not in names:
            raise _archive(path, sorted(member.filename for member in members))
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as tar:
            members_of_tar = tar.getnames()
        if {"pickle", "storages"} <= set(members_of_tar):
            raise InputError(
                f"{path}: must be written by torch 0.2 or later, not in the tar format before it; "
                f"load it with a torch that reads it and {SAVE}"
            )
        raise _archive(path, members_of_tar)
    else:
        with path.open("rb") as file:
            start = file.read(len(_OLD_MAGIC) + 2)
        if start[:1] != b"\x80":
            raise InputError(
                f"{path}: must be a whole file of torch.save, not one that starts {start[:8]!r}; copy it again"
            )
        if start[2:] != _OLD_MAGIC:
            raise InputError(
                f"{path}: must be a file of torch.save, not of pickle alone; in the program that made it, {SAVE}"
            )


def _archive(path: Path, names: Sequence[str]) -> InputError:
    """The error for an archive: of weights, which may be taken out of it, or of a program."""
    endings = tuple(suffix for each in READERS for suffix in (*each.suffixes, *each.other_suffixes))
    inside = next((name for name in names if name.lower().endswith(endings)), None)
    fix = f"in the program that made it, {SAVE}" if inside is None else f"unpack it and name {inside}"
    return InputError(
        f"{path}: must be a file of torch.save, not an archive of {', '.join(names[:3]) or 'nothing'}; {fix}"
    )


def _is_zip(path: Path) -> bool:
    """Whether torch takes it for a zip file: one may also lie at the end of another file."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _foreign_names(path: Path) -> list[str]:
    """Full names of the classes and functions that a file names and torch's reader of weights does not know."""
    known = torch._weights_only_unpickler._get_allowed_globals()
    return sorted({name for pickled in _pickles(path) for name in _names_in(pickled)} - set(known))


def _pickles(path: Path) -> Iterator[BinaryIO]:
    """The pickled parts of a file, for `_names_in`, which leaves each at the beginning of the next."""
    if _is_zip(path):
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.partition("/")[2] == "data.pkl")
            yield io.BytesIO(archive.read(name))
        return
    with path.open("rb") as file:
        if file.read(1) != b"\x80":  # no pickle at all
            return
        file.seek(0)
        for _part in range(4):  # a magic number, a version, facts of the machine, and then the content
            yield file


def _names_in(file: BinaryIO) -> Iterator[str]:
    try:
        for operation, argument, _position in pickletools.genops(file):
            if operation.name == "GLOBAL":
                module, _, name = str(argument).partition(" ")
                yield f"{module}.{name}"
                # Files name what Python 2 had; torch's reader knows some of the names of Python 3.
                yield ".".join(NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name)))
    except (ValueError, IndexError, OverflowError, UnicodeDecodeError):
        return  # damaged: torch's reader says so


def _stand_in(name: str) -> Callable[..., Any]:
    """What a name of the file becomes: a class of its own, since torch tells classes by what they are."""
    if name == "collections.defaultdict":
        return _dict
    if name == "collections.deque":
        return _list
    return type("Stranger", (Stranger,), {"name": name})


def _dict(*_arguments: Any) -> OrderedDict[Any, Any]:
    """A dict that its entries are put into next."""
    return OrderedDict()


def _list(first: Sequence[Any] = (), *_arguments: Any) -> list[Any]:
    return list(first)
