"""The families of FPGAs that we build for, by name."""

from __future__ import annotations

from typing import Mapping

from fireflow.hw.errors import InputError
from fireflow.hw.parts.family import Family
from fireflow.hw.parts.xc7 import XC7
from fireflow.hw.parts.xcup import XCUP

FAMILIES: Mapping[str, Family] = {each.name: each for each in (XC7, XCUP)}


def family_of_part(part: str) -> Family:
    """The family of an FPGA, such as "xc7z020clg400-1".

    Raises:
        InputError: of none that we know.

    >>> [family_of_part(part).name for part in ("xc7z020clg400-1", "xczu7ev-ffvc1156-2-e", "xck26-sfvc784-2LV-c")]
    ['xc7', 'xcup', 'xcup']
    """
    for each in FAMILIES.values():
        if part.lower().startswith(each.prefixes):
            return each
    titles = " or ".join(each.title for each in FAMILIES.values())
    begin = ", ".join(f"{prefix}..." for each in FAMILIES.values() for prefix in each.prefixes)
    raise InputError(f"part: must be a {titles} device ({begin}), not {part!r}; correct it")
