"""NAME.fire/: the folder that holds everything a network needs, and the only thing that goes to a board."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping

import numpy as np

from fireflow.hw import fields, given
from fireflow.hw.contents import (
    MANIFEST,
    SCHEMA,
    SUFFIX,
    Contents,
    FileRecord,
    copy_listed,
    read_contents,
    read_listed,
    render,
    seal,
)
from fireflow.hw.dataflow.counts import Counts
from fireflow.hw.dataflow.hardware import Hardware
from fireflow.hw.errors import InputError
from fireflow.hw.files import MAX_JSON_BYTES, PathLike, atomic_directory, parse_json, sha256
from fireflow.hw.golden import Golden, GoldenCheck, read_golden, tensor_digest
from fireflow.hw.graph import Graph
from fireflow.hw.packing import MAX_FILE_BYTES, parse_arrays, write_arrays
from fireflow.hw.preprocessing import Preprocessing

if TYPE_CHECKING:
    from fireflow.hw.types import Array, Int64Array, TensorType

__all__ = [
    "RTL",
    "SCHEMA",
    "SUFFIX",
    "Bundle",
    "Manifest",
    "sources_hash",
]

_GRAPH, _ARRAYS, _GOLDEN = "graph.json", "graph.arrays", "golden.npz"
_HARDWARE, _VERIFICATION, _COUNTS = "hardware.json", "verification.json", "resources.json"
_OURS = (MANIFEST, _GRAPH, _ARRAYS, _GOLDEN, _HARDWARE, _VERIFICATION, _COUNTS)
"""The files that a `Bundle` holds itself; the others it only lists."""
RTL = "rtl"
"""The folder of the accelerator's sources and memory images."""
_LAYOUT = "little-endian bit string, element 0 lowest, padded to bytes"


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of its network beyond the graph.

    Args:
        preprocessing: from picture to input; None if the network takes something else.
        labels: the name of each class, or empty.
        card: the model card: data, recipe, accuracy and so on; any JSON object.
        tools: name and version of every tool that had a part in it.
    """

    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The manifest as a JSON object."""
        return {
            "preprocessing": self.preprocessing.to_json() if self.preprocessing else None,
            "labels": list(self.labels),
            "card": dict(self.card),
            "tools": dict(self.tools),
        }

    @classmethod
    def from_json(cls, document: Any) -> Manifest:
        """What `to_json` gave, perhaps among other fields. Raises InputError where a field is missing or wrong."""
        try:
            record, labels = document["preprocessing"], fields.items("manifest: labels", document["labels"])
            card, tools = (fields.mapping(f"manifest: {name}", document[name]) for name in ("card", "tools"))
        except (KeyError, TypeError) as error:
            raise InputError(f"manifest: fields must be complete ({error!r}); write it again") from None
        return cls(
            None if record is None else Preprocessing.from_json(record),
            tuple(fields.text(f"manifest: label {number}", label) for number, label in enumerate(labels)),
            dict(card),
            {name: fields.text(f"manifest: tool {name!r:.80}", version) for name, version in tools.items()},
        )


