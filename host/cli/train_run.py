"""The run that `fireflow train` begins or goes on with: what it is made from, and what its folder holds already."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import errno
import hashlib
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

from fireflow.hw.card import MODEL_CARD, check_card_file, source_record, tool_versions
from fireflow.hw.errors import InputError
from fireflow.hw.files import sha256
from fireflow.hw.overwrite import duration

if TYPE_CHECKING:
    from fireflow.quant.data import ImageSet
    from fireflow.quant.decoded import DecodedImages
    from fireflow.quant.model_file import Model
    from fireflow.quant.onnx_teacher import OnnxTeacher
    from fireflow.quant.precision import Policy
    from fireflow.quant.recipe import Recipe
    from fireflow.quant.run_record import RunRecord

MODEL_FILE = "model.fireq"
FLOAT = "float"
_COMMAND = "fireflow train"
_SAVED_EVERY_S = 60.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def describe(
    args: argparse.Namespace,
    start: Path,
    model: Model,
    policy: Policy | None,
    teachers: Sequence[tuple[Path, Model]],
    others: Sequence[OnnxTeacher],
    sets: Sequence[tuple[Path, ImageSet, float]],
    decoded: Sequence[DecodedImages],
    recipe: Recipe,
) -> RunRecord:
    """The run that the arguments ask for.

    Args:
        args: of the command.
        start: file of the network to begin with.
        model: that network with the classes it shall have.
        policy: bit widths, None for a float network.
        teachers: SqueezeNets to learn from, with their files.
        others: other classifiers.
        sets: path, pictures and share of the data.
        decoded: the same pictures, decoded, with the labels of the network.
        recipe: how.
    """
    from fireflow.quant.run_record import RunRecord, pictures_of_run, recipe_of_run

    bits = FLOAT if policy is None else policy.model_dump(mode="json")
    calibrates = policy is not None and model.network.policy != policy
    data = [
        {"data": path.name, "images": len(images), "share": weight, "fingerprint": images.fingerprint()}
        for path, images, weight in sets
    ]
    other_files = [_with_parts(teacher.path) for teacher in others]
    made_from = {
        "start": {**source_record(start), "weights": _weights_hash(model)},
        "policy": bits,
        "network": model.network.spec.to_json(),
        "preprocessing": model.preprocessing.to_json(),
        "labels": list(model.labels),
        "teachers": [
            *({**source_record(path), "weights": _weights_hash(teacher)} for path, teacher in teachers),
            *other_files,
        ],
        "calibration": {"pictures": args.calibration_images, "equalize": args.equalize}
        if calibrates
        else None,
        "recipe": recipe_of_run(recipe),
        "data": [{**entry, **pictures_of_run(own)} for entry, own in zip(data, decoded)],
    }
    facts = {
        "policy": bits,
        "start": source_record(start),
        "teachers": [
            source_record(path) for path in (*(path for path, _ in teachers), *(o.path for o in others))
        ],
        "data": data,
        "excluded": [path.name for path in args.exclude],
    }
    return RunRecord(made_from, tool_versions(), facts, _now())


class Run:
    """The run of a folder, from the look at what is there to the card of what it made.

    Args:
        folder: of the run.
        wanted: what the arguments ask for.
        restart: begin anew whatever run is there.
        force: replace a model of which no run is known.

    Raises:
        InputError: another run is there, or a model that no run of ours made.
    """

    def __init__(self, folder: Path, wanted: RunRecord, restart: bool, force: bool) -> None:
        from fireflow.quant.checkpoint import CHECKPOINT, steps_done
        from fireflow.quant.run_record import RunRecord, record_of_card, told

        self.folder, self.record, self._lost_told = folder, wanted, ""
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
            self._lost_told = f"fireflow: {folder}: begun anew; lost {self._lost(stored)}"
            return
        if not trained:
            raise InputError(
                f"{self._checkpoint}: must be there for the run to go on, and it is not; "
                f"choose another -o, or --restart, which loses {self._lost(stored)}"
            )
        if stored is None and ours:
            stored = record_of_card(card)
        if stored is None:
            print(
                f"fireflow: {folder}: begun by an earlier version, which did not record from what; "
                "the card will tell what goes on now",
                file=sys.stderr,
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
        from fireflow.quant.checkpoint import steps_done

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
        from fireflow.quant.run_record import RUN_RECORD

        self.folder.mkdir(parents=True, exist_ok=True)
        if self._lost_told:
            print(self._lost_told, file=sys.stderr)
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
    from fireflow.quant.checkpoint import steps_done

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
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0).isoformat()


def _card_in(path: Path) -> dict[str, Any]:
    """The card in a .fireq file, {} if it has none or is damaged."""
    from fireflow.hw.packing import read_arrays

    try:
        _arrays, meta = read_arrays(path)
    except InputError:
        return {}
    card = meta.get("card") if isinstance(meta, dict) else None
    return card if isinstance(card, dict) else {}


def _weights_hash(model: Model) -> str:
    """Of what was read from a file, since that may take parts of it only, and parts from beside it."""
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
