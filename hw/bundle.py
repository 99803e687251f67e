"""NAME.fire/: the folder that holds everything a network needs, and the only thing that goes to a board."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Callable, Mapping

import numpy as np

from hw.dataflow.counts import Counts
from hw.dataflow.hardware import Hardware
from hw.errors import InputError
from hw.files import PathLike, atomic_directory, read_json, sha256
from hw.graph import Graph
from hw.ops import Conv
from hw.packing import read_arrays, write_arrays
from hw.preprocessing import Preprocessing

if TYPE_CHECKING:
    from hw.types import Array, Int64Array, TensorType

SCHEMA = 1
SUFFIX = ".fire"
MAX_GOLDEN_BYTES = 1 << 28
_NEEDED = ("graph.json", "graph.arrays", "golden.npz")
_HARDWARE, _VERIFICATION, _COUNTS = "hardware.json", "verification.json", "resources.json"
RTL = "rtl"
"""The folder of the accelerator's sources and memory images."""
_LAYOUT = "little-endian bit string, element 0 lowest, padded to bytes"


@dataclass(frozen=True, eq=False)
class Golden:
    """Images with the results the interpreter gave for them.

    Args:
        images: uint8 (N, H, W, C).
        scores: int64 (N, classes).
        digests: for every tensor, the SHA-256 of its golden values (`tensor_digest`).
    """

    images: Array
    scores: Int64Array
    digests: Mapping[str, str]

    @classmethod
    def record(cls, graph: Graph, images: Array) -> Golden:
        """Runs the interpreter."""
        tensors = graph.trace(images)
        digests = {name: tensor_digest(array) for name, array in tensors.items()}
        return cls(images, tensors[graph.output_name], digests)


