"""What a training run is made from: kept beside its checkpoint, so that no other run goes on from it or takes its name.

`run.json` holds what decides the result: hashes of the files, of the pictures as they are decoded and of their labels,
network, preprocessing, recipe and versions. Names of files are for people and compare equal to any other.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fireflow.hw.errors import InputError
from fireflow.hw.files import atomic_file, read_json
from fireflow.quant.decoded import DecodedImages
from fireflow.quant.recipe import Recipe

RUN_RECORD = "run.json"
DECIDING_TOOLS = ("fireflow", "numpy", "torch", "brevitas")
"""Whose versions a run goes on with: draws, sums and quantizers are theirs. Pictures have hashes of their own."""
_SCHEMA = 1
_NAMES = frozenset({"file", "data"})
_SHOWN, _LONGEST = 4, 60


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One training run.

    Args:
        made_from: what decides the result; any JSON object, see `differences`.
        tools: versions, by name, at the start.
        facts: what else the model card says of it.
        began_at: time in ISO 8601.
        finished_at: likewise, or None before the last step.
        seconds: that the steps took so far.
        known: whether all of this was recorded at the start, and not taken from the command that went on.
    """

    made_from: Mapping[str, Any]
    tools: Mapping[str, str]
    facts: Mapping[str, Any]
    began_at: str
    finished_at: str | None = None
    seconds: float = 0.0
    known: bool = True

    def save(self, folder: Path) -> None:
        """Writes RUN_RECORD."""
        with atomic_file(folder / RUN_RECORD) as temporary:
            temporary.write_text(json.dumps({"schema": _SCHEMA, **asdict(self)}, indent=1) + "\n", "utf-8")

    @classmethod
    def load(cls, folder: Path) -> RunRecord | None:
        """The record in a folder, None if there is none.

        Raises:
            InputError: it is damaged, of a newer version, or another kind of file.
        """
        path = folder / RUN_RECORD
        if not path.exists():
            return None
        document = read_json(path)
        try:
            if document.pop("schema") != _SCHEMA:
                raise ValueError("another schema")
            record = cls(**document)
            if not all(isinstance(part, dict) for part in (record.made_from, record.tools, record.facts)):
                raise ValueError("parts that are no objects")
            return replace(record, seconds=float(record.seconds))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: must be the record of a run as this version writes it ({error}); choose another output folder"
            ) from None

    def differences(self, other: RunRecord) -> list[str]:
        """What `other`, which is asked for now, has other than this run: "PLACE must be OLD, not NEW" of each.

        Versions count while there are steps to do. What this record does not know, of an earlier version, is not
        compared.
        """
        found = list(_differences("", self.made_from, other.made_from))
        if self.finished_at is None:
            for tool in DECIDING_TOOLS:
                old, new = self.tools.get(tool), other.tools.get(tool)
                if old is not None and _release(old) != _release(new):
                    found.append(f"{tool} must be {old}, not {new or 'missing'}")
        return found


def told(differences: Sequence[str]) -> str:
    """The first of many differences, in one line."""
    rest = len(differences) - _SHOWN
    return ", ".join(differences[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def record_of_card(card: Mapping[str, Any]) -> RunRecord:
    """What the card of a model tells of its run: those of versions that kept no record."""
    settings = card.get("recipe")
    recipe = (
        {name: v for name, v in settings.items() if name != "start_share"}
        if isinstance(settings, dict)
        else {}
    )
    facts = {key: card[key] for key in ("policy", "start", "teachers", "data", "excluded") if key in card}
    made_from = {key: value for key, value in facts.items() if key != "excluded"}
    made_at = str(card.get("made_at", ""))
    return RunRecord({**made_from, "recipe": recipe}, card.get("tools", {}), facts, made_at, made_at)


def recipe_of_run(recipe: Recipe) -> dict[str, Any]:
    """The settings that its steps depend on; `start_share` comes after them."""
    return recipe.model_dump(mode="json", exclude={"start_share"})


def pictures_of_run(images: DecodedImages) -> dict[str, Any]:
    """What tells pictures and labels, as training sees them, from all others, wherever they lie.

    Check sums rather than a hash: 7 GB take seconds, and nobody is to be kept from making others on purpose.
    """
    sums = np.array([zlib.crc32(np.ascontiguousarray(picture).data) for picture in images.images], "<u4")
    shape = str(images.images.shape[1:])
    labels = images.labels
    return {
        "images": len(images),
        "side": int(images.images.shape[1]),
        "pixels": hashlib.sha256(shape.encode() + sums.tobytes()).hexdigest(),
        "labels": None if labels is None else hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest(),
    }


def _differences(place: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        if (
            "pixels" in old and "pixels" in new
        ):  # where the files lie and when they were written does not count
            old = {key: value for key, value in old.items() if key != "fingerprint"}
        leaf = "sha256" in old or "images" in old  # a file, or a data set
        for key in old:
            if (leaf and key in _NAMES) or key not in new:
                continue
            inner = list(_differences(f"{place}.{key}" if place else key, old[key], new[key]))
            if leaf and inner:
                yield f"{place} must be {_shown(old)}, not {_shown(new)}"
                return
            yield from inner
    elif isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)):
        if len(old) != len(new) or not any(isinstance(item, Mapping) for item in old):
            if list(old) != list(new):
                yield f"{place} must be {_shown(old)}, not {_shown(new)}"
            return
        for number, (one, other) in enumerate(zip(old, new, strict=True), start=1):
            yield from _differences(f"{place} {number}" if len(old) > 1 else place, one, other)
    elif old != new:
        yield f"{place} must be {_shown(old)}, not {_shown(new)}"


def _shown(value: Any) -> str:
    """A value for people: files by name and the first digits of their hash."""
    if isinstance(value, Mapping):
        name = value.get("file", value.get("data", value.get("name")))
        digest = value.get("sha256", value.get("pixels", value.get("fingerprint")))
        count = f"{value['images']} pictures, " if "images" in value else ""
        share = f" with share {value['share']:g}" if "share" in value else ""
        if digest is not None:
            return f"{name} ({count}{str(digest)[:8]}){share}"
        return str(name) if name is not None else _short(json.dumps(value))
    if isinstance(value, (list, tuple)):
        return _short(", ".join(map(_shown, value)) or "none")
    return "none" if value is None else _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _release(version: str | None) -> str | None:
    """Without what tells for which devices it was built: a run may go on elsewhere."""
    return None if version is None else version.partition("+")[0]
