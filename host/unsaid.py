"""What a network from elsewhere does not say itself: how pictures are prepared, and the names of its classes.

It is said by option, or by files beside a QONNX file: NET.preprocessing.json, and NET.labels.txt, .csv or .json.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fireflow.host.arrays import ArrayInput, pictures_fix
from fireflow.hw import given
from fireflow.hw.bundle import Bundle, Manifest
from fireflow.hw.errors import InputError
from fireflow.hw.files import stem_of
from fireflow.hw.labels import read_labels
from fireflow.hw.preprocessing import Preprocessing, read_preprocessing
from fireflow.hw.remarks import Say, unheard

PREPROCESSING = ".preprocessing.json"
LABEL_ENDINGS = (".labels.txt", ".labels.csv", ".labels.json")


@dataclass(frozen=True)
class Unsaid:
    """What a user says of a network that does not say it.

    Args:
        preprocessing: the name of a published one, a JSON file, or the record itself.
        labels: a file with the names of the classes.
    """

    preprocessing: str | Path | Preprocessing | None = None
    labels: str | Path | None = None

    def beside(self, path: Path, say: Say = unheard) -> Unsaid:
        """With what lies beside a network's file, where no option says it; says so.

        Raises:
            InputError: several files of labels lie there.
        """
        found = []
        preprocessing, labels = self.preprocessing, self.labels
        if preprocessing is None and (file := path.with_name(stem_of(path) + PREPROCESSING)).is_file():
            preprocessing = str(file)
            found.append(file.name)
        files = [
            file
            for file in (path.with_name(stem_of(path) + ending) for ending in LABEL_ENDINGS)
            if file.is_file()
        ]
        if labels is None and len(files) > 1:
            raise InputError(
                f"{path}: one file beside it must hold the labels, not {', '.join(file.name for file in files)}; "
                "remove the others, or choose one with --labels"
            )
        if labels is None and files:
            labels = str(files[0])
            found.append(files[0].name)
        if found:
            say(f"{path.name}: with {' and '.join(found)} beside it")
        return Unsaid(preprocessing, labels)

    def record(self) -> Preprocessing | None:
        """How pictures are prepared, where it is said."""
        if self.preprocessing is None or isinstance(self.preprocessing, Preprocessing):
            return self.preprocessing
        return read_preprocessing(str(given.path("preprocessing", self.preprocessing)))

    def refuse_said(self, place: object, manifest: Manifest) -> None:
        """Raises InputError where an option says what the network says itself."""
        for option, value, said in (
            ("--preprocessing", self.preprocessing, manifest.preprocessing is not None),
            ("--labels", self.labels, bool(manifest.labels)),
        ):
            if value is not None and said:
                raise InputError(
                    f"{place}: {option} is for networks that do not say it themselves, and this one does; leave it out"
                )

    def labelled(self, bundle: Bundle) -> Bundle:
        """The bundle with the names of its classes, where they are given."""
        if self.labels is None:
            return bundle
        names = read_labels(str(given.path("labels", self.labels)), bundle.graph.output_type.shape[-1])
        return replace(bundle, manifest=replace(bundle.manifest, labels=names))


def completed(bundle: Bundle, said: Unsaid) -> Bundle:
    """A bundle with what it does not say itself, for this command alone.

    Raises:
        InputError: it says it itself; a record that does not fit it, or would change what the pixels mean, since
            its first layer is made already.
    """
    place = given.instance("bundle", bundle, Bundle, "load it with load_bundle").place
    said.refuse_said(place, bundle.manifest)
    record = said.record()
    if record is not None:
        check_pictures(place, record, bundle.graph.input_type.shape)
        plain = Preprocessing(record.size, record.resize, record.crop, keep_aspect=record.keep_aspect)
        if record != plain:
            raise InputError(
                f"{place}: in a bundle, mean, std and colour order are part of the first layer; give a record with "
                "mean 0, std 1 and RGB, or `fireflow lower` the network's file again with --preprocessing"
            )
        bundle = replace(bundle, manifest=replace(bundle.manifest, preprocessing=record))
    return said.labelled(bundle)


def check_pictures(place: object, record: Preprocessing, shape: tuple[int, ...]) -> None:
    """Raises InputError where pictures prepared so are not what a network takes, (H, W, C)."""
    if len(shape) != 3 or shape[2] != 3 or shape[0] != shape[1]:
        raise InputError(f"{place}: takes inputs of shape {shape}, no pictures; {pictures_fix(shape)}")
    if record.size != shape[0]:
        raise InputError(
            f"{place}: the preprocessing's size must be {shape[0]}, the input's, not {record.size}; change the record"
        )


def needed(bundle: Bundle, place: object = None) -> Preprocessing:
    """How a bundle wants its pictures.

    Args:
        bundle: the network.
        place: the file that it was lowered from, for messages; by default its own folder.

    Raises:
        InputError: it does not say it; says what can be done.
    """
    if bundle.manifest.preprocessing is None:
        fix = pictures_fix(bundle.graph.input_type.shape)
        raise InputError(f"{place or bundle.place}: does not say how pictures are prepared; {fix}")
    return bundle.manifest.preprocessing


def pictures_or_arrays(bundle: Bundle) -> Any:
    """How a bundle wants its pictures; without a record, arrays of the input's shape."""
    return bundle.manifest.preprocessing or ArrayInput(bundle.graph.input_type.shape, bundle.place)