@dataclass(frozen=True)
class GoldenCheck:
    """The result of a self test: how many scores differ, and which tensors do, in topological order."""

    images: int
    differing_scores: int
    differing_tensors: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.differing_scores and not self.differing_tensors


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
        record = self.preprocessing.to_json() if self.preprocessing else None
        return {
            "preprocessing": record,
            "labels": list(self.labels),
            "card": dict(self.card),
            "tools": dict(self.tools),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Manifest:
        record = document["preprocessing"]
        preprocessing = None if record is None else Preprocessing.from_json(record)
        labels = tuple(str(label) for label in document["labels"])
        return cls(preprocessing, labels, dict(document["card"]), dict(document["tools"]))


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
        folder: that it was loaded from, if it was.
        files: the SHA-256 of what lies there, by name, as the manifest lists it.

    Raises:
        InputError: another number of labels than classes.
    """

    graph: Graph
    manifest: Manifest
    golden: Golden
    hardware: Hardware | None = None
    verification: Mapping[str, Any] | None = None
    counts: Counts | None = None
    folder: Path | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        classes, labels = self.graph.output_type.shape[-1], len(self.manifest.labels)
        if labels not in (0, classes):
            raise InputError(
                f"{self.graph.name}: labels must be one per class ({classes}), not {labels}; list them all"
            )

    def save(
        self, path: PathLike, rtl: PathLike | None = None, extra: Mapping[str, PathLike] | None = None
    ) -> None:
        """Writes the folder, whole or not at all; replaces a bundle of that name, but nothing else.

        Args:
            path: the folder.
            rtl: a folder with the accelerator's sources, to be copied into the bundle.
            extra: other files to be copied, by their names in the bundle: a bitstream, its description, reports.

        Raises:
            InputError: `path` is a file, or a folder with other things in it.
        """
        target = Path(path)
        if target.is_dir() and any(target.iterdir()) and not (target / "manifest.json").is_file():
            raise InputError(f"{target}: the output must be a bundle or an empty folder; give another name")
        document, arrays = self.graph.to_json()
        with atomic_directory(target) as folder:
            (folder / "graph.json").write_bytes(_render(document))
            write_arrays(folder / "graph.arrays", arrays, {})
            names = np.array(list(self.golden.digests), dtype=np.str_)
            digests = np.array(list(self.golden.digests.values()), dtype=np.str_)
            with open(folder / "golden.npz", "wb") as file:
                np.savez_compressed(
                    file, images=self.golden.images, scores=self.golden.scores, names=names, digests=digests
                )
            if self.hardware is not None:
                (folder / _HARDWARE).write_bytes(_render(self.hardware.to_json()))
            if self.verification is not None:
                (folder / _VERIFICATION).write_bytes(_render(dict(self.verification)))
            if self.counts is not None:
                (folder / _COUNTS).write_bytes(_render(self.counts.to_json()))
            if rtl is not None:
                shutil.copytree(str(rtl), str(folder / RTL))
            for name, source in (extra or {}).items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(source), str(folder / name))
            written = sorted(file for file in folder.rglob("*") if file.is_file())
            files = {
                file.relative_to(folder).as_posix(): {
                    "sha256": sha256(file),
                    "size_bytes": file.stat().st_size,
                }
                for file in written
            }
            (folder / "manifest.json").write_bytes(_render(_seal({**self._describe(), "files": files})))

    def _describe(self) -> dict[str, Any]:
        graph = self.graph
        weights = {node.name: node.op.weight_bits for node in graph.nodes if isinstance(node.op, Conv)}
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

        Raises:
            InputError: no bundle; a newer schema; a file that is missing, changed or outside the folder;
                contents that do not fit together. Names the file.
        """
        folder = Path(path)
        document = _read_manifest(folder)
        try:
            for name, record in document["files"].items():
                _check_file(folder, name, record)
            missing = [name for name in _NEEDED if name not in document["files"]]
            if missing:
                raise InputError(f"{folder}/manifest.json: must list {missing[0]}; get the bundle again")
            arrays, _ = read_arrays(folder / "graph.arrays")
            graph = Graph.from_json(read_json(folder / "graph.json"), arrays)
            hardware = verification = counts = None
            if _HARDWARE in document["files"]:
                hardware = Hardware.from_json(read_json(folder / _HARDWARE))
            if _VERIFICATION in document["files"]:
                verification = read_json(folder / _VERIFICATION)
            if _COUNTS in document["files"]:
                counts = Counts.from_json(read_json(folder / _COUNTS))
            golden = _read_golden(folder / "golden.npz", graph)
            files = {str(name): str(record["sha256"]) for name, record in document["files"].items()}
            manifest = Manifest.from_json(document)
            bundle = cls(graph, manifest, golden, hardware, verification, counts, folder, files)
            different = [key for key, value in bundle._describe().items() if document[key] != value]
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{folder}/manifest.json: fields must be complete ({error!r}); get the bundle again"
            ) from None
        if different:
            raise InputError(
                f"{folder}/manifest.json: {different[0]} must agree with graph.json; get the bundle again"
            )
        return bundle

    def with_hardware(self, hardware: Hardware) -> Bundle:
        """A copy that was built so; what was verified and counted before no longer holds."""
        return replace(self, hardware=hardware, verification=None, counts=None, folder=None, files={})

    def with_verification(self, found: Mapping[str, Any]) -> Bundle:
        return replace(self, verification=found)

    def with_counts(self, counts: Counts) -> Bundle:
        return replace(self, counts=counts)

    def verify_golden(
        self,
        run: Callable[[Array], Int64Array],
        trace: Callable[[Array], Mapping[str, Array]] | None = None,
    ) -> GoldenCheck:
        """The self test: computes the golden images again.

        Args:
            run: images -> scores, for example `Simulator(graph).run` or a board's.
            trace: images -> tensors by name; those it gives are compared too.
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


def sources_hash(files: Mapping[str, str]) -> str:
    """What tells one accelerator from all others, also on the board: 64 digits.

    Args:
        files: the SHA-256 of its sources and memory images, by path relative to their folder.
    """
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def tensor_digest(array: Array) -> str:
    """SHA-256 of the shape, as text, and the values, as little-endian int64 in C order."""
    digest = hashlib.sha256(str(tuple(int(axis) for axis in array.shape)).encode())
    digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    return digest.hexdigest()


def _port(kind: TensorType) -> dict[str, Any]:
    packing = {"bits": kind.bits, "signed": kind.signed, "layout": _LAYOUT}
    return {**kind.to_json(), "dtype": kind.dtype.name, "packing": packing}


def _render(document: Any) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _seal(document: dict[str, Any]) -> dict[str, Any]:
    """Adds the hash of everything else, so that a change of the manifest itself shows."""
    return {**document, "sha256": hashlib.sha256(_render(document)).hexdigest()}


def _read_manifest(folder: Path) -> dict[str, Any]:
    place = folder / "manifest.json"
    if not folder.is_dir():
        raise InputError(f"{folder}: a bundle must be a folder {SUFFIX}; run `fireflow lower` to make one")
    document = read_json(place)
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, int):
        raise InputError(f"{place}: schema must be a number, not {schema!r}; get the bundle again")
    if schema > SCHEMA:
        raise InputError(f"{place}: schema must be at most {SCHEMA}, not {schema}; use a newer fireflow")
    content = {key: value for key, value in document.items() if key != "sha256"}
    if _render(_seal(content)) != place.read_bytes():
        raise InputError(f"{place}: must match its hash, not be changed; get the bundle again")
    return content


def _check_file(folder: Path, name: str, record: Mapping[str, Any]) -> None:
    place = folder / name
    pure = PurePosixPath(name)
    outside = pure.is_absolute() or ".." in pure.parts or "\\" in name or ":" in name
    # resolve() follows symbolic links: a link may not lead out either.
    if outside or folder.resolve() not in place.resolve().parents:
        raise InputError(
            f"{folder}/manifest.json: files must lie inside the bundle, not at {name!r}; do not trust it"
        )
    if not place.is_file():
        raise InputError(f"{place}: the file must be there as the manifest says; get the bundle again")
    if place.stat().st_size != record["size_bytes"] or sha256(place) != record["sha256"]:
        raise InputError(
            f"{place}: must match the hash in the manifest, not be changed; get the bundle again"
        )


def _read_golden(path: Path, graph: Graph) -> Golden:
    try:
        with zipfile.ZipFile(str(path)) as archive:
            size_bytes = sum(member.file_size for member in archive.infolist())
        if size_bytes > MAX_GOLDEN_BYTES:
            raise ValueError(f"{size_bytes} bytes when unpacked, {MAX_GOLDEN_BYTES} at most")
        with np.load(str(path), allow_pickle=False) as file:
            images, scores = file["images"], file["scores"]
            digests = {str(name): str(digest) for name, digest in zip(file["names"], file["digests"])}
    except (OSError, KeyError, ValueError, MemoryError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: must hold golden vectors ({error}); get the bundle again") from None
    graph.check_images(images)
    if scores.dtype != np.int64 or scores.shape != (len(images), *graph.output_type.shape):
        raise InputError(
            f"{path}: scores must be int64 for {len(images)} images, not {scores.dtype} of shape "
            f"{scores.shape}; get the bundle again"
        )
    missing = [name for name in graph.types if name not in digests]
    if missing:
        raise InputError(
            f"{path}: must have a digest of every tensor, not miss {missing[0]}; get the bundle again"
        )
    return Golden(images, scores, digests)
