"""One HTML page about a bundle that was built for a board."""

from __future__ import annotations

from pathlib import Path

from fireflow.hw import given
from fireflow.hw.bundle import Bundle
from fireflow.hw.contents import BITSTREAM_RECORD
from fireflow.hw.errors import InputError
from fireflow.hw.files import atomic_file, parse_json
from fireflow.hw.overwrite import check_page
from fireflow.hw.report import report_page


def report(bundle: Bundle, output: str | Path | None = None) -> Path:
    """Writes one HTML page about an accelerator: layers, cycles, resources, FIFOs, memory, verification, bitstream.

    Args:
        bundle: built for a board.
        output: the page; NAME.html beside the bundle by default.

    Returns:
        where the page is.

    Raises:
        InputError: it was not built, another file is at `output`, or a record in the bundle is no longer what it was.
    """
    given.instance("bundle", bundle, Bundle, "load it with load_bundle").require_hardware()
    if output is None and bundle.folder is None:
        raise InputError(f"{bundle.place}: was not loaded from a folder; name the page to write")
    target = given.path("output", output) if output is not None else Path(bundle.place).with_suffix(".html")
    check_page(target)
    data = bundle.read(BITSTREAM_RECORD)
    record = None if data is None else parse_json(data, f"{bundle.place}/{BITSTREAM_RECORD}")
    page = report_page(bundle, record)
    with atomic_file(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target
