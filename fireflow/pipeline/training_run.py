"""The run that training begins or goes on with: what it is made from, and what its folder holds already."""

from __future__ import annotations

import contextlib
import datetime
import errno
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fireflow.hw.card import MODEL_CARD, check_card_file, source_record, tool_versions
from fireflow.hw.errors import InputError
from fireflow.hw.files import sha256
from fireflow.hw.overwrite import duration
from fireflow.hw.packing import read_arrays
from fireflow.hw.remarks import Say, unheard
from fireflow.quant.checkpoint import CHECKPOINT, steps_done
from fireflow.quant.data import ImageSet
from fireflow.quant.model_file import Model
from fireflow.quant.onnx_teacher import OnnxTeacher
from fireflow.quant.precision import Policy
from fireflow.quant.recipe import Recipe
from fireflow.quant.run_record import (
    RUN_RECORD,
    RunRecord,
    pictures_of_run,
    recipe_of_run,
    record_of_card,
    told,
)
from fireflow.quant.train import Share

MODEL_FILE = "model.fireq"
FLOAT = "float"
_COMMAND = "fireflow train"
_SAVED_EVERY_S = 60.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


NetworkSource = Path | Model
"""A network by its file, or one that is open."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a training run is asked to be made from.

    Args:
        start: the network to begin with.
        model: that network with the classes it shall have.
        policy: bit widths, None for a float network.
        teachers: networks to learn from, and where they are from.
        others: other classifiers.
        sets: pictures and their share of each batch.
        shares: the same pictures, decoded, with the labels of the network.
        excluded: names of the sets whose pictures were left out.
        calibration_images: how many pictures set the first scales.
        equalize: whether channels are brought to like ranges before.
        recipe: how.
    """

    start: NetworkSource
    model: Model
    policy: Policy | None
    teachers: Sequence[tuple[NetworkSource, Model]]
    others: Sequence[OnnxTeacher]
    sets: Sequence[tuple[ImageSet, float]]
    shares: Sequence[Share]
    excluded: Sequence[str]
    calibration_images: int
    equalize: bool
    recipe: Recipe

    def record(self) -> RunRecord:
        """All that decides the result, and what else the card says."""
        model, policy = self.model, self.policy
        bits = FLOAT if policy is None else policy.model_dump(mode="json")
        calibrates = policy is not None and model.network.policy != policy
        data = [
            {
                "data": images.name,
                "images": len(images),
                "share": weight,
                "fingerprint": images.fingerprint(),
            }
            for images, weight in self.sets
        ]
        made_from = {
            "start": {**_file_of(self.start), "weights": _weights_hash(model)},
            "policy": bits,
            "network": model.network.spec.to_json(),
            "preprocessing": model.preprocessing.to_json(),
            "labels": list(model.labels),
            "teachers": [
                *(
                    {**_file_of(source), "weights": _weights_hash(network)}
                    for source, network in self.teachers
                ),
                *(_with_parts(teacher.path) for teacher in self.others),
            ],
            "calibration": {"pictures": self.calibration_images, "equalize": self.equalize}
            if calibrates
            else None,
            "recipe": recipe_of_run(self.recipe),
            "data": [
                {**entry, **pictures_of_run(share.images)}
                for entry, share in zip(data, self.shares, strict=True)
            ],
        }
        facts = {
            "policy": bits,
            "start": _file_of(self.start),
            "teachers": [
                _file_of(source)
                for source in (
                    *(source for source, _ in self.teachers),
                    *(other.path for other in self.others),
                )
            ],
            "data": data,
            "excluded": list(self.excluded),
        }
        return RunRecord(made_from, tool_versions(), facts, _now())


