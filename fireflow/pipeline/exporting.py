"""A quantized model as QONNX for FINN and others, with what it must compute."""

from __future__ import annotations

import zipfile
from pathlib import Path

from fireflow.hw.card import check_card_file
from fireflow.hw.errors import InputError
from fireflow.hw.overwrite import foreign


def check_export(path: Path, golden: Path, card: Path) -> None:
    """That an export may be written: quick to make again, so whatever an earlier export wrote may go.

    Raises:
        InputError: a file of another origin is there.
    """
    if path.exists():
        from fireflow.pipeline.qonnx_files import qonnx_manifest

        try:
            ours = bool(qonnx_manifest(path).tools)
        except (InputError, OSError):
            ours = False
        if not ours:
            raise foreign(path, "an export of fireflow")
    if golden.exists():
        try:
            with zipfile.ZipFile(str(golden)) as archive:
                ours = {"image.npy", "scores.npy"} <= set(archive.namelist())
        except (OSError, zipfile.BadZipFile):
            ours = False
        if not ours:
            raise foreign(golden, "golden vectors of an export")
    check_card_file(card)