@dataclass(frozen=True, eq=False)
class Bundle:
    """A network ready for the simulator or a board.

    Args:
        graph: the integers.
        manifest: labels, preprocessing, model card, tool versions.
        golden: images and their scores, for the self test.
        hardware: how the network was built for a board, if it was.
        verification: what `fireflow verify --rtl` found, if it ran.
        counts: what `fireflow resources` counted, if it ran.
        files: what lay in the folder that it was loaded from, each compared with its hash.
        folder: that it was loaded from, if it was.

    Raises:
        InputError: another number of labels than classes.
    """

    graph: Graph
    manifest: Manifest
    golden: Golden
    hardware: Hardware | None = None
    verification: Mapping[str, Any] | None = None
    counts: Counts | None = None
    files: Mapping[str, FileRecord] = field(default_factory=dict)
    folder: Path | None = None

    def __post_init__(self) -> None:
        classes, labels = self.graph.output_type.shape[-1], len(self.manifest.labels)
        if labels not in (0, classes):
            raise InputError(
                f"{self.graph.name}: labels must be one per class ({classes}), not {labels}; list them all"
            )

    def __repr__(self) -> str:
        board = self.hardware.board if self.hardware else "no board"
        return f"<Bundle {self.place}: {self.graph.summary}, for {board}>"

    def save(
        self, path: PathLike, rtl: PathLike | None = None, extra: Mapping[str, PathLike] | None = None
    ) -> Bundle:
        """Writes the folder, whole or not at all; replaces a bundle of that name, but nothing else.

        Args:
            path: the folder.
            rtl: a folder with the accelerator's sources, to be copied into the bundle.
            extra: other files to be copied, by their names in the bundle: a bitstream, its description, reports.

        Returns:
            the same bundle as it lies there: with its folder, and its files by their hashes.

        Raises:
            InputError: `path` is a file, or a folder with other things in it.
        """

        def add(folder: Path) -> None:
            if rtl is not None:
                shutil.copytree(str(rtl), str(folder / RTL))
            for name, source in (extra or {}).items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(source), str(folder / name))

        target = given.path("output", path)
        return replace(self, files=self._save(target, add), folder=target)

    def save_again(self) -> None:
        """Writes the folder that this bundle was loaded from anew: what is no part of `Bundle` stays as it is there.

        Raises:
            InputError: it was not loaded from a folder; a file there is no longer what it was.
        """
        if (source := self.folder) is None:
            raise InputError(f"{self.place}: must be loaded from a folder to be saved there again; use save")

        def add(folder: Path) -> None:
            for name, record in self.files.items():
                if name not in _OURS:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    copy_listed(source, name, record, folder / name)

        self._save(source, add)

    def read(self, name: str) -> bytes | None:
        """The bytes of one of `files`; None where there is none of that name.

        Raises:
            InputError: it is no longer what it was.
        """
        if self.folder is None or name not in self.files:
            return None
        return read_listed(self.folder, name, self.files[name])

    @property
    def place(self) -> str:
        """What messages call it: the folder that it was loaded from, else the network's name."""
        return self.graph.name if self.folder is None else str(self.folder)

    def require_hardware(self) -> Hardware:
        """How it was built for a board.

        Raises:
            InputError: it was not.
        """
        if self.hardware is None:
            raise InputError(
                f"{self.place}: must be built for a board, and it is not; run `fireflow build` first"
            )
        return self.hardware

    def _save(self, target: Path, add: Callable[[Path], None]) -> dict[str, FileRecord]:
        """Writes the folder. Returns what the manifest lists."""
        if _is_foreign(target):
            raise InputError(f"{target}: the output must be a bundle or an empty folder; give another name")
        document, arrays = self.graph.to_json()
        parts = {
            _GRAPH: document,
            _HARDWARE: None if self.hardware is None else self.hardware.to_json(),
            _VERIFICATION: None if self.verification is None else dict(self.verification),
            _COUNTS: None if self.counts is None else self.counts.to_json(),
        }
        with atomic_directory(target, durable=True) as folder:
            for name, part in parts.items():
                if part is not None:
                    (folder / name).write_bytes(render(part))
            write_arrays(folder / _ARRAYS, arrays, {})
            names = np.array(list(self.golden.digests), dtype=np.str_)
            digests = np.array(list(self.golden.digests.values()), dtype=np.str_)
            with open(folder / _GOLDEN, "wb") as file:
                np.savez_compressed(
                    file, images=self.golden.images, scores=self.golden.scores, names=names, digests=digests
                )
            add(folder)
            written = sorted(file for file in folder.rglob("*") if file.is_file())
            files = {
                file.relative_to(folder).as_posix(): FileRecord(sha256(file), file.stat().st_size)
                for file in written
            }
            listed = {name: record.to_json() for name, record in files.items()}
            (folder / MANIFEST).write_bytes(render(seal({**self._describe(), "files": listed})))
        return files

    def _describe(self) -> dict[str, Any]:
        graph = self.graph
        bits = {node.name: node.op.stored_bits for node in graph.nodes}
        weights = {name: width for name, width in bits.items() if width is not None}
        return {
            "schema": SCHEMA,
            "name": graph.name,
            "input": {"name": graph.input_name, **_port(graph.input_type)},
            "output": {"name": graph.output_name, **_port(graph.output_type)},
            "output_scale": graph.output_scale,
            "bits": {"weights": weights, "tensors": {name: kind.bits for name, kind in graph.types.items()}},
            **self.manifest.to_json(),
        }

    @classmethod
    def load(cls, path: PathLike) -> Bundle:
        """Reads and checks a bundle.

        A bundle that is replaced meanwhile is read again: what comes is always of one bundle.

        Raises:
            InputError: no bundle; a newer schema; a file that is missing, changed or outside the folder;
                contents that do not fit together. Names the file.
        """
        folder = given.path("bundle", path)
        limits = {**dict.fromkeys(_OURS, MAX_JSON_BYTES), _ARRAYS: MAX_FILE_BYTES, _GOLDEN: MAX_FILE_BYTES}
        contents = read_contents(folder, limits)
        missing = [name for name in (_GRAPH, _ARRAYS, _GOLDEN) if name not in contents.files]
        if missing:
            raise InputError(f"{folder}/{MANIFEST}: must list {missing[0]}; get the bundle again")
        try:
            bundle = cls._of(folder, contents)
            described = bundle._describe()
            different = [
                key for key, value in described.items() if render(contents.document[key]) != render(value)
            ]
        except KeyError as error:
            raise InputError(
                f"{folder}/{MANIFEST}: fields must be complete ({error!r}); get the bundle again"
            ) from None
        if different:
            raise InputError(
                f"{folder}/{MANIFEST}: {different[0]} must agree with {_GRAPH}; get the bundle again"
            )
        return bundle

    @classmethod
    def _of(cls, folder: Path, contents: Contents) -> Bundle:
        data = contents.data

        def part(name: str, make: Callable[[Any], Any]) -> Any:
            try:
                return make(parse_json(data[name], folder / name)) if name in data else None
            except InputError as error:
                raise InputError(_placed(folder / name, error)) from None

        arrays, _ = parse_arrays(data[_ARRAYS], folder / _ARRAYS)
        graph = part(_GRAPH, lambda document: Graph.from_json(document, arrays))
        try:
            manifest = Manifest.from_json(contents.document)
        except InputError as error:
            raise InputError(_placed(folder / MANIFEST, error)) from None
        return cls(
            graph,
            manifest,
            read_golden(folder / _GOLDEN, data[_GOLDEN], graph),
            part(_HARDWARE, Hardware.from_json),
            part(_VERIFICATION, _verification),
            part(_COUNTS, Counts.from_json),
            contents.files,
            folder,
        )

    def with_hardware(self, hardware: Hardware) -> Bundle:
        """A copy that was built so; what was verified, counted and made before no longer holds."""
        return replace(self, hardware=hardware, verification=None, counts=None, files={}, folder=None)

    def with_verification(self, found: Mapping[str, Any]) -> Bundle:
        """A copy that says what `fireflow verify --rtl` found."""
        return replace(self, verification=found)

    def with_counts(self, counts: Counts) -> Bundle:
        """A copy that says what `fireflow resources` counted."""
        return replace(self, counts=counts)

    def verify_golden(
        self,
        run: Callable[[Array], Int64Array],
        trace: Callable[[Array], Mapping[str, Array]] | None = None,
    ) -> GoldenCheck:
        """The self test: computes the golden images again.

        Args:
            run: images, uint8 (N, H, W, C), -> scores, int64 (N, classes): a board's, or `Simulator(graph).run`.
            trace: images -> tensors by name, integers (N, H, W, C); those it gives are compared too.
        """
        scores = run(self.golden.images)
        differing = scores.size
        if scores.shape == self.golden.scores.shape:
            differing = int(np.count_nonzero(scores != self.golden.scores))
        tensors = trace(self.golden.images) if trace is not None else {}
        wrong = [
            name
            for name in self.graph.types
            if name in tensors and tensor_digest(tensors[name]) != self.golden.digests[name]
        ]
        return GoldenCheck(len(self.golden.images), differing, tuple(wrong))