class Run:
    """The run of a folder, from the look at what is there to the card of what it made.

    Args:
        folder: of the run.
        wanted: what the arguments ask for.
        restart: begin anew whatever run is there.
        force: replace a model of which no run is known.
        say: told what is begun anew, and of a run that recorded nothing.

    Raises:
        InputError: another run is there, or a model that no run of ours made.
    """

    def __init__(
        self, folder: Path, wanted: RunRecord, restart: bool, force: bool, say: Say = unheard
    ) -> None:
        self.folder, self.record, self._say, self._lost_told = folder, wanted, say, ""
        self._checkpoint, self._model = folder / CHECKPOINT, folder / MODEL_FILE
        stored = RunRecord.load(folder)
        check_card_file(folder / MODEL_CARD)
        trained, made = self._checkpoint.exists(), self._model.exists()
        card = _card_in(self._model) if made else {}
        ours = made and card.get("made_by") == _COMMAND and (trained or stored is not None)
        if made and not ours and not force:
            raise InputError(
                f"{self._model}: must be of the run in its folder, not of another origin; "
                "choose another -o, or replace it with --force"
            )
        if not trained and not ours:
            return
        if trained and stored is None and not made:
            steps_done(folder)  # refuses a file of another origin
        if restart:
            self._lost_told = f"{folder}: begun anew; lost {self._lost(stored)}"
            return
        if not trained:
            raise InputError(
                f"{self._checkpoint}: must be there for the run to go on, and it is not; "
                f"choose another -o, or --restart, which loses {self._lost(stored)}"
            )
        if stored is None and ours:
            stored = record_of_card(card)
        if stored is None:
            say(
                f"{folder}: begun by an earlier version, which did not record from what; "
                "the card will tell what goes on now"
            )
            self.record = replace(wanted, known=False)
            return
        if found := stored.differences(wanted):
            raise InputError(
                f"{folder}: a run must go on as it began: {told(found)}; choose another -o, "
                f"or --restart, which loses {self._lost(stored)}"
            )
        self.record = stored

    def _lost(self, stored: RunRecord | None) -> str:
        """What a new beginning loses, and how long it took."""
        parts = []
        with contextlib.suppress(InputError):  # damaged: nothing to lose
            done = steps_done(self.folder)
            if done is not None:
                parts.append(f"{done[0]} of {done[1]} steps")
        if self._model.exists():
            parts.append(MODEL_FILE)
        took = f" that took {duration(stored.seconds)}" if stored is not None and stored.seconds else ""
        return (" and ".join(parts) or "a damaged checkpoint") + took

    def begin(self) -> None:
        """Writes the record before the first step; of a run that begins anew, removes what the one before left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._lost_told:
            self._say(self._lost_told)
            for path in (self._checkpoint, self._model, self.folder / MODEL_CARD, self.folder / RUN_RECORD):
                path.unlink(missing_ok=True)
            shutil.rmtree(self.folder / "tensorboard", ignore_errors=True)
        self.record.save(self.folder)

    def timed(self, steps: int, report: Callable[[int, float], None]) -> Callable[[int, float], None]:
        """`report`, which also adds what the steps take to the record, and notes when they are done."""
        before, began, saved = self.record.seconds, 0.0, 0.0

        def tell(step: int, loss: float) -> None:
            nonlocal began, saved
            report(step, loss)
            now = time.monotonic()
            if began == 0.0:
                began = saved = now
                if (
                    step == steps and self.record.finished_at is None
                ):  # killed between the last step and the model
                    self.record = replace(self.record, finished_at=_now())
                return
            self.record = replace(self.record, seconds=round(before + now - began, 3))
            if step == steps:
                self.record = replace(self.record, finished_at=_now())
            elif now - saved >= _SAVED_EVERY_S:
                saved = now
                self.record.save(self.folder)

        return tell

    def card(self, start_share: float) -> dict[str, Any]:
        """The card of what this run made, by its record."""
        record = self.record
        card = {
            "name": self.folder.name,
            "made_by": _COMMAND,
            "made_at": record.finished_at,
            **record.facts,
            "recipe": {**record.made_from.get("recipe", {}), "start_share": start_share},
            **({"seconds": record.seconds} if record.seconds else {}),
            "tools": dict(record.tools),
        }
        if not record.known:
            card["recorded"] = "when the run went on; an earlier version began it"
        return card


@contextlib.contextmanager
def kept(folder: Path) -> Iterator[None]:
    """Says of a full disk what is left of the run, and what goes on from there.

    Raises:
        InputError: a file could not be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        done = steps_done(folder)
        state = "no step was kept" if done is None else f"{done[0]} of {done[1]} steps are kept"
        raise InputError(
            f"{error.filename or folder}: must be written whole, not fail with {error.strerror!r}; "
            f"make room and give the same command again: {state}"
        ) from None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0).isoformat()


def _card_in(path: Path) -> dict[str, Any]:
    """The card in a .fireq file, {} if it has none or is damaged."""
    try:
        _arrays, meta = read_arrays(path)
    except InputError:
        return {}
    card = meta.get("card") if isinstance(meta, dict) else None
    return card if isinstance(card, dict) else {}


def _file_of(source: NetworkSource) -> dict[str, str]:
    """Name and hash of a file; of a network that is open its name."""
    return (
        source_record(source)
        if isinstance(source, Path)
        else {"file": str(source.card.get("name", "network"))}
    )


def _weights_hash(model: Model) -> str:
    """The SHA-256 of what was read from a file: reading may take parts of it only, and parts from beside it."""
    digest = hashlib.sha256()
    for name, parameter in model.network.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)}".encode())
        digest.update(parameter.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _with_parts(path: Path) -> dict[str, Any]:
    """An ONNX file and the files beside it that hold its tensors."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    model = onnx.load(str(path), load_external_data=False)
    places = {
        ExternalDataInfo(tensor).location for tensor in model.graph.initializer if uses_external_data(tensor)
    }
    parts = {place: sha256(path.parent / place) for place in sorted(places)}
    return {**source_record(path), **({"parts": parts} if parts else {})}
