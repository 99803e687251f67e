"""The boards and their resources."""

from __future__ import annotations

import pytest

from fireflow.hw.boards import BOARDS, Resources, board
from fireflow.hw.errors import InputError


def test_every_board_is_found_however_it_is_written() -> None:
    for known in BOARDS:
        assert board(known.name) is board(known.name.lower().replace("-", " ")) is known
    assert board("ultra96").name == "Ultra96-V2"


def test_an_unknown_board_is_refused_with_the_names() -> None:
    with pytest.raises(InputError) as caught:
        board("zedboard")
    assert str(caught.value) == (
        "board: must be one of PYNQ-Z1, PYNQ-Z2, Ultra96-V2, KV260, ZCU104, not 'zedboard'; choose one"
    )


def test_every_figure_has_its_source_and_is_of_the_right_family() -> None:
    for known in BOARDS:
        assert set(known.sources) == {"resources", "clocks", "part"}
        assert known.family == ("xc7" if known.part.startswith("xc7") else "xcup")
        assert known.dsp_a_bits == (25 if known.family == "xc7" else 27)
        assert known.clocks_mhz
        assert known.resources.ff == 2 * known.resources.lut
    assert not board("Ultra96-V2").has_uram
    assert board("KV260").has_uram


def test_resources_add_and_scale() -> None:
    one = Resources(lut=10, ff=20, bram36=0.5, uram=1, dsp=3)
    assert (
        (one + one).to_json()
        == (one * 2).to_json()
        == {"lut": 20, "ff": 40, "bram36": 1.0, "uram": 2, "dsp": 6}
    )
