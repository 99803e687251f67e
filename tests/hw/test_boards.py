"""The boards and their resources."""

from __future__ import annotations

from pathlib import Path

import pytest

import fireflow
from fireflow.hw.errors import InputError
from fireflow.hw.parts import BOARDS, FAMILIES, Resources, board, family_of_part
from fireflow.hw.parts.boards import boards, family_of, finn_board, same_board


def test_every_board_is_found_however_it_is_written() -> None:
    for known in BOARDS:
        assert board(known.name) is board(known.name.lower().replace("-", " ")) is known
    assert board("ultra96").name == "Ultra96-V2"


def test_an_unknown_board_is_refused_with_the_names() -> None:
    with pytest.raises(InputError) as caught:
        board("zedboard")
    assert str(caught.value) == (
        "board: must be one of PYNQ-Z1, PYNQ-Z2, AUP-ZU3, Ultra96-V2, KV260, ZCU104, not 'zedboard'; choose one"
    )


def test_every_figure_has_its_source_and_is_of_the_right_family() -> None:
    for known in BOARDS:
        assert set(known.sources) == {"resources", "clocks", "part"}
        assert known.family == ("xc7" if known.part.startswith("xc7") else "xcup")
        assert family_of_part(known.part) is FAMILIES[known.family] is family_of(known.name)
        assert known.clocks_mhz
        assert known.resources.ff == 2 * known.resources.lut
    assert not board("Ultra96-V2").has_uram
    assert board("KV260").has_uram


def test_the_public_mapping_is_the_registry() -> None:
    assert fireflow.boards is boards
    assert tuple(boards.values()) == BOARDS
    assert [board(name) for name in boards] == list(BOARDS)
    assert [known.resources.lut for known in BOARDS] == sorted(known.resources.lut for known in BOARDS)


def test_names_that_others_give_boards() -> None:
    """Those of PYNQ's images, which the device tree of a board tells, and FINN's."""
    for known in BOARDS:
        for name in known.pynq:
            assert same_board(name, known.name)
            assert family_of(name) is FAMILIES[known.family]
        assert [same_board(known.name, other.name) for other in BOARDS] == [
            other is known for other in BOARDS
        ]
    assert same_board("Some Board", "some-board")
    assert not same_board("Some Board", "KV260")
    assert not same_board("KV260", "Some Board")
    assert finn_board("KV260") == "KV260_SOM"
    with pytest.raises(
        InputError,
        match=r"^board: must be one of Pynq-Z1, Pynq-Z2, AUP-ZU3, Ultra96, .*, not 'Zed'; build for",
    ):
        family_of("Zed")


def test_no_two_families_share_a_beginning_of_names() -> None:
    prefixes = [prefix for family in FAMILIES.values() for prefix in family.prefixes]
    assert [family_of_part(prefix).prefixes.count(prefix) for prefix in prefixes] == [1] * len(prefixes)


def test_the_document_lists_every_board() -> None:
    text = (Path(__file__).parents[2] / "docs" / "hardware.md").read_text()
    table = text[text.index("## Boards") :].splitlines()
    rows = []
    for known in BOARDS:
        have = known.resources
        counts = [f"{int(count)}" for count in (have.lut, have.bram36, have.uram, have.dsp)]
        ways = [
            name
            for name, able in (("open", known.open_tools), ("vivado", True), ("finn", known.finn))
            if able
        ]
        cells = [
            known.name,
            f"`{known.part}`",
            *counts,
            ", ".join(map(str, known.clocks_mhz)),
            ", ".join(ways),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    assert [line for line in table if line.startswith("| ")][1:] == rows


def test_the_aup_zu3_is_the_ultra96s_die_in_another_package() -> None:
    new, old = board("aup zu3"), board("ultra96")
    assert (new.part, new.family, new.resources) == ("xczu3eg-sfvc784-2-e", old.family, old.resources)
    assert (finn_board(new.name), new.open_tools) == ("AUP-ZU3_8GB", False)
    assert not same_board(new.name, old.name)


def test_resources_add_and_scale() -> None:
    one = Resources(lut=10, ff=20, bram36=0.5, uram=1, dsp=3)
    assert (
        (one + one).to_json()
        == (one * 2).to_json()
        == {"lut": 20, "ff": 40, "bram36": 1.0, "uram": 2, "dsp": 6}
    )