def _is_foreign(folder: Path) -> bool:
    """Whether it holds other things than a bundle. Another process may put a bundle there meanwhile."""
    try:
        while True:
            before, names, after = os.stat(str(folder)), os.listdir(str(folder)), os.stat(str(folder))
            if not names or MANIFEST in names:
                return False
            if (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino):
                return True
    except (FileNotFoundError, NotADirectoryError):
        return False


def sources_hash(files: Mapping[str, str]) -> str:
    """What tells one accelerator from all others, also on the board: 64 digits.

    Args:
        files: the SHA-256 of its sources and memory images, by path relative to their folder.
    """
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _port(kind: TensorType) -> dict[str, Any]:
    packing = {"bits": kind.bits, "signed": kind.signed, "layout": _LAYOUT}
    return {**kind.to_json(), "dtype": kind.dtype.name, "packing": packing}


def _placed(place: Path, error: InputError) -> str:
    """The message, with the file in front where it does not name it."""
    return str(error) if str(error).startswith(str(place)) else f"{place}: {error}"


def _verification(document: Any) -> Mapping[str, Any]:
    """What `fireflow verify --rtl` wrote: counts of cycles, pictures and differences."""
    found = fields.mapping("verification", document)
    for name, value in found.items():
        fields.text("verification", name)
        if value is not None:
            fields.number(f"verification: {name}", value)
    fields.whole("verification: differing", found.get("differing"))
    return found
