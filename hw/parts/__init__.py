"""Boards, their parts, and what differs between families of parts: one record for each, in a file of its own."""

from __future__ import annotations

from fireflow.hw.parts.board import Board
from fireflow.hw.parts.boards import BOARDS, board
from fireflow.hw.parts.families import FAMILIES, family_of_part
from fireflow.hw.parts.family import Family
from fireflow.hw.parts.resources import LABELS, RESOURCES, Resources

__all__ = [
    "BOARDS",
    "FAMILIES",
    "LABELS",
    "RESOURCES",
    "Board",
    "Family",
    "Resources",
    "board",
    "family_of_part",
]
